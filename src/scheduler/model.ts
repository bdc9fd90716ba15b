/**
 * The words of the scheduler: what a node has, what a job needs and where it may run, what happens (events) and what
 * follows (decisions). All of it is plain JSON. Numbers stand in the units that the comments name; texts carry their
 * unit ('500m', '2GiB', '100Mbit/s') and an unknown unit is refused.
 */

/** A number in the base unit of the field, or a text with a unit. */
export type Quantity = number | string

/** Where things are counted: a node, a rack of nodes, a zone of racks. */
export type Level = 'node' | 'rack' | 'zone'

/** What a node has. */
export interface Capacity {
  /** Cores: 8, 0.5, '500m'. */
  readonly cpu: Quantity
  /** Bytes: 512000000, '512MB', '2GiB'. */
  readonly memory: Quantity
  /** Bytes. */
  readonly disk?: Quantity
  /** Bits per second that the node's network can carry: '10Gbit/s'. */
  readonly network?: Quantity
  readonly gpus?: { readonly model: string; readonly count: number }
  /** Anything else that comes in whole pieces: licences, FPGAs, slots. */
  readonly counted?: Readonly<Record<string, number>>
  /** Cores on which CPU time may be reserved (`Needs.cpuTime`); part of `cpu`. None by default. */
  readonly realtimeCores?: number
}

/** Keeps tasks away that do not tolerate it; with `no-execute` also those that run already. */
export interface Taint {
  readonly key: string
  readonly value?: string
  readonly effect: 'no-schedule' | 'no-execute'
}

/** Without `value` every value is tolerated, without `effect` both effects. */
export interface Toleration {
  readonly key: string
  readonly value?: string
  readonly effect?: Taint['effect']
}

export interface NodeSpec {
  /** Unique among nodes. Up to 253 printable characters without '/'. */
  readonly name: string
  readonly zone?: string
  readonly rack?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly taints?: readonly Taint[]
  readonly capacity: Capacity
  /** What an hour of the node costs; only compared. */
  readonly pricePerHour?: number
  /** The bound of the node clock's error, in nanoseconds. Unknown when absent, and then no bound is met. */
  readonly clockErrorNs?: number
  /** Takes in nothing new. */
  readonly cordoned?: boolean
  /** How much of `cpu` and `network` all tasks together may ask for, best effort included; 1 by default, up to 100. */
  readonly bestEffortFactor?: number
}

/** What one task uses. */
export interface Needs {
  /** Cores. */
  readonly cpu?: Quantity
  /** Bytes. */
  readonly memory?: Quantity
  /** Bytes. */
  readonly disk?: Quantity
  /** Bits per second that the task must get: a floor, taken from the node's network and from uplinks. */
  readonly network?: Quantity
  /** Whole GPUs, or a share of one in thousandths (`milli`); `models` are those that will do, all by default. */
  readonly gpu?: { readonly count?: number; readonly milli?: number; readonly models?: readonly string[] }
  readonly counted?: Readonly<Record<string, number>>
  /** CPU time reserved on one core: `runtimeUs` in every `periodUs`, done within `deadlineUs` (the period by default). */
  readonly cpuTime?: { readonly runtimeUs: number; readonly periodUs: number; readonly deadlineUs?: number }
  /** What is not guaranteed: taken from what is left over, and squeezed when guaranteed tasks want theirs. */
  readonly bestEffort?: readonly ('cpu' | 'network')[]
}

/** The tasks of an app, or of one part of it. */
export interface Subject {
  readonly app: string
  readonly part?: string
}

/** A condition on a label; all of a job's conditions must hold. */
export type Selector =
  | { readonly label: string; readonly operator: 'in' | 'not-in'; readonly values: readonly string[] }
  | { readonly label: string; readonly operator: 'exists' | 'not-exists' }

export interface Affinity {
  readonly to: Subject
  readonly by: Level
}

/** Never more than `skewMax` tasks of the part (or, without a part, of the job) above the emptiest usable domain. */
export interface Spread {
  readonly by: Level
  readonly skewMax: number
}

