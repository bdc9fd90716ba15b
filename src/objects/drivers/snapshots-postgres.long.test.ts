/**
 * The bucket whose names lie in a PostgreSQL: the conformance suite, and writers, a collector and copies of the database at
 * once.
 */
import { after, suite, test } from 'node:test'
import { Client, Pool } from 'pg'
import { seededRandom } from '../../base/index.ts'
import { objectsConformance } from '../conformance.ts'
import { bytesOf } from '../objects.conformance.ts'
import type { ObjectStore } from '../store.ts'
import { needsPostgres, PostgresServer } from '../../../test/postgres-server.ts'
import { servedStore } from './embedded-place.test-helper.ts'
import type { ServedStore } from './embedded-place.test-helper.ts'
import { MemoryStore } from './memory-store.test-helper.ts'
import { openSnapshotStore } from './snapshots/snapshots.ts'
import type { SnapshotDatabase } from './snapshots/database.ts'

const shared: { served?: Promise<ServedStore>; postgres?: Promise<PostgresServer>; places: number } = { places: 0 }
after(async () => {
  await (await shared.postgres)?.[Symbol.asyncDispose]()
  await (await shared.served)?.[Symbol.asyncDispose]()
})

/** A new database of one PostgreSQL server. */
async function makeDatabase(number: number): Promise<string> {
  shared.postgres ??= PostgresServer.start()
  const { url } = await shared.postgres
  await statement(url, `create database names_${number}`)
  return url.replace('/postgres?', `/names_${number}?`)
}

async function statement(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url })
  await client.connect()
  await client.query(text)
  await client.end()
}

async function textOf(store: ObjectStore, key: string): Promise<string> {
  return (await bytesOf(await store.get(key))).toString()
}

async function readAll(store: ObjectStore): Promise<void> {
  for (const { key } of (await store.list()).objects) await textOf(store, key)
}

const skip = needsPostgres()
if (skip === false) {
  objectsConformance({
    name: 'names in PostgreSQL, content in the embedded store',
    async makePlace() {
      shared.served ??= servedStore()
      shared.places += 1
      const number = shared.places
      const { objects } = await shared.served
      const content = await objects.bucket(`content-${number}`)
      const pool = new Pool({ connectionString: await makeDatabase(number), max: 8 })
      const store = await openSnapshotStore({ store: content, database: pool, bucket: 'files' })
      return { store, [Symbol.asyncDispose]: () => pool.end() }
    },
  })
}

suite('a bucket whose names lie in a PostgreSQL', () => {
  test('writers and a collector at once, and a copy of the database', { skip }, async () => {
    const url = await makeDatabase(1000)
    const content = new MemoryStore(seededRandom(1))
    const copies = ['copy_1', 'copy_2']
    const contents = ['one', 'two', 'three']
    for (const copy of copies) {
      await using stack = new AsyncDisposableStack()
      const pool = stack.adopt(new Pool({ connectionString: url, max: 6 }), (opened) => opened.end())
      const store = await openSnapshotStore({ store: content, database: pool, bucket: 'files' })
      let writing = true
      const writer = async (lane: number): Promise<void> => {
        for (let round = 0; round < 25; round += 1) {
          const key = `key ${(round + lane) % 3}`
          if (round % 5 === lane) await store.delete(key)
          else await store.put(key, contents[(round * (lane + 1)) % 3] ?? '')
        }
      }
      const retained = async function* (): AsyncGenerator<SnapshotDatabase> {
        for (const before of copies.slice(0, copies.indexOf(copy))) {
          const opened = new Pool({ connectionString: url.replace('/names_1000?', `/${before}?`), max: 2 })
          yield opened
          await opened.end()
        }
      }
      const collecting = async (): Promise<void> => {
        while (writing) await store.collect({ retained, unusedForMs: 0 })
      }
      await Promise.all([
        Promise.all([writer(0), writer(1), writer(2), writer(3)]).finally(() => (writing = false)),
        collecting(),
      ])
      await readAll(store)
      await stack.disposeAsync()
      await statement(url.replace('/names_1000?', '/postgres?'), `create database ${copy} template names_1000`)
    }
    for (const copy of copies) {
      const pool = new Pool({ connectionString: url.replace('/names_1000?', `/${copy}?`), max: 2 })
      await readAll(await openSnapshotStore({ store: content, database: pool, bucket: 'files' }))
      await pool.end()
    }
  })
})
