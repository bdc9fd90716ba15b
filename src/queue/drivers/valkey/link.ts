/**
 * The way to a Valkey or Redis server: a session that is opened when needed and again after it ended; it is not mended. Each begins with
 * asking the server how it keeps what it confirms: what was promised when the queues were opened holds for every session, or
 * there is none.
 */
import type { Valkey } from 'iovalkey'
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { Durability } from '../../driver.ts'
import { failure, missingClient } from '../../errors.ts'
import { valkeyTarget } from './names.ts'
import type { ValkeyTarget } from './names.ts'
import { scripts } from './scripts.ts'
import type { ScriptName } from './scripts.ts'

const connectMs = 5000
/** An answer that takes longer ends the session: a script of ours takes milliseconds. */
const answerMs = 10_000

/** What a server says of itself. */
export interface ValkeyFacts {
  readonly server: string
  readonly durability: Durability
  /** Why it is not `fsync`, in the words of its settings. */
  readonly kept: string
}

interface Session {
  readonly client: Valkey
  readonly listener: Valkey
  readonly shas: ReadonlyMap<ScriptName, string>
  ended: boolean
}

export class ValkeyLink {
  readonly place: string
  readonly #target: ValkeyTarget
  readonly #onBell: (channel: string) => void
  readonly #channels = new Set<string>()
  #session: Session | undefined
  #opening: Promise<Session> | undefined
  #facts: ValkeyFacts | undefined
  #closed = false

  /** `onBell` hears of every queue in which something has become ready or is due sooner, by its base. */
  constructor(url: string, onBell: (base: string) => void) {
    this.#target = valkeyTarget(url)
    this.place = `the Valkey server at ${this.#target.host}:${this.#target.port}`
    this.#onBell = (channel) => onBell(channel.slice(0, -':bell'.length))
  }

  /** What the server said when it was first reached. */
  async facts(): Promise<ValkeyFacts> {
    await this.#current()
    return this.#facts ?? Promise.reject(new Error('assertion failed: a session without facts'))
  }

