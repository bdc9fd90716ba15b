/** What can be asked about releases, checkpoints and branches. Data and one interface, no I/O. */
import type { Graph } from '../model/index.ts'
import type { Comparison, DataCopy, DataState, Preview, DataAnswers, DataTask } from '../protocol/index.ts'
import type { Judgement, Rollout, Seen, Strategy } from '../release/index.ts'
import type { Deployment } from './operations.ts'

/** How a person wants a release to be rolled out; what is left out is as usual. */
export interface RolloutWish {
  readonly strategy?: Strategy
  /** How long the new release is watched before it is confirmed. */
  readonly watchMs?: number
  /** Shares of the requests that a canary gets, one after another, growing to 100. */
  readonly shares?: readonly number[]
  readonly judgement?: Judgement
  /** How long a migration may keep others from a table, by the rehearsal; without it two seconds. */
  readonly lockMsMax?: number
}

/** What a deployment would do. */
export interface DeployPlan {
  /** Number that the release would get. */
  readonly number: number
  /** For a person to read first. */
  readonly lines: readonly string[]
  readonly migrates: 'none' | 'expand' | 'stop'
  /** Why it would be put in place at once; null: it would be rolled out. */
  readonly direct: string | null
}

/** How a release stands. */
export type ReleaseState = 'rolling-out' | 'confirmed' | 'returned' | 'refused' | 'taken-back' | 'handed-over' | 'stuck'

export interface ReleaseStatus {
  readonly number: number
  readonly state: ReleaseState
  /** Whether it is what serves. */
  readonly live: boolean
  /** The release that it brings back; null for one of its own. */
  readonly backTo: number | null
  /** Milliseconds since 1970. */
  readonly createdAtMs: number
  readonly by: string
  readonly generation: number
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, number>>
  readonly schemas: Readonly<Record<string, string | null>>
  /** Null: it was put in place at once. */
  readonly rollout: Rollout | null
  /** What a return left behind. */
  readonly report: (Comparison & { readonly before: string; readonly after: string }) | null
}

/** Which files of the resources are in force in a copy, by part; what whoever keeps it elsewhere needs to bring it back. */
export interface CopySchema {
  readonly bundles: Readonly<Record<string, string>>
  readonly phase: 'expand' | 'all'
  readonly parts: readonly string[]
}

/** A copy that was filled on the node, as what it is to be known. */
export interface Adoption {
  readonly name: string
  /** Release that served when it was made. */
  readonly release: number
  readonly generation: number
  readonly createdAtMs: number
  readonly schema: CopySchema
}

export interface CheckpointStatus {
  readonly name: string
  readonly release: number
  readonly generation: number
  readonly createdAtMs: number
  readonly by: string
  /** The release that it was made before; null: a person made it. */
  readonly before: number | null
  readonly schema: CopySchema
}

export interface BranchStatus {
  readonly name: string
  /** Its name as an app. */
  readonly app: string
  readonly purpose: 'branch' | 'look' | 'rehearsal'
  readonly by: string
  /** The copy that it was made from; null: what was live then, or not known. */
  readonly from: string | null
  readonly urls: readonly string[]
}

/** Everything there is to know of an app's releases. */
export interface ReleasesStatus {
  readonly app: string
  readonly live: number
  readonly generation: number
  /** Oldest first. */
  readonly releases: readonly ReleaseStatus[]
  readonly checkpoints: readonly CheckpointStatus[]
  readonly branches: readonly BranchStatus[]
  /** Requests to both releases of the rollout that is under way, since its step began; null: there is none. */
  readonly counted: Pick<Seen, 'old' | 'new'> | null
}

/** A return, as a person asks for it. */
export interface BackWish {
  /** Null: to the release that served before. */
  readonly target: number | null
  /** Null: code only, and refused where that cannot be. */
  readonly withData: boolean | null
  readonly checkpoint: string | null
}

/** What a return would do. */
export interface BackPreview {
  readonly target: number
  /** Null: code only; nothing is left behind. */
  readonly checkpoint: string | null
  readonly preview: Preview | null
}

/** A moment that the data is wanted of, and what to call it. */
export interface RestoreWish {
  readonly copy: string
  readonly target: Extract<DataTask, { do: 'forward' }>['target']
  /** That the clock may be off is known and does not matter. */
  readonly confirmed: boolean
  /** The copy whose log it is: a branch that a return has left behind, or what was restored. Absent: the live data's. */
  readonly log?: string
  /** The checkpoint to begin from; absent: the newest ones from before that are of the same generation as the log. */
  readonly from?: string
}

export interface ReplayWish {
  readonly from: string
  readonly part: string
  readonly table: string
  readonly where: string | null
}

/** Everything throws `control.unknown-app`; what a node is asked for also `control.node-away`, `control.ask-failed`. */
export interface ReleaseOperations {
  plan(deployment: Deployment): Promise<DeployPlan>
  list(app: string): ReleasesStatus
  /** The copies of the data, as the node has them; `sizes`: with what each holds alone, which takes up to two seconds for each. */
  data(app: string, sizes?: boolean): Promise<DataState>
  /** Begins a return; answers the number of the release that it makes. Throws `control.needs-data`, `control.data-gone`, `control.unknown-release`. */
  back(app: string, wish: BackWish, by: string): Promise<number>
  preview(app: string, wish: BackWish): Promise<BackPreview>
  /** Takes back what is being rolled out. Throws `control.no-rollout`, `release.too-late`. */
  cancel(app: string, by: string): Promise<void>
  /** Throws `control.checkpoint-exists`. */
  checkpoint(app: string, name: string, by: string): Promise<{ readonly tookMs: number }>
  /** A writable copy that nothing is served from, for whoever fills it with something else, on the node itself. */
  spareCopy(app: string, name: string): Promise<DataCopy>
  /**
   * From now on that copy is a checkpoint: to look at, to branch from, to go back to. Throws `control.checkpoint-exists`,
   * `control.unknown-copy`.
   */
  adopt(app: string, adoption: Adoption, by: string): Promise<void>
  /** Starts the resources on a copy of that copy, reads all they hold, and asks the app's own questions (by part). */
  verify(
    app: string,
    copy: string,
    probes: Readonly<Record<string, string>>,
  ): Promise<{ readonly checks: readonly string[] }>
  /** Lays out the logs of the live data in directories of the node, for whoever carries them elsewhere. */
  layOutLogs(app: string): Promise<DataAnswers['log']>
  /** Brings a checkpoint forward to a moment, under a name of its own. Throws `agent.clock-unknown` in the node's words. */
  restoreAt(app: string, wish: RestoreWish, by: string): Promise<DataAnswers['forward']>
  deleteCopies(app: string, names: readonly string[]): Promise<readonly string[]>
  /** Throws `control.branch-exists`, `control.branch-name`, `control.unknown-checkpoint`. Answers its name as an app. */
  branch(app: string, name: string, from: string | null, purpose: 'branch' | 'look', by: string): Promise<string>
  removeBranch(app: string, name: string): Promise<void>
  /** Answers how many rows there were. */
  replay(app: string, wish: ReplayWish): Promise<number>
}
