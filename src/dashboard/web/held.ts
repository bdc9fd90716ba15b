/** What the page of releases has been told. Pure. Invariant: a release that has not changed stays the same object. */
import type { ReleasesMessage, ReleasesNews, ReleaseView } from '../release-wire.ts'

export interface Held extends Pick<ReleasesNews, 'live' | 'generation' | 'checkpoints' | 'branches' | 'counted'> {
  /** Newest first. */
  readonly releases: readonly ReleaseView[]
}

/** What is held after a message; null: the app is not there, or nothing was heard. */
export function heardOf(held: Held | null, message: ReleasesMessage): Held | null {
  if (message.type === 'beat') return held
  if (message.type === 'no-app') return null
  const { live, generation, checkpoints, branches, counted, put, drop } = message
  const gone = new Set([...drop, ...put.map(({ number }) => number)])
  const kept = (held?.releases ?? []).filter(({ number }) => !gone.has(number))
  const releases = [...kept, ...put].toSorted((a, b) => b.number - a.number)
  return { live, generation, checkpoints, branches, counted, releases }
}
