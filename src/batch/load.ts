/**
 * What the parts of apps use of each node and of its link to the world, by the hour, and what they are expected to use in the next day: so that jobs leave
 * it to them, where the node's owner wants that. Pure.
 *
 * Invariants: hours follow one another without a gap (one that was not seen is as a day before, else as the one before it), and
 * no more are kept than `hoursMax`; nothing is expected before two days were seen.
 */
import { type ExpectedLoad, forecast } from '../scheduler/index.ts'

const hourMs = 3_600_000
const hoursInDay = 24
/** Two weeks. */
const hoursMax = 336
/** Of an hour: what was seen for less says nothing of it. */
const seenShareMin = 0.5
/** Instances of one node that are followed. */
const followedMax = 10_000

/** Means of processors, most bytes of memory, and means of the link, by the hour since 1970. */
export interface LoadRecord {
  readonly firstHour: number
  readonly cpu: readonly number[]
  readonly memory: readonly number[]
  /** Bits per second, of the way on which more went; left out by an earlier release. */
  readonly network?: readonly number[]
}

/** What a node said of something that runs there. */
export interface Used {
  readonly id: string
  /** Since it was started. */
  readonly cpuSeconds?: number | null
  readonly memoryBytes: number | null
  /** By its link to the outside, since that was made. */
  readonly carried?: { readonly sentBytes: number; readonly receivedBytes: number }
}

interface NodeLoad {
  record: LoadRecord
  /** Of each instance what it had used when it was last heard of. */
  readonly last: Map<string, Used>
  hour: number
  cpuSeconds: number
  memoryBytes: number
  sentBytes: number
  receivedBytes: number
  seenMs: number
  heardMs: number | null
}

export class LoadBook {
  readonly #nodes = new Map<string, NodeLoad>()

  restore(records: ReadonlyMap<string, LoadRecord>): void {
    for (const [node, record] of records) this.#of(node).record = record
  }

  /** A node has said what runs there uses; `full`: there is nothing else. Answers the record, if an hour has gone by. */
  take(node: string, { full, used }: { full: boolean; used: readonly Used[] }, nowMs: number): LoadRecord | null {
    const load = this.#of(node)
    const sinceMs = load.heardMs === null ? Infinity : nowMs - load.heardMs
    load.heardMs = nowMs
    const before = full ? new Map(load.last) : load.last
    if (full) load.last.clear()
    // Counted in the hour in which it began; what came with a silence was not seen.
    const isSeen = sinceMs >= 0 && sinceMs < hourMs
    if (isSeen) load.seenMs += sinceMs
    for (const one of used) {
      const last = before.get(one.id)
      if (isSeen) {
        load.cpuSeconds += grown(one.cpuSeconds, last?.cpuSeconds)
        load.sentBytes += grown(one.carried?.sentBytes, last?.carried?.sentBytes)
        load.receivedBytes += grown(one.carried?.receivedBytes, last?.carried?.receivedBytes)
      }
      if (load.last.size < followedMax || load.last.has(one.id)) load.last.set(one.id, one)
    }
    const ended = this.#turn(load, Math.floor(nowMs / hourMs))
    const memory = [...load.last.values()].reduce((sum, { memoryBytes }) => sum + (memoryBytes ?? 0), 0)
    load.memoryBytes = Math.max(load.memoryBytes, memory)
    return ended ? load.record : null
  }

  /** It is not heard of: what comes after starts anew. */
  away(node: string): void {
    const load = this.#nodes.get(node)
    if (load !== undefined) load.heardMs = null
  }

  forget(node: string): void {
    this.#nodes.delete(node)
  }

