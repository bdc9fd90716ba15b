/**
 * The connection to an AMQP 0-9-1 server: opened when needed and again after it broke, with one channel for publishing under
 * confirms and one for each queue that is consumed. A message that no queue takes, and one that the server refuses, are told from
 * each other and from one whose answer was lost.
 */
import type { Channel, ChannelModel, ConfirmChannel, ConsumeMessage, Options } from 'amqplib'
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { SteadError } from '../../../base/index.ts'
import { failure, missingClient } from '../../errors.ts'
import { Unsettled } from './unsettled.ts'

/** Counts the channels of this link, so that a holding is known by the one it came from. */
export interface NumberedChannel {
  readonly number: number
  readonly channel: Channel
  readonly unsettled: Unsettled<ConsumeMessage>
  open: boolean
}

/** A channel for publishing, as `publish` takes it. */
export interface Publishing {
  readonly channel: ConfirmChannel
  /** Those that came back because no queue takes them, by their number. */
  readonly returned: Set<string>
}

const connectMs = 10_000
const heartbeatSeconds = 20

export class AmqpLink {
  readonly place: string
  readonly #url: string
  readonly #onLost: (channel: NumberedChannel) => void
  readonly #channels = new Map<string, Promise<NumberedChannel>>()
  #connection: Promise<ChannelModel> | undefined
  #publishing: Promise<Publishing> | undefined
  #published = 0
  #channelCount = 0
  #blocked: string | null = null
  #product = ''

  /** `onLost` hears of every channel that has ended, with what was held on it. */
  constructor(url: string, onLost: (channel: NumberedChannel) => void) {
    if (!URL.canParse(url)) {
      // The text is not repeated: it may hold a password.
      throw failure(
        'bad-input',
        'the URL of the AMQP server cannot be read',
        'Write amqp://user:password@host:port/vhost.',
      )
    }
    const { host, pathname } = new URL(url)
    this.place = `the AMQP server at ${host}${pathname}`
    this.#url = url
    this.#onLost = onLost
  }

  /** What the server calls itself, with its version; known after the first `connection`. */
  get product(): string {
    return this.#product
  }

  /** The connection, opened if need be. Throws `queue.unavailable`, `queue.not-authorized` or `queue.missing-client`. */
  connection(): Promise<ChannelModel> {
    this.#connection ??= this.#open()
    return this.#connection
  }

