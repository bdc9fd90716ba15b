/** What control is started with, and what can be asked of it. */
import type { Batch } from '../batch/index.ts'
import type { Clock, Json, Random } from '../base/index.ts'
import type { DiskState, Downward, Incident, LogLine, RemoteStream, StreamTarget, Upward } from '../protocol/index.ts'
import type { KeySource, SecretRead } from '../secrets/index.ts'
import type { Store } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import type { Apply } from './changes.ts'
import type { ResourceType } from './derive.ts'
import type { NodeFaults } from './faults.ts'
import type { IncidentAct } from './incident-log.ts'
import type { Order } from './operate.ts'
import type { Releases } from './releases.ts'
import type { Secrets } from './secrets.ts'
import type { AppView } from './view.ts'

export interface ControlOptions {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly types: readonly ResourceType[]
  /** Name of this control; of two with different names only one works at a time. */
  readonly holder: string
  /** Called with what ends it: another control has taken over, or the store failed. */
  readonly onFatal: (error: unknown) => void
  /** Gives the bytes of a bundle to a node that lacks it. */
  readonly readBundle: (digest: string) => AsyncIterable<Uint8Array>
  /** Where the key of the secrets is; outside the store. */
  readonly keys: KeySource
  /** The node that makes the backups that apps declare; absent: wherever their data is. */
  readonly backupsOn?: string
  /** Told of every opening of a secret. */
  readonly onSecretRead: (read: SecretRead) => void
}

export interface Control extends AsyncDisposable {
  /** Takes on a peer that has just connected; answers what to do with its messages. */
  accept(channel: Channel<Downward>): (message: Upward) => void
  /**
   * Makes this what the app should be. Answers the release number; the same again when nothing has changed. Throws
   * `control.no-node` when it has to choose a home and no node is connected, `control.disk-critical`, `control.backup-elsewhere`,
   * `control.stopped`.
   */
  apply(apply: Apply): Promise<number>
  /** Everything of the app is to stop; its data stays. */
  stop(app: string): Promise<void>
  /** Carries out what a person asks of a part; answers the instance that was made, if any. Throws what `orderChange` does. */
  operate(order: Order): Promise<string | null>
  /** Asks a resource that serves something, or has it done, in its provider's words. Throws `control.unknown-app`, and as `askData` does. */
  administer(app: string, part: string, order: Json): Promise<Json>
  /** Forgets an app that has stopped, and deletes its data. Throws `control.still-runs`, `control.node-away`, `control.ask-failed`. */
  remove(app: string): Promise<void>
  view(app: string): AppView | null
  /** Setting, rotating, sharing secrets. */
  readonly secrets: Secrets
  apps(): readonly string[]
  /** The nodes that control knows, and whether it hears them now. */
  nodes(): readonly { readonly name: string; readonly connected: boolean }[]
  /** The disk of every node that was heard of. */
  disks(): ReadonlyMap<string, DiskState>
  /** Digests of the bundles that the records of apps and instances need. */
  bundles(): ReadonlySet<string>
  /** Calls `run` soon after something may have changed. */
  onChange(run: () => void): Disposable
  /**
   * The incidents of an app, from the nodes that are connected, the newest first. With `act` the frozen instance of one is
   * let go on, or ended for good, first. Throws `control.unknown-incident`, `control.node-away`, `control.ask-failed`.
   */
  incidents(app: string, act?: IncidentAct): Promise<Incident[]>
  /** Deployments by rollout, returns, checkpoints, branches. */
  readonly releases: Releases
  /** Breaking things of apps on purpose. */
  readonly faults: NodeFaults
  /** Opens a stream to what runs on a node. Throws `control.node-away`, `control.older-node`, `control.too-many-streams`. */
  open(target: StreamTarget): RemoteStream
  /** Jobs that are submitted. */
  readonly batch: Batch
  /** Output of a task of one, from the node that has it. Throws as `logs` does. */
  taskLogs(
    task: { readonly id: string; readonly node: string },
    options: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>
  /** Output of an assignment, from the node that has it. Throws `control.node-away`, `control.ask-failed`. */
  logs(
    assignment: string,
    options: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>
}
