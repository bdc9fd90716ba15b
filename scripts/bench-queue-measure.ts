/** What the benches of queues share: how rates and CPU are taken, and how messages are sent and processed through the library. */
import { json } from '../src/queue/index.ts'
import type { Queue, Queues } from '../src/queue/index.ts'
import type { Json } from '../src/base/index.ts'

/** 256 bytes as JSON. */
export const body: string = 'x'.repeat(254)

/** A value as a program without the library writes it and reads it again. */
export const textOf = (): string => JSON.stringify(body)
export const valueOf = (text: string): Json => JSON.parse(text) as Json

export interface Rate {
  readonly perSecond: number
  /** Of this process with all its threads; servers are others. */
  readonly cpuMicroseconds: number
}

/** The server's own client on a queue of its own. */
export interface Raw extends AsyncDisposable {
  send(count: number): Promise<Rate>
  take(count: number): Promise<Rate>
}

/** The rate of `work`, which handles `count` messages. */
export async function measure(count: number, work: () => Promise<unknown>): Promise<Rate> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  await work()
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: count / seconds, cpuMicroseconds: (user + system) / count }
}

/** Calls `one` for `count` messages, `callers` at a time. */
export async function inFlight(count: number, callers: number, one: () => Promise<unknown>): Promise<void> {
  let left = count
  const caller = async (): Promise<void> => {
    while ((left -= 1) >= 0) await one()
  }
  await Promise.all(Array.from({ length: callers }, caller))
}

/** Sends, with so many callers at once. */
export function sends(queue: Queue<Json, Json>, callers: number, count: number): Promise<Rate> {
  return measure(count, () => inFlight(count, callers, () => queue.send(body)))
}

/** Messages handled in groups of up to `size`, `concurrency` in hand. The handler does nothing, as the loops beside it do. */
export function processed(
  queue: Queue<Json, Json>,
  size: number,
  count: number,
  concurrency: number = size * 2,
): Promise<Rate> {
  return measure(count, async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let left = count
    const handler = (messages: readonly unknown[]): void => {
      if ((left -= messages.length) === 0) resolve()
    }
    const consumer = queue.consumeBatch(handler, { sizeMax: size, concurrency })
    await promise
    // A timer that looks would be a part of what is measured.
    await queue.idle()
    void consumer.drain()
  })
}

/** A queue of these that has nothing in it. */
export async function fresh(queues: Queues, name: string): Promise<Queue<Json, Json>> {
  await queues.remove(name)
  return queues.declare(name, json)
}

export function shown(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')}/s`
}

export function median(rates: readonly Rate[]): Rate {
  const middle = (of: (rate: Rate) => number): number =>
    rates.map(of).toSorted((a, b) => a - b)[Math.floor(rates.length / 2)] ?? Number.NaN
  return { perSecond: middle(({ perSecond }) => perSecond), cpuMicroseconds: middle((rate) => rate.cpuMicroseconds) }
}
