/** A driver whose queues have a prefix on their server, so that several programs can share one. */
import type { QueueDriver } from '../driver.ts'
import { failure } from '../errors.ts'

/** Takes over `driver`: closing this closes it. */
export function prefixed(driver: QueueDriver, prefix: string): QueueDriver {
  const there = (queue: string): string => prefix + queue
  return {
    name: driver.name,
    server: driver.server,
    capabilities: driver.capabilities,
    limits: driver.limits,
    declare: (queue) => driver.declare(there(queue)),
    send: (queue, messages) => driver.send(there(queue), messages),
    receive: (queue, want, signal) => driver.receive(there(queue), want, signal),
    settle: (queue, settlements) => driver.settle(there(queue), settlements),
    counts: (queue) => driver.counts(there(queue)),
    peek: (queue, shelf, max) => driver.peek(there(queue), shelf, max),
    redrive: (queue, max, ids) => driver.redrive(there(queue), max, ids),
    purge: (queue, shelf) => driver.purge(there(queue), shelf),
    remove: (queue) => driver.remove(there(queue)),
    close: () => driver.close(),
  }
}

/** Throws `queue.bad-input` for what cannot stand before the names of queues. */
export function checkPrefix(prefix: string): void {
  if (/^[a-z0-9.-]{0,60}$/.test(prefix)) return
  throw failure(
    'bad-input',
    `${JSON.stringify(prefix)} cannot be a prefix`,
    'Use lower-case letters, digits, "-" and ".".',
  )
}
