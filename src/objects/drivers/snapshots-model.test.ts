/**
 * The bucket whose names lie in a database, against a model: whatever fails, whoever writes at once, whenever somebody
 * collects, the bucket is what its database says, and so is every copy of the database that is retained.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { suite, test } from 'node:test'
import { isSteadError, ManualClock, seededRandom } from '../../base/index.ts'
import type { Random } from '../../base/index.ts'
import { bytesOf } from '../objects.conformance.ts'
import type { ObjectStore } from '../store.ts'
import { MemoryStore } from './memory-store.test-helper.ts'
import { openSnapshotStore } from './snapshots/snapshots.ts'
import type { SnapshotStore } from './snapshots/snapshots.ts'

/** What a bucket holds: contents by key. */
type Model = ReadonlyMap<string, string>

/** A moment that can be gone back to. */
interface Copy {
  readonly image: Uint8Array
  readonly model: Model
}

const keys = ['a', 'a/b', 'b', 'c/1', 'c/2']
/** Few, so that contents meet; one is long enough to go as a stream. */
const small = ['one', 'two', 'three', '']
const contents = [...small, ...small, ...small, 'long '.repeat(1_700_000)]

function opened(image?: Uint8Array): DatabaseSync {
  const db = new DatabaseSync(':memory:')
  if (image !== undefined) db.deserialize(image)
  return db
}

function pick<T>(random: Random, from: readonly T[]): T {
  const picked = from[Buffer.from(random.bytes(2)).readUInt16LE() % from.length]
  assert.ok(picked !== undefined)
  return picked
}

async function contentsOf(store: ObjectStore): Promise<Model> {
  const found = new Map<string, string>()
  let after: string | undefined
  do {
    const page = await store.list({ limit: 2, ...(after === undefined ? {} : { after }) })
    for (const { key } of page.objects) found.set(key, (await bytesOf(await store.get(key))).toString())
    after = page.next
  } while (after !== undefined)
  return found
}