export interface Dependency {
  readonly job: string
  /** `success` by default: all its tasks have ended well. */
  readonly when?: 'success' | 'failure' | 'end' | 'start'
}

/** One task, or `count` equal ones. The task of a job of one is called like the job, those of an array `job/0`, `job/1`, ... */
export interface JobSpec {
  /** Unique among jobs that are known. Up to 253 printable characters without '/'. */
  readonly name: string
  /** Whose quota and share it uses; 'default' by default. */
  readonly account?: string
  readonly app?: string
  /** A part of `app`. */
  readonly part?: string
  /** 1 by default. */
  readonly count?: number
  /** All tasks start together or none does. */
  readonly gang?: boolean
  /** So many of its tasks run at once at most; not of a gang. */
  readonly atOnceMax?: number
  readonly needs: Needs
  /** Larger is more important; 0 by default. */
  readonly priority?: number
  /** Whether less important tasks may be stopped for it; true by default. */
  readonly preempts?: boolean
  /** The task is stopped when it has run so long. Backfilling needs it. */
  readonly timeLimitMs?: number
  readonly after?: readonly Dependency[]
  readonly selector?: readonly Selector[]
  readonly tolerations?: readonly Toleration[]
  /** Only where such a task runs. The first of its own kind may start it. */
  readonly affinity?: readonly Affinity[]
  /** Never where such a task runs; holds in both directions. */
  readonly antiAffinity?: readonly Affinity[]
  readonly spread?: readonly Spread[]
  /** At most one task of this job on a node. */
  readonly onePerNode?: boolean
  /** Where its data is. Required: nowhere else; otherwise tried first. */
  readonly near?: { readonly nodes: readonly string[]; readonly required: boolean }
  /** May use what this reservation holds back. */
  readonly reservation?: string
  /** Only in zones from which every zone of such tasks is reached within `usMax` microseconds; holds in both directions. */
  readonly latency?: readonly { readonly to: Subject; readonly usMax: number }[]
  /** Only on nodes whose clock is known to be at most this wrong, in nanoseconds. */
  readonly clockErrorNsMax?: number
}

/** Amounts by resource; see `Needs`. `gpu` counts thousandths of GPUs. */
export interface Quota {
  readonly cpu?: Quantity
  readonly memory?: Quantity
  readonly disk?: Quantity
  readonly network?: Quantity
  readonly gpuMilli?: number
  readonly tasks?: number
}

/** Nodes kept free for some jobs during a time. A task with a time limit that ends before `fromMs` may still run there. */
export interface Reservation {
  readonly name: string
  readonly nodes: readonly string[]
  readonly fromMs: number
  readonly untilMs: number
}

/** Taken off a node's capacity during a time. Cores, bytes, bits per second. */
export interface ExpectedLoad {
  readonly fromMs: number
  readonly untilMs: number
  readonly cpu?: Quantity
  readonly memory?: Quantity
  readonly network?: Quantity
}

/** Why a node takes in nothing, for people: "fits 3 nodes but for REASON; node n1 BECAUSE", and what would change that. */
export interface CordonReason {
  readonly reason: string
  readonly because: string
  readonly remedy: string
}

/** What an account has used of the past, in fair share; `atMs` is when it was that. */
export interface AccountUse {
  readonly account: string
  readonly used: number
  readonly atMs: number
}

/** A job as an earlier scheduler left it: every task has ended, runs or waits. */
export interface RestoredJob {
  readonly spec: JobSpec
  /** Tasks from this position on have never started. */
  readonly fresh: number
  /** Those before it that wait again. */
  readonly waiting: readonly number[]
  readonly running: readonly {
    readonly position: number
    readonly node: string
    readonly startedMs: number
    readonly gpus?: readonly number[]
    /** Where its CPU time is reserved. */
    readonly core?: number
  }[]
  /** How many have failed; the rest of those before `fresh` ended well. */
  readonly failed: number
}

