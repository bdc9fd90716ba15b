/** The bucket whose names lie in a database: the conformance suite on SQLite, and what only it promises. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, suite, test } from 'node:test'
import { isSteadError, ManualClock, seededRandom } from '../../base/index.ts'
import { objectsConformance } from '../conformance.ts'
import { bytesOf } from '../objects.conformance.ts'
import type { ObjectStore } from '../store.ts'
import { credential, servedStore } from './embedded-place.test-helper.ts'
import type { ServedStore } from './embedded-place.test-helper.ts'
import { MemoryStore } from './memory-store.test-helper.ts'
import { openSnapshotStore } from './snapshots/snapshots.ts'

const shared: { served?: Promise<ServedStore>; places: number } = { places: 0 }
after(async () => (await shared.served)?.[Symbol.asyncDispose]())

/** A bucket of the embedded server for content. */
async function contentPlace(): Promise<ObjectStore> {
  shared.served ??= servedStore()
  shared.places += 1
  const { objects, endpoint } = await shared.served
  return objects.bucket(`content-${shared.places}`, { presign: { endpoint, credential } })
}

function has(code: string): (error: unknown) => boolean {
  return (error) => isSteadError(error) && error.code === code
}

async function textOf(store: ObjectStore, key: string): Promise<string> {
  return (await bytesOf(await store.get(key))).toString()
}

objectsConformance({
  name: 'names in SQLite, content in the embedded store',
  async makePlace() {
    const content = await contentPlace()
    const dir = mkdtempSync(join(tmpdir(), 'stead-snapshots-'))
    const database = new DatabaseSync(join(dir, 'app.db'))
    database.exec('pragma journal_mode = wal')
    const store = await openSnapshotStore({ store: content, database, bucket: 'files' })
    return {
      store,
      async [Symbol.asyncDispose]() {
        database.close()
        rmSync(dir, { recursive: true })
      },
    }
  },
})

suite('a bucket whose names lie in a database', () => {
  const memory = (): MemoryStore => new MemoryStore(seededRandom(1))

  test('goes back with its database, and content that only a retained copy needs stays', async () => {
    const [content, database, clock] = [memory(), new DatabaseSync(':memory:'), new ManualClock(0)]
    const store = await openSnapshotStore({ store: content, database, bucket: 'files', clock })
    await store.put('invoice', 'of yesterday')
    const checkpoint = database.serialize()
    await store.put('invoice', 'of today')
    await store.put('new', 'of today as well')

    const retained = (): DatabaseSync[] => [restored(checkpoint)]
    const week = { retained }
    assert.deepEqual(await store.collect(week), { found: 3, unused: 1, removed: 0 })
    clock.advance(8 * 86_400_000)
    assert.deepEqual(await store.collect(week), { found: 3, unused: 1, removed: 0 }, 'the checkpoint needs it')

    const back = await openSnapshotStore({ store: content, database: restored(checkpoint), bucket: 'files', clock })
    assert.equal(await textOf(back, 'invoice'), 'of yesterday')
    assert.equal(await back.stat('new'), null)
    // What was gone back from is there as long as somebody retains it.
    assert.deepEqual(await back.collect({ retained: () => [database], unusedForMs: 0 }), {
      found: 3,
      unused: 2,
      removed: 0,
    })
    assert.equal(await textOf(store, 'new'), 'of today as well')
    assert.deepEqual(await back.collect({ retained: () => [], unusedForMs: 0 }), { found: 3, unused: 2, removed: 2 })
    await assert.rejects(textOf(store, 'new'), has('objects.corrupt'))
    assert.equal(await textOf(back, 'invoice'), 'of yesterday')
  })

  test('content that is there is not sent again, and content that was lost is', async () => {
    const [content, database] = [memory(), new DatabaseSync(':memory:')]
    const store = await openSnapshotStore({ store: content, database, bucket: 'files' })
    await store.put('a', 'the same')
    await store.put('b', 'the same')
    assert.equal(content.held.size, 1)
    content.held.clear()
    await assert.rejects(store.get('a'), has('objects.corrupt'))
    await store.put('b', 'the same')
    assert.equal(await textOf(store, 'b'), 'the same')
  })

  test('content that has changed in the store is an error at its end, not another content', async () => {
    const [content, database] = [memory(), new DatabaseSync(':memory:')]
    const store = await openSnapshotStore({ store: content, database, bucket: 'files' })
    await store.put('a', 'what was written')
    for (const [blob, held] of content.held)
      content.held.set(blob, { ...held, content: Buffer.from('what was damaged') })
    await assert.rejects(textOf(store, 'a'), has('objects.corrupt'))
  })

  test('a signed URL reads what the object was when it was signed', async () => {
    const content = await contentPlace()
    const store = await openSnapshotStore({ store: content, database: new DatabaseSync(':memory:'), bucket: 'files' })
    await store.put('a', 'first', { contentType: 'text/plain' })
    const url = await store.presignGet('a', 60)
    await store.put('a', 'second')
    assert.equal(await (await fetch(url ?? '')).text(), 'first')
    assert.equal(await store.presignGet('nothing', 60), null)
    await assert.rejects(store.presign({ method: 'PUT', key: 'a', expiresSeconds: 60 }), has('objects.unsupported'))
  })

  test('a writer that was counted as dead names nothing', async () => {
    const [content, database, clock] = [memory(), new DatabaseSync(':memory:'), new ManualClock(0)]
    const store = await openSnapshotStore({ store: content, database, bucket: 'files', clock })
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(9_000_000)
      clock.advance(2 * 86_400_000)
      await store.collect({ retained: () => [], unusedForMs: 0 })
      yield Buffer.from('the end')
    }
    await assert.rejects(store.put('a', slow()), has('objects.unavailable'))
    assert.equal(await store.stat('a'), null)
  })

  test('a database that loses what it has committed, or is in a transaction of somebody else, is refused', async () => {
    const database = new DatabaseSync(':memory:')
    const options = { store: memory(), database, bucket: 'files' }
    database.exec('pragma synchronous = off')
    await assert.rejects(openSnapshotStore(options), has('objects.not-durable'))
    database.exec('pragma synchronous = full')
    const store = await openSnapshotStore(options)
    database.exec('begin')
    await assert.rejects(store.put('a', 'x'), has('objects.in-transaction'))
    database.exec('rollback')
    await assert.rejects(openSnapshotStore({ ...options, bucket: 'No/Name' }), has('objects.bad-input'))
  })
})

function restored(image: Uint8Array): DatabaseSync {
  const database = new DatabaseSync(':memory:')
  database.deserialize(image)
  return database
}
