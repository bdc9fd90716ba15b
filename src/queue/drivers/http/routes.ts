/**
 * What can be asked of a server of queues, each with the right it needs, answered from one driver. The policy of the server
 * is the outer bound for all consumers, in whatever language: a message that was tried as often as it says is dead, whoever
 * asks for it next.
 */
import type { Clock, SteadError } from '../../../base/index.ts'
import type { Held, Outgoing, QueueDriver, SendOutcome, SettleOutcome, Settlement, Want } from '../../driver.ts'
import { failure } from '../../errors.ts'
import { batchMax, checkName, checkNumber, checkSize } from '../../limits.ts'
import { retryDelayMs } from '../../retry.ts'
import type { RetryPolicy } from '../../retry.ts'
import { problemOf } from './problem.ts'
import type { QueueRight, QueueUser } from './users.ts'
import {
  eachApart,
  isRecord,
  listIn,
  mergeOutcomes,
  outgoingOf,
  settlementOf,
  waitNameOf,
  wantOf,
  wireMessage,
  wordIn,
} from './wire.ts'
import type { Wire, WireDecision } from './wire.ts'

/** What the routes work with. */
export interface QueueDesk {
  readonly driver: QueueDriver
  readonly clock: Clock
  /** A number in [0, 1) from the dice. */
  readonly chance: () => number
  readonly nextId: () => string
  readonly retry: RetryPolicy
  /** The lease of a receiver that asks for none. */
  readonly leaseMs: number
  readonly bodyBytesMax: number
  /** The queue that the server is for: it stays as long as the server. */
  readonly ownQueue: string
  /** Queues that there may be. */
  readonly queuesMax: number
  /** Names of the queues that there are. */
  queues(): readonly string[]
  /** When the oldest message that waits was sent; null when none does. */
  oldestMs(queue: string): Promise<number | null>
  /** Nothing of it is handed out any more, or again. */
  pause(queue: string, paused: boolean): Promise<void>
  isPaused(queue: string): Promise<boolean>
  readonly tally: QueueTally
  /** Waits that can be ended by their name, which is that of the login and what it called them. */
  readonly waits: Map<string, AbortController>
}

/** What was done since the server started. */
export interface QueueTally {
  sent: number
  duplicates: number
  delivered: number
  acked: number
  retried: number
  rejected: number
  lost: number
  purged: number
}

export function emptyQueueTally(): QueueTally {
  return { sent: 0, duplicates: 0, delivered: 0, acked: 0, retried: 0, rejected: 0, lost: 0, purged: 0 }
}

/** A question about one queue. */
export interface QueueQuestion {
  readonly queue: string
  readonly user: QueueUser
  readonly body: unknown
  readonly query: URLSearchParams
  /** Aborts when whoever asked has gone. */
  readonly signal: AbortSignal
}

export interface QueueAnswer {
  readonly body: Wire
  /** What to do when the answer could not be delivered. */
  readonly undo?: () => Promise<void>
}

export interface QueueRoute {
  readonly method: string
  /** What follows the name of the queue. */
  readonly path: string
  /** Null: any right will do. */
  readonly right: QueueRight | null
  answer(desk: QueueDesk, question: QueueQuestion): Promise<QueueAnswer>
}

/** Throws `queue.forbidden` where the login lacks the right. */
export function needRight(user: QueueUser, right: QueueRight): void {
  if (user.rights.includes(right)) return
  const has = user.rights.length === 0 ? 'no right' : user.rights.join(' and ')
  throw failure(
    'forbidden',
    `${user.name} has ${has}, and this needs the right to ${right}`,
    'Give it in the app file.',
  )
}

