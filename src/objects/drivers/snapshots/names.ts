/**
 * What names of objects need of a database: which content a key has, which content somebody is about to name (a pin), and
 * since when content is without either. The invariant that collecting rests on: content that has neither a name nor a pin in
 * one state of the database never gets one again, because a pin is made only for content that is new or that has a name.
 */

/** An object as its row says. */
export interface NamedRow {
  readonly key: string
  /** The key of its content in the store. */
  readonly blob: string
  /** Hexadecimal; the object's ETag. */
  readonly sha256: string
  readonly bytes: number
  readonly modifiedMs: number
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
}

/** Under which condition a key takes new content. */
export type NameCondition =
  | { readonly kind: 'always' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'match'; readonly sha256: string }

/** `lost`: the condition does not hold. `unpinned`: the pin is gone, so the content may be as well. */
export type NameOutcome = 'named' | 'lost' | 'unpinned'

/** The names of one bucket in one database. Each call is one transaction, durable when it resolves. */
export interface Names {
  /** Makes the tables where they are not there. */
  createTables(): Promise<void>
  /** Whether the tables are there: a copy from before the first bucket has none. */
  hasTables(): Promise<boolean>
  /** Why a commit on this connection would not be durable, as the end of a sentence; undefined when it would. */
  weakness(): Promise<string | undefined>
  /** Keeps content from being collected: what has a name already and this digest, or else `fresh`. Says which. */
  pin(id: string, fresh: string, sha256: string | undefined, nowMs: number): Promise<string>
  /** Names what is pinned, and takes the pin away whatever comes out. */
  name(pin: string, row: Omit<NamedRow, 'blob'>, condition: NameCondition): Promise<NameOutcome>
  unpin(id: string): Promise<void>
  find(key: string): Promise<NamedRow | undefined>
  /** Rows in the order of the bytes of their keys, from a key on. */
  rows(from: string, inclusive: boolean, limit: number): Promise<readonly NamedRow[]>
  remove(key: string): Promise<void>

  /** Takes away pins of writers that have not been heard of since. */
  dropPins(beforeMs: number): Promise<void>
  /** Those that have neither a name nor a pin, all looked at in one state of the database. */
  unused(blobs: readonly string[]): Promise<readonly string[]>
  /** Notes since when content is unused; what was noted before stays as it is. */
  note(blobs: readonly string[], nowMs: number): Promise<void>
  /** Content that was noted at that time or before, and is still unused. */
  noted(untilMs: number, limit: number): Promise<readonly string[]>
  forget(blobs: readonly string[]): Promise<void>
}
