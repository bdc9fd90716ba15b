/** A copy that is brought forward along the log of a later state: to the row, by name, position and time; and where no log leads. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { join } from 'node:path'
import { sleep, systemClock } from '../base/index.ts'
import type { LogTarget, Restored } from '../provider/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'

suite('a moment in the log', () => {
  const shared: { postgres?: TestPostgres; base: string; later: string; number: number } = {
    base: '',
    later: '',
    number: 0,
  }
  const moments = { position: '', timeMs: 0 }
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  /** Brings a copy of the first state forward. */
  const restore = async (target: LogTarget): Promise<Restored & { readonly dataDir: string }> => {
    const { host, provider, resource } = postgres()
    const dataDir = join(host.dir, `copy-${shared.number++}`)
    await host.copy(shared.base, dataDir)
    const restored = await provider.restoreTo?.({ ...resource.context, dataDir }, shared.later, target)
    return { ...(restored ?? assert.fail()), dataDir }
  }
  const rowsBetween = async (dataDir: string): Promise<number> => {
    const { host, provider, resource } = postgres()
    // A server that has run on the first state would have begun a log of its own.
    const before = join(host.dir, 'compared')
    await host.copy(shared.base, before)
    const { items } = await provider.diff(resource.context, before, dataDir)
    return items.find(({ name }) => name === 'a')?.added ?? 0
  }

  before(async () => {
    shared.postgres = await makeTestPostgres({ ownsSchema: true })
    const { resource, provider } = shared.postgres
    await resource.start()
    await postgres().asConsumer('web', async (client) => {
      const write = (count: number): Promise<unknown> =>
        client.query(`insert into a select i from generate_series(1, ${count}) i`)
      await client.query('create table a (b int)')
      await write(10)
      shared.base = await postgres().checkpoint('base')
      await write(100)
      await provider.mark?.(resource.context, 'release 7')
      await write(1_000)
      moments.position = (await provider.mark?.(resource.context, 'later')) ?? ''
      // The log has times to the microsecond; what comes after is surely later by the millisecond.
      await sleep(systemClock, 20)
      moments.timeMs = Date.now()
      await sleep(systemClock, 20)
      await write(10_000)
      await postgres().admin('select pg_switch_wal()')
      await write(100_000)
    })
    shared.later = await postgres().checkpoint('later')
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('by name: what was committed before it is there, and nothing after', async () => {
    const { dataDir, lastChangeMs } = await restore({ kind: 'name', name: 'release 7' })
    assert.equal(await rowsBetween(dataDir), 100)
    assert.ok(lastChangeMs !== null && lastChangeMs <= moments.timeMs)
  })

  test('by position and by time; the time of the last change is told', async () => {
    const there = await restore({ kind: 'position', position: moments.position })
    assert.equal(await rowsBetween(there.dataDir), 1_100)
    const then = await restore({ kind: 'time', timeMs: moments.timeMs })
    assert.equal(await rowsBetween(then.dataDir), 1_100)
    assert.ok(then.lastChangeMs !== null && then.lastChangeMs <= moments.timeMs, `${then.lastChangeMs}`)
  })

  test('where no log leads is told, and so is what is no moment', async () => {
    for (const target of [
      { kind: 'position', position: '0/1' },
      { kind: 'time', timeMs: moments.timeMs + 3_600_000 },
    ] as const)
      await assert.rejects(restore(target), {
        code: 'database.restore-unreached',
        hint: /recovery (?:ended before|stop point is before)/,
      })
    for (const target of [
      { kind: 'name', name: 'x'.repeat(64) },
      { kind: 'position', position: "0/1' -c fsync=off" },
      { kind: 'time', timeMs: Number.NaN },
    ] as const)
      await assert.rejects(restore(target), { code: 'database.restore-target' })
  })
})