function inOrder(model: Model): readonly (readonly [string, string])[] {
  return [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Small enough to read when a comparison fails. */
function short(model: Model): readonly string[] {
  return inOrder(model).map(([key, content]) => `${key}=${content.length > 10 ? `${content.length} bytes` : content}`)
}

/** One writer, a store that fails, returns to earlier moments, and collecting in between. */
class History {
  readonly #random: Random
  readonly #clock = new ManualClock(1_000_000)
  readonly #content: MemoryStore
  #db = opened()
  #store: SnapshotStore | undefined
  #model = new Map<string, string>()
  #copies: Copy[] = []

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.#content = new MemoryStore(this.#random)
  }

  async run(steps: number): Promise<void> {
    await this.#open()
    for (let step = 0; step < steps; step += 1) {
      this.#content.failing = pick(this.#random, [0, 0, 60])
      this.#clock.advance(1000)
      await this.#step(
        pick(this.#random, ['put', 'put', 'absent', 'match', 'delete', 'copy', 'drop', 'return', 'collect']),
      )
      this.#content.failing = 0
    }
    await this.#check()
  }

  async #open(): Promise<void> {
    const where = { store: this.#content, database: this.#db, bucket: 'model' }
    this.#store = await openSnapshotStore({ ...where, clock: this.#clock, random: this.#random })
  }

  async #step(kind: 'put' | 'absent' | 'match' | 'delete' | 'copy' | 'drop' | 'return' | 'collect'): Promise<void> {
    const store = this.#store
    assert.ok(store !== undefined)
    const [key, content] = [pick(this.#random, keys), pick(this.#random, contents)]
    const streamed = content.length > 10 ? piecesOf(content) : content
    try {
      if (kind === 'put') {
        await store.put(key, streamed)
        this.#model.set(key, content)
      } else if (kind === 'absent') {
        const written = await store.putIfAbsent(key, streamed)
        assert.equal(written === null, this.#model.has(key))
        if (written !== null) this.#model.set(key, content)
      } else if (kind === 'match') {
        // The ETag of some content: now and then that of the object.
        const etag = createHash('sha256').update(pick(this.#random, contents)).digest('hex')
        const before = this.#model.get(key)
        const matches = before !== undefined && createHash('sha256').update(before).digest('hex') === etag
        const written = await store.putIfMatch(key, streamed, etag)
        assert.equal(written !== null, matches)
        if (written !== null) this.#model.set(key, content)
      } else if (kind === 'delete') {
        await store.delete(key)
        this.#model.delete(key)
      } else if (kind === 'copy') this.#copies.push({ image: this.#db.serialize(), model: new Map(this.#model) })
      else if (kind === 'drop')
        this.#copies.splice(this.#copies.length === 0 ? 0 : (this.#random.bytes(1)[0] ?? 0) % this.#copies.length, 1)
      else if (kind === 'return') await this.#return()
      else await store.collect({ retained: () => this.#retained(), unusedForMs: pick(this.#random, [0, 0, 5000]) })
    } catch (error) {
      // What failed has changed nothing: the model stays as it is.
      if (!isSteadError(error) || error.code !== 'objects.unavailable') throw error
    }
  }

  *#retained(): Generator<DatabaseSync> {
    for (const { image } of this.#copies) yield opened(image)
  }

  async #return(): Promise<void> {
    if (this.#copies.length === 0) return
    const { image, model } = pick(this.#random, this.#copies)
    // What is gone back from is kept as well, as a branch.
    this.#copies.push({ image: this.#db.serialize(), model: new Map(this.#model) })
    this.#db = opened(image)
    this.#model = new Map(model)
    await this.#open()
  }

  async #check(): Promise<void> {
    const store = this.#store
    assert.ok(store !== undefined)
    assert.deepEqual(short(await contentsOf(store)), short(this.#model))
    assert.deepEqual(inOrder(await contentsOf(store)), inOrder(this.#model))
    for (const { image, model } of this.#copies) {
      const copy = await openSnapshotStore({ store: this.#content, database: opened(image), bucket: 'model' })
      assert.deepEqual(short(await contentsOf(copy)), short(model), 'a copy that was retained')
    }
    // Without copies, and when no writer is left, the store holds each content that is named, and nothing else.
    this.#clock.advance(2 * 86_400_000)
    await store.collect({ retained: () => [], unusedForMs: 0 })
    await store.collect({ retained: () => [], unusedForMs: 0 })
    assert.deepEqual(inOrder(await contentsOf(store)), inOrder(this.#model))
    const named = this.#db.prepare('select count(distinct blob) as blobs from stead_object_names').get()?.['blobs']
    assert.equal(this.#content.held.size, named, 'no litter')
  }
}

async function* piecesOf(content: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(content)
  for (let at = 0; at < bytes.length; at += 1_000_000) yield bytes.subarray(at, at + 1_000_000)
}

suite('names in a database, against a model', () => {
  test('one writer, a store that fails, returns and collecting', async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      await new History(seed).run(60).catch((error: unknown) => {
        throw new Error(`seed ${seed}`, { cause: error })
      })
    }
  })

  test('writers and a collector at once: what is named is there, in the database and in each copy', async () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seededRandom(seed)
      const content = new MemoryStore(random)
      const db = opened()
      const where = { store: content, database: db, bucket: 'model', random }
      const store = await openSnapshotStore(where)
      const copies: Uint8Array[] = []
      let writing = true
      const writer = async (): Promise<void> => {
        for (let round = 0; round < 12; round += 1) {
          const key = pick(random, keys)
          await (pick(random, [0, 1, 2]) === 0 ? store.delete(key) : store.put(key, pick(random, small)))
          if (pick(random, [0, 1, 2]) === 0) copies.push(db.serialize())
        }
      }
      const collector = async (): Promise<void> => {
        while (writing) {
          // Copies are listed when it asks, not before: some were made after it had begun.
          await store.collect({ retained: () => copies.map(opened), unusedForMs: 0 })
        }
      }
      const collecting = collector()
      await Promise.all([writer(), writer(), writer()]).finally(() => (writing = false))
      await collecting
      await contentsOf(store)
      for (const image of copies) await contentsOf(await openSnapshotStore({ ...where, database: opened(image) }))
    }
  })
})