  /** Hears of this queue's bell from now on. */
  async listen(base: string): Promise<void> {
    const channel = `${base}:bell`
    if (this.#channels.has(channel)) return
    this.#channels.add(channel)
    const { listener } = await this.#current()
    await listener.subscribe(channel)
  }

  async unlisten(base: string): Promise<void> {
    if (this.#channels.delete(`${base}:bell`)) await this.#session?.listener.unsubscribe(`${base}:bell`)
  }

  /**
   * The answer of a script. Throws `queue.unavailable` when it was not sent, `queue.outcome-unknown` when the connection ended
   * before the answer, and what the server's refusal means.
   */
  async run(name: ScriptName, base: string, args: readonly (string | number | Buffer)[]): Promise<unknown> {
    const session = await this.#current()
    try {
      return await this.#evaluate(session, name, base, args)
    } catch (error) {
      throw this.failure(error, true)
    }
  }

  async #evaluate(
    { client, shas }: Session,
    name: ScriptName,
    base: string,
    args: readonly (string | number | Buffer)[],
  ): Promise<unknown> {
    try {
      return await client.callBuffer('EVALSHA', shas.get(name) ?? '', 1, base, ...args)
    } catch (error) {
      // Somebody has emptied the server's memory of scripts.
      if (!messageOf(error).startsWith('NOSCRIPT')) throw error
      return client.callBuffer('EVAL', scripts[name], 1, base, ...args)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#opening?.catch(() => undefined)
    const session = this.#session
    if (session === undefined || session.ended) return
    session.ended = true
    session.listener.disconnect()
    await session.client.quit().catch(() => {})
  }

  async #current(): Promise<Session> {
    if (this.#session !== undefined && !this.#session.ended) return this.#session
    if (this.#closed) throw failure('closed', `${this.place} was let go of`, 'Open the queues again.')
    this.#opening ??= this.#open().finally(() => (this.#opening = undefined))
    return this.#opening
  }

  async #open(): Promise<Session> {
    const { Valkey } = await import('iovalkey').catch((error: unknown) =>
      Promise.reject(missingClient('Valkey', 'iovalkey', error)),
    )
    const options = {
      ...this.#target,
      lazyConnect: true,
      connectTimeout: connectMs,
      commandTimeout: answerMs,
      retryStrategy: () => null,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      enableReadyCheck: false,
      autoResubscribe: false,
      connectionName: 'stead-queues',
    }
    const [client, listener] = [new Valkey(options), new Valkey(options)]
    // What the events tell is told to whoever waits for an answer, too.
    let said: unknown
    for (const one of [client, listener]) one.on('error', (error) => (said = error))
    try {
      await Promise.all([client.connect(), listener.connect()])
      this.#check(await factsOf(client))
      const shas = new Map<ScriptName, string>()
      for (const [name, lua] of Object.entries(scripts)) {
        if (isScript(name)) shas.set(name, String(await client.script('LOAD', lua)))
      }
      const session: Session = { client, listener, shas, ended: false }
      const end = (): void => {
        session.ended = true
        client.disconnect()
        listener.disconnect()
        // Whoever waits for a bell of this session looks again, and opens the next.
        for (const channel of this.#channels) this.#onBell(channel)
      }
      for (const one of [client, listener]) one.on('end', end)
      listener.on('message', (channel: string) => this.#onBell(channel))
      if (this.#channels.size > 0) await listener.subscribe(...this.#channels)
      this.#session = session
      return session
    } catch (error) {
      client.disconnect()
      listener.disconnect()
      throw this.failure(/closed/i.test(messageOf(error)) && said !== undefined ? said : error, false)
    }
  }

  #check(facts: ValkeyFacts): void {
    if (this.#facts?.durability === 'fsync' && facts.durability !== 'fsync') {
      const message = `${this.place} does not sync each write any more, and this was promised when the queues were opened`
      throw failure('not-durable', message, 'Set appendfsync to always, or open the queues again without the need.')
    }
    this.#facts ??= facts
  }

  /** What the client threw, as an error of queues. `sent`: whether it may have happened. */
  failure(error: unknown, sent: boolean): unknown {
    if (isSteadError(error)) return error
    const message = messageOf(error)
    if (error instanceof TypeError || (error instanceof Error && error.name === 'AssertionError')) return error
    const word = /^[A-Z]{3,}/.exec(message)?.[0] ?? ''
    if (['NOAUTH', 'WRONGPASS', 'NOPERM'].includes(word) || message.includes('invalid username-password')) {
      const hint = 'Look at the user, its password and rights.'
      return failure('not-authorized', `${this.place} refuses: ${message}`, hint, error)
    }
    if (word === 'OOM' || /OOM command not allowed/.test(message)) {
      return failure(
        'full',
        `${this.place} has no memory left for more`,
        'Send again later, or raise maxmemory.',
        error,
      )
    }
    if (['LOADING', 'BUSY', 'MASTERDOWN', 'MISCONF', 'READONLY', 'TRYAGAIN'].includes(word)) {
      return failure('unavailable', `${this.place} cannot now: ${message}`, 'Look at the server.', error)
    }
    if (error instanceof Error && error.name === 'ReplyError') {
      return failure('rejected', `${this.place}: ${message}`, 'Look at the server.', error)
    }
    // A server that has said nothing for so long is not asked on the same connection again.
    if (/Command timed out/.test(message)) this.#session?.client.disconnect()
    const unsent = /writeable|enableOfflineQueue|ECONNREFUSED|ENOTFOUND|connect ETIMEDOUT/.test(message)
    return sent && !unsent
      ? failure('outcome-unknown', `${this.place} did not answer: ${message}`, 'It may have happened.', error)
      : failure('unavailable', `${this.place} does not answer: ${message}`, 'See whether it runs.', error)
  }
}

function isScript(name: string): name is ScriptName {
  return Object.hasOwn(scripts, name)
}

/** What the server says of its kind, its version, and how it keeps things. Throws what makes it no place for queues. */
async function factsOf(client: Valkey): Promise<ValkeyFacts> {
  const info = await client.info()
  const said = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  const valkey = said('valkey_version')
  const server = valkey === '' ? `Redis ${said('redis_version')}` : `Valkey ${valkey}`
  const compatible = Number(said('redis_version').split('.')[0])
  if (!(compatible >= 7)) {
    throw failure('unsupported', `${server} is older than what these queues were proved on`, 'Use Valkey, or Redis 7.')
  }
  if (said('loading') === '1') {
    throw failure('unavailable', `${server} still reads what it has kept`, 'Try again.')
  }
  if (said('cluster_enabled') === '1') {
    throw failure('unsupported', `${server} is a node of a cluster`, 'Use a server that is not.')
  }
  if (said('role') !== 'master')
    throw failure('cannot-open', `${server} is a replica`, 'Give the address of its primary.')
  const set = async (name: string): Promise<string> => {
    try {
      const answer: unknown = await client.config('GET', name)
      return Array.isArray(answer) ? String(answer[1] ?? '') : ''
    } catch (error) {
      // Not everybody may ask: then nothing better is known.
      if (messageOf(error).startsWith('NOPERM') || /unknown command/.test(messageOf(error))) return ''
      throw error
    }
  }
  const policy = await set('maxmemory-policy')
  if (policy !== '' && policy !== 'noeviction' && Number(await set('maxmemory')) > 0) {
    const message = `${server} deletes what it was given when its memory is full: maxmemory-policy is ${policy}`
    throw failure('not-durable', message, 'Set maxmemory-policy to noeviction.')
  }
  if (said('aof_enabled') !== '1')
    return { server, durability: 'memory', kept: 'the server keeps no log of its writes' }
  const sync = await set('appendfsync')
  return sync === 'always'
    ? { server, durability: 'fsync', kept: '' }
    : {
        server,
        durability: 'buffered',
        kept: `the server confirms before it syncs: appendfsync is ${sync || 'not told'}`,
      }
}
