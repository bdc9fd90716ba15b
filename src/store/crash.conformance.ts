/**
 * Conformance: kill -9 of a process that writes. Every write that it was told is committed is there afterwards, whole, at
 * the revision it was told; what it was not told is there whole or not at all; and no revision is missing.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { seededRandom, sleep, systemClock } from '../base/index.ts'
import type { StoreCase, StorePlace } from './conformance.ts'
import { follow } from './following.conformance.ts'
import type { Store } from './store.ts'

const startTimeoutMs = 60_000

/** What a writer was told: the pair of records of this name is committed at this revision. */
export interface Acknowledged {
  readonly name: string
  readonly revision: number
}

/** Checks a store that was only written to in pairs `name/a`, `name/b`, each pair once. */
export async function checkPairs(store: Store, acknowledged: readonly Acknowledged[]): Promise<Map<string, number>> {
  const [changes, head] = await follow(store, '', 0)
  const pairs = Map.groupBy(changes, ({ key }) => key.slice(0, -2))
  const revisions = new Map([...pairs].map(([name, pair]) => [name, pair[0]?.revision ?? 0]))
  for (const [name, pair] of pairs) {
    assert.equal(pair.length, 2, `half of the transaction ${name} is there`)
    assert.equal(pair[0]?.revision, pair[1]?.revision)
  }
  assert.deepEqual(
    [...revisions.values()],
    Array.from({ length: head }, (_, index) => index + 1),
    'the revisions have gaps',
  )
  for (const { name, revision } of acknowledged) {
    assert.equal(revisions.get(name), revision, `the acknowledged transaction ${name} is lost or moved`)
  }
  return revisions
}

/** Runs a writer on the place, kills it after `count` acknowledgements and `delayMs` more; answers all it had printed. */
async function killedWriter(place: StorePlace, label: string, count: number, delayMs: number): Promise<Acknowledged[]> {
  const program = import.meta.filename.replace('crash.conformance', 'writer.conformance')
  const child = spawn(process.execPath, [program, JSON.stringify({ ...place.elsewhere, label })], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
  })
  const closed = once(child, 'close')
  const acknowledged: Acknowledged[] = []
  using _late = systemClock.after(startTimeoutMs, () => child.kill('SIGKILL'))
  const enough = new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const [name = '', revision = ''] = line.split(' ')
      // A line that the kill has cut short has no revision, or not all of it; the end mark says that it is whole.
      if (line.endsWith(' .')) acknowledged.push({ name, revision: Number(revision) })
      if (acknowledged.length >= count) resolve()
    })
    child.once('close', resolve)
  })
  try {
    await enough
    await sleep(systemClock, delayMs)
  } finally {
    child.kill('SIGKILL')
    await closed
  }
  assert.ok(acknowledged.length >= count, `the writer ended by itself after ${acknowledged.length} of ${count}`)
  return acknowledged
}

/** Kills a writer again and again on one place. */
export function crashCases(rounds: number): readonly StoreCase[] {
  return [
    {
      name: 'kill -9 loses nothing that was acknowledged and leaves nothing half done',
      async run(place) {
        const random = seededRandom(42)
        const acknowledged: Acknowledged[] = []
        for (let round = 0; round < rounds; round += 1) {
          const [count = 0, delayMs = 0] = random.bytes(2)
          acknowledged.push(...(await killedWriter(place, `round-${round}`, 1 + (count % 100), delayMs % 30)))
          await using store = await place.open()
          await checkPairs(store, acknowledged)
        }
      },
    },
  ]
}
