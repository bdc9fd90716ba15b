/**
 * The way to a NATS server: a session that is opened when needed and again after it ended, and what its failures mean here. Where
 * a monitoring address is given, each session begins with asking there whether the server syncs each write: what was promised
 * when the queues were opened holds for every session, or there is none.
 */
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { failure, missingClient } from '../../errors.ts'
import { natsTarget } from './names.ts'
import type { NatsTarget } from './names.ts'
import { NatsSession } from './session.ts'

const connectMs = 5000
/** A server that answers neither of two in a row is away. */
const pingMs = 10_000

/** What a server says of itself. */
export interface NatsFacts {
  readonly version: string
  /** Bytes of a message with its headers. */
  readonly payloadBytesMax: number
  /** Whether what it confirms is on the disk: null where it was not asked. */
  readonly syncsEach: boolean | null
}

export interface NatsAddress {
  /** `nats://user:password@host:port` or `tls://…`; several, with commas between, for the servers of a cluster. */
  readonly url: string
  /** `http://host:port` of the monitoring of this server. */
  readonly monitor: string | null
}

export class NatsLink {
  readonly place: string
  readonly #target: NatsTarget
  readonly #monitor: string | null
  readonly #clock: Clock
  #session: NatsSession | undefined
  #opening: Promise<NatsSession> | undefined
  #facts: NatsFacts | undefined
  #closed = false

  constructor({ url, monitor }: NatsAddress, clock: Clock) {
    this.#target = natsTarget(url)
    this.place = `NATS at ${this.#target.servers.join(', ')}`
    this.#monitor = monitor
    this.#clock = clock
  }

  /** The session that is there, or a new one. Throws as `openNatsQueues` says. */
  async session(): Promise<NatsSession> {
    if (this.#session !== undefined && !this.#session.ended) return this.#session
    if (this.#closed) throw failure('closed', `${this.place} was let go of`, 'Open the queues again.')
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined))
    return this.#opening
  }

  /** What the server said when it was first reached. */
  async facts(): Promise<NatsFacts> {
    await this.session()
    return this.#facts ?? Promise.reject(new Error('assertion failed: a session without facts'))
  }

  /** A piece of work on a session. What it throws is an error of queues. */
  async on<T>(work: (session: NatsSession) => Promise<T>): Promise<T> {
    const session = await this.session()
    try {
      return await work(session)
    } catch (error) {
      throw this.failure(error)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#opening?.catch(() => undefined)
    await this.#session?.close()
  }

  async #open(): Promise<NatsSession> {
    try {
      const missing = (error: unknown): never => {
        throw missingClient('NATS', '@nats-io/transport-node @nats-io/jetstream', error)
      }
      const client = await import('@nats-io/transport-node').catch(missing)
      const jetstream = await import('@nats-io/jetstream').catch(missing)
      const { servers, credentials, tls } = this.#target
      const connection = await client.connect({
        servers: [...servers],
        ...credentials,
        ...(tls ? { tls: {} } : {}),
        name: 'stead queues',
        reconnect: false,
        timeout: connectMs,
        pingInterval: pingMs,
        maxPingOut: 2,
      })
      try {
        await this.#check(connection.info?.server_id ?? '', connection.info)
        const api = await jetstream.jetstreamManager(connection, { timeout: connectMs })
        const tools = {
          place: this.place,
          clock: this.#clock,
          newHeaders: client.headers,
          inbox: client.createInbox(),
        }
        this.#session = new NatsSession(connection, api, tools)
        return this.#session
      } catch (error) {
        await connection.close()
        throw error
      }
    } catch (error) {
      throw this.failure(error)
    }
  }

  async #check(
    serverId: string,
    info: { readonly version: string; readonly max_payload: number } | undefined,
  ): Promise<void> {
    const syncsEach = this.#monitor === null ? null : await this.#syncsEach(this.#monitor, serverId)
    if (this.#facts?.syncsEach === true && syncsEach !== true) {
      const message = `${this.place} does not sync each write any more, and this was promised when the queues were opened`
      throw failure('not-durable', message, 'Set sync_interval to always, or open the queues again without the need.')
    }
    this.#facts ??= { version: info?.version ?? '', payloadBytesMax: info?.max_payload ?? 0, syncsEach }
  }

  async #syncsEach(monitor: string, serverId: string): Promise<boolean> {
    const said = await (async (): Promise<Said> => {
      try {
        const answer = await fetch(new URL('/jsz?config=true', monitor), { signal: AbortSignal.timeout(connectMs) })
        const read: Said = JSON.parse(await answer.text())
        return read
      } catch (error) {
        const message = `the monitoring of ${this.place} does not answer: ${messageOf(error)}`
        throw failure('unavailable', message, 'Start the server with http: HOST:PORT, and give that address.', error)
      }
    })()
    if (said.server_id !== serverId) {
      const message = `the monitoring address that was given belongs to another server than ${this.place}`
      throw failure('bad-input', message, 'Give the address of the server that the queues are on.')
    }
    return said.config?.sync_always === true
  }

  /** What the client threw, as an error of queues. */
  failure(error: unknown): unknown {
    if (isSteadError(error)) return error
    const message = messageOf(error)
    const name = error instanceof Error ? error.name : ''
    const code = codeOf(error)
    if (name === 'TypeError' || name === 'AssertionError') return error
    if (/Authorization|Authentication|PermissionViolation/.test(name)) {
      const hint = 'Look at the user, its password and rights.'
      return failure('not-authorized', `${this.place} refuses: ${message}`, hint, error)
    }
    if (name === 'JetStreamNotEnabled' || code === 10_039 || code === 10_076) {
      const hint = 'Start the server with -js, or with jetstream in its configuration.'
      return failure('unsupported', `${this.place} keeps no messages: JetStream is not on`, hint, error)
    }
    if (code === streamNotFound || code === consumerNotFound) {
      return failure('no-such-queue', `${this.place}: ${message}`, 'Declare it before it is used.', error)
    }
    if (code !== null) return this.refusal(code, message, error)
    const hint = 'See whether it runs and can be reached.'
    return failure('unavailable', `${this.place} does not answer: ${message}`, hint, error)
  }

  /** An error that JetStream has answered with. */
  refusal(code: number, message: string, cause?: unknown): Error {
    if (fullCodes.has(code) || /maximum (?:messages|bytes)|insufficient|too many requests/.test(message)) {
      return failure('full', `${this.place} takes no more now: ${message}`, 'Send again later.', cause)
    }
    if (passingCodes.has(code)) {
      return failure('unavailable', `${this.place} cannot now: ${message}`, 'Try again.', cause)
    }
    return failure(
      'rejected',
      `${this.place}: ${message}`,
      'Look at the limits of the server and of the stream.',
      cause,
    )
  }
}

interface Said {
  readonly server_id?: string
  readonly config?: { readonly sync_always?: boolean }
}

export const streamNotFound = 10_059
export const consumerNotFound = 10_014
/** Storage or memory is used up, or too many messages wait to be stored. */
const fullCodes: ReadonlySet<number> = new Set([10_002, 10_023, 10_028, 10_047, 10_167])
/** Not in a state to answer: starting, electing, being deleted. */
const passingCodes: ReadonlySet<number> = new Set([10_008, 10_009, 10_074, 10_118])

/** The number by which JetStream names an error. */
export function codeOf(error: unknown): number | null {
  if (!(error instanceof Error) || !('apiError' in error) || !('code' in error)) return null
  return typeof error.code === 'number' ? error.code : null
}
