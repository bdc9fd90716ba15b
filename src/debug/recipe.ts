/**
 * The interface of recipes: for one language, what a running process is, whether and how it can be attached, and what can
 * be asked of it then. A recipe works from outside: nothing of it is installed in the workload, and the process need not
 * have been started by Stead.
 *
 * Invariants every recipe keeps, and the conformance suite checks:
 * - `find` does nothing to the process. What a recipe cannot do is said there, with the reason, and refused later.
 * - What an attachment does to the process is listed in `effects`, and is taken back when it is closed, or when whoever
 *   held it dies.
 * - A process that is paused for longer than a look runs on when the attachment goes away.
 */
import type { Duplex } from 'node:stream'

/** What the kernel says about a process. */
export interface ProcessFacts {
  readonly pid: number
  /** When it started, in the kernel's own units: with `pid` it names one process for ever. */
  readonly start: string
  /** Path of its program, as it sees it. */
  readonly executable: string
  readonly argv: readonly string[]
  /** Host user it runs as. */
  readonly uid: number
  readonly gid: number
  /** Its id in its own namespace. */
  readonly innerPid: number
  /** The state as one letter, as in `ps`: R, S, D, T, Z. */
  readonly state: string
  /** Signals it handles, bit n-1 for signal n. */
  readonly caughtSignals: bigint
  /** Whether its network, its files, its process ids are those of this process. */
  readonly shares: { readonly network: boolean; readonly files: boolean; readonly pids: boolean }
  /** The process that traces it (a debugger); 0 when there is none. */
  readonly tracerPid: number
}

/** What can be asked of a process. */
export type Ability = 'dap' | 'stack' | 'snapshot' | 'cpu-profile' | 'heap-profile'

/** What a recipe says about a process before anything is done to it. */
export interface Finding {
  readonly language: string
  /** Null where it can only be told once attached. */
  readonly version: string | null
  /** How it is attached, as a person would say it. */
  readonly way: string
  readonly can: readonly Ability[]
  /** For each ability that is missing: why, and what would mend it. */
  readonly cannot: Readonly<Partial<Record<Ability, { readonly reason: string; readonly hint: string }>>>
  readonly costs: readonly string[]
}

export interface Recipe {
  readonly language: string
  /** Null when the process is of another language. Does nothing to it. */
  find(process: ProcessFacts): Promise<Finding | null>
  /** Throws `debug.refused` where it cannot be attached, `debug.process-gone` when it ended meanwhile. */
  attach(process: ProcessFacts): Promise<Attachment>
}

/** One hold on one process. Closing it takes back what it did. */
export interface Attachment extends AsyncDisposable {
  readonly language: string
  readonly version: string
  /** What it did to the process, each as one sentence. */
  readonly effects: readonly string[]
  /** Settles with the reason when the hold is lost without having been closed. */
  readonly lost: Promise<string>
  /** Where every thread stands. Throws `debug.refused` where unsupported, as the others do. */
  stack(): Promise<StackReport>
  /** Values as a line is passed. Ends when the budget is spent, or when `signal` aborts. */
  snapshot(request: SnapshotRequest, signal?: AbortSignal): Promise<SnapshotReport>
  /** Where time, or memory, goes. */
  profile(request: ProfileRequest, signal?: AbortSignal): Promise<Profile>
  /**
   * Speaks the Debug Adapter Protocol with one client, until it disconnects (answers true) or its stream closes (false).
   * Either way its breakpoints are gone then and the program runs. Meanwhile nothing else is asked of the attachment.
   */
  serveDap(client: Duplex): Promise<boolean>
}

export interface Frame {
  readonly name: string
  /** As a person names it: a path, or `node:internal/…`; empty where there is none. */
  readonly file: string
  /** From 1. */
  readonly line: number
  /** Frames after an await or a callback: what had asked for this one. */
  readonly asynchronous?: boolean
}

export interface ThreadStack {
  readonly name: string
  readonly state: 'running' | 'waiting'
  readonly frames: readonly Frame[]
}

export interface StackReport {
  readonly threads: readonly ThreadStack[]
  /** What the program waits for (sockets, timers), with counts. */
  readonly waitingFor: readonly string[]
  /** How long a thread of the program was stopped for it, at most. */
  readonly stoppedMs: number
}

export interface SnapshotRequest {
  /** The end of a path is enough: `web.ts`, `src/web.ts`. */
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly expressions: readonly string[]
  /** Only when this holds. */
  readonly condition?: string
  /** 1 to `snapshotHitsMax`. */
  readonly hits: number
  readonly timeMs: number
  /** Time of the program that it may take in all, working or standing still for it; `snapshotCpuMs` where nothing is said. */
  readonly cpuMs?: number
  /** Also where the line is passed so often that looking at each pass would be felt. */
  readonly force?: boolean
}

/** Most hits of one snapshot. */
export const snapshotHitsMax = 1000
/** Time of the program that a snapshot may take unless more is asked for. */
export const snapshotCpuMs = 1000

export interface Hit {
  /** Milliseconds since 1970. */
  readonly timeMs: number
  /** For each expression its value as JSON would show it, or what went wrong. Names that look like secrets are redacted. */
  readonly values: readonly SnapshotValue[]
}

export interface SnapshotValue {
  readonly expression: string
  readonly value?: unknown
  /** The value is text in which the language's own debugger wrote it: a number stands there without quotes, and a text with them. */
  readonly asWritten?: true
  readonly error?: string
}

export interface SnapshotReport {
  /** Where the probe really stood. */
  readonly file: string
  readonly line: number
  readonly hits: readonly Hit[]
  /**
   * Which budget was spent first. `cost`: that of the program's time. `too-often`: the line is passed so often that it is not
   * looked at for long unless forced.
   */
  readonly ended: 'hits' | 'time' | 'cost' | 'asked' | 'too-often'
  /** How often the line was passed while it was looked at, condition or not; absent where that cannot be seen. */
  readonly passes?: number
  /** What it took of the program's time, milliseconds; an estimate where it is the runtime that works. */
  readonly costMs?: number
}

/**
 * cpu: what works. wall: where time passes, working or waiting. heap: what allocates. Who can do the first can do the second.
 */
export type ProfileKind = 'cpu' | 'wall' | 'heap'

/** What a process must be able to for a kind of profile. */
export function abilityOf(kind: ProfileKind): Ability {
  return kind === 'heap' ? 'heap-profile' : 'cpu-profile'
}

export interface ProfileRequest {
  readonly kind: ProfileKind
  readonly durationMs: number
}

/** Longest profile. */
export const profileMsMax = 600_000

export interface Profile {
  readonly kind: ProfileKind
  readonly unit: 'microseconds' | 'bytes' | 'samples'
  readonly stacks: readonly WeightedStack[]
  /** As the language's own tools read it. */
  readonly raw: { readonly extension: string; readonly text: string }
}

/** Frames from the outermost to the innermost, and what was spent in the innermost. */
export interface WeightedStack {
  readonly frames: readonly string[]
  readonly weight: number
}
