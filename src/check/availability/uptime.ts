/** The uptime of a design, for each way in: expected availability, what alone takes it down, and what one more would buy. */
import type { Inventory, Workload } from '../inventory.ts'
import { assumptions } from './assumptions.ts'
import type { Assumptions } from './assumptions.ts'
import { besideOf, entriesOf, reachedFrom, structureOf } from './design.ts'
import type { Beside, Change, Entry } from './design.ts'
import { downtimeSecondsPerYear, ninesOf } from './formulas.ts'
import { highestMet, ladder } from './ladder.ts'
import type { Rung } from './ladder.ts'
import { availability, cutSets, partsOf } from './structure.ts'
import type { CutSets, Part } from './structure.ts'

export interface Improvement {
  readonly what: string
  readonly availability: number
  /** Seconds of downtime a year that it saves. */
  readonly savedSecondsPerYear: number
  /** Instances or machines that it adds. */
  readonly adds: number
  /** What they cost a month in the currency that was given; null: unpriced. */
  readonly costPerMonth: number | null
}

export interface EntryUptime {
  readonly name: string
  readonly availability: number
  readonly nines: number
  readonly downtimeSecondsPerYear: number
  readonly singles: readonly Part[]
  /** Pairs of parts, the ones that fail most often first. */
  readonly pairs: CutSets['pairs']
  readonly parts: readonly Part[]
  readonly improvements: readonly Improvement[]
  readonly rungs: readonly Rung[]
  /** Nines whose demands the design does not fail. */
  readonly demandsMet: number
}

export interface UptimeReport {
  readonly entries: readonly EntryUptime[]
  readonly assumptions: Assumptions
  /** What is not on the way of requests. */
  readonly beside: readonly Beside[]
}

export interface UptimeOptions {
  readonly figures?: Assumptions
  /** What one more machine costs a month; null: unpriced. */
  readonly machinePerMonth?: number | null
  /** Without what one more would buy, which takes most of the time. */
  readonly brief?: boolean
}

/** Most ways in that are worked out. */
const entriesMax = 50

/** Throws `check.too-complex` for a design that cannot be worked out exactly. */
export function uptimeOf(inventory: Inventory, options: UptimeOptions = {}): UptimeReport {
  const figures = options.figures ?? assumptions
  const entries = entriesOf(inventory).slice(0, entriesMax)
  return {
    entries: entries.map((entry) => uptimeOfEntry(entry, inventory, figures, options)),
    assumptions: figures,
    beside: besideOf(inventory, figures),
  }
}

function uptimeOfEntry(
  entry: Entry,
  inventory: Inventory,
  figures: Assumptions,
  { machinePerMonth = null, brief = false }: UptimeOptions,
): EntryUptime {
  const structure = structureOf(entry, inventory, figures)
  const expected = availability(structure)
  const cuts = cutSets(structure)
  const needed = reachedFrom(entry.workload, inventory)
  const rungs = ladder({ inventory, needed, cuts })
  const risk = ([a, b]: readonly [Part, Part]): number => (1 - a.availability) * (1 - b.availability)
  return {
    name: entry.name,
    availability: expected,
    nines: ninesOf(expected),
    downtimeSecondsPerYear: downtimeSecondsPerYear(expected),
    singles: [...cuts.singles].sort((a, b) => a.availability - b.availability),
    pairs: [...cuts.pairs].sort((a, b) => risk(b) - risk(a)),
    parts: partsOf(structure),
    improvements: brief ? [] : improvementsOf(entry, needed, inventory, figures, expected, machinePerMonth),
    rungs,
    demandsMet: highestMet(rungs),
  }
}

function improvementsOf(
  entry: Entry,
  needed: readonly Workload[],
  inventory: Inventory,
  figures: Assumptions,
  expected: number,
  machinePerMonth: number | null,
): readonly Improvement[] {
  const one = new Map(needed.map((workload) => [workload, 1] as const))
  const candidates: { readonly what: string; readonly change: Change; readonly adds: number }[] = [
    ...needed.map((workload) => ({
      what: workload.stateful
        ? `a standby of ${workload.name} on another machine`
        : `one more ${workload.name} on another machine`,
      change: { copies: new Map([[workload, 1]]), apart: 'node' } satisfies Change,
      adds: 1,
    })),
    { what: 'one more of everything, on other machines', change: { copies: one, apart: 'node' }, adds: needed.length },
    { what: 'one more of everything, in another zone', change: { copies: one, apart: 'zone' }, adds: needed.length },
    {
      what: 'one more of everything at a second provider',
      change: { copies: one, apart: 'zone', providers: 2 },
      adds: needed.length,
    },
    { what: 'the same copies, told to stand on different machines', change: { apart: 'node' }, adds: 0 },
  ]
  return candidates
    .map(({ what, change, adds }) => {
      const better = availability(structureOf(entry, inventory, figures, change))
      const saved = downtimeSecondsPerYear(expected) - downtimeSecondsPerYear(better)
      const costPerMonth = adds === 0 ? 0 : machinePerMonth === null ? null : machinePerMonth * adds
      return { what, availability: better, savedSecondsPerYear: saved, adds, costPerMonth }
    })
    .filter(({ savedSecondsPerYear }) => savedSecondsPerYear > 1)
    .sort((a, b) => b.savedSecondsPerYear - a.savedSecondsPerYear)
}

/** The parts that alone take something down, for a graph that is drawn: names of workloads, and of what lies under them. */
export function pointsOfFailure(report: UptimeReport): readonly string[] {
  return [...new Set(report.entries.flatMap(({ singles }) => singles.map(({ label }) => label)))]
}
