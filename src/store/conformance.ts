/**
 * The suite that every driver of a store passes, ours and others': it registers node:test cases for a factory of places. A
 * case can be skipped with a reason, which is printed. Nothing in it depends on speed.
 */
import { suite, test } from 'node:test'
import type { Json } from '../base/index.ts'
import { concurrencyCases } from './concurrency.conformance.ts'
import { crashCases } from './crash.conformance.ts'
import { followingCases } from './following.conformance.ts'
import { leaseCases } from './lease.conformance.ts'
import { modelCases } from './model.conformance.ts'
import { recordCases } from './record.conformance.ts'
import type { Store } from './store.ts'

/** Where one store lives: a file, a schema. Disposing of it removes it. */
export interface StorePlace extends AsyncDisposable {
  /** Opens the store: empty at first, later with what was left there. Shared stores are opened several times at once. */
  open(): Promise<Store>
  /** Lets this much time pass on the clock that leases expire by, and maybe more. */
  pass(ms: number): Promise<void>
  /** How another process opens it: it calls the export `name` of `module` (a file URL) with `options`. */
  readonly elsewhere: { readonly module: string; readonly name: string; readonly options: Json }
}

/** What the cases are run against. */
export interface StoreSubject {
  readonly name: string
  /** A new, empty place; its stores remember so many deletions. */
  makePlace(tombstonesMax: number): Promise<StorePlace>
  /** Cases to leave out, by their name, each with the reason. */
  readonly skip?: Readonly<Record<string, string>>
  /** How often the writer is killed, and how many random histories are compared. */
  readonly killRounds: number
  readonly histories: number
}

/** One case; the place is new and is disposed of afterwards. */
export interface StoreCase {
  readonly name: string
  /** Deletions to remember; plenty by default. */
  readonly tombstonesMax?: number
  run(place: StorePlace): Promise<void>
}

/** Registers the suite for one driver. */
export function storeConformance(subject: StoreSubject): void {
  const cases = [
    ...recordCases,
    ...followingCases,
    ...leaseCases,
    ...concurrencyCases,
    ...modelCases(subject.histories),
    ...crashCases(subject.killRounds),
  ]
  const unknown = Object.keys(subject.skip ?? {}).filter((name) => !cases.some((item) => item.name === name))
  if (unknown.length > 0) throw new Error(`no such case to skip: ${unknown.join(', ')}`)
  suite(`store conformance: ${subject.name}`, () => {
    for (const item of cases) {
      test(item.name, { skip: subject.skip?.[item.name] ?? false }, async () => {
        await using place = await subject.makePlace(item.tombstonesMax ?? 1000)
        await item.run(place)
      })
    }
  })
}
