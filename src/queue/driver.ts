/**
 * What a driver implements. Drivers are thin: they never retry, never wait longer than they are told, and never decide what
 * becomes of a failed message; `queuesOn` does all that, once. A driver gets only what is within the limits and what its
 * capabilities do not refuse. Every failure is thrown as an error of `errors.ts` that says whether to try again.
 */
import type { SteadError } from '../base/index.ts'
import type { Capabilities } from './capability.ts'
import type { DriverLimits } from './limits.ts'

/**
 * How safe a sent message is when its sender is told. `fsync`: on the disk of one server. `replicated`: on several.
 * `buffered`: a crash of the machine can take it. `memory`: the end of the process takes it.
 */
export type Durability = 'fsync' | 'replicated' | 'buffered' | 'memory'

/** A body: text stays text on the way where a driver can keep it so; it is the same bytes in UTF-8. */
export type Body = string | Uint8Array

/** A message as a driver takes it. */
export interface Outgoing {
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  /** The ordering key, or null. */
  readonly key: string | null
  readonly priority: number
  readonly delayMs: number
  /** Not queued when this key was sent within the last `dedupMs`. */
  readonly dedup: { readonly key: string; readonly ms: number } | null
}

/** What became of one message of a batch. For a duplicate, `id` is that of the message that was there. */
export type SendOutcome =
  | { readonly ok: true; readonly id: string; readonly duplicate: boolean; readonly durability: Durability }
  | { readonly ok: false; readonly error: SteadError }

/** A message that a consumer holds. `receipt` names this holding, not the message: it is void once the lease is over. */
export interface Held {
  readonly receipt: string
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  readonly key: string | null
  readonly priority: number
  /** This delivery's number: 1 for the first. Given back uncounted, it stays. */
  readonly attempt: number
  /** Wall clock of the sender or the server when it was sent; milliseconds since 1970. */
  readonly sentAtMs: number
}

/** A message that is seen, not held. `cause` says why a dead one is dead. */
export interface Seen extends Omit<Held, 'receipt'> {
  readonly cause: string | null
}

/** What a holder decides. */
export type Decision =
  | { readonly kind: 'ack' }
  | { readonly kind: 'retry'; readonly delayMs: number; readonly countAsFailure: boolean }
  | { readonly kind: 'reject'; readonly cause: string }
  | { readonly kind: 'extend'; readonly leaseMs: number }

export interface Settlement {
  readonly receipt: string
  readonly decision: Decision
}

/** `lost`: the lease was over, nothing was changed. Where a driver cannot fence, it answers `done` and says so in its table. */
export type SettleOutcome = 'done' | 'lost' | { readonly error: SteadError }

/** What a consumer asks for. */
export interface Want {
  /** Messages at most. */
  readonly max: number
  /** How long to wait for the first one; 0 looks once. */
  readonly waitMs: number
  readonly leaseMs: number
  /** How long from now the lease is to be extended by the driver's side, without the consumer; 0 for not at all. */
  readonly keepMs: number
}

/** Messages by what they are doing. Null: this server does not tell. */
export interface Counts {
  readonly ready: number | null
  readonly delayed: number | null
  readonly held: number | null
  readonly dead: number | null
}

/** Where messages are looked at. */
export type Shelf = 'ready' | 'dead'

/** The driver's side of queues. */
export interface QueueDriver {
  readonly name: string
  /** The server or engine with its version, as a person would say it. */
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  /** Makes the queue where it is not there; what is there stays. */
  declare(queue: string): Promise<void>
  /** One outcome for each message, in their order. Throws when nothing can be said about any. */
  send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]>
  /** Resolves as soon as there is at least one message, or empty when the wait or the signal ends it. */
  receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]>
  /** One outcome for each settlement, in their order. */
  settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]>
  counts(queue: string): Promise<Counts>
  /** The first messages of a shelf, in the order of delivery. */
  peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]>
  /** Puts dead messages back: those of `ids`, or the oldest. Answers how many. */
  redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number>
  /** Deletes what lies on a shelf, ready or dead; held messages stay with their holders. Answers how many. */
  purge(queue: string, shelf: Shelf): Promise<number>
  /** Deletes the queue with everything in it. */
  remove(queue: string): Promise<void>
  /** Waits for what was accepted, then lets go of everything. Called once. */
  close(): Promise<void>
}
