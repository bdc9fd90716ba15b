/** A history under kill -9 of the whole server: the tests run it for a few rounds, the long tests for many. */
import assert from 'node:assert/strict'
import { isSteadError, seededRandom, sleep, systemClock } from '../../base/index.ts'
import { checkPairs } from '../crash.conformance.ts'
import type { Acknowledged } from '../crash.conformance.ts'
import type { Store } from '../store.ts'
import type { PostgresServer } from '../../../test/postgres-server.ts'
import { openPostgresStore } from './postgres.ts'

const workers = 8

/** What writers were told about their transactions. */
interface Told {
  readonly yes: Acknowledged[]
  readonly no: string[]
  readonly unknown: string[]
}

async function write(store: Store, name: string, told: Told): Promise<void> {
  const operations = ['a', 'b'].map((half) => ({ kind: 'put', key: `${name}/${half}`, value: name }) as const)
  try {
    const result = await store.transact({ conditions: [], operations })
    if (result.committed) told.yes.push({ name, revision: result.revision })
  } catch (error) {
    assert.ok(isSteadError(error) && error.retry === 'later', String(error))
    assert.ok(['store.unavailable', 'store.outcome-unknown'].includes(error.code), error.code)
    if (error.code === 'store.unavailable') told.no.push(name)
    else told.unknown.push(name)
    await sleep(systemClock, 5)
  }
}

/**
 * Kills the server while writers run, again and again. A yes must be there, a no must not, an unknown may be either, but
 * whole. The same store goes on after each restart. Answers how often each was told.
 */
export async function surviveKills(server: PostgresServer, schema: string, rounds: number): Promise<string> {
  const told: Told = { yes: [], no: [], unknown: [] }
  await using store = await openPostgresStore({ url: server.url, schema })
  const random = seededRandom(7)
  for (let round = 0; round < rounds; round += 1) {
    const state = { running: true }
    const writing = Array.from({ length: workers }, async (_, worker) => {
      for (let count = 0; state.running; count += 1) await write(store, `${round}/${worker}/${count}`, told)
    })
    try {
      const before = told.yes.length
      while (told.yes.length < before + 20) await sleep(systemClock, 1)
      await sleep(systemClock, (random.bytes(1)[0] ?? 0) % 50)
      await server.kill()
      await server.start()
      const failed = told.yes.length
      while (told.yes.length < failed + 10) await sleep(systemClock, 1)
    } finally {
      state.running = false
      await Promise.all(writing)
    }
    const there = await checkPairs(store, told.yes)
    for (const name of told.no) assert.ok(!there.has(name), `${name} was told not to be committed, and is there`)
    assert.ok(there.size <= told.yes.length + told.unknown.length)
  }
  return `${told.yes.length} acknowledged, ${told.no.length} not made, ${told.unknown.length} unknown`
}
