/**
 * What the server half tells a page about an app's releases, one JSON object a line. Types only. Invariant: a page that has
 * taken every message has what the server had; nothing of a part's environment or credentials is in it.
 */
import type { BranchStatus, CheckpointStatus, ReleasesStatus, ReleaseState } from '../operator/index.ts'
import type { Report, Rollout, Shape, Step, StepRecord } from '../release/index.ts'

/** A rollout that is over or under way. */
export interface RolloutView {
  readonly kind: Rollout['kind']
  /** Null for a return. */
  readonly strategy: 'rolling' | 'blue-green' | 'canary' | null
  /** Null for a return. */
  readonly migrates: 'none' | 'expand' | 'stop' | null
  /** Release that served when it began. */
  readonly old: number | null
  /** Of a return: whether the data goes back too. */
  readonly withData: boolean
  readonly startMs: number
  /** Null while it is under way. */
  readonly endMs: number | null
  readonly steps: readonly StepRecord[]
  /** Steps that follow if all goes well. */
  readonly toCome: readonly Step[]
  /** What the app is meanwhile; null once it is over. */
  readonly shape: Pick<Shape, 'runs' | 'newShare' | 'hold'> | null
  /** The copy that it goes back to, or that was made before it. */
  readonly checkpoint: string | null
  /** Whether it is on its way back already. */
  readonly takingBack: boolean
  /** Whether it goes back with the data if it is taken back now. */
  readonly dataGoesToo: boolean
  /** Why it ended as it did, or what is left of it; null: there is nothing to say. */
  readonly reason: string | null
}

/** A release as a page shows it. */
export interface ReleaseView {
  readonly number: number
  readonly state: ReleaseState
  readonly live: boolean
  readonly backTo: number | null
  readonly createdAtMs: number
  readonly by: string
  readonly generation: number
  /** The release that it is compared with; null: it is the first that is known. */
  readonly before: number | null
  /** What is declared differently since then, and whose code is another, a line each: `+` new, `-` gone, `~` changed. */
  readonly changes: readonly string[]
  readonly secrets: Readonly<Record<string, number>>
  readonly schemas: Readonly<Record<string, string | null>>
  /** Null: it was put in place at once. */
  readonly rollout: RolloutView | null
  /** What a return left behind. */
  readonly report: Report | null
}

/** The releases that are new or other than they were, and everything else as it is. */
export interface ReleasesNews {
  readonly type: 'releases'
  readonly nowMs: number
  readonly live: number
  readonly generation: number
  readonly put: readonly ReleaseView[]
  /** Numbers of those that are gone. */
  readonly drop: readonly number[]
  readonly checkpoints: readonly Omit<CheckpointStatus, 'schema'>[]
  readonly branches: readonly BranchStatus[]
  readonly counted: ReleasesStatus['counted']
}

export type ReleasesMessage =
  | ReleasesNews
  /** The app is not there (any more). */
  | { readonly type: 'no-app' }
  /** Nothing has changed, and the line is alive. */
  | { readonly type: 'beat'; readonly nowMs: number }
