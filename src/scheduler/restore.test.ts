/** A new scheduler takes over from an earlier one, and a task that gives its place back waits again. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { type Decision, type JobSpec, type NodeSpec, type RestoredJob, Scheduler } from './index.ts'

const nodes: readonly NodeSpec[] = ['a', 'b'].map((name) => ({
  name,
  cordoned: true,
  capacity: { cpu: 4, memory: '4GiB', gpus: { model: 'A', count: 2 } },
}))

function fresh(): Scheduler {
  const scheduler = new Scheduler({ order: 'easy', stopsAtLimit: false })
  scheduler.apply({ atMs: 0, kind: 'add-nodes', nodes })
  return scheduler
}

/** What somebody outside knows of a job: the spec, and where each of its tasks stands. */
interface Known {
  readonly spec: JobSpec
  readonly tasks: Map<number, { node: string; gpus?: readonly number[] } | 'succeeded' | 'failed' | 'waiting'>
}

function follow(known: ReadonlyMap<string, Known>, decisions: readonly Decision[]): void {
  for (const decision of decisions) {
    if (decision.kind === 'give-up') continue
    const [job = '', position = '0'] = decision.task.split('/')
    const tasks = known.get(job)?.tasks
    if (decision.kind === 'stop') tasks?.set(Number(position), 'waiting')
    else {
      const { node, gpus } = decision
      tasks?.set(Number(position), gpus === undefined ? { node } : { node, gpus })
    }
  }
}

function restored({ spec, tasks }: Known): RestoredJob {
  const entries = [...tasks]
  const running = entries.flatMap(([position, at]) =>
    typeof at === 'object' ? [{ position, startedMs: 0, ...at }] : [],
  )
  return {
    spec,
    fresh: Math.max(0, ...entries.map(([position]) => position + 1)),
    waiting: entries.flatMap(([position, at]) => (at === 'waiting' ? [position] : [])),
    running,
    failed: entries.filter(([, at]) => at === 'failed').length,
  }
}

function isOver({ spec, tasks }: Known): boolean {
  const ended = [...tasks.values()].filter((at) => at === 'succeeded' || at === 'failed')
  return ended.length === (spec.count ?? 1)
}

suite('taking over', () => {
  test('what runs stays where it is, nothing is placed twice, and everything ends in the end', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = seededRandom(seed)
      const dice = (sides: number): number => Math.floor(((random.bytes(1)[0] ?? 0) / 256) * sides)
      const known = new Map<string, Known>()
      let scheduler = fresh()
      let atMs = 0
      follow(known, [
        ...scheduler.apply({ atMs, kind: 'uncordon', node: 'a' }),
        ...scheduler.apply({ atMs, kind: 'uncordon', node: 'b' }),
      ])
      const running = (): string[] => [...scheduler.running()].map(({ task, node }) => `${task} on ${node}`).sort()
      for (let round = 0; round < 60 || [...known.values()].some((one) => !isOver(one)); round++) {
        assert.ok(round < 2000, `seed ${seed} comes to an end`)
        atMs += 1
        const kind = round < 60 ? dice(10) : 5
        if (kind < 3) {
          const count = 1 + dice(5)
          const gpu = dice(4) === 0 ? { gpu: { count: 1 } } : {}
          const needs = { cpu: 1 + dice(3), memory: '1GiB', ...gpu }
          const gang = count > 1 && count < 3 && dice(3) === 0 ? { gang: true } : {}
          const spec: JobSpec = { name: `j${round}`, needs, ...(count === 1 ? {} : { count }), ...gang }
          known.set(spec.name, { spec, tasks: new Map() })
          follow(known, scheduler.apply({ atMs, kind: 'submit', jobs: [spec] }))
        } else if (kind < 8) {
          const task = [...scheduler.running()][dice(8)] ?? [...scheduler.running()][0]
          if (task === undefined) continue
          const position = Number(task.task.split('/')[1] ?? 0)
          if (dice(4) === 0) {
            follow(known, scheduler.apply({ atMs, kind: 'requeue', task: task.task }))
            continue
          }
          const outcome = dice(3) === 0 ? 'failure' : 'success'
          known.get(task.job)?.tasks.set(position, outcome === 'success' ? 'succeeded' : 'failed')
          follow(known, scheduler.apply({ atMs, kind: 'end', task: task.task, outcome }))
        } else {
          const before = running()
          const next = fresh()
          const jobs = [...known.values()].filter((one) => !isOver(one)).map(restored)
          const early = next.apply({ atMs, kind: 'restore', jobs })
          assert.deepEqual(early, [], 'nothing is decided before a node takes in anything')
          scheduler = next
          assert.deepEqual(running(), before)
          for (const node of ['a', 'b']) follow(known, scheduler.apply({ atMs, kind: 'uncordon', node }))
        }
        const used = new Map<string, number>()
        for (const { job, node } of scheduler.running())
          used.set(node, (used.get(node) ?? 0) + Number(known.get(job)?.spec.needs.cpu ?? 0))
        for (const [node, cpu] of used) assert.ok(cpu <= 4, `${node} holds ${cpu} cores`)
      }
    }
  })

  test('a gang that gives its place back does so whole', () => {
    const scheduler = fresh()
    for (const node of ['a', 'b']) scheduler.apply({ atMs: 0, kind: 'uncordon', node })
    scheduler.apply({ atMs: 1, kind: 'submit', jobs: [{ name: 'g', count: 2, gang: true, needs: { cpu: 3 } }] })
    const kinds = scheduler.apply({ atMs: 2, kind: 'requeue', task: 'g/1' }).map(({ kind }) => kind)
    assert.deepEqual(kinds, ['stop', 'stop', 'place', 'place'])
    assert.throws(() => scheduler.apply({ atMs: 3, kind: 'requeue', task: 'x' }), { code: 'scheduler.unknown-name' })
  })

  test('what is restored wrongly is refused', () => {
    const scheduler = fresh()
    const spec = { name: 'j', needs: { cpu: 1 } }
    const job = { spec, fresh: 1, waiting: [], failed: 0, running: [{ position: 0, node: 'nosuch', startedMs: 0 }] }
    assert.throws(() => scheduler.apply({ atMs: 0, kind: 'restore', jobs: [job] }), { code: 'scheduler.unknown-name' })
    const there = { ...job, running: [{ position: 0, node: 'a', startedMs: 0 }] }
    assert.deepEqual(scheduler.apply({ atMs: 0, kind: 'restore', jobs: [there] }), [])
    assert.throws(() => scheduler.apply({ atMs: 0, kind: 'restore', jobs: [there] }), {
      code: 'scheduler.duplicate-name',
    })
  })
})
