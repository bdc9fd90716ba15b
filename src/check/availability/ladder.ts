/**
 * The classic table of nines: how long each level may be down in a year, what it demands, and whether a design gives that.
 * The downtime is computed; what each level demands is judgement, and from seven nines on also the figure is an estimate: no
 * one has measured it, and an assumption that is a little wrong changes it more than the design does.
 */
import { runningContainers } from '../inventory.ts'
import type { Inventory, Workload } from '../inventory.ts'
import { instancesOf } from '../rules/availability.ts'
import { downtimeSecondsPerYear } from './formulas.ts'
import type { CutSets } from './structure.ts'

export type Answer = 'yes' | 'no' | 'unknown'

export interface Demand {
  readonly text: string
  readonly met: Answer
}

export interface Rung {
  readonly nines: number
  readonly availability: number
  readonly downtimeSecondsPerYear: number
  readonly demands: readonly Demand[]
  readonly estimate: boolean
}

/** What a design shows of itself, for one way in. */
export interface Evidence {
  readonly inventory: Inventory
  /** What the way in needs. */
  readonly needed: readonly Workload[]
  readonly cuts: CutSets
}

function judge(items: readonly Workload[], good: (workload: Workload) => Answer): Answer {
  const answers = items.map(good)
  return answers.includes('no') ? 'no' : answers.includes('unknown') ? 'unknown' : 'yes'
}

const yesNo = (holds: boolean): Answer => (holds ? 'yes' : 'no')

/** From 99 % to ten nines, each with what it demands beyond the level before. */
export function ladder({ inventory, needed, cuts }: Evidence): readonly Rung[] {
  const copies = (workload: Workload): number => instancesOf(workload, inventory) ?? 2
  const kinds = new Set(cuts.singles.map(({ kind }) => kind))
  const inside = ['instance', 'node'].some((kind) => kinds.has(kind))
  const demands: readonly (readonly Demand[])[] = [
    [
      {
        text: 'one region; what crashes is started again',
        met: judge(needed, ({ restarts }) => yesNo(restarts !== false)),
      },
      { text: 'backups that were restored once', met: 'unknown' },
    ],
    [
      {
        text: 'basic failover: everything on the way runs twice',
        met: judge(needed, (workload) => yesNo(copies(workload) > 1)),
      },
      { text: 'the two stand on different machines', met: judge(needed, ({ pod }) => yesNo(pod.spread !== 'none')) },
      { text: 'releases without a stop', met: judge(needed, ({ replacedAtOnce }) => yesNo(!replacedAtOnce)) },
    ],
    [
      {
        text: 'health checks decide who gets requests',
        met: judge(needed, ({ pod }) => yesNo(runningContainers(pod).some(({ readiness }) => readiness))),
      },
      { text: 'no program or machine alone takes it down', met: yesNo(!inside) },
      { text: 'several zones, at best regions', met: yesNo(!kinds.has('zone')) },
    ],
    [
      {
        text: 'redundancy in every layer: name resolution, provider, balancer, certificate too',
        met: yesNo(cuts.singles.length === 0),
      },
      { text: 'failover is automatic, and done every week', met: 'unknown' },
    ],
    [
      {
        text: 'no two failures together take it down',
        met: yesNo(cuts.singles.length === 0 && cuts.pairs.length === 0),
      },
      { text: 'chaos tests in production, canaries for every release', met: 'unknown' },
    ],
    [{ text: 'no change by hand at any time; releases of code and of data apart', met: 'unknown' }],
    [
      {
        text: 'several providers at once, with nothing in common',
        met: yesNo(!kinds.has('provider') && !kinds.has('dns')),
      },
    ],
    [{ text: 'independent implementations of what must not fail', met: 'unknown' }],
    [{ text: 'what carries telephone calls and payments, and tens of people for each program', met: 'unknown' }],
  ]
  return demands.map((list, index) => {
    const nines = index + 2
    const availability = 1 - 10 ** -nines
    return {
      nines,
      availability,
      downtimeSecondsPerYear: downtimeSecondsPerYear(availability),
      demands: list,
      estimate: nines >= 7,
    }
  })
}

/** The highest level that the design does not fail, by what it shows; 1 when it fails the first. */
export function highestMet(rungs: readonly Rung[]): number {
  let highest = 1
  for (const rung of rungs) {
    if (rung.demands.some(({ met }) => met === 'no')) break
    highest = rung.nines
  }
  return highest
}
