/**
 * The interface of domain drivers. A domain is where all data of one app lives: one directory tree that can be copied
 * at one moment (a checkpoint), copied writable (a clone), and exchanged as a whole (swap).
 *
 * Invariants every driver keeps, and the conformance suite checks:
 * - A checkpoint is one moment of the whole tree: what was durable (fsynced, committed) before it began is in it, and of
 *   what became durable meanwhile, nothing without all that came before. It is what a loss of power would leave, at worst.
 *   What a running program has not made durable may be in it in part; pause the writers to have that too, whole.
 *   Drivers that need the writers to be still in any case say so (`quiesce`).
 * - Nothing is thrown away by a swap: the tree that was live stays as a branch until it is deleted by name.
 * - The generation grows by one with every swap and never goes back; the live path changes with it.
 * - A step that fails leaves what was there before; a half-made copy is never listed.
 */

export interface DomainCapabilities {
  /** `none`: writers may go on during a checkpoint; `stop`: they must be stopped first. */
  readonly quiesce: 'none' | 'stop'
  /** Whether checkpoint and clone take the same short time whatever the size. */
  readonly instant: boolean
  /** Whether the domain's size is limited apart from the host's disk. */
  readonly sizeLimit: boolean
  /** Whether a checkpoint can be sent to another node. */
  readonly replicate: 'native' | 'refused'
  /** What is weaker than it could be, one line each, and how to mend it. */
  readonly weaker: readonly string[]
}

/** A copy inside a domain. */
export interface DomainCopy {
  /** Letters, digits, dot, dash; unique within the domain. */
  readonly name: string
  /** checkpoint: read-only; clone: writable, made from a checkpoint; branch: was live before a swap. */
  readonly kind: 'checkpoint' | 'clone' | 'branch'
  readonly path: string
  readonly createdAtMs: number
  /** Generation that was live when it was made. */
  readonly generation: number
}

export interface DomainUsage {
  readonly totalBytes: number
  readonly freeBytes: number
}

export interface Domain {
  readonly id: string
  /** Node whose disk holds it. */
  readonly home: string
  /** Grows by one with every swap, from 1. */
  readonly generation: number
  /** Directory of the live data. Changes with a swap: ask each time. */
  readonly path: string
  readonly capabilities: DomainCapabilities
  /** Copies the live data at one moment, read-only. Throws `domain.exists`, `domain.disk-full`. */
  checkpoint(name: string): Promise<DomainCopy>
  /** A writable copy of a copy (or of the live data when `from` is null). Throws `domain.unknown-copy`, `domain.exists`. */
  clone(name: string, from: string | null): Promise<DomainCopy>
  /** Checkpoints, clones and branches, oldest first. */
  list(): Promise<readonly DomainCopy[]>
  /** Deletes a copy. Throws `domain.unknown-copy`. */
  delete(name: string): Promise<void>
  /**
   * Makes the clone `name` the live data; what was live stays as the branch `keepAs`. Nobody may use the live path meanwhile.
   * `expectedGeneration` guards against a second swap: throws `domain.generation-changed` when it is no longer current.
   */
  swap(name: string, keepAs: string, expectedGeneration: number): Promise<void>
  /** Sends a checkpoint to another node's domain. Throws `domain.refused` where the driver cannot. */
  replicate(name: string, target: ReplicaTarget): Promise<void>
  /**
   * The other end of `replicate`: makes a checkpoint from another domain's stream, which comes whole or not at all.
   * Throws `domain.exists`, `domain.disk-full`, `domain.refused` where the driver cannot.
   */
  receive(replica: Replica, stream: AsyncIterable<Uint8Array>): Promise<DomainCopy>
  usage(): Promise<DomainUsage>
  /**
   * Makes it at least that large while it is used, where the driver limits it (`sizeLimit`); it never shrinks. Throws
   * `domain.disk-full` when the host's disk has no room for that.
   */
  grow(sizeBytes: number): Promise<void>
  /** Bytes that would be free without that copy; null where the driver cannot tell. Throws `domain.unknown-copy`. */
  ownBytes(name: string): Promise<number | null>
  /**
   * Lets go of the domain (unmounts an image); the data stays. Throws `domain.busy` and stays open while somebody uses it.
   * A process that ends without it leaves the mount, and whoever works on it undisturbed; the next open finds it.
   */
  close(): Promise<void>
  /**
   * Lets another process open the domain, and leaves everything where it is: whoever works on the live data goes on.
   * Throws `domain.busy` as `close` does.
   */
  leave(): Promise<void>
}

/** Where a replica goes: a sink for the driver's own stream of one checkpoint. */
export interface ReplicaTarget {
  readonly node: string
  /** A checkpoint, by its name here, that the target has received before and still holds: only the difference is sent. */
  readonly base?: string
  receive(stream: AsyncIterable<Uint8Array>): Promise<void>
}

/** How a received checkpoint is listed: as it was where it comes from. */
export type Replica = Pick<DomainCopy, 'name' | 'createdAtMs' | 'generation'>

export interface DomainDriver {
  readonly name: string
  readonly capabilities: DomainCapabilities
  /**
   * Opens the domain under `root`, making it when it is not there. `sizeBytes` limits it where the driver can.
   * A domain that is there and smaller grows to it. Throws `domain.disk-full` early when the host's disk is nearly full,
   * `domain.in-use` when it is open already, `domain.corrupt`, `domain.newer-version`.
   */
  open(options: OpenDomain): Promise<Domain>
  /** Deletes a domain and all its copies. It must be closed. */
  destroy(root: string): Promise<void>
}

export interface OpenDomain {
  readonly id: string
  readonly root: string
  readonly home: string
  readonly sizeBytes: number
}
