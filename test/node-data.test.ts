/**
 * The data of an app on its node, with a real PostgreSQL. Tasks: checkpoints, copies, what differs. Branches: apps that are
 * served from a copy of another's data. Exchanges: the data goes back once, nothing of the older generation reaches it, and a
 * kill -9 of the agent or of the server ends in the new generation, with all that was promised. All steps of an exchange are
 * walked by node-data.long.test.ts.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, suite, test } from 'node:test'
import type { DataResource } from '../src/protocol/index.ts'
import { databaseConfig, DataNode } from './data-node/data-node.ts'
import { exchangeSteps, filled, first, goBack, hasGoneBack, later } from './data-node/exchanges.ts'
import { needsAll, needsFile, needsFileSystem, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/python3', 'apt-get install python3'))
const skipBtrfs = needsAll(needsFile('/usr/sbin/mkfs.btrfs', 'apt-get install btrfs-progs'), needsFileSystem('btrfs'))
const timeout = 300_000

/** The tests are one story, told to one node. */
suite('data on a node', { skip }, () => {
  let node: DataNode
  before(async () => {
    node = await DataNode.start()
    await filled(node)
  })
  after(() => node[Symbol.asyncDispose]())

  test('a checkpoint is made once, and says which servers stood still', { timeout }, async () => {
    const { copy, stopped } = await node.data({ do: 'checkpoint', name: 'five' })
    assert.deepEqual([copy.name, copy.kind, copy.generation, stopped], ['five', 'checkpoint', 1, ['db']])
    const again = await node.data({ do: 'checkpoint', name: 'five' })
    assert.deepEqual(again.copy, copy)
    assert.equal(again.stopped, undefined)
    await assert.rejects(node.data({ do: 'checkpoint', name: 'stead-task-x' }), /no copy is called/)
    await assert.rejects(node.data({ do: 'clone', name: 'five', from: null }), /already has a copy named five/)
    await node.ready('shop.db', 1)
  })

  test('two copies are compared, and nothing is left of that, also after a crash', { timeout }, async () => {
    const { changes, gaps, exact } = await node.data({ do: 'compare', before: 'before', after: 'five' })
    assert.deepEqual(
      changes.filter(({ name }) => name.includes('items')).map(({ part, added, removed }) => [part, added, removed]),
      [['db', 2, 0]],
    )
    assert.deepEqual(gaps, [])
    assert.equal(exact, true)
    await assert.rejects(node.data({ do: 'compare', before: 'before', after: 'gone' }), /no copy named gone/)
    const ended = assert.rejects(node.data({ do: 'compare', before: 'before', after: 'five' }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    await node.kill()
    node.forget()
    await ended
    await node.begin()
    await node.ready('shop.db', 1)
    assert.deepEqual(await copies(), ['before', 'five'])
  })

  test('what is declared is told, and tried on a copy; the live data is not touched', { timeout }, async () => {
    const bundle = await node.files({
      '0001_more.sql': 'create table more (id integer);\nalter table items add note text;\n',
    })
    const resources = [{ part: 'db', type: 'postgres', config: databaseConfig, bundle }]
    const [pending] = await node.data({ do: 'pending', resources })
    assert.deepEqual([pending?.part, pending?.migrates, pending?.statements.length], ['db', 'stop', 2])
    // Asked again, it is done again: the answer of before may have been lost.
    for (let round = 0; round < 2; round += 1) {
      const { statements, refusals } = await node.data({ do: 'rehearse', copy: 'try', resources, lockMsMax: 10_000 })
      assert.deepEqual(
        statements.map(({ part, text }) => `${part}: ${text.slice(0, 11)}`),
        ['db: create tabl', 'db: alter table'],
      )
      assert.deepEqual(refusals, [])
      await node.ready('shop.db', 1)
    }
    assert.deepEqual(await copies(), ['before', 'five', 'try'])
    assert.deepEqual(await node.sql(`select count(*) from pg_class where relname = 'more'`), [0])
    await node.data({ do: 'delete', names: ['try'] })
  })

  test('what fails or is cancelled leaves nothing behind, and who waits comes to his turn', { timeout }, async () => {
    const resourcesOf = async (text: string): Promise<readonly DataResource[]> => {
      const bundle = await node.files({ '0001_more.sql': text })
      return [{ part: 'db', type: 'postgres', config: databaseConfig, bundle }]
    }
    const rehearse = { do: 'rehearse', copy: 'try', lockMsMax: 10_000 } as const
    const wrong = await resourcesOf('create tabel more (id integer);\n')
    await assert.rejects(node.data({ ...rehearse, resources: wrong }), /0001_more\.sql:1/)
    const endless = await resourcesOf('select pg_sleep(600);\n')
    const cancelled = assert.rejects(node.data({ ...rehearse, resources: endless }, 'endless'))
    const next = node.data({ do: 'delete', names: ['try'] })
    await new Promise((resolve) => setTimeout(resolve, 1000))
    node.cancel('endless')
    await cancelled
    assert.deepEqual(await next, { deleted: [] })
    assert.deepEqual(await copies(), ['before', 'five'])
    await node.ready('shop.db', 1)
  })

  test('what has changed since a checkpoint is counted', { timeout }, async () => {
    const { changes, positions } = await node.data({ do: 'preview', since: 'five' })
    assert.deepEqual(changes, [])
    assert.deepEqual(Object.keys(positions), ['db'])
    await assert.rejects(node.data({ do: 'preview', since: 'never' }), /no copy named never/)
  })

  test(
    'a branch is served from a copy, with the names of the data, and is no app of its own to delete',
    { timeout },
    async () => {
      await node.data({ do: 'clone', name: 'look', from: 'before' })
      const place = { ...first, copy: 'look' }
      const own = [node.database(first), node.worker('g1', 1)]
      node.plan(...own, node.database(place, 'shop--look'), node.worker('b', 1, 'shop--look'))
      await node.ready('shop--look.db', 1)
      await node.printing('shop--look.web.b', 'led')
      assert.deepEqual((await node.printed('shop--look.web.b'))[0], 'asks shop')
      await node.sql('insert into items values (100)', 'shop--look')
      assert.deepEqual(await node.sql('select id from items order by id', 'shop--look'), [1, 2, 3, 100])
      assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 4, 5])
      await assert.rejects(node.data({ do: 'delete', names: ['five', 'look'] }), /is served from the copy look/)
      await assert.rejects(node.ask({ kind: 'delete-data', app: 'shop' }), /still runs/)
      node.plan(...own, node.database({ ...first, copy: 'five' }, 'shop--look'))
      const refused = await node.until('shop--look.db', 'is refused', ({ phase }) => phase === 'gave-up')
      assert.match(refused.reason ?? '', /checkpoint five of shop stays as it is/)
      node.plan(...own)
      await node.gone('shop--look.db')
      await node.ask({ kind: 'delete-data', app: 'shop--look' })
      assert.deepEqual(await node.data({ do: 'delete', names: ['look', 'five', 'never'] }), {
        deleted: ['five', 'look'],
      })
      assert.deepEqual(await copies(), ['before'])
    },
  )

  test('data that does not fit the plan is not touched, and the status says why', { timeout }, async () => {
    node.plan(node.database(later(2)))
    const missing = await node.until('shop.db', 'cannot', ({ phase }) => phase === 'gave-up')
    assert.match(missing.reason ?? '', /no copy named "back-2"/)
    node.plan(node.database(later(4)))
    const far = await node.until('shop.db', 'gives up', ({ reason }) => reason?.includes('generation 4') === true)
    assert.match(far.reason ?? '', /is of generation 1, and the plan is of generation 4/)
    assert.equal(far.generation, 1)
    assert.deepEqual(
      node.notices.filter((notice) => notice.includes('goes back')),
      [],
      'nothing is noted of a generation that is not to come',
    )
    node.plan(node.database(first), node.worker('g1', 1))
    await node.ready('shop.db', 1)
    assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 4, 5])
  })

  test(
    'how it is known that data is durable is told, and a server that does not wait for the disk is refused',
    { timeout },
    async () => {
      const { durability } = await node.ready('shop.db', 1)
      assert.match(durability ?? '', /flushes for each commit .*counted by pg_stat/)
      node.careless(true)
      const config = { ...databaseConfig, memoryBytes: 160 * 1024 * 1024 }
      node.plan(node.database(first, 'shop', { config }), node.worker('g1', 1))
      const refused = await node.until('shop.db', 'is refused', ({ phase }) => phase === 'gave-up')
      assert.match(refused.reason ?? '', /does not keep what it acknowledges over a loss of power: fsync is off/)
      assert.equal(refused.pid, null, 'it does not run')
      node.careless(false)
      node.plan(node.database(first), node.worker('g1', 1))
      await node.ready('shop.db', 1)
      assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 4, 5])
    },
  )

  test('it goes back by the plan alone, once, and says how long it took', { timeout }, async () => {
    node.steps.length = 0
    const before = node.status('shop.db')?.endpoint
    await goBack(node, 2)
    const plannedMs = Date.now()
    const status = await node.ready('shop.db', 2)
    console.log(`from the plan of generation 2 to its database being ready: ${Date.now() - plannedMs} ms`)
    assert.equal(status.schema, null)
    await hasGoneBack(node, 2)
    // Who is on another node and has not heard of it reaches nothing.
    assert.ok(before?.kind === 'tcp' && node.status('shop.db')?.endpoint?.kind === 'tcp')
    await assert.rejects(once(connect(before.port, before.host), 'connect'), { code: 'ECONNREFUSED' })
    assert.equal(node.status('shop.web.g1')?.phase, 'stopped')
    assert.deepEqual(
      node.steps.map(({ step }) => step),
      [...exchangeSteps],
    )
  })

  for (const [generation, what, step] of [
    [3, 'agent', 'swapping'],
    [4, 'agent', 'swapped'],
    [5, 'server', 'quiet'],
  ] as const)
    test(`the ${what} dies when the step is: ${step}`, { timeout }, async () => {
      node.doom(what, step)
      await goBack(node, generation)
      if (what === 'agent') {
        await node.died()
        await node.begin()
      }
      await hasGoneBack(node, generation)
    })

  test('what does not end is waited for, with its name, and reaches nothing meanwhile', { timeout }, async () => {
    await goBack(node, 6, true)
    const waits = (reason: string | null): boolean => reason?.includes('shop.web.g5') === true
    const waiting = await node.until('shop.db', 'waits', ({ reason }) => waits(reason))
    assert.deepEqual([waiting.phase, waiting.generation, waiting.endpoint], ['waiting', 5, null])
    await node.printing('shop.web.g5', 'nowhere')
    assert.match(node.status('shop.web.g6')?.reason ?? '', /waits for db/)
    // Also for the next agent.
    await node.kill()
    await node.begin()
    await node.until('shop.db', 'waits again', ({ reason }) => waits(reason))
    node.plan(node.database(later(6)), node.worker('g5', 5, 'shop', { wanted: false }), node.worker('g6', 6))
    await hasGoneBack(node, 6)
  })

  test('rows of what was left behind are copied into the live data', { timeout }, async () => {
    const order = { do: 'replay', from: 'left-6', part: 'db', table: 'items' } as const
    assert.deepEqual(await node.data({ ...order, where: 'id > 7' }), { rows: 2 })
    assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 8, 9])
    await assert.rejects(node.data({ ...order, part: 'web', where: null }), /no resource web/)
    assert.ok((await copies()).every((name) => !name.startsWith('stead-task-')))
  })

  test('data that cannot be asked is left all the same, and that is said', { timeout }, async () => {
    node.mute()
    await goBack(node, 7)
    const status = await node.ready('shop.db', 7)
    assert.match(status.reason ?? '', /went back without what was to outlive that: it cannot be asked/)
    assert.ok(node.notices.some((notice) => notice.includes('shop.db goes back without')))
    assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3])
  })

  async function copies(): Promise<readonly string[]> {
    const state = await node.data({ do: 'state' })
    assert.equal(state.driver, 'copy')
    return state.copies.map(({ name }) => name)
  }
})

