/**
 * Queues on Valkey: each is a ledger in keys of one slot, and every step is a script that the server runs alone. Leases, attempts,
 * order and fencing are the server's and by its clock. Who waits is woken by a message on the queue's channel, or when the next
 * delay or lease is over; both are hints, the ledger is the truth.
 */
import { assert, sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Decision,
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
import { batchBytesMax, batchMax, bodyBytesMax, delayMsMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { companyOf, opened, sealedText } from '../envelope.ts'
import type { ValkeyLink } from './link.ts'
import { baseOf } from './names.ts'

/** A waiting consumer looks at least so often, for the case that a bell was lost. */
const lookMs = 5000
/** Messages of one script: others wait while it runs. */
const stepMax = 500

export interface ValkeyOptions {
  readonly link: ValkeyLink
  readonly server: string
  readonly capabilities: Capabilities
  readonly durability: Durability
  readonly messagesMax: number | null
  readonly bells: Bells
  readonly clock: Clock
}

/** Who waits for which queue. */
export class Bells {
  readonly #waiting = new Map<string, PromiseWithResolvers<void>>()

  ring(base: string): void {
    this.#waiting.get(base)?.resolve()
    this.#waiting.delete(base)
  }

  heard(base: string): Promise<void> {
    const waiting = this.#waiting.get(base) ?? Promise.withResolvers<void>()
    this.#waiting.set(base, waiting)
    return waiting.promise
  }
}

export class ValkeyDriver implements QueueDriver {
  readonly name = 'valkey'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits = { bodyBytesMax, delayMsMax }
  readonly #options: ValkeyOptions
  readonly #link: ValkeyLink

  constructor(options: ValkeyOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.#options = options
    this.#link = options.link
  }

  async declare(queue: string): Promise<void> {
    await this.#link.run('declare', baseOf(queue), [])
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const outcomes: SendOutcome[] = []
    for (let from = 0; from < messages.length; from += stepMax) {
      const part = messages.slice(from, from + stepMax)
      try {
        outcomes.push(...(await this.#sendStep(queue, part)))
      } catch (error) {
        // What earlier steps have done is done.
        if (outcomes.length === 0 || !(error instanceof Error)) throw error
        const failed = failure('outcome-unknown', error.message, 'It may have happened.', error)
        while (outcomes.length < messages.length) outcomes.push({ ok: false, error: failed })
        return outcomes
      }
    }
    return outcomes
  }

  async #sendStep(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const { durability, messagesMax, clock } = this.#options
    const nowMs = clock.nowMs()
    const args: (string | number | Buffer)[] = [messagesMax ?? Number.MAX_SAFE_INTEGER]
    for (const message of messages) args.push(sealedText(companyOf(message, nowMs), message.body), ordersOf(message))
    const [states = '', ...known] = listOf(await this.#link.run('send', baseOf(queue), args)).map(textOf)
    if (states === 'none') throw failure('no-such-queue', `there is no queue ${queue}`, 'Declare it first.')
    return messages.map(({ id }, index) => {
      const state = states[index]
      if (state === '1') return { ok: true, id: known.shift() ?? '', duplicate: true, durability }
      if (state === '0') return { ok: true, id, duplicate: false, durability }
      const full = `the queue ${queue} has ${messagesMax} messages, as many as it may`
      return { ok: false, error: failure('full', full, 'Send again when consumers have taken some.') }
    })
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const { clock, bells } = this.#options
    const base = baseOf(queue)
    if (want.waitMs > 0) await this.#link.listen(base)
    const untilMs = clock.monotonicMs() + want.waitMs
    for (;;) {
      if (signal.aborted) return []
      const heard = bells.heard(base)
      const { held, dueMs } = await this.#claim(base, want)
      const leftMs = untilMs - clock.monotonicMs()
      if (held.length > 0 || leftMs <= 0) return held
      const waiting = new AbortController()
      const either = AbortSignal.any([signal, waiting.signal])
      await Promise.race([heard, sleep(clock, Math.min(lookMs, leftMs, dueMs), either).catch(() => {})])
      waiting.abort()
    }
  }

  async #claim(
    base: string,
    { max, leaseMs }: Want,
  ): Promise<{ readonly held: readonly Held[]; readonly dueMs: number }> {
    const answer = listOf(await this.#link.run('claim', base, [Math.min(max, stepMax), leaseMs, batchBytesMax]))
    const [due, token] = [Number(textOf(answer[0])), textOf(answer[1])]
    const counted = textOf(answer[2]).split(' ')
    const held = answer.slice(3).map((message, index): Held => {
      const [seq = '', attempt] = [counted[2 * index], counted[2 * index + 1]]
      const { id, body, headers, priority, sentAtMs, key = null } = opened(bytesOf(message), `message-${seq}`)
      return { receipt: `${seq}.${token}`, id, body, headers, key, priority, attempt: Number(attempt), sentAtMs }
    })
    return { held, dueMs: due < 0 ? Number.MAX_SAFE_INTEGER : due }
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const isAck = ({ decision }: Settlement): boolean => decision.kind === 'ack'
    const [acks, others] = [settlements.filter(isAck), settlements.filter((one) => !isAck(one))]
    const args = others.flatMap(({ receipt, decision }) => {
      const [seq = '', token = ''] = receipt.split('.')
      return [seq, token, decision.kind, millisecondsOf(decision), wordsOf(decision)]
    })
    const acknowledged = acks.map(({ receipt }) => receipt).join(' ')
    const done = textOf(await this.#link.run('settle', baseOf(queue), [acknowledged, ...args]))
    let [ack, other] = [0, acks.length]
    return settlements.map((one) => (done[isAck(one) ? ack++ : other++] === '1' ? 'done' : 'lost'))
  }

  async counts(queue: string): Promise<Counts> {
    const [ready = 0, delayed = 0, held = 0, dead = 0] = listOf(await this.#link.run('counts', baseOf(queue), [])).map(
      Number,
    )
    return { ready, delayed, held, dead }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    return (await this.#look(queue, shelf, max)).map(({ seen }) => seen)
  }

  async #look(
    queue: string,
    shelf: Shelf,
    max: number,
  ): Promise<readonly { readonly seq: string; readonly seen: Seen }[]> {
    const answer = listOf(await this.#link.run('look', baseOf(queue), [shelf, max]))
    const seen: { readonly seq: string; readonly seen: Seen }[] = []
    for (let index = 0; index < answer.length; index += 4) {
      const [seq, attempt, cause] = [
        textOf(answer[index]),
        Number(textOf(answer[index + 1])),
        textOf(answer[index + 2]),
      ]
      const { id, body, headers, priority, sentAtMs, key } = opened(bytesOf(answer[index + 3]), `message-${seq}`)
      const why = shelf === 'dead' ? cause : null
      seen.push({ seq, seen: { id, body, headers, key: key ?? null, priority, attempt, sentAtMs, cause: why } })
    }
    return seen
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    const dead = await this.#look(queue, 'dead', ids === null ? Math.min(max, batchMax) : batchMax)
    const chosen = dead.filter(({ seen: { id } }) => ids === null || ids.includes(id)).slice(0, max)
    if (chosen.length === 0) return 0
    const args = chosen.flatMap(({ seq, seen: { key } }) => [seq, key ?? ''])
    return Number(await this.#link.run('redrive', baseOf(queue), args))
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    for (let count = 0; ;) {
      const deleted = Number(await this.#link.run('purge', baseOf(queue), [shelf]))
      if (deleted === 0) return count
      count += deleted
    }
  }

  async remove(queue: string): Promise<void> {
    await this.#link.run('remove', baseOf(queue), [])
    await this.#link.unlisten(baseOf(queue))
  }

  async close(): Promise<void> {
    await this.#link.close()
  }
}

/** What the script needs to know of a message: nothing of most. Neither ids nor keys have control characters. */
function ordersOf({ id, priority, delayMs, key, dedup }: Outgoing): string {
  if (priority === 0 && delayMs === 0 && key === null && dedup === null) return ''
  return `${priority} ${delayMs} ${dedup?.ms ?? 0} ${id}\0${key ?? ''}\0${dedup?.key ?? ''}`
}

function millisecondsOf(decision: Decision): number {
  if (decision.kind === 'extend') return decision.leaseMs
  return decision.kind === 'retry' ? decision.delayMs : 0
}

function wordsOf(decision: Decision): string {
  if (decision.kind === 'reject') return decision.cause
  return decision.kind === 'retry' && !decision.countAsFailure ? 'uncounted' : ''
}

function listOf(answer: unknown): readonly unknown[] {
  assert(Array.isArray(answer), 'a script answered no list')
  return answer
}

function bytesOf(item: unknown): Buffer {
  assert(item instanceof Buffer, 'a script answered no bytes')
  return item
}

function textOf(item: unknown): string {
  return bytesOf(item).toString()
}
