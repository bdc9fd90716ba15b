/**
 * Queues behind the HTTP interface: a driver that asks, and leaves everything to the server, which is the embedded one. Large
 * batches go in several requests, so that one has no more bytes than the server takes.
 */
import { randomId, sleep } from '../../../base/index.ts'
import type { Clock, Random } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Durability,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import { failure } from '../../errors.ts'
import type { DriverLimits } from '../../limits.ts'
import type { HttpClient } from './client.ts'
import { errorOfProblem } from './problem.ts'
import { heldOf, isRecord, listIn, seenOf, wireOutgoing, wireSettlement } from './wire.ts'
import type { Wire } from './wire.ts'

export interface HttpDriverOptions {
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly requestBytesMax: number
  readonly clock: Clock
  readonly random: Random
}

/** How soon a wait is ended again that has not ended. */
const stopAgainMs = 50

const durabilities: readonly Durability[] = ['fsync', 'replicated', 'buffered', 'memory']

export class HttpDriver implements QueueDriver {
  readonly name = 'http'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #client: HttpClient
  readonly #requestBytesMax: number
  readonly #clock: Clock
  readonly #waitPrefix: string
  #waitCount = 0

  constructor(client: HttpClient, options: HttpDriverOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.limits = options.limits
    this.#client = client
    this.#requestBytesMax = options.requestBytesMax
    this.#clock = options.clock
    this.#waitPrefix = randomId(options.random)
  }

  async declare(queue: string): Promise<void> {
    await this.#client.call('PUT', pathOf(queue))
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const outcomes: SendOutcome[] = []
    for (const batch of this.#batches(messages)) {
      const answer = await this.#client.call('POST', pathOf(queue, 'messages'), { messages: batch })
      outcomes.push(...listIn(answer, 'results').map(sentOf))
    }
    return outcomes
  }

  /** Messages in groups that one request can carry: at least one each. */
  *#batches(messages: readonly Outgoing[]): Generator<readonly Wire[]> {
    let batch: Wire[] = []
    let bytes = 0
    for (const message of messages) {
      const wire = wireOutgoing(message)
      const own = Buffer.byteLength(JSON.stringify(wire)) + 2
      if (batch.length > 0 && bytes + own > this.#requestBytesMax - 100) {
        yield batch
        batch = []
        bytes = 0
      }
      batch.push(wire)
      bytes += own
    }
    if (batch.length > 0) yield batch
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    if (signal.aborted) return []
    const { max, waitMs, leaseMs } = want
    const wait = `${this.#waitPrefix}-${(this.#waitCount += 1)}`
    const over = new AbortController()
    const stop = (): void => void this.#stop(queue, wait, over.signal)
    if (waitMs > 0) signal.addEventListener('abort', stop, { once: true })
    try {
      const asked = { max, waitMs, leaseMs, ...(waitMs > 0 ? { wait } : {}) }
      const answer = await this.#client.call('POST', pathOf(queue, 'receive'), asked, waitMs)
      return listIn(answer, 'messages').map(heldOf)
    } finally {
      over.abort()
      signal.removeEventListener('abort', stop)
    }
  }

  /** Ends a wait on the server, so that it answers with what it has; until it has answered, as the wait may not have come there. */
  async #stop(queue: string, wait: string, over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      // Whatever fails here fails for the wait itself too, and is told there.
      await this.#client.call('POST', pathOf(queue, 'stop'), { wait }).catch(() => {})
      await sleep(this.#clock, stopAgainMs, over).catch(() => {})
    }
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const answer = await this.#client.call('POST', pathOf(queue, 'settle'), {
      settlements: settlements.map(wireSettlement),
    })
    return listIn(answer, 'results').map(settledOf)
  }

  async counts(queue: string): Promise<Counts> {
    const answer = await this.#client.call('GET', pathOf(queue))
    const count = (name: string): number => Number(answer[name])
    return { ready: count('ready'), delayed: count('delayed'), held: count('held'), dead: count('dead') }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    const answer = await this.#client.call('GET', `${pathOf(queue, 'messages')}?shelf=${shelf}&max=${max}`)
    return listIn(answer, 'messages').map(seenOf)
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return Number((await this.#client.call('POST', pathOf(queue, 'redrive'), { max, ids }))['count'])
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    return Number((await this.#client.call('POST', pathOf(queue, 'purge'), { shelf }))['count'])
  }

  async remove(queue: string): Promise<void> {
    await this.#client.call('DELETE', pathOf(queue))
  }

  async close(): Promise<void> {
    this.#client.close()
  }
}

/** Where a queue is, or something of it. */
export function pathOf(queue: string, action = ''): string {
  return `/v1/queues/${encodeURIComponent(queue)}${action === '' ? '' : `/${action}`}`
}

function sentOf(result: unknown): SendOutcome {
  const { ok, id, duplicate, durability, error } = isRecord(result) ? result : {}
  const found = durabilities.find((word) => word === durability)
  if (ok === true && typeof id === 'string' && found !== undefined)
    return { ok: true, id, duplicate: duplicate === true, durability: found }
  return { ok: false, error: errorOfProblem(500, error) }
}

function settledOf(result: unknown): SettleOutcome {
  const { outcome, error } = isRecord(result) ? result : {}
  if (outcome === 'done' || outcome === 'lost') return outcome
  if (isRecord(error)) return { error: errorOfProblem(500, error) }
  return { error: failure('outcome-unknown', 'there is no answer to a settlement', 'Look at the server.') }
}
