/**
 * What became of each release, and which way back there is to one. Invariant: a return with data leads to the state that was
 * kept when its release last gave way to another, or it is refused.
 */
import { SteadError } from '../base/index.ts'
import type { Migrates, Rollout } from './rollout.ts'
import { shapeOf } from './shape.ts'

/** A release as its keeper has it: with the rollout that made it, or null where it was put in place without one. */
export interface Kept {
  /** From 1, growing. */
  readonly number: number
  /** The release whose code it brought back; null: it is no return. */
  readonly backTo: number | null
  readonly rollout: Rollout | null
}

/**
 * Where a release stands. rolling-out: its rollout is under way. live: it serves. replaced: it served until another did.
 * taken-back: it was let in and did not stay. refused: it never was let in.
 */
export type ReleaseState = 'rolling-out' | 'live' | 'replaced' | 'taken-back' | 'refused'

/** What became of a release. */
export interface Release {
  readonly number: number
  readonly state: ReleaseState
  /** Why it was refused or taken back; null otherwise. */
  readonly reason: string | null
  /** The release that served when its rollout began; null at the very first. */
  readonly after: number | null
  readonly backTo: number | null
  /** Of a return: whether the data went back too. */
  readonly withData: boolean
  /** What the data is kept as that it took over: a checkpoint, or the branch that a return left; null: nothing was kept. */
  readonly checkpoint: string | null
  readonly migrates: Migrates
  /** Whether second halves have run: from then on releases before it cannot work on this data. */
  readonly contracted: boolean
}

/** What became of each release, sorted by number. `live` is the number of the one that serves. */
export function historyOf(kept: readonly Kept[], live: number): readonly Release[] {
  const releases: Release[] = []
  for (const { number, backTo, rollout } of kept.toSorted((a, b) => a.number - b.number)) {
    const before = releases.findLast(({ state }) => took(state))?.number ?? null
    const deploy = rollout?.kind === 'deploy' ? rollout : null
    const outcome = rollout?.outcome ?? null
    releases.push({
      number,
      state: stateOf(rollout, number === live),
      reason: outcome !== null && 'reason' in outcome ? outcome.reason : null,
      after: rollout === null ? before : rollout.old,
      backTo,
      withData: rollout?.kind === 'return' && rollout.withData,
      checkpoint: rollout?.kind === 'return' ? rollout.branch : (deploy?.checkpoint ?? null),
      migrates: deploy?.migrates ?? 'none',
      contracted:
        deploy?.contracts === true &&
        deploy.migrates !== 'stop' &&
        outcome?.kind === 'confirmed' &&
        outcome.left === null,
    })
  }
  return releases
}

function stateOf(rollout: Rollout | null, isLive: boolean): ReleaseState {
  if (rollout !== null && rollout.outcome === null) return 'rolling-out'
  // Also one that had to go and could not: it serves.
  if (isLive) return 'live'
  if (rollout === null || rollout.outcome === null) return 'replaced'
  const { kind, outcome } = rollout
  if (outcome.kind === 'refused') return 'refused'
  if (kind === 'deploy' && (outcome.kind === 'taken-back' || outcome.kind === 'handed-over')) return 'taken-back'
  if (shapeOf(rollout).runs === 'new') return 'replaced'
  // Stuck, on the way back.
  return kind === 'deploy' ? 'taken-back' : 'refused'
}

/** The release of that number. Throws `release.unknown`. */
export function releaseOf(releases: readonly Release[], number: number): Release {
  const found = releases.find((release) => release.number === number)
  if (found !== undefined) return found
  const numbers = releases.map((release) => release.number)
  const there =
    numbers.length === 0 ? 'there is none yet' : `there are ${Math.min(...numbers)} to ${Math.max(...numbers)}`
  throw new SteadError({
    code: 'release.unknown',
    message: `there is no release ${number}: ${there}`,
    hint: 'See them with `stead releases`.',
  })
}

/** The release that serves; null before the first. */
export function liveOf(releases: readonly Release[]): Release | null {
  return releases.findLast((release) => release.state === 'live') ?? null
}