export const queueRoutes: readonly QueueRoute[] = [
  {
    method: 'GET',
    path: '',
    right: null,
    answer: async (desk, { queue }) => ({ body: await standingOf(desk, queue) }),
  },
  {
    method: 'PUT',
    path: '',
    right: null,
    async answer(desk, { queue, user }) {
      const isNew = !desk.queues().includes(queue)
      if (isNew) {
        needRight(user, 'manage')
        checkName(queue)
        checkSize('the list of queues', 'queues', desk.queues().length + 1, desk.queuesMax)
        await desk.driver.declare(queue)
      }
      return { body: { name: queue, made: isNew } }
    },
  },
  {
    method: 'DELETE',
    path: '',
    right: 'manage',
    async answer({ driver, ownQueue }, { queue }) {
      if (queue === ownQueue)
        throw failure('bad-input', `${queue} is what this server is for`, 'Purge it, or take it out of the app file.')
      await driver.remove(queue)
      return { body: { removed: true } }
    },
  },
  { method: 'POST', path: 'messages', right: 'send', answer: send },
  { method: 'POST', path: 'receive', right: 'receive', answer: receive },
  {
    method: 'POST',
    path: 'stop',
    right: 'receive',
    async answer({ waits }, { queue, user, body }) {
      const wait = waits.get(keyOf(user, queue, waitNameOf(body)))
      wait?.abort()
      return { body: { stopped: wait !== undefined } }
    },
  },
  { method: 'POST', path: 'settle', right: 'receive', answer: settle },
  {
    method: 'GET',
    path: 'messages',
    right: 'manage',
    async answer({ driver }, { queue, query }) {
      const asked = Object.fromEntries(query)
      const max = Number(query.get('max') ?? 100)
      checkNumber('max', max, 1, batchMax)
      const seen = await driver.peek(queue, wordIn(asked, 'shelf', ['ready', 'dead']), max)
      return { body: { messages: seen.map(wireMessage) } }
    },
  },
  {
    method: 'POST',
    path: 'redrive',
    right: 'manage',
    async answer({ driver }, { queue, body }) {
      const { max = batchMax, ids = null } = isRecord(body) ? body : {}
      checkNumber('max', Number(max), 1, batchMax)
      const named = ids === null ? null : listIn({ ids }, 'ids').map(String)
      return { body: { count: await driver.redrive(queue, Number(max), named) } }
    },
  },
  {
    method: 'POST',
    path: 'purge',
    right: 'manage',
    async answer({ driver, tally }, { queue, body }) {
      // Never by leaving something out: what is purged is gone.
      if (!isRecord(body) || body['shelf'] === undefined)
        throw failure('bad-input', 'shelf is missing', 'As in { "shelf": "dead" }, or "ready" for what waits.')
      const count = await driver.purge(queue, wordIn(body, 'shelf', ['ready', 'dead']))
      tally.purged += count
      return { body: { count } }
    },
  },
  { method: 'POST', path: 'pause', right: 'manage', answer: (desk, { queue }) => pausing(desk, queue, true) },
  { method: 'POST', path: 'resume', right: 'manage', answer: (desk, { queue }) => pausing(desk, queue, false) },
]

async function pausing(desk: QueueDesk, queue: string, paused: boolean): Promise<QueueAnswer> {
  await desk.pause(queue, paused)
  return { body: { paused } }
}

/** What is in a queue now. */
export async function standingOf(desk: QueueDesk, queue: string): Promise<Wire> {
  const asked = [desk.driver.counts(queue), desk.oldestMs(queue), desk.isPaused(queue)] as const
  const [counts, oldestMs, paused] = await Promise.all(asked)
  const age = oldestMs === null ? null : Math.max(0, desk.clock.nowMs() - oldestMs)
  return { name: queue, ...counts, oldestAgeMs: age, paused }
}

async function send(desk: QueueDesk, { queue, body }: QueueQuestion): Promise<QueueAnswer> {
  const read = (item: unknown): Outgoing => outgoingOf(item, desk.nextId(), desk.bodyBytesMax)
  if (!isRecord(body) || body['messages'] === undefined) {
    const [outcome] = await sendAll(desk, queue, [read(body)])
    if (outcome?.ok === true) return { body: { ...outcome } }
    throw outcome?.error ?? failure('unavailable', 'there is no answer for it', 'Try again.')
  }
  const items = eachApart(listIn(body, 'messages'), read)
  const messages = items.flatMap((item) => (item.ok ? [item.value] : []))
  const outcomes = await sendAll(desk, queue, messages)
  const all = mergeOutcomes<SendOutcome>(items, outcomes, (error) => ({ ok: false, error }))
  return { body: { results: all.map((outcome) => (outcome.ok ? outcome : failed(outcome.error))) } }
}

async function sendAll(desk: QueueDesk, queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
  if (messages.length === 0) return []
  const outcomes = await desk.driver.send(queue, messages)
  const sent = outcomes.filter((outcome) => outcome.ok)
  desk.tally.duplicates += sent.filter(({ duplicate }) => duplicate).length
  desk.tally.sent += sent.filter(({ duplicate }) => !duplicate).length
  return outcomes
}

