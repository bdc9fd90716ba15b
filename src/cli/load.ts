/**
 * What every instance uses, from what the platform says over and over. Pure.
 *
 * Invariants: a rate is over the time in which the counter was seen to move; an instance that was not seen twice has none.
 */
import type { PartStatus, Status } from '../operator/index.ts'

/** One instance, or a part that has none. */
export interface Load {
  readonly app: string
  readonly part: string
  readonly kind: PartStatus['kind']
  /** Null: a resource, or a part without an instance. */
  readonly instance: string | null
  readonly phase: PartStatus['phase']
  /** Cores in use; null where nobody can tell. */
  readonly cores: number | null
  readonly memoryBytes: number | null
  readonly restarts: number
  /** Requests to the part, all its instances together; null where nobody counts them. */
  readonly requestsPerSecond: number | null
  readonly errorsPerSecond: number | null
  readonly p99Ms: number | null
  /** Messages that wait in a queue; null for what is none. */
  readonly waiting: number | null
  /** Whose debuggers are in it. */
  readonly debuggers: readonly string[]
}

/** What was seen of a counter of processor time. */
interface Counter {
  readonly atMs: number
  readonly seconds: number
  readonly cores: number | null
}

/** Longer than nodes look at what programs use: a counter that stands still for so long belongs to a program that does. */
const restMs = 5000

export class Loads {
  readonly #counters = new Map<string, Counter>()

  /** Takes what was said at a moment of a monotonic clock, and answers what is used then. */
  of(status: Status, nowMs: number): readonly Load[] {
    return status.parts.map((part) => {
      const { requests, errors, p99Ms } = askedOf(status, part.part)
      return {
        app: status.app,
        part: part.part,
        kind: part.kind,
        instance: part.instance,
        phase: part.phase,
        cores: this.#cores(`${status.app}/${part.instance ?? part.part}/${part.pid ?? ''}`, part.cpuSeconds, nowMs),
        memoryBytes: part.memoryBytes,
        restarts: part.restarts,
        requestsPerSecond: requests,
        errorsPerSecond: errors,
        p99Ms,
        waiting: part.metrics?.['queue_ready'] ?? null,
        debuggers: (part.debuggers ?? []).map(({ by }) => by),
      }
    })
  }

  #cores(key: string, seconds: number | null, nowMs: number): number | null {
    if (seconds === null) return null
    const before = this.#counters.get(key)
    const isNew = before === undefined || seconds < before.seconds
    if (!isNew && seconds === before.seconds && nowMs - before.atMs < restMs) return before.cores
    const cores = isNew ? null : (seconds - before.seconds) / Math.max(0.001, (nowMs - before.atMs) / 1000)
    this.#counters.set(key, { atMs: nowMs, seconds, cores })
    return cores
  }
}

/** What the edges that lead to a part carry. */
function askedOf(
  { traffic }: Status,
  part: string,
): { readonly requests: number | null; readonly errors: number | null; readonly p99Ms: number | null } {
  const edges = traffic.filter(({ to }) => to === part)
  if (edges.length === 0) return { requests: null, errors: null, p99Ms: null }
  const slow = edges.flatMap(({ p99Ms }) => p99Ms ?? [])
  return {
    requests: edges.reduce((sum, { requestsPerSecond }) => sum + requestsPerSecond, 0),
    errors: edges.reduce((sum, { errorsPerSecond }) => sum + errorsPerSecond, 0),
    p99Ms: slow.length === 0 ? null : Math.max(...slow),
  }
}

/** The orders in which they can be shown. */
export const loadOrders = ['cpu', 'memory', 'requests', 'name'] as const
export type LoadOrder = (typeof loadOrders)[number]

/** Those that use most first; by name they stay where they are. */
export function ordered(loads: readonly Load[], by: LoadOrder): readonly Load[] {
  if (by === 'name') return loads
  const value = ({ cores, memoryBytes, requestsPerSecond }: Load): number =>
    (by === 'cpu' ? cores : by === 'memory' ? memoryBytes : requestsPerSecond) ?? -1
  return loads.toSorted((a, b) => value(b) - value(a))
}
