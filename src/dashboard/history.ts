/**
 * What the dashboard remembers of an app while the platform runs, pure: since when its parts have been ready, samples for
 * the plots, and what failed while a fault lasted. Invariants: no more than `samplesMax` samples and `partsMax` parts;
 * an uptime never exceeds the time that has passed.
 */
import type { EdgeTraffic, PartStatus, Status } from '../operator/index.ts'
import type { FaultView, Sample, Uptime } from './wire.ts'

/** Between two samples, milliseconds, and how many are kept: 15 minutes. */
export const sampleMs = 5000
export const samplesMax = 180
/** How much later than what they count gateways may tell of it. */
const lateMs = 3000
/** More parts than any graph has. */
const partsMax = 1000

interface Ready {
  readonly firstMs: number
  readyMs: number
  atMs: number
  ready: boolean
}

export class History {
  readonly #ready = new Map<string, Ready>()
  readonly #samples: Sample[] = []
  /** Failed requests that were counted when a fault began, and how many failed while it lasted. */
  readonly #faults = new Map<string, { readonly base: number; failed: number }>()
  #cpu = new Map<string, number>()
  #metrics = new Map<string, Readonly<Record<string, number>>>()
  #sampledMs = Number.NEGATIVE_INFINITY

  /** Takes a look at the app. `nowMs` never goes back. */
  observe(status: Status, nowMs: number): void {
    const parts = new Map<string, boolean>()
    for (const { part, kind, phase } of status.parts) {
      if (kind === 'job') continue
      parts.set(part, (parts.get(part) ?? false) || phase === 'ready')
    }
    for (const part of this.#ready.keys()) if (!parts.has(part)) this.#ready.delete(part)
    for (const [part, isReady] of parts) this.#observePart(part, isReady && status.wanted, nowMs)
    this.#observeFaults(status, nowMs)
    if (nowMs - this.#sampledMs >= sampleMs) this.#sample(status, nowMs)
  }

  #observePart(part: string, ready: boolean, nowMs: number): void {
    const known = this.#ready.get(part)
    if (known === undefined) {
      // Counted from the first time it was ready: a start is no outage.
      if (ready && this.#ready.size < partsMax)
        this.#ready.set(part, { firstMs: nowMs, readyMs: 0, atMs: nowMs, ready: true })
      return
    }
    if (known.ready === ready) return
    if (known.ready) known.readyMs += nowMs - known.atMs
    known.atMs = nowMs
    known.ready = ready
  }

  #observeFaults({ faults, traffic }: Status, nowMs: number): void {
    for (const id of this.#faults.keys()) if (!faults.some((fault) => fault.id === id)) this.#faults.delete(id)
    const errors = failedOutside(traffic)
    for (const fault of faults) {
      const known = this.#faults.get(fault.id)
      if (known === undefined) {
        if (fault.endedMs === null) this.#faults.set(fault.id, { base: errors, failed: 0 })
      } else if (fault.endedMs === null || nowMs - fault.endedMs < lateMs) {
        // A counter that has started anew is smaller than its base.
        known.failed = Math.max(known.failed, errors - known.base)
      }
    }
  }

  #sample({ parts, traffic }: Status, nowMs: number): void {
    const seconds = (nowMs - this.#sampledMs) / 1000
    this.#sampledMs = nowMs
    const memoryBytes = summed(parts, (part) => part.memoryBytes)
    const before = this.#cpu
    this.#cpu = new Map(
      parts.flatMap((part) => (part.cpuSeconds === null ? [] : [[keyOf(part), part.cpuSeconds] as const])),
    )
    const cpuCores = summed(parts, (part) => {
      const used = before.get(keyOf(part))
      if (part.cpuSeconds === null || used === undefined) return null
      return Math.max(0, part.cpuSeconds - used) / seconds
    })
    const counted = this.#counted(parts, seconds)
    const outside = traffic.filter(({ from }) => from === null)
    const rate = (of: (edge: EdgeTraffic) => number): number | null =>
      outside.length === 0 ? null : outside.reduce((sum, edge) => sum + of(edge), 0)
    this.#samples.push({
      atMs: nowMs,
      memoryBytes,
      cpuCores,
      requestsPerSecond: rate((edge) => edge.requestsPerSecond),
      errorsPerSecond: rate((edge) => edge.errorsPerSecond),
      ...(Object.keys(counted).length === 0 ? {} : { counted }),
    })
    if (this.#samples.length > samplesMax) this.#samples.shift()
  }

  /** What resources tell of themselves, and how fast what they count has grown; nothing of a counter that has started anew. */
  #counted(parts: Status['parts'], seconds: number): Record<string, Record<string, number>> {
    const before = this.#metrics
    this.#metrics = new Map(
      parts.flatMap(({ part, metrics }) => (metrics === undefined ? [] : [[part, metrics] as const])),
    )
    const seen: Record<string, Record<string, number>> = {}
    for (const [part, metrics] of this.#metrics) {
      const was = before.get(part)
      const told = Object.entries(metrics).flatMap(([name, value]) => {
        if (!name.endsWith('_total')) return [[name, value] as const]
        const then = was?.[name]
        return then === undefined || value < then ? [] : [[name, (value - then) / seconds] as const]
      })
      seen[part] = Object.fromEntries(told)
    }
    return seen
  }

  samples(): readonly Sample[] {
    return this.#samples
  }

  uptime(): Record<string, Uptime> {
    return Object.fromEntries(
      [...this.#ready].map(([part, { firstMs, readyMs, atMs, ready }]) => [
        part,
        { readyMs, totalMs: atMs - firstMs, atMs, ready },
      ]),
    )
  }

  faults(status: Status): Record<string, FaultView> {
    return Object.fromEntries(
      status.faults.map((fault) => [
        fault.id,
        { status: fault, requestsFailed: this.#faults.get(fault.id)?.failed ?? null },
      ]),
    )
  }
}

/** The key of a line of the status: two instances of one part are two. */
export function keyOf({ part, instance }: Pick<PartStatus, 'part' | 'instance'>): string {
  return instance ?? part
}

function failedOutside(traffic: readonly EdgeTraffic[]): number {
  return traffic.filter(({ from }) => from === null).reduce((sum, { errors }) => sum + errors, 0)
}

/** Adds up what the instances of each part use. */
function summed(parts: readonly PartStatus[], of: (part: PartStatus) => number | null): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const part of parts) {
    const value = of(part)
    if (value !== null) sums[part.part] = (sums[part.part] ?? 0) + value
  }
  return sums
}
