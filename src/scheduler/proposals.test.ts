/** Proposed moves: bounded, possible one after another, and nothing has changed when they have been worked out. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { someEvent, someNode } from '../../test/scheduler/cases.ts'
import { Dice } from '../../test/scheduler/dice.ts'
import { Follower } from '../../test/scheduler/follow.ts'
import { Scheduler } from './index.ts'

suite('proposals', () => {
  test('little used nodes are emptied, within the bound', () => {
    const scheduler = new Scheduler({ policy: 'spread' })
    const nodes = Array.from({ length: 4 }, (_, index) => ({ name: `n${index}`, capacity: { cpu: 8, memory: 8 } }))
    scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes })
    scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'web', count: 8, needs: { cpu: 1, memory: 1 } }] })
    assert.equal(scheduler.proposals(1).length, 0, 'half a node is not emptied')
    const moves = scheduler.proposals(100)
    assert.equal(new Set(moves.map(({ from }) => from)).size, 2)
    assert.ok(moves.every(({ reason }) => reason.startsWith('empties n')))
    assert.equal(scheduler.proposals(2).length, 2)
  })

  test('what breaks a rule where it is comes first', () => {
    const scheduler = new Scheduler()
    const capacity = { cpu: 4, memory: 4 }
    const labels = { disk: 'ssd' }
    scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes: ['a', 'b'].map((name) => ({ name, labels, capacity })) })
    const selector = [{ label: 'disk', operator: 'in', values: ['ssd'] }] as const
    scheduler.apply({ atMs: 0, kind: 'submit', jobs: [{ name: 'db', needs: { cpu: 3 }, selector }] })
    scheduler.apply({ atMs: 1, kind: 'change-node', node: 'a', labels: {} })
    assert.deepEqual(scheduler.proposals(5), [{ task: 'db', from: 'a', to: 'b', reason: 'breaks a rule where it is' }])
    scheduler.apply({ atMs: 2, kind: 'cordon', node: 'b' })
    assert.deepEqual(scheduler.proposals(5)[0]?.to, null)
  })

  test('generated runs: every move is allowed when it is its turn, and asking changes nothing', () => {
    let proposed = 0
    for (let seed = 0; seed < 40; seed++) {
      const dice = new Dice(seed)
      const follower = new Follower({ policy: 'spread' })
      const { reference, scheduler } = follower
      follower.give({
        atMs: 0,
        kind: 'add-nodes',
        nodes: Array.from({ length: 6 }, (_, index) => someNode(dice, `n${index}`)),
      })
      for (let step = 0; step < 25; step++) {
        const known = {
          nodes: [...reference.nodes.keys()],
          running: follower.running,
          count: step * 10,
          nowMs: reference.nowMs,
        }
        follower.give(someEvent(dice, known))
        const before = JSON.stringify([...scheduler.running()])
        const moves = scheduler.proposals(4)
        assert.equal(JSON.stringify([...scheduler.running()]), before)
        assert.ok(moves.length <= 4)
        proposed += moves.length
        // GPUs and cores of moved tasks are chosen anew, so only what does not use them is followed.
        const running = new Map(reference.running)
        for (const { task, from, to } of moves) {
          const moved = reference.running.get(task)
          assert.ok(moved !== undefined && moved.node === from)
          const { gpu, cpuTime } = moved.job.needs
          if (to === null) continue
          if (gpu !== undefined || cpuTime !== undefined) break
          reference.running.delete(task)
          const { account: _account, ...job } = moved.job
          assert.equal(reference.forbids(job, to), null, `seed ${seed}: ${task} to ${to}`)
          reference.running.set(task, { ...moved, node: to })
        }
        reference.running.clear()
        for (const [task, entry] of running) reference.running.set(task, entry)
      }
    }
    assert.ok(proposed > 50, `${proposed} moves`)
  })
})
