/**
 * What the suite runs on: a database that several processes can open, and a receiver of effects that lies in a directory, so
 * that it outlives whoever sends. The receiver knows a key again: the first time it takes effect, each time it is counted.
 */
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Client } from 'pg'
import type { ClientConfig } from 'pg'
import type { EffectsDatabase, Send } from './effects.ts'

/** How a process opens the database, as JSON. */
export type Opening =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'postgres'; readonly config: ClientConfig }

/** A connection of its own, as the app's code has one. */
export interface Connection extends AsyncDisposable {
  readonly db: EffectsDatabase
  /** Where the ledger's table is. */
  readonly table: 'stead.effects' | 'stead_effects'
  /** Runs a statement without parameters; answers its rows. */
  sql(text: string): Promise<readonly object[]>
}

/** Opens a connection. `before` is called ahead of every statement; a test may end the process there. */
export async function openConnection(opening: Opening, before: () => void = () => undefined): Promise<Connection> {
  if (opening.kind === 'sqlite') return openSqlite(opening.path, before)
  const client = new Client(opening.config)
  client.on('error', () => undefined)
  await client.connect()
  const query = client.query.bind(client)
  const db = {
    query(text: string, values: unknown[]) {
      before()
      return query<object>(text, values)
    },
    getTransactionStatus: () => client.getTransactionStatus(),
  }
  return {
    db,
    table: 'stead.effects',
    sql: async (text) => (await db.query(text, [])).rows,
    [Symbol.asyncDispose]: () => client.end(),
  }
}

function openSqlite(path: string, before: () => void): Connection {
  const database = new DatabaseSync(path, { timeout: 30_000 })
  database.exec('pragma journal_mode = wal; pragma synchronous = full')
  const db = new Proxy(database, {
    get(target, name) {
      if (name === 'prepare') before()
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return {
    db,
    table: 'stead_effects',
    sql: async (text) => db.prepare(text).all(),
    async [Symbol.asyncDispose]() {
      database.close()
    },
  }
}

/** A receiver in a directory. */
export interface Receiver {
  /** `before` is called ahead of taking effect, and ahead of the answer. */
  send(before?: () => void): Send
  /** How often it was called with a key. */
  calls(key: string): Promise<number>
  /** Keys that have taken effect. */
  taken(): Promise<readonly string[]>
}

export function receiverIn(directory: string): Receiver {
  const calls = join(directory, 'calls')
  return {
    send: (before) => async (effect) => {
      before?.()
      await appendFile(calls, `${effect.key}\n`)
      await writeFile(join(directory, `took-${encodeURIComponent(effect.key)}`), '', { flag: 'wx' }).catch(
        () => undefined,
      )
      before?.()
      return { receipt: effect.key }
    },
    async calls(key) {
      const text = await readFile(calls, 'utf8').catch(() => '')
      return text.split('\n').filter((line) => line === key).length
    },
    async taken() {
      const names = await readdir(directory)
      return names.filter((name) => name.startsWith('took-')).map((name) => decodeURIComponent(name.slice(5)))
    },
  }
}
