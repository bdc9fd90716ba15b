/**
 * The time line as a drawing: what stands in each row, and which lines pass it. Pure. Newest first. Invariant: every arc of
 * a return begins at its release and ends at the one that it went back to; two that overlap have lanes of their own, as far
 * as there are any.
 */
import type { BranchStatus, CheckpointStatus } from '../../operator/index.ts'
import type { ReleaseView } from '../release-wire.ts'

/** A row of the time line. */
export type RailItem =
  | { readonly kind: 'release'; readonly release: ReleaseView }
  /** Hangs off the release below it. */
  | { readonly kind: 'branch'; readonly branch: BranchStatus }
  /** The data that a return left; nothing is served from it. */
  | { readonly kind: 'left'; readonly copy: string; readonly by: number; readonly atMs: number }
  /** One that a person made, while the release below it served. */
  | { readonly kind: 'checkpoint'; readonly checkpoint: Omit<CheckpointStatus, 'schema'> }

/** What is drawn beside a row. Lane 0 is the time line itself. */
export interface RailRow {
  readonly item: RailItem
  /** Whether the time line goes on above and below. */
  readonly above: boolean
  readonly below: boolean
  /** Whether what it was about there has been left behind. */
  readonly faintAbove: boolean
  readonly faintBelow: boolean
  /** Arcs that pass. */
  readonly pass: readonly Arc[]
  /** The arc that begins here. */
  readonly leaves: Arc | null
  /** Arcs that end here. */
  readonly arrive: readonly Arc[]
}

export interface Arc {
  readonly lane: number
  readonly withData: boolean
}

/** Lanes beside the time line. */
export const lanesMax = 3

export interface RailOptions {
  readonly releases: readonly ReleaseView[]
  readonly checkpoints: readonly Omit<CheckpointStatus, 'schema'>[]
  readonly branches: readonly BranchStatus[]
  readonly live: number
}

/** The rows, newest first. `releases` in any order. */
export function railOf(options: RailOptions): readonly RailRow[] {
  const items = itemsOf(options)
  const rowOf = new Map(items.flatMap((item, row) => (item.kind === 'release' ? [[item.release.number, row]] : [])))
  const arcs = arcsOf(items, rowOf)
  const leftBehind = (row: number): boolean => arcs.some(({ from, to, arc }) => arc.withData && from < row && row < to)
  return items.map((item, row): RailRow => {
    const starts = arcs.find(({ from }) => from === row) ?? null
    const isOff = leftBehind(row)
    return {
      item,
      above: row > 0,
      below: row < items.length - 1,
      faintAbove: isOff || arcs.some(({ to, arc }) => to === row && arc.withData),
      faintBelow: isOff || starts?.arc.withData === true,
      pass: arcs.filter(({ from, to }) => from < row && row < to).map(({ arc }) => arc),
      leaves: starts?.arc ?? null,
      arrive: arcs.filter(({ to }) => to === row).map(({ arc }) => arc),
    }
  })
}

function itemsOf({ releases, checkpoints, branches, live }: RailOptions): readonly RailItem[] {
  const left = releases.flatMap(({ number, report, createdAtMs, rollout }) =>
    report === null || report.branch === null
      ? []
      : [{ copy: report.branch, by: number, atMs: createdAtMs, of: rollout?.old ?? report.from }],
  )
  const numbers = new Set(releases.map(({ number }) => number))
  const known = (number: number): number => (numbers.has(number) ? number : live)
  const releaseOf = (copy: string | null): number => {
    const checkpoint = checkpoints.find(({ name }) => name === copy)
    return known(checkpoint?.release ?? left.find((one) => one.copy === copy)?.of ?? live)
  }
  return releases
    .toSorted((a, b) => b.number - a.number)
    .flatMap((release): RailItem[] => {
      const { number } = release
      return [
        ...left.filter(({ of }) => known(of) === number).map((one) => ({ kind: 'left', ...one }) as const),
        ...branches
          .filter(({ from }) => releaseOf(from) === number)
          .map((branch) => ({ kind: 'branch', branch }) as const),
        ...checkpoints
          .filter(({ before, release: of }) => before === null && known(of) === number)
          .toSorted((a, b) => b.createdAtMs - a.createdAtMs)
          .map((checkpoint) => ({ kind: 'checkpoint', checkpoint }) as const),
        { kind: 'release', release },
      ]
    })
}

interface PlacedArc {
  readonly from: number
  readonly to: number
  readonly arc: Arc
}

function arcsOf(items: readonly RailItem[], rowOf: ReadonlyMap<number, number>): readonly PlacedArc[] {
  const placed: PlacedArc[] = []
  for (const [from, item] of items.entries()) {
    if (item.kind !== 'release' || item.release.backTo === null) continue
    const to = rowOf.get(item.release.backTo)
    // A return that was refused or called off led nowhere.
    const isDone = ['returned', 'taken-back', 'rolling-out'].includes(item.release.state)
    if (to === undefined || to <= from || !isDone) continue
    const taken = placed.filter((other) => other.from <= to && from <= other.to).map(({ arc }) => arc.lane)
    const lanes = Array.from({ length: lanesMax }, (_, index) => index + 1)
    const lane = lanes.find((one) => !taken.includes(one)) ?? lanesMax
    placed.push({ from, to, arc: { lane, withData: item.release.rollout?.withData === true } })
  }
  return placed
}
