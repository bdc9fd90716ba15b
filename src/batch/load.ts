/**
 * What the parts of apps use of each node, by the hour, and what they are expected to use in the next day: so that jobs leave
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

/** Means of processors, and most bytes of memory, by the hour since 1970. */
export interface LoadRecord {
  readonly firstHour: number
  readonly cpu: readonly number[]
  readonly memory: readonly number[]
}

/** What a node said of something that runs there. */
export interface Used {
  readonly id: string
  /** Since it was started. */
  readonly cpuSeconds?: number | null
  readonly memoryBytes: number | null
}

interface NodeLoad {
  record: LoadRecord
  /** Of each instance what it had used when it was last heard of. */
  readonly last: Map<string, Used>
  hour: number
  cpuSeconds: number
  memoryBytes: number
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
      const more = (one.cpuSeconds ?? 0) - (before.get(one.id)?.cpuSeconds ?? Infinity)
      if (isSeen && more > 0) load.cpuSeconds += more
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
    const { firstHour, cpu, memory } = this.#nodes.get(node)?.record ?? noHours
    if (cpu.length < 2 * hoursInDay)
      return { load: [], reason: `${cpu.length} of the ${2 * hoursInDay} hours were seen that it takes` }
    const cores = forecast(cpu, hoursInDay, hoursInDay)
    const bytes = forecast(memory, hoursInDay, hoursInDay)
    const next = firstHour + cpu.length
    const load = Array.from({ length: hoursInDay }, (_, step): ExpectedLoad => {
      return {
        fromMs: (next + step) * hourMs,
        untilMs: (next + step + 1) * hourMs,
        cpu: Math.round(Math.max(0, cores.upper[step] ?? 0) * 1000) / 1000,
        memory: Math.round(Math.max(0, bytes.upper[step] ?? 0)),
      }
    })
    return { load: load.filter(({ untilMs }) => untilMs > nowMs), reason: `cores: ${cores.reason}` }
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
      seenMs: 0,
      heardMs: null,
    }
    this.#nodes.set(node, made)
    return made
  }

  /** Another hour has begun; answers whether the record has changed. */
  #turn(load: NodeLoad, hour: number): boolean {
    if (hour === load.hour) return false
    const { hour: ended, seenMs, cpuSeconds, memoryBytes } = load
    Object.assign(load, { hour, cpuSeconds: 0, memoryBytes: 0, seenMs: 0 })
    if (seenMs < hourMs * seenShareMin) return false
    load.record = withHour(load.record, ended, cpuSeconds / (seenMs / 1000), memoryBytes)
    return true
  }
}

const noHours: LoadRecord = { firstHour: 0, cpu: [], memory: [] }

function withHour(record: LoadRecord, hour: number, cpu: number, memory: number): LoadRecord {
  const next = record.firstHour + record.cpu.length
  // After a silence longer than what is kept everything begins anew; so it does when a clock was set back.
  if (record.cpu.length === 0 || hour - next > hoursMax || hour < next)
    return { firstHour: hour, cpu: [cpu], memory: [memory] }
  const grown = { cpu: [...record.cpu], memory: [...record.memory] }
  for (let missing = next; missing < hour; missing++)
    for (const hours of [grown.cpu, grown.memory]) hours.push(hours.at(-hoursInDay) ?? hours.at(-1) ?? 0)
  grown.cpu.push(Math.round(cpu * 1000) / 1000)
  grown.memory.push(memory)
  const dropped = Math.max(0, grown.cpu.length - hoursMax)
  return { firstHour: record.firstHour + dropped, cpu: grown.cpu.slice(dropped), memory: grown.memory.slice(dropped) }
}