  /** What it will use in the next day, hour by hour, and how sure that is; `load` is empty before two days were seen. */
  expected(node: string, nowMs: number): { readonly load: readonly ExpectedLoad[]; readonly reason: string } {
    const { firstHour, cpu, memory, network = [] } = this.#nodes.get(node)?.record ?? noHours
    if (cpu.length < 2 * hoursInDay)
      return { load: [], reason: `${cpu.length} of the ${2 * hoursInDay} hours were seen that it takes` }
    const cores = forecast(cpu, hoursInDay, hoursInDay)
    const bytes = forecast(memory, hoursInDay, hoursInDay)
    // A link is used as it ever was by who has used it all the time; nothing is expected of one that was not seen so long.
    const bits = network.length === cpu.length ? forecast(network, hoursInDay, hoursInDay) : null
    const next = firstHour + cpu.length
    const load = Array.from({ length: hoursInDay }, (_, step): ExpectedLoad => {
      return {
        fromMs: (next + step) * hourMs,
        untilMs: (next + step + 1) * hourMs,
        cpu: Math.round(Math.max(0, cores.upper[step] ?? 0) * 1000) / 1000,
        memory: Math.round(Math.max(0, bytes.upper[step] ?? 0)),
        network: Math.round(Math.max(0, bits?.upper[step] ?? 0)),
      }
    })
    const reason = `cores: ${cores.reason}${bits === null ? '' : `; link, bit/s: ${bits.reason}`}`
    return { load: load.filter(({ untilMs }) => untilMs > nowMs), reason }
  }

  #of(node: string): NodeLoad {
    const known = this.#nodes.get(node)
    if (known !== undefined) return known
    const made: NodeLoad = {
      record: noHours,
      last: new Map(),
      hour: 0,
      cpuSeconds: 0,
      memoryBytes: 0,
      sentBytes: 0,
      receivedBytes: 0,
      seenMs: 0,
      heardMs: null,
    }
    this.#nodes.set(node, made)
    return made
  }

  /** Another hour has begun; answers whether the record has changed. */
  #turn(load: NodeLoad, hour: number): boolean {
    if (hour === load.hour) return false
    const { hour: ended, seenMs, cpuSeconds, memoryBytes, sentBytes, receivedBytes } = load
    Object.assign(load, { hour, cpuSeconds: 0, memoryBytes: 0, sentBytes: 0, receivedBytes: 0, seenMs: 0 })
    if (seenMs < hourMs * seenShareMin) return false
    const seconds = seenMs / 1000
    const network = Math.round((Math.max(sentBytes, receivedBytes) * 8) / seconds)
    const cpu = Math.round((cpuSeconds / seconds) * 1000) / 1000
    load.record = withHour(load.record, ended, { cpu, memory: memoryBytes, network })
    return true
  }
}

const noHours: LoadRecord = { firstHour: 0, cpu: [], memory: [], network: [] }

/** By how much a count has grown; nothing where it is not known from when, or began anew. */
function grown(now: number | null | undefined, before: number | null | undefined): number {
  return Math.max(0, (now ?? 0) - (before ?? Infinity))
}

interface Hour {
  readonly cpu: number
  readonly memory: number
  readonly network: number
}

function withHour(record: LoadRecord, hour: number, { cpu, memory, network }: Hour): LoadRecord {
  const next = record.firstHour + record.cpu.length
  // After a silence longer than what is kept everything begins anew; so it does when a clock was set back.
  if (record.cpu.length === 0 || hour - next > hoursMax || hour < next)
    return { firstHour: hour, cpu: [cpu], memory: [memory], network: [network] }
  // An earlier release did not look at the link: as far as anybody knows it carried nothing.
  const carried = record.network ?? record.cpu.map(() => 0)
  const missing = hour - next
  const extended = (hours: readonly number[], last: number): number[] => {
    const longer = [...hours]
    for (let left = missing; left > 0; left--) longer.push(longer.at(-hoursInDay) ?? longer.at(-1) ?? 0)
    longer.push(last)
    return longer.slice(-hoursMax)
  }
  const hours = {
    cpu: extended(record.cpu, cpu),
    memory: extended(record.memory, memory),
    network: extended(carried, network),
  }
  return { firstHour: hour + 1 - hours.cpu.length, ...hours }
}
