/** What happens to submitted jobs: the events of the core. Data. */
import type { NodeOffer, PoolNode, TaskEnd } from '../protocol/index.ts'
import type { Event, ExpectedLoad } from '../scheduler/index.ts'
import type { LoadRecord } from './load.ts'
import type { AccountRecord, QueueRecord, ReservationRecord } from './records.ts'
import type { Submission } from './submission.ts'

/** All that a node has, after it has connected; or all that the nodes of a pool have together. */
export interface NodeCame {
  readonly kind: 'node-came'
  readonly node: string
  /** Null: it is a pool, whose nodes have come before. */
  readonly offer: NodeOffer | null
  readonly running: readonly string[]
  readonly ended: readonly TaskEnd[]
  readonly jobs: readonly number[]
}

/** Nodes for which a pool speaks are there, for the first time or again; what runs on them it says for all of them together. */
export interface PoolCame {
  readonly kind: 'pool-came'
  readonly pool: string
  readonly nodes: readonly PoolNode[]
}

export type NodeState = 'open' | 'cordoned' | 'drained'

/** What happens. */
export type BatchEvent =
  | { readonly kind: 'submit'; readonly submission: Submission; readonly by: string }
  /** `index`: one task of it; null: all. */
  | { readonly kind: 'cancel'; readonly job: number; readonly index: number | null; readonly by: string }
  | { readonly kind: 'set-queue'; readonly queue: QueueRecord }
  | { readonly kind: 'set-account'; readonly account: AccountRecord }
  | { readonly kind: 'reserve'; readonly reservation: ReservationRecord }
  | { readonly kind: 'release'; readonly reservation: string }
  /** Somebody wants it to take in no new tasks, or also to give back those that it has, or all that again. */
  | { readonly kind: 'set-node'; readonly node: string; readonly state: NodeState; readonly by: string }
  | NodeCame
  | PoolCame
  /** It has something else than it had. */
  | { readonly kind: 'node-changed'; readonly node: string; readonly offer: NodeOffer }
  /** What parts of apps there have used by the hour, and are expected to use. */
  | {
      readonly kind: 'node-load'
      readonly node: string
      readonly record: LoadRecord | null
      readonly load: readonly ExpectedLoad[]
    }
  /** It is not heard of now; what runs there goes on. */
  | { readonly kind: 'node-away'; readonly node: string }
  /** It was not heard of for too long: what ran there runs elsewhere. */
  | { readonly kind: 'node-lost'; readonly node: string }
  | { readonly kind: 'ended'; readonly ended: readonly TaskEnd[] }
  | { readonly kind: 'time' }

/** An event of the scheduler; it happens now. */
export type Unstamped = Event extends infer One ? (One extends Event ? Omit<One, 'atMs'> : never) : never
