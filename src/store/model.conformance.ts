/**
 * Conformance: random histories give the same answers as the memory driver, the model. Each history comes from a seed, which
 * the failure names. Some steps are done at once, to check that a group answers as its members one by one.
 */
import assert from 'node:assert/strict'
import { isSteadError, ManualClock, seededRandom } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { StoreCase, StorePlace } from './conformance.ts'
import { openMemoryStore } from './drivers/memory.ts'
import type { Condition, Operation, Store } from './store.ts'

const steps = 40
const keys = ['a', 'a/1', 'a/2', 'b', 'b/\u{1F600}', 'b/\uFFFD']
const names = ['l', 'm']
/** Never reached: the clocks of the two stores are not the same. */
const ttlMs = 3_600_000

/** One call, to be made on both stores; it answers what must be equal. */
type Step = (store: Store) => Promise<Json>

/** Seeded choices. */
class Dice {
  readonly #bytes: () => number

  constructor(seed: number) {
    const random = seededRandom(seed)
    random.bytes(32)
    this.#bytes = () => random.bytes(1)[0] ?? 0
  }

  below(limit: number): number {
    return this.#bytes() % limit
  }

  of<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    assert.ok(item !== undefined)
    return item
  }

  some<T>(max: number, make: () => T): T[] {
    return Array.from({ length: this.below(max + 1) }, make)
  }
}

/** Makes steps from dice; `revision` is about where the store stands. */
class History {
  readonly #dice: Dice
  revision = 0

  constructor(seed: number) {
    this.#dice = new Dice(seed)
  }

  /** One step, or several to make at once. */
  next(together: boolean): readonly Step[] {
    return together && this.#dice.below(3) === 0 ? this.#dice.some(6, () => this.#write()) : [this.#step()]
  }

  #step(): Step {
    const dice = this.#dice
    const prefix = dice.of(['', 'a', 'a/', 'b/', 'z'])
    const [key, cursor, limit] = [dice.of(keys), dice.below(this.revision + 2), 1 + dice.below(5)]
    return dice.of<Step>([
      async (store) => JSON.stringify(await store.get(key)),
      async (store) => JSON.stringify(await store.list(prefix)),
      async (store) => JSON.stringify(await store.listSince(prefix, cursor, limit)),
      this.#write(),
      this.#write(),
      this.#write(),
    ])
  }

  #write(): Step {
    const dice = this.#dice
    const [name, holder, epoch] = [dice.of(names), dice.of(['one', 'two']), dice.below(5)]
    const [key, revision] = [dice.of(keys), this.#revision()]
    const conditions = dice.some(2, () => this.#condition())
    const operations = dice.some(4, () => this.#operation())
    return dice.of<Step>([
      async (store) => {
        const lease = await store.acquireLease(name, holder, ttlMs)
        return lease && [lease.name, lease.holder, lease.epoch]
      },
      async (store) => (await store.releaseLease(name, epoch)) ?? null,
      (store) => store.putIf(key, revision, revision),
      async (store) => JSON.stringify(await store.transact({ conditions: [], operations })),
      async (store) => JSON.stringify(await store.transact({ conditions, operations })),
    ])
  }

  #condition(): Condition {
    const dice = this.#dice
    return dice.below(4) === 0
      ? { kind: 'lease', name: dice.of(names), epoch: dice.below(5) }
      : { kind: 'revision', key: dice.of(keys), revision: this.#revision() }
  }

  #operation(): Operation {
    const key = this.#dice.of(keys)
    return this.#dice.below(3) === 0 ? { kind: 'delete', key } : { kind: 'put', key, value: this.#dice.below(100) }
  }

  /** Often 0, often recent, so that conditions hold often enough. */
  #revision(): number {
    return this.#dice.below(2) === 0 ? 0 : Math.max(0, this.revision - this.#dice.below(6))
  }
}

/** The answer, or the code of the refusal. */
async function answer(store: Store, step: Step): Promise<Json> {
  try {
    return await step(store)
  } catch (error) {
    if (!isSteadError(error)) throw error
    return `refused: ${error.code}`
  }
}

async function compare(place: StorePlace, seed: number, tombstonesMax: number, together: boolean): Promise<void> {
  await using model = openMemoryStore({ clock: new ManualClock(), tombstonesMax })
  await using store = await place.open()
  const history = new History(seed)
  for (let count = 0; count < steps; count += 1) {
    const calls = history.next(together)
    const expected: Json[] = []
    for (const call of calls) expected.push(await answer(model, call))
    const given = await Promise.all(calls.map((call) => answer(store, call)))
    assert.deepEqual(given, expected, `seed ${seed}, step ${count}`)
    history.revision = (await model.list('')).revision
  }
  assert.deepEqual(await store.list(''), await model.list(''), `seed ${seed}, at the end`)
}

/** Histories one step at a time that also forget deletions, and histories with groups. */
export function modelCases(histories: number): readonly StoreCase[] {
  return Array.from({ length: histories }, (_, index) => {
    const together = index % 2 === 1
    const tombstonesMax = together ? 1000 : 3
    return {
      name: `random history ${index + 1} answers like the model${together ? ', also in groups' : ''}`,
      tombstonesMax,
      run: (place: StorePlace) => compare(place, index + 1, tombstonesMax, together),
    }
  })
}
