/** What the cases share: waiting for what holds, taking an exact number of messages, asserting an error's code. */
import assert from 'node:assert/strict'
import { isSteadError, sleep, systemClock } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { Message } from './message.ts'
import type { QueueEvent } from './metrics.ts'
import type { Queue } from './queue.ts'
import type { Queues } from './queues.ts'

/** Long enough for a loaded machine; everything ends at once when it holds. */
export const patienceMs = 30_000
/** A lease that is let run out: a whole second, what the coarsest server knows. */
export const shortLeaseMs = 1000

/** Resolves when `holds` does. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + patienceMs
  while (!(await holds())) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited too long: ${what}`)
    await sleep(systemClock, 10)
  }
}

/** Exactly this many messages, taken and held. */
export async function take<T>(queue: Queue<never, T>, count: number, leaseMs = 30_000): Promise<readonly Message<T>[]> {
  const messages: Message<T>[] = []
  const endMs = systemClock.monotonicMs() + patienceMs
  while (messages.length < count) {
    messages.push(...(await queue.receive({ max: Math.min(count - messages.length, 100), waitMs: 500, leaseMs })))
    assert.ok(systemClock.monotonicMs() < endMs, `got ${messages.length} of ${count} messages`)
  }
  return messages
}

/** Exactly one. */
export async function takeOne<T>(queue: Queue<never, T>, leaseMs = 30_000): Promise<Message<T>> {
  const [message] = await take(queue, 1, leaseMs)
  assert.ok(message !== undefined)
  return message
}

/** Nothing is there to take now. */
export async function assertNothing<T>(queue: Queue<never, T>, waitMs = 200): Promise<void> {
  const messages = await queue.receive({ waitMs })
  assert.deepEqual(
    messages.map(({ id }) => id),
    [],
    'there is a message that should not be there',
  )
}

/** Rejects with the error of this code. */
export async function refuses(code: string, call: () => Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(isSteadError(error), String(error))
    assert.equal(error.code, code, error.message)
    return true
  })
}

/**
 * A server that answers nothing any more is told of, and work goes on when it answers again. `events` is what the queues
 * tell of; their patience is short.
 */
export async function outlivesSilence(
  queues: Queues,
  events: readonly QueueEvent[],
  server: { freeze(): void; thaw(): void },
): Promise<void> {
  const queue = await queues.declare('mail', jsonCodec)
  const consumer = queue.consume(() => {})
  await queue.send(1)
  await until('the first is done', () => queue.metrics().acked === 1)
  server.freeze()
  try {
    await refuses('queue.outcome-unknown', () => queue.send(2))
    await until('the consumer tells that nothing answers', () => events.some(({ kind }) => kind === 'not-received'))
  } finally {
    server.thaw()
  }
  await queue.send(3)
  await until('it goes on', () => queue.metrics().acked >= 2)
  await consumer.drain()
}

/** `count` different values. */
export function values(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index)
}

/** Calls a method as a program without types could. */
export function untyped(object: object, method: string, ...args: readonly unknown[]): Promise<unknown> {
  return Reflect.apply(Reflect.get(object, method), object, args)
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** The same in any order. */
export function sorted(list: readonly Json[]): readonly string[] {
  return list.map((item) => JSON.stringify(item)).sort()
}
