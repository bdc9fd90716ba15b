/**
 * The suite that every driver of object storage passes, ours and others': it registers node:test cases for a factory of empty
 * buckets. A case can be skipped with a reason, which is printed. Nothing in it depends on speed.
 */
import { suite, test } from 'node:test'
import { conditionCases } from './conditions.conformance.ts'
import { listingCases } from './listing.conformance.ts'
import { objectCases } from './objects.conformance.ts'
import { presignCases } from './presign.conformance.ts'
import type { ObjectStore } from './store.ts'

/** What the cases are run against. */
export interface ObjectsSubject {
  readonly name: string
  /** A bucket with nothing in it. Disposing of the place closes the store and removes the bucket. */
  makePlace(): Promise<ObjectsPlace>
  /** Cases to leave out, by their name, each with the reason. */
  readonly skip?: Readonly<Record<string, string>>
}

/** One empty bucket. */
export interface ObjectsPlace extends AsyncDisposable {
  readonly store: ObjectStore
}

/** One case; the bucket is new and is disposed of afterwards. */
export interface ObjectsCase {
  readonly name: string
  run(store: ObjectStore): Promise<void>
}

/** Registers the suite for one driver. */
export function objectsConformance(subject: ObjectsSubject): void {
  const cases = [...objectCases, ...listingCases, ...conditionCases, ...presignCases]
  const unknown = Object.keys(subject.skip ?? {}).filter((name) => !cases.some((item) => item.name === name))
  if (unknown.length > 0) throw new Error(`no such case to skip: ${unknown.join(', ')}`)
  suite(`objects conformance: ${subject.name}`, () => {
    for (const item of cases) {
      test(item.name, { skip: subject.skip?.[item.name] ?? false }, async () => {
        await using place = await subject.makePlace()
        await item.run(place.store)
      })
    }
  })
}
