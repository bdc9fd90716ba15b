/**
 * Hints from other processes: a connection that listens, and comes back when it breaks. What was missed in between is made
 * good with one hint to every watch. Nothing but promptness relies on it.
 */
import type { Client } from 'pg'
import type { Clock } from '../../base/index.ts'
import type { Hints } from '../hints.ts'
import { connectionSettings } from './postgres-connections.ts'
import type { Postgres } from './postgres-connections.ts'
import { channelOf } from './postgres-schema.ts'

const retryMinMs = 100
const retryMaxMs = 5_000
/** PostgreSQL refuses payloads of 8000 bytes and more. */
const payloadBytesMax = 7_000

/** The payload that says which keys have changed: a JSON list, or nothing for "too many to say". */
export function hintOf(keys: Iterable<string>): string {
  const payload = JSON.stringify([...keys])
  return Buffer.byteLength(payload) <= payloadBytesMax ? payload : ''
}

function keysOf(payload: string | undefined): readonly string[] | null {
  if (payload === undefined || payload === '') return null
  const keys: unknown = JSON.parse(payload)
  return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : null
}

/** Listens for the hints of a schema until closed; tries for ever, at most every `retryMaxMs`. */
export class HintListener {
  readonly #connect: () => Client
  readonly #channel: string
  readonly #hints: Hints
  readonly #clock: Clock
  #client: Client | undefined
  #retry: Disposable | undefined
  #delayMs = retryMinMs
  #closed = false

  constructor(pg: Postgres, url: string, schema: string, hints: Hints, clock: Clock) {
    // No answer is waited for but those of connecting and of LISTEN; keep-alive finds a server that is gone.
    this.#connect = () => new pg.Client(connectionSettings(pg, url))
    this.#channel = channelOf(schema)
    this.#hints = hints
    this.#clock = clock
  }

  /** Resolves when it listens, or when the first attempt has failed and the next is planned. */
  async start(): Promise<void> {
    const client = this.#connect()
    this.#client = client
    client.on('error', () => this.#again(client))
    client.on('end', () => this.#again(client))
    client.on('notification', ({ payload }) => this.#hints.changed(keysOf(payload)))
    try {
      await client.connect()
      await client.query(`LISTEN ${this.#channel}`)
      this.#delayMs = retryMinMs
      this.#hints.changed(null)
    } catch {
      this.#again(client)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#retry?.[Symbol.dispose]()
    await this.#client?.end().catch(() => {})
  }

  #again(client: Client): void {
    if (this.#closed || this.#client !== client) return
    this.#client = undefined
    client.end().catch(() => {})
    this.#retry = this.#clock.after(this.#delayMs, () => void this.start())
    this.#delayMs = Math.min(this.#delayMs * 2, retryMaxMs)
  }
}