  async #open(): Promise<ChannelModel> {
    try {
      const client = await import('amqplib').catch((error: unknown) =>
        Promise.reject(missingClient('AMQP', 'amqplib', error)),
      )
      const url = new URL(this.#url)
      url.searchParams.set('heartbeat', String(heartbeatSeconds))
      const connection = await client.connect(url.href, { timeout: connectMs, noDelay: true })
      const { product, version } = connection.connection.serverProperties
      this.#product = `${product} ${version}`
      connection.on('error', () => {})
      connection.on('blocked', (reason) => (this.#blocked = reason))
      connection.on('unblocked', () => (this.#blocked = null))
      connection.on('close', () => this.#lost())
      return connection
    } catch (error) {
      this.#connection = undefined
      throw this.failure(error)
    }
  }

  #lost(): void {
    this.#connection = undefined
    this.#publishing = undefined
    this.#blocked = null
  }

  /** The channel on which a queue is consumed. */
  channel(queue: string): Promise<NumberedChannel> {
    const known = this.#channels.get(queue)
    if (known !== undefined) return known
    const opening = this.#openChannel(queue)
    this.#channels.set(queue, opening)
    opening.catch(() => this.#channels.delete(queue))
    return opening
  }

  async #openChannel(queue: string): Promise<NumberedChannel> {
    const connection = await this.connection()
    try {
      const channel = await connection.createChannel()
      const unsettled = new Unsettled<ConsumeMessage>()
      const numbered: NumberedChannel = { number: (this.#channelCount += 1), channel, unsettled, open: true }
      numbered.channel.on('error', () => {})
      numbered.channel.on('close', () => {
        numbered.open = false
        this.#channels.delete(queue)
        this.#onLost(numbered)
      })
      return numbered
    } catch (error) {
      throw this.failure(error)
    }
  }

  /** One operation on a channel of its own: what fails there, as making a queue that is there otherwise, closes no other. */
  async apart<T>(work: (channel: Channel) => Promise<T>): Promise<T> {
    const connection = await this.connection()
    try {
      const channel = await connection.createChannel()
      channel.on('error', () => {})
      const result = await work(channel)
      await channel.close()
      return result
    } catch (error) {
      throw this.failure(error)
    }
  }

  /** Where to publish. Throws `queue.unavailable`, and `queue.full` while the server takes nothing at all. */
  async publishing(): Promise<Publishing> {
    this.#publishing ??= this.#openPublishing()
    const publishing = await this.#publishing
    if (this.#blocked === null) return publishing
    throw failure('full', `${this.place} takes nothing now: ${this.#blocked}`, 'Send again later.')
  }

  /**
   * `told` hears null when the server has the message; `queue.no-such-queue`, `queue.full`, `queue.unavailable` when it was not sent,
   * and `queue.outcome-unknown` when the connection broke before the answer. Takes `options` over.
   */
  publish(
    { channel, returned }: Publishing,
    queue: string,
    content: Buffer,
    options: Options.Publish,
    told: (error: SteadError | null) => void,
  ): void {
    // A returned message is known by it. A property costs a fraction of what a header does.
    const correlationId = String((this.#published += 1))
    options.correlationId = correlationId
    options.mandatory = true
    options.persistent = true
    try {
      channel.publish('', queue, content, options, (error) => {
        if (returned.delete(correlationId)) {
          told(failure('no-such-queue', `there is no queue ${queue}`, 'Declare it before it is used.'))
        } else told(error === null || error === undefined ? null : this.#publishFailure(queue, error))
      })
    } catch (error) {
      told(this.failure(error))
    }
  }

  #publishFailure(queue: string, error: unknown): SteadError {
    // The client gives a refusal this text, and every other end that of the channel or the connection.
    if (messageOf(error) === 'message nacked') {
      return failure('full', `${this.place} takes no more messages into ${queue} now`, 'Send again later.')
    }
    const message = `${this.place} did not answer: ${messageOf(error)}`
    return failure('outcome-unknown', message, 'The message may be there.', error)
  }

  async #openPublishing(): Promise<Publishing> {
    try {
      const connection = await this.connection()
      const channel = await connection.createConfirmChannel()
      const returned = new Set<string>()
      channel.on('error', () => {})
      channel.on('close', () => (this.#publishing = undefined))
      channel.on('return', ({ properties }) => returned.add(String(properties.correlationId)))
      return { channel, returned }
    } catch (error) {
      this.#publishing = undefined
      throw this.failure(error)
    }
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined)
    await connection?.close().catch(() => {})
  }

  /** What the client threw, as an error of queues. */
  failure(error: unknown): SteadError {
    if (isSteadError(error)) return error
    const message = messageOf(error)
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 403 || message.includes('ACCESS_REFUSED') || message.includes('403')) {
      return failure(
        'not-authorized',
        `${this.place} refuses: ${message}`,
        'Look at the user, its password and rights.',
        error,
      )
    }
    // A virtual host that is not there, or, while the server starts, not yet: the client drops which. So it may be tried again.
    if (message.includes('Expected ConnectionOpenOk')) {
      const hint = 'See whether the virtual host, the path of the URL, is there, and whether this user may use it.'
      return failure('unavailable', `${this.place} does not open the virtual host`, hint, error)
    }
    if (code === 404)
      return failure('no-such-queue', `${this.place}: ${message}`, 'Declare it before it is used.', error)
    if (code === 406) {
      const hint = 'A queue of this name is there and is another kind: use another name, or remove it.'
      return failure('rejected', `${this.place}: ${message}`, hint, error)
    }
    return failure(
      'unavailable',
      `${this.place} does not answer: ${message}`,
      'See whether it runs and can be reached.',
      error,
    )
  }
}