function keyOf(user: QueueUser, queue: string, name: string | null): string {
  return `${user.name} ${queue} ${name ?? ''}`
}

/** A wait that was given a name ends with what there is, and not by hanging up: nothing is on its way to nobody then. */
async function receive(desk: QueueDesk, { queue, user, body, signal }: QueueQuestion): Promise<QueueAnswer> {
  const want = wantOf(body, desk.leaseMs)
  const name = waitNameOf(body)
  const stop = new AbortController()
  const key = keyOf(user, queue, name)
  if (name !== null) desk.waits.set(key, stop)
  const held = await receiveLiving(desk, queue, want, AbortSignal.any([signal, stop.signal])).finally(() => {
    if (desk.waits.get(key) === stop) desk.waits.delete(key)
  })
  desk.tally.delivered += held.length
  return {
    // The attempt travels in the receipt, for the policy; whoever changes it deceives only himself.
    body: {
      messages: held.map((message) => wireMessage({ ...message, receipt: `${message.receipt}.${message.attempt}` })),
    },
    async undo() {
      const decision = { kind: 'retry', delayMs: 0, countAsFailure: false } as const
      await desk.driver.settle(
        queue,
        held.map(({ receipt }) => ({ receipt, decision })),
      )
    },
  }
}

/** Receives, and buries what was tried as often as the policy allows: no consumer gets that. */
async function receiveLiving(
  desk: QueueDesk,
  queue: string,
  want: Want,
  signal: AbortSignal,
): Promise<readonly Held[]> {
  const { attemptsMax } = desk.retry
  const untilMs = desk.clock.monotonicMs() + want.waitMs
  for (;;) {
    const waitMs = Math.max(0, Math.ceil(untilMs - desk.clock.monotonicMs()))
    const held = await desk.driver.receive(queue, { ...want, waitMs }, signal)
    const tried = held.filter(({ attempt }) => attempt > attemptsMax)
    if (tried.length > 0) {
      const cause = `${attemptsMax} attempts were made; the last consumer vanished or ran out of time`
      const decision = { kind: 'reject', cause } as const
      await desk.driver.settle(
        queue,
        tried.map(({ receipt }) => ({ receipt, decision })),
      )
      desk.tally.rejected += tried.length
    }
    if (tried.length < held.length || held.length === 0) return held.filter(({ attempt }) => attempt <= attemptsMax)
  }
}

async function settle(desk: QueueDesk, { queue, body }: QueueQuestion): Promise<QueueAnswer> {
  const items = eachApart(listIn(isRecord(body) ? body : {}, 'settlements'), (item): Settlement => {
    const { receipt, decision } = settlementOf(item)
    const dot = receipt.lastIndexOf('.')
    return { receipt: receipt.slice(0, dot), decision: decided(desk, decision, Number(receipt.slice(dot + 1))) }
  })
  const settlements = items.flatMap((item) => (item.ok ? [item.value] : []))
  const outcomes = settlements.length === 0 ? [] : await desk.driver.settle(queue, settlements)
  for (const [index, outcome] of outcomes.entries()) count(desk.tally, settlements[index], outcome)
  const all = mergeOutcomes<SettleOutcome>(items, outcomes, (error) => ({ error }))
  const results = all.map((outcome) =>
    typeof outcome === 'string' ? { ok: outcome === 'done', outcome } : { ...failed(outcome.error), outcome: 'error' },
  )
  return { body: { results } }
}

/** What the policy says, where it was left to it. */
function decided({ retry, chance }: QueueDesk, decision: WireDecision, attempt: number): Settlement['decision'] {
  if (decision.kind !== 'by-policy') return decision
  const delayMs = retryDelayMs(retry, attempt, chance())
  if (delayMs !== null) return { kind: 'retry', delayMs, countAsFailure: true }
  const why = `${retry.attemptsMax} attempts have failed`
  return { kind: 'reject', cause: decision.cause === null ? why : `${why}: ${decision.cause}` }
}

function count(tally: QueueTally, settlement: Settlement | undefined, outcome: SettleOutcome): void {
  if (outcome === 'lost') tally.lost += 1
  if (outcome !== 'done' || settlement === undefined) return
  if (settlement.decision.kind === 'ack') tally.acked += 1
  if (settlement.decision.kind === 'retry') tally.retried += 1
  if (settlement.decision.kind === 'reject') tally.rejected += 1
}

function failed(error: SteadError): Wire {
  return { ok: false, error: problemOf(error) }
}
