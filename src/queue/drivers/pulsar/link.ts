/**
 * One Pulsar: its administration over HTTP, and WebSockets to its topics. Nothing is tried again here, and nothing waits without an
 * end. What goes wrong becomes an error of queues.
 */
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { Clock, SteadError } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { PulsarSocket } from './socket.ts'

/** How to reach it. */
export interface PulsarSettings {
  /** `http://host:port`, or `https://…`. */
  readonly url: string
  readonly token: string | null
  /** `tenant/namespace`. */
  readonly namespace: string
}

/** The subscription that is a queue. */
export const subscription = 'queue'
const answerMs = 15_000

/** What is known of a subscription. */
export interface PulsarStanding {
  /** Not settled: waiting, delayed or held. */
  readonly backlog: number
  readonly held: number
  readonly delayed: number
}

export class PulsarLink {
  readonly place: string
  readonly #settings: PulsarSettings
  readonly #clock: Clock

  constructor(settings: PulsarSettings, clock: Clock) {
    this.place = `Pulsar at ${settings.url}`
    this.#settings = settings
    this.#clock = clock
  }

  topicOf(queue: string): string {
    return `persistent/${this.#settings.namespace}/${encodeURIComponent(queue)}`
  }

  /** What the broker says of its version. */
  async version(): Promise<string> {
    return (await this.#ask('GET', 'brokers/version')).text
  }

  /** Whether a topic comes into being by being used; null when it may not be asked. */
  async makesTopics(): Promise<boolean | null> {
    const own = await this.#ask('GET', `namespaces/${this.#settings.namespace}/autoTopicCreation`)
    if (own.status === 404) {
      throw failure('cannot-open', `${this.place} has no namespace ${this.#settings.namespace}`, 'Make it.')
    }
    const said = /"allowAutoTopicCreation"\s*:\s*(true|false)/.exec(own.text)?.[1]
    if (said !== undefined) return said === 'true'
    const all = await this.#ask('GET', 'brokers/configuration/runtime', undefined, [401, 403])
    const general = /"allowAutoTopicCreation"\s*:\s*"?(true|false)/.exec(all.text)?.[1]
    return general === undefined ? null : general === 'true'
  }

  /** Makes the topic and its subscription, from its first message on, where they are not there. */
  async make(queue: string): Promise<void> {
    const topic = this.topicOf(queue)
    await this.#ask('PUT', topic, undefined, [409])
    await this.#ask(
      'PUT',
      `${topic}/subscription/${subscription}`,
      { ledgerId: -1, entryId: -1, partitionIndex: -1 },
      [409],
    )
    await this.known(queue)
  }

  /** What is in a queue; null when it is not there. */
  async standing(queue: string): Promise<PulsarStanding | null> {
    const answer = await this.#ask('GET', `${this.topicOf(queue)}/stats?getPreciseBacklog=true`)
    if (answer.status === 404) return null
    const stats: {
      readonly subscriptions?: Readonly<
        Record<string, { msgBacklog?: number; unackedMessages?: number; msgDelayed?: number }>
      >
    } = JSON.parse(answer.text)
    const found = stats.subscriptions?.[subscription]
    if (found === undefined) return null
    return { backlog: found.msgBacklog ?? 0, held: found.unackedMessages ?? 0, delayed: found.msgDelayed ?? 0 }
  }

  /** Throws `queue.no-such-queue` where it is not there. */
  async known(queue: string): Promise<PulsarStanding> {
    return (await this.standing(queue)) ?? Promise.reject(noSuchQueue(queue))
  }

  /** Settles everything that is in a queue. */
  async skipAll(queue: string): Promise<void> {
    await this.#ask('POST', `${this.topicOf(queue)}/subscription/${subscription}/skip_all`)
  }

  async remove(queue: string): Promise<void> {
    await this.#ask('DELETE', `${this.topicOf(queue)}?force=true`)
  }

  /** A socket that sends into a queue. */
  sending(queue: string): Promise<PulsarSocket> {
    return this.#socket(`producer/${this.topicOf(queue)}?batchingEnabled=false&sendTimeoutMillis=${answerMs}`)
  }

  /**
   * A socket that takes messages, one for each permit: with no queue of its own, the broker's side takes no message that nobody has
   * asked for.
   */
  taking(queue: string): Promise<PulsarSocket> {
    const options = 'subscriptionType=Shared&pullMode=true&receiverQueueSize=0&negativeAckRedeliveryDelay=100'
    return this.#socket(`consumer/${this.topicOf(queue)}/${subscription}?${options}`)
  }

  #socket(path: string): Promise<PulsarSocket> {
    const url = `${this.#settings.url.replace(/^http/, 'ws')}/ws/v2/${path}`
    return PulsarSocket.open(url, this.#headers(), this.place, this.#clock, answerMs)
  }

  #headers(): Record<string, string> {
    const { token } = this.#settings
    return token === null ? {} : { authorization: `Bearer ${token}` }
  }

  /** Asks the administration. An answer of `fine`, or that there is no such thing, is no error. */
  async #ask(
    method: string,
    path: string,
    body?: object,
    fine: readonly number[] = [],
  ): Promise<{ readonly status: number; readonly text: string }> {
    const stop = new AbortController()
    using _late = this.#clock.after(answerMs, () => stop.abort(new Error(`no answer within ${answerMs} ms`)))
    try {
      const response = await fetch(`${this.#settings.url}/admin/v2/${path}`, {
        method,
        headers: { ...this.#headers(), 'content-type': 'application/json' },
        signal: stop.signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      if (response.ok || response.status === 404 || fine.includes(response.status)) {
        return { status: response.status, text }
      }
      throw this.#refusal(response.status, text)
    } catch (error) {
      throw this.#away(error)
    }
  }

  #refusal(status: number, text: string): SteadError {
    const said = `${this.place} answers ${status}: ${text.slice(0, 300)}`
    if (status === 401 || status === 403) return failure('not-authorized', said, 'Look at the token and its rights.')
    if (status >= 500 || status === 412 || status === 409) return failure('unavailable', said, 'Look at the broker.')
    return failure('rejected', said, 'Look at the broker.')
  }

  /** What could not be asked, as an error of queues. */
  #away(error: unknown): unknown {
    if (isSteadError(error)) return error
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    const said = `${this.place} does not answer: ${messageOf(cause)}`
    return failure('unavailable', said, 'See whether it runs, with its WebSocket service.', error)
  }
}

export function noSuchQueue(queue: string): SteadError {
  return failure(
    'no-such-queue',
    `there is no topic ${queue} with a subscription for it`,
    'Declare it before it is used.',
  )
}