suite('data on a node that copies it while it is in use', { skip: needsAll(skip, skipBtrfs) }, () => {
  test(
    'a rehearsal that is asked for again right after a crash waits until the server has been looked at',
    { timeout },
    async () => {
      await using node = await DataNode.start({ domain: 'btrfs' })
      await filled(node)
      const resources = [
        {
          part: 'db',
          type: 'postgres',
          config: databaseConfig,
          bundle: await node.files({ '0001_more.sql': 'create table more (id integer);\nselect pg_sleep(3);\n' }),
        },
      ]
      const rehearse = { do: 'rehearse', copy: 'try', resources, lockMsMax: 10_000 } as const
      const ended = assert.rejects(node.data(rehearse), /the agent has died/)
      await new Promise((resolve) => setTimeout(resolve, 1000))
      node.slow(true)
      await node.kill()
      node.forget()
      await ended
      await node.begin()
      await node.until('shop.db', 'is found', ({ endpoint, settled }) => endpoint !== null && settled === false)
      const { statements, refusals } = await node.data(rehearse)
      assert.deepEqual([statements.length, refusals], [2, []])
      node.slow(false)
      const { copies } = await node.data({ do: 'state' })
      assert.deepEqual(
        copies.map(({ name, kind }) => `${kind} ${name}`),
        ['checkpoint before', 'clone try'],
      )
      assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3, 4, 5])
    },
  )
})
