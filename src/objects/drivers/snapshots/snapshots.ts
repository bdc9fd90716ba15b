/**
 * A bucket whose names lie in the app's own database and whose content lies in a store under keys that are never written
 * twice, so whoever restores the database has restored the bucket, on a store that keeps no versions. The order that makes it
 * so: content is in the store before a name refers to it, and leaves it only when no name, no writer and no copy of the
 * database that can be gone back to refers to it. Of writers with a condition one wins, because the database decides.
 */
import { createHash } from 'node:crypto'
import { randomId, systemClock, systemRandom } from '../../../base/index.ts'
import type { Clock, Random } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { groupOf, behind, startOf } from '../../grouping.ts'
import { checkKey, checkPresign, checkPut, checkRange, checkedLimit } from '../../input.ts'
import type {
  Content,
  GetOptions,
  Listed,
  ListOptions,
  ObjectPage,
  ObjectRead,
  ObjectStat,
  ObjectStore,
  PresignOptions,
  PutOptions,
} from '../../store.ts'
import { collect } from './collect.ts'
import type { CollectOptions, Collected } from './collect.ts'
import { beginningOf, verified } from './content.ts'
import { namesOf } from './database.ts'
import type { SnapshotDatabase } from './database.ts'
import type { NameCondition, NamedRow, Names } from './names.ts'

export interface SnapshotOptions {
  /** Where content lies: a bucket of any server, which nobody else writes to below `bucket`. */
  readonly store: ObjectStore
  /** Where names lie; a connection of its own, or a pool. */
  readonly database: SnapshotDatabase
  /** Tells the buckets of one database apart; content lies below this prefix in the store. */
  readonly bucket: string
  readonly clock?: Clock
  readonly random?: Random
}

/** A bucket that goes back with its database. */
export interface SnapshotStore extends ObjectStore {
  /**
   * A URL of what the object is now. It names content: what is written later does not show in it. Throws `objects.unsupported`
   * where the store signs no URLs, `objects.bad-input`; null where the object is not there.
   */
  presignGet(key: string, expiresSeconds: number): Promise<string | null>
  /** Removes content that nothing needs any more. Run it from one place, which knows all that can be gone back to. */
  collect(options: CollectOptions): Promise<Collected>
}

/** How often a reader looks a name up again whose content went away meanwhile. */
const lookUpsMax = 5
/** Rows that are read at once: few behind a group, where the next one is likely to be another group, then more and more. */
const rowsPerReadMin = 1
const rowsPerReadMax = 256

/**
 * Opens a bucket and makes its tables. Throws `objects.bad-input` for a name that cannot be, `objects.not-durable` where the
 * database loses what it has committed, `objects.in-transaction`, `objects.unavailable`.
 */
export async function openSnapshotStore(options: SnapshotOptions): Promise<SnapshotStore> {
  const { store, database, bucket } = options
  if (!/^[a-z0-9][a-z0-9.-]{0,62}$/.test(bucket)) {
    const hint = 'Use up to 63 lower-case letters, digits, dots and dashes.'
    throw failure('bad-input', `${bucket} cannot be the name of a bucket`, hint)
  }
  const names = namesOf(database, bucket)
  const weak = await names.weakness()
  if (weak !== undefined) {
    const hint = 'Open a connection that keeps what it commits.'
    throw failure('not-durable', `names of ${bucket} would not be durable: ${weak}`, hint)
  }
  await names.createTables()
  return new SnapshotBucket(store, names, bucket, options.clock ?? systemClock, options.random ?? systemRandom)
}

class SnapshotBucket implements SnapshotStore {
  readonly name: string
  readonly capabilities: ObjectStore['capabilities']
  readonly #store: ObjectStore
  readonly #names: Names
  readonly #bucket: string
  readonly #clock: Clock
  readonly #random: Random

  constructor(store: ObjectStore, names: Names, bucket: string, clock: Clock, random: Random) {
    this.name = `${bucket}, its content in ${store.name}`
    // Conditions are the database's, so they hold on every store. Who has a URL could write content, but not name it.
    this.capabilities = {
      ...store.capabilities,
      putIfAbsent: true,
      putIfMatch: true,
      paging: true,
      presign: false,
      versions: false,
    }
    this.#store = store
    this.#names = names
    this.#bucket = bucket
    this.#clock = clock
    this.#random = random
  }

