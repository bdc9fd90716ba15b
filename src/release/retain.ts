/**
 * Which copies of an app's data are not needed any more. Invariants: never a copy that a person has named, never one that
 * the release that serves or a rollout under way needs, whatever number and age say.
 */
import { branchName, checkpointName, cloneName, contractCheckpointName, isOwnName, rehearsalName } from './names.ts'
import { liveOf, type Release } from './history.ts'
import type { Rollout } from './rollout.ts'

/** A copy, as the node with the data tells of it. */
export interface Copy {
  readonly name: string
  readonly kind: 'checkpoint' | 'clone' | 'branch'
  readonly createdAtMs: number
}

/** How long copies that the platform has made are kept. What is above a number or older than an age goes. */
export interface Retention {
  readonly checkpointsMax: number
  readonly checkpointAgeMaxMs: number
  readonly branchesMax: number
  readonly branchAgeMaxMs: number
}

const dayMs = 86_400_000

/** What holds where nobody has said anything. */
export const retentionDefault: Retention = {
  checkpointsMax: 10,
  checkpointAgeMaxMs: 30 * dayMs,
  branchesMax: 5,
  branchAgeMaxMs: 30 * dayMs,
}

/** A copy that can go, and why, for a person. */
export interface Expired {
  readonly name: string
  readonly why: string
}

/** The copies that can be deleted now, oldest first. `rollout`: the one that is under way, or null. */
export function retain(
  releases: readonly Release[],
  copies: readonly Copy[],
  rollout: Rollout | null,
  policy: Retention,
  nowMs: number,
): readonly Expired[] {
  const needed = neededBy(releases, rollout)
  const ours = copies.filter((copy) => isOwnName(copy.name)).toSorted((a, b) => b.createdAtMs - a.createdAtMs)
  const limits = {
    checkpoint: { max: policy.checkpointsMax, ageMs: policy.checkpointAgeMaxMs },
    branch: { max: policy.branchesMax, ageMs: policy.branchAgeMaxMs },
  }
  const expired = ours.flatMap((copy): Expired[] => {
    if (needed.has(copy.name)) return []
    // A clone that has become the live data has no such name any more: what is left of them was never used, or has been.
    if (copy.kind === 'clone') return [{ name: copy.name, why: 'its rollout is over' }]
    const { max, ageMs } = limits[copy.kind]
    const newer = ours.filter(({ kind, createdAtMs }) => kind === copy.kind && createdAtMs > copy.createdAtMs).length
    if (newer >= max) return [{ name: copy.name, why: `there are ${newer} newer ones, and ${max} are kept` }]
    return nowMs - copy.createdAtMs > ageMs
      ? [{ name: copy.name, why: `it is older than ${Math.round(ageMs / dayMs)} days` }]
      : []
  })
  return expired.toReversed()
}

/** What going back from the live release needs, and what the rollout under way works with. */
function neededBy(releases: readonly Release[], rollout: Rollout | null): ReadonlySet<string> {
  const live = liveOf(releases)
  const names = new Set<string | null>()
  if (live !== null) {
    names.add(live.checkpoint).add(contractCheckpointName(live.number))
    // Of a release that was taken back from the live one, code only: the way to the data from before it.
    for (const release of releases) if (release.after === live.number) names.add(release.checkpoint)
    // Of a return: what it went back to can be gone back to from there.
    const origin = releases.find((release) => release.number === live.backTo)
    if (origin !== undefined) names.add(origin.checkpoint)
  }
  if (rollout !== null && (rollout.outcome === null || rollout.outcome.kind === 'stuck')) {
    const { new: number } = rollout
    names.add(checkpointName(number)).add(contractCheckpointName(number)).add(rehearsalName(number))
    names.add(cloneName(number)).add(branchName(number)).add(rollout.checkpoint)
  }
  return new Set([...names].filter((name) => name !== null))
}
