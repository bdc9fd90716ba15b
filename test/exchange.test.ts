/**
 * Going back on a node, with a real PostgreSQL: the data is exchanged once, nothing of the older generation reaches it, and
 * a kill -9 of the agent or of the server ends in the new generation, with all that was promised. All steps are walked by
 * exchange.long.test.ts.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { DataNode } from './data-node/data-node.ts'
import { exchangeSteps, filled, first, goBack, hasGoneBack, later } from './data-node/exchanges.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/python3', 'apt-get install python3'))

suite('an exchange of data', { skip }, () => {
  test('goes back by the plan alone, once, and says how long it took', { timeout: 120_000 }, async () => {
    await using node = await DataNode.start()
    await filled(node)
    node.steps.length = 0
    const startMs = Date.now()
    await goBack(node, 2)
    const plannedMs = Date.now()
    const status = await node.ready('shop.db', 2)
    console.log(`from the plan of generation 2 to its database being ready: ${Date.now() - plannedMs} ms`)
    assert.ok(startMs <= plannedMs)
    assert.equal(status.schema, null)
    await hasGoneBack(node, 2)
    assert.equal(node.status('shop.web.g1')?.phase, 'stopped')
    assert.deepEqual(
      node.steps.map(({ step }) => step),
      [...exchangeSteps],
    )
    assert.deepEqual((await node.printed('shop.web.g2')).slice(0, 2), ['asks shop', 'led'])

    // The next one, with the agent dead between the last look at what was planned and the exchange itself, and just after it.
    for (const [generation, what, step] of [
      [3, 'agent', 'swapping'],
      [4, 'agent', 'swapped'],
      [5, 'server', 'quiet'],
    ] as const) {
      node.doom(what, step)
      await goBack(node, generation)
      if (what === 'agent') {
        await node.died()
        await node.begin()
      }
      await hasGoneBack(node, generation)
    }
  })

  test(
    'what does not end is waited for, with its name, and reaches nothing meanwhile',
    { timeout: 120_000 },
    async () => {
      await using node = await DataNode.start()
      await filled(node)
      await node.printing('shop.web.g1', 'led')
      await node.data({ do: 'clone', name: 'back-2', from: 'before' })
      // A control that forgets to stop it: it is still wanted.
      node.plan(node.database(later(2)), node.worker('g1', 1), node.worker('g2', 2))
      const waiting = await node.until('shop.db', 'waits', ({ reason }) => reason?.includes('shop.web.g1') === true)
      assert.equal(waiting.phase, 'waiting')
      assert.equal(waiting.generation, 1)
      assert.equal(waiting.endpoint, null)
      await node.printing('shop.web.g1', 'nowhere')
      assert.match(node.status('shop.web.g2')?.reason ?? '', /waits for db/)
      // Also for the next agent.
      await node.kill()
      await node.begin()
      await node.until('shop.db', 'waits again', ({ reason }) => reason?.includes('shop.web.g1') === true)
      node.plan(node.database(later(2)), node.worker('g1', 1, 'shop', { wanted: false }), node.worker('g2', 2))
      await hasGoneBack(node, 2)
    },
  )

  test('data that cannot be asked is left all the same, and that is said', { timeout: 120_000 }, async () => {
    await using node = await DataNode.start({ abandon: 'fails' })
    await filled(node)
    await goBack(node, 2)
    const status = await node.ready('shop.db', 2)
    assert.match(status.reason ?? '', /went back without what was to outlive that: it cannot be asked/)
    assert.ok(node.notices.some((notice) => notice.includes('shop.db goes back without')))
    assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3])
  })

  test('data that does not fit the plan is not touched, and the status says why', { timeout: 120_000 }, async () => {
    await using node = await DataNode.start()
    await filled(node)
    node.plan(node.database(later(2)))
    const missing = await node.until('shop.db', 'cannot', ({ phase }) => phase === 'gave-up')
    assert.match(missing.reason ?? '', /no copy named "back-2"/)
    node.plan(node.database(later(4)))
    const far = await node.until('shop.db', 'gives up again', ({ reason }) => reason?.includes('generation 4') === true)
    assert.match(far.reason ?? '', /is of generation 1, and the plan is of generation 4/)
    assert.equal(far.generation, 1)
    node.plan(node.database(first))
    await node.ready('shop.db', 1)
    assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 4, 5])
  })
})