  async put(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat> {
    const written = await this.#write(key, content, options, { kind: 'always' })
    if (written === null) throw failure('refused', `${key} was not written`, 'Try again.')
    return written
  }

  putIfAbsent(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat | null> {
    return this.#write(key, content, options, { kind: 'absent' })
  }

  putIfMatch(key: string, content: Content, etag: string, options: PutOptions = {}): Promise<ObjectStat | null> {
    return this.#write(key, content, options, { kind: 'match', sha256: etag })
  }

  async #write(
    key: string,
    content: Content,
    options: PutOptions,
    condition: NameCondition,
  ): Promise<ObjectStat | null> {
    checkPut(key, options)
    const { contentType = 'application/octet-stream', metadata = {}, signal } = options
    const beginning = await beginningOf(content, signal)
    const pin = randomId(this.#random, 26)
    try {
      const { sha256, bytes } =
        beginning.kind === 'whole'
          ? await this.#sendWhole(pin, beginning.content, contentType, signal)
          : await this.#sendStream(pin, beginning.content, contentType, signal)
      const row = { key, sha256, bytes, modifiedMs: this.#clock.nowMs(), contentType, metadata }
      const outcome = await this.#names.name(pin, row, condition)
      if (outcome === 'unpinned') {
        const message = `the database went back, or forgot this writer, while ${key} was being written`
        throw failure('unavailable', message, 'Nothing was written; try again.')
      }
      return outcome === 'named' ? statOf(row) : null
    } catch (error) {
      // What is in the store has no name: it is collected one day, like what a crash leaves.
      await this.#names.unpin(pin).catch(() => undefined)
      throw error
    }
  }

  /** Content that is known by its digest before it is sent; what is there already is not sent again. */
  async #sendWhole(
    pin: string,
    content: Uint8Array,
    contentType: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly sha256: string; readonly bytes: number }> {
    const sha256 = createHash('sha256').update(content).digest('hex')
    const known = { sha256, bytes: content.length }
    const fresh = this.#freshBlob(sha256)
    const blob = await this.#names.pin(pin, fresh, sha256, this.#clock.nowMs())
    if (blob !== fresh) {
      if ((await this.#store.stat(blob))?.bytes === content.length) return known
      // Named, and not there: somebody went back to what was not retained. What is written now is not lost with it.
      await this.#names.unpin(pin)
      await this.#names.pin(pin, fresh, undefined, this.#clock.nowMs())
    }
    await this.#store.put(fresh, content, { contentType, ...(signal && { signal }) })
    return known
  }

  async #sendStream(
    pin: string,
    content: AsyncIterable<Uint8Array>,
    contentType: string,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly sha256: string; readonly bytes: number }> {
    const blob = await this.#names.pin(pin, this.#freshBlob('stream'), undefined, this.#clock.nowMs())
    const hash = createHash('sha256')
    const hashed = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of content) {
        hash.update(piece)
        yield piece
      }
    }
    const { bytes } = await this.#store.put(blob, hashed(), { contentType, ...(signal && { signal }) })
    return { sha256: hash.digest('hex'), bytes }
  }

  /** A key that nothing was ever written to: so removing what had another key cannot meet what is written now. */
  #freshBlob(what: string): string {
    return `${this.#bucket}/${what}.${randomId(this.#random, 26)}`
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectRead | null> {
    checkKey(key)
    checkRange(options)
    if (options.version !== undefined) return null
    const found = await this.#look(key, async (row) => {
      const read = await this.#store.get(row.blob, options)
      return read === null ? undefined : { row, read }
    })
    if (found === undefined) return null
    const { row, read } = found
    const isWhole = (options.start ?? 0) === 0 && (options.end ?? row.bytes) >= row.bytes
    return { ...statOf(row), body: isWhole ? verified(read.body, row.sha256, key) : read.body }
  }

  /** Looks a name up and does something with its content, again where the name has meanwhile gone on to other content. */
  async #look<T>(key: string, use: (row: NamedRow) => Promise<T | undefined>): Promise<T | undefined> {
    let before: string | undefined
    for (let lookUp = 0; lookUp < lookUpsMax; lookUp += 1) {
      const row = await this.#names.find(key)
      if (row === undefined) return undefined
      const result = await use(row)
      if (result !== undefined) return result
      if (row.blob === before) break
      before = row.blob
    }
    const hint = 'Restore the store as well, or remove the object; collect only what nothing retained needs.'
    throw failure('corrupt', `the content of ${key} is not in ${this.#store.name}`, hint)
  }

  async stat(key: string): Promise<ObjectStat | null> {
    checkKey(key)
    const row = await this.#names.find(key)
    return row === undefined ? null : statOf(row)
  }

  async list(options: ListOptions = {}): Promise<ObjectPage> {
    const limit = checkedLimit(options.limit)
    const { prefix = '', delimiter = '', after = '' } = options
    const objects: Listed[] = []
    const prefixes: string[] = []
    let last: string | undefined
    let from = startOf({ prefix, delimiter }, after)
    let batch = delimiter === '' ? rowsPerReadMax : rowsPerReadMin
    for (;;) {
      const rows = await this.#names.rows(from.key, from.inclusive, batch)
      let jumped = false
      for (const row of rows) {
        if (!row.key.startsWith(prefix)) return { objects, prefixes, next: undefined }
        if (objects.length + prefixes.length >= limit) return { objects, prefixes, next: last }
        const group = groupOf(row.key, prefix, delimiter)
        last = group ?? row.key
        if (group !== undefined) {
          prefixes.push(group)
          from = behind(group)
          jumped = true
          break
        }
        objects.push(listedOf(row))
        from = { key: row.key, inclusive: false }
      }
      if (!jumped && rows.length < batch) return { objects, prefixes, next: undefined }
      batch = jumped ? rowsPerReadMin : Math.min(batch * 4, rowsPerReadMax)
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    await this.#names.remove(key)
  }

  async presign(options: PresignOptions): Promise<string> {
    checkPresign(options)
    const hint = 'Use presignGet to read; take writes in by the app, which names them.'
    throw failure('unsupported', `${this.name} has names that a signed URL cannot write`, hint)
  }

  async presignGet(key: string, expiresSeconds: number): Promise<string | null> {
    checkPresign({ method: 'GET', key, expiresSeconds })
    const row = await this.#names.find(key)
    return row === undefined ? null : this.#store.presign({ method: 'GET', key: row.blob, expiresSeconds })
  }

  collect(options: CollectOptions): Promise<Collected> {
    return collect({ store: this.#store, names: this.#names, bucket: this.#bucket }, options, this.#clock.nowMs())
  }

  /** The store and the database stay open: they are whose they were. */
  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

function statOf(row: Omit<NamedRow, 'blob'>): ObjectStat {
  return { ...listedOf(row), contentType: row.contentType, metadata: row.metadata, version: undefined }
}

function listedOf({ key, bytes, sha256, modifiedMs }: Omit<NamedRow, 'blob'>): Listed {
  return { key, bytes, etag: sha256, modifiedMs }
}
