/**
 * Collecting: content leaves the store when no name and no writer has it, in the database and in every copy of it that can
 * be gone back to. Copies are asked for after the database was looked at: what one that is made later could need has a
 * name or a pin in it, and so is not among what was found.
 */
import { failure } from '../../errors.ts'
import { pageMax, presignSecondsMax } from '../../store.ts'
import type { ObjectStore } from '../../store.ts'
import { namesOf } from './database.ts'
import type { SnapshotDatabase } from './database.ts'
import type { Names } from './names.ts'

/** What is taken away in one pass; the rest waits for the next. */
const collectedPerPassMax = 100_000
/** Requests to the store at once. */
const deletionsAtOnce = 8

export interface CollectOptions {
  /**
   * Every copy of the database that can be gone back to: checkpoints, branches, backups, each opened for reading. It is called
   * when the pass has found what it could remove, and must give each copy that was begun before that.
   */
  retained(): AsyncIterable<SnapshotDatabase> | Iterable<SnapshotDatabase>
  /** How long content must have been found unused; defaults to as long as a signed URL can live, a week. */
  readonly unusedForMs?: number
  /** After which time a writer that has not finished counts as dead; defaults to a day. One that is alive is told, and loses nothing. */
  readonly writersForMs?: number
}

export interface Collected {
  /** Contents in the store. */
  readonly found: number
  /** Those without a name or a writer now, whatever is retained. */
  readonly unused: number
  /** Those that were removed. */
  readonly removed: number
}

interface Where {
  readonly store: ObjectStore
  readonly names: Names
  readonly bucket: string
}

/** One pass. Stopped anywhere, the next one goes on. */
export async function collect(where: Where, options: CollectOptions, nowMs: number): Promise<Collected> {
  const { store, names } = where
  if (!store.capabilities.paging) {
    const hint = 'Use a store that lists in pages as it should.'
    throw failure('unsupported', `${store.name} does not list what it holds, so nothing can be collected`, hint)
  }
  const { unusedForMs = presignSecondsMax * 1000, writersForMs = 86_400_000 } = options
  await names.dropPins(nowMs - writersForMs)
  const { found, unused } = await noteUnused(where, nowMs)
  const candidates = new Set(await names.noted(nowMs - unusedForMs, collectedPerPassMax))
  for await (const database of options.retained()) await spare(candidates, namesOf(database, where.bucket))
  const removed = [...candidates]
  for (let at = 0; at < removed.length; at += pageMax) {
    const page = removed.slice(at, at + pageMax)
    await removeAll(store, page)
    await names.forget(page)
  }
  return { found, unused, removed: removed.length }
}

/** Goes through what the store holds and notes what nothing refers to. */
async function noteUnused(
  { store, names, bucket }: Where,
  nowMs: number,
): Promise<Pick<Collected, 'found' | 'unused'>> {
  let [found, unused] = [0, 0]
  let after: string | undefined
  do {
    const page = await store.list({ prefix: `${bucket}/`, ...(after === undefined ? {} : { after }) })
    const blobs = await names.unused(page.objects.map(({ key }) => key))
    if (blobs.length > 0) await names.note(blobs, nowMs)
    found += page.objects.length
    unused += blobs.length
    after = page.next
  } while (after !== undefined)
  return { found, unused }
}

/** Takes from the candidates what a copy of the database needs. */
async function spare(candidates: Set<string>, copy: Names): Promise<void> {
  if (candidates.size === 0 || !(await copy.hasTables())) return
  const all = [...candidates]
  for (let at = 0; at < all.length; at += pageMax) {
    const page = all.slice(at, at + pageMax)
    const unused = new Set(await copy.unused(page))
    for (const blob of page) if (!unused.has(blob)) candidates.delete(blob)
  }
}

async function removeAll(store: ObjectStore, blobs: readonly string[]): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    for (let blob = blobs[next++]; blob !== undefined; blob = blobs[next++]) await store.delete(blob)
  }
  await Promise.all(Array.from({ length: deletionsAtOnce }, lane))
}