/** The release to go back to when none is named: the one before what serves, a return counting as what it went back to. Throws `release.none-before`. */
export function previousOf(releases: readonly Release[]): Release {
  const live = liveOf(releases)
  const origin = live?.backTo === null || live === null ? live : releaseOf(releases, live.backTo)
  const before = origin === null || origin.after === null ? null : releaseOf(releases, origin.after)
  if (before !== null) return before
  throw new SteadError({
    code: 'release.none-before',
    message: live === null ? 'no release serves' : `there is no release before ${live.number}`,
    hint: 'Deploy the app file as it should be.',
  })
}

/**
 * The copy whose state a return with data to `target` brings back: what was kept when `target` was last replaced. `copies`
 * are the names of those that are still there. Throws `release.unknown`, `release.not-served`, `release.already-live`,
 * `release.data-gone`.
 */
export function checkpointFor(releases: readonly Release[], target: number, copies: ReadonlySet<string>): string {
  const release = servedOnce(releases, target)
  // A release that was taken back, code only, is among them: the data from before it can still be had.
  const next = releases.findLast(({ after, state }) => after === target && took(state))
  if (next === undefined && release.state === 'live') throw alreadyLive(target)
  if (next !== undefined && next.checkpoint !== null && copies.has(next.checkpoint)) return next.checkpoint
  const why =
    next === undefined || next.checkpoint === null
      ? 'nothing was kept when it was replaced'
      : `${next.checkpoint} was deleted`
  throw new SteadError({
    code: 'release.data-gone',
    message: `the data of release ${target} is gone: ${why}`,
    hint: 'Go back with `--code-only`, or restore a backup with `stead restore`. Nothing was changed.',
  })
}

/**
 * Checks that the code of `target` can work on the data as it is. Throws `release.unknown`, `release.not-served`,
 * `release.already-live`, `release.schema-moved`.
 */
export function assertCodeOnly(releases: readonly Release[], target: number): void {
  if (servedOnce(releases, target).state === 'live') throw alreadyLive(target)
  const known = schemasReachable(releases)
  if (known.includes(target)) return
  const barrier = releases.find((release) => release.number === known.at(-1))
  const why = barrier === undefined ? 'no release serves' : `release ${barrier.number} has changed the schema`
  throw new SteadError({
    code: 'release.schema-moved',
    message: `the code of release ${target} cannot work on the data as it is: ${why}`,
    hint: `Go back with \`stead rollback ${target} --with-data\`. Nothing was changed.`,
  })
}

/** Releases whose code works on the live data, from the live one back until one whose schema the one before cannot work with. */
function schemasReachable(releases: readonly Release[]): number[] {
  const byNumber = new Map(releases.map((release) => [release.number, release]))
  const reached: number[] = []
  let current = liveOf(releases) ?? undefined
  while (current !== undefined && !reached.includes(current.number)) {
    reached.push(current.number)
    // With its data, a release has come back as it was; what it had come after is what it can work with.
    const same: Release | undefined =
      current.backTo !== null && current.withData ? byNumber.get(current.backTo) : undefined
    if (same !== undefined) {
      current = same
      continue
    }
    if (current.migrates === 'stop' || current.contracted || current.after === null) break
    current = byNumber.get(current.after)
  }
  return reached
}

function servedOnce(releases: readonly Release[], target: number): Release {
  const release = releaseOf(releases, target)
  if (release.state === 'live' || release.state === 'replaced') return release
  const was = { 'rolling-out': 'is being rolled out', 'taken-back': 'was taken back', refused: 'was refused' }
  throw new SteadError({
    code: 'release.not-served',
    message: `release ${target} ${was[release.state]}${release.reason === null ? '' : `: ${release.reason}`}`,
    hint: 'Go back to one that has served; see them with `stead releases`. Nothing was changed.',
  })
}

function took(state: ReleaseState): boolean {
  return state === 'live' || state === 'replaced' || state === 'taken-back'
}

function alreadyLive(target: number): SteadError {
  return new SteadError({
    code: 'release.already-live',
    message: `release ${target} serves already`,
    hint: 'See the releases with `stead releases`. Nothing was changed.',
  })
}