/** What happened. `atMs` is any clock that never steps back. */
export type Event = { readonly atMs: number } & (
  | { readonly kind: 'add-nodes'; readonly nodes: readonly NodeSpec[] }
  /** The node is gone; what ran there waits again. */
  | { readonly kind: 'remove-node'; readonly node: string }
  /**
   * Replaces what is named. Tasks stay where they are, also those that a smaller capacity would not hold; those that a
   * `no-execute` taint does not tolerate are stopped.
   */
  | {
      readonly kind: 'change-node'
      readonly node: string
      readonly labels?: Readonly<Record<string, string>>
      readonly taints?: readonly Taint[]
      readonly clockErrorNs?: number
      readonly capacity?: Capacity
      readonly bestEffortFactor?: number
    }
  /**
   * What a node will need for other things, by a forecast; replaces what was said of it before. A task is placed there only
   * if what it is guaranteed is left over all the time until its limit.
   */
  | { readonly kind: 'expect'; readonly node: string; readonly load: readonly ExpectedLoad[] }
  /** `drain` also stops what runs there; it waits again. `why` is what `explain` says of it. */
  | { readonly kind: 'cordon' | 'drain'; readonly node: string; readonly why?: CordonReason }
  | { readonly kind: 'uncordon'; readonly node: string }
  | { readonly kind: 'submit'; readonly jobs: readonly JobSpec[] }
  /** More or fewer tasks; the last ones go first. */
  | { readonly kind: 'scale'; readonly job: string; readonly count: number }
  | { readonly kind: 'end'; readonly task: string; readonly outcome: 'success' | 'failure' }
  | { readonly kind: 'cancel'; readonly job: string }
  /** A running task (with it its gang) gives its place back and waits again. */
  | { readonly kind: 'requeue'; readonly task: string }
  /**
   * Takes over jobs from an earlier scheduler. Restore everything before a node takes in anything: add nodes cordoned, and
   * uncordon them then. Jobs that these wait for come with them or before; those that have ended are left out of `after`.
   */
  | { readonly kind: 'restore'; readonly jobs: readonly RestoredJob[]; readonly used?: readonly AccountUse[] }
  /** Only time has passed. Due at `nextWakeMs` at the latest. */
  | { readonly kind: 'time' }
  /** Replaces quota (none: no limit) and weight (1 by default) of an account. */
  | { readonly kind: 'set-account'; readonly account: string; readonly quota?: Quota; readonly weight?: number }
  | { readonly kind: 'reserve'; readonly reservation: Reservation }
  | { readonly kind: 'release'; readonly reservation: string }
  /** What the uplink of a rack ('zone/rack') or zone carries; all floors of the tasks behind it count. */
  | { readonly kind: 'set-uplink'; readonly by: 'rack' | 'zone'; readonly name: string; readonly network: Quantity }
  /** Measured latency between zones, both ways, in microseconds. Pairs that nobody measured meet no bound. */
  | {
      readonly kind: 'set-latency'
      readonly pairs: readonly { readonly from: string; readonly to: string; readonly us: number }[]
    }
)

/** Why a task is stopped; after `time-limit`, `cancelled` and `scaled-down` it has ended, otherwise it waits again. */
export type StopReason =
  | 'preempted'
  | 'drained'
  | 'node-lost'
  | 'not-tolerated'
  | 'time-limit'
  | 'cancelled'
  | 'scaled-down'
  | 'requeued'

/** What follows. Carry them out in this order: a place may count on the stops before it. */
export type Decision =
  | {
      readonly kind: 'place'
      readonly task: string
      readonly node: string
      /** Which GPUs of the node. */
      readonly gpus?: readonly number[]
      /** The core on which CPU time is reserved. */
      readonly core?: number
    }
  | {
      readonly kind: 'stop'
      readonly task: string
      readonly node: string
      readonly reason: StopReason
      /** The job that needs the room. */
      readonly for?: string
    }
  /** Can never start, because a job that it waits for ended otherwise. */
  | { readonly kind: 'give-up'; readonly job: string; readonly because: string }

/** In which order waiting jobs may start. */
export type Order =
  /** Whatever fits starts. */
  | 'greedy'
  /** Nothing starts before what stands in front of it. */
  | 'fcfs'
  /** The first that waits has a promised start; others may go ahead when they do not delay it. */
  | 'easy'
  /** Everything that waits has a promised start that nothing behind it delays. */
  | 'conservative'
