/**
 * Streams of bytes from people to what runs on a node: a program that is run inside an instance, or a port of it. Carried as
 * asks and answers. Invariant: neither side ever has more than `streamWindowBytes` under way that the other has not taken.
 */
import { z } from 'zod'

/** Bytes of one direction that may be under way. */
export const streamWindowBytes: number = 256 * 1024
/** Most bytes of one piece. */
export const streamPieceBytesMax: number = 32 * 1024

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

/**
 * What a person wants to see of a program that runs. `find`: what it is, and whether it can be looked into. `dap`: the bytes of
 * the Debug Adapter Protocol both ways; for the others the answer comes as one JSON value.
 */
export type DebugLook =
  | { readonly what: 'find' }
  | { readonly what: 'stack' }
  | { readonly what: 'profile'; readonly profile: 'cpu' | 'wall' | 'heap'; readonly durationMs: number }
  | {
      readonly what: 'snapshot'
      readonly file: string
      readonly line: number
      readonly expressions: readonly string[]
      readonly condition: string | null
      readonly hits: number
      readonly timeMs: number
      /** Time of the program that it may take; absent: the usual one. */
      readonly cpuMs?: number
      /** Also on a line that is passed so often that it is felt. */
      readonly force?: boolean
    }
  | { readonly what: 'dap' }

/**
 * The name of a stream that outlives the loss of its line: who opened it opens it again under this name within
 * `streamLeaseMs`, and nothing is lost or said twice. It ends when nothing was heard of him for so long.
 */
export interface Resume {
  /** Nobody else may know it. */
  readonly key: string
  /** Bytes of output that have been taken, of both sides together; null: it is opened for the first time. */
  readonly seen: number | null
}

/** Longest silence of who has opened a stream with a name. */
export const streamLeaseMs: number = 15_000

/** Whose debugger it is, and what becomes of requests while the program stands: kept, or led to other instances. */
export interface DebuggerOf {
  readonly by: string
  readonly traffic: 'drain' | 'keep'
}

/** A trace that Stead brings and has been read, or a program for bpftrace of somebody's own. */
export type TraceWish =
  | { readonly kind: 'reviewed'; readonly name: string }
  | { readonly kind: 'own'; readonly program: string }

/** What a stream is opened to. */
export type StreamTarget =
  /** A program, run inside the instance or server of an assignment. */
  | {
      readonly kind: 'exec'
      readonly assignment: string
      readonly argv: readonly string[]
      readonly env: Readonly<Record<string, string>>
      /** Null: without a terminal. */
      readonly terminal: TerminalSize | null
      readonly resume?: Resume
    }
  /** A port of an instance, or the server of a resource; null is the port that it serves on. */
  | {
      readonly kind: 'connect'
      readonly assignment: string
      readonly port: number | null
      readonly resume?: Resume
    }
  /** A look into the program of an instance, or the server of a resource. What it does to it is said on the errors' side. */
  | {
      readonly kind: 'debug'
      readonly assignment: string
      readonly look: DebugLook
      readonly debugger?: DebuggerOf
      readonly resume?: Resume
    }
  /** The packets of an instance, as a file that Wireshark reads; what is to be said of it on the errors' side. Since protocol 5. */
  | {
      readonly kind: 'capture'
      readonly assignment: string
      readonly durationMs: number
      readonly bytesMax: number
      /** Only those from or to it; null: all. */
      readonly port: number | null
    }
  /** The core file that the last end of an instance left. Since protocol 5. */
  | { readonly kind: 'core'; readonly assignment: string }
  /** What the kernel of a node does, in lines of text; of the only node where none is named. Since protocol 5. */
  | {
      readonly kind: 'trace'
      readonly node: string | null
      readonly trace: TraceWish
      readonly durationMs: number
    }
  /** What an instance on a kernel of its own has. */
  | ({ readonly kind: 'machine'; readonly assignment: string } & MachineOrder)

/**
 * Ways to a kernel: its console; its debugger's protocol, that of gdb; its symbols, an ELF file, and what gdb is told of it,
 * both read to their end. And what is done with the states of a machine that are kept: answered when it is done, by a list of
 * them where that was asked.
 */
export type MachineOrder =
  | { readonly what: Exclude<MachineWay, 'debugger'> }
  | { readonly what: 'debugger'; readonly debugger?: DebuggerOf; readonly resume?: Resume }
  | { readonly what: SnapshotDeed; readonly name: string }
  | { readonly what: 'snapshots' }

export type MachineWay = (typeof machineWays)[number]
export type SnapshotDeed = (typeof snapshotDeeds)[number]

export const machineWays = ['console', 'debugger', 'symbols', 'commands'] as const
export const snapshotDeeds = ['snapshot', 'restore', 'forget'] as const

/** A state of a machine that is kept. */
export interface KeptSnapshot {
  readonly name: string
  readonly timeMs: number
  readonly memoryBytes: number
}

export const keptSnapshotsSchema: z.ZodType<readonly KeptSnapshot[]> = z.array(
  z.object({ name: z.string(), timeMs: z.number(), memoryBytes: z.number() }),
)

/** How a stream ended. A connection has neither code nor signal. */
export interface StreamEnd {
  readonly code: number | null
  readonly signal: string | null
  readonly sentence: string
}

/** What comes of a stream. */
export interface StreamPiece {
  readonly to: 'out' | 'err'
  readonly bytes: Uint8Array
  /** Bytes of input that have been taken. */
  readonly took?: number
}

/** A stream, for whoever opened it. */
export interface RemoteStream {
  /**
   * What comes, until it has ended; a piece is taken when the next one is asked for. The first has no bytes: it says that
   * the stream leads somewhere, and of one with a name how many bytes of input have been taken. To be read once.
   */
  readonly pieces: AsyncIterable<StreamPiece>
  /** Resolves when there is room for more, or it has ended. */
  write(bytes: Uint8Array): Promise<void>
  /** There is no more input. */
  end(): void
  resize(size: TerminalSize): void
  /** Settles once. Rejects when it could not be opened, or was cut off. */
  readonly ended: Promise<StreamEnd>
  /** Of a stream with a name: who opened it is there, and has taken so many bytes of output since it was first opened. */
  seen(bytes: number): void
  /** Ends it, with what runs for it; when only its line is `lost`, one with a name waits to be asked for again. */
  close(lost?: 'lost'): void
}

const side = z.int().min(1).max(10_000)

export const terminalSizeSchema: z.ZodType<TerminalSize> = z.object({ columns: side, rows: side })

export const streamEndSchema: z.ZodType<StreamEnd> = z.object({
  code: z.int().nullable(),
  signal: z.string().nullable(),
  sentence: z.string(),
})

/** Validates what a stream is named by. */
export const resumeSchema: z.ZodType<Resume> = z.object({
  key: z.string().min(16).max(100),
  seen: z.int().min(0).nullable(),
})

const debuggerOf: z.ZodType<DebuggerOf> = z.object({
  by: z.string().max(200),
  traffic: z.enum(['drain', 'keep']),
})

const word = z.string().max(100_000)
const assignment = z.string()

const hourMs = 3_600_000

export const debugLookSchema: z.ZodType<DebugLook> = z.discriminatedUnion('what', [
  z.object({ what: z.literal('find') }),
  z.object({ what: z.literal('stack') }),
  z.object({
    what: z.literal('profile'),
    profile: z.enum(['cpu', 'wall', 'heap']),
    durationMs: z.int().min(1).max(hourMs),
  }),
  z.object({
    what: z.literal('snapshot'),
    file: word,
    line: z.int().min(1).max(10_000_000),
    expressions: z.array(word).min(1).max(100),
    condition: word.nullable(),
    hits: z.int().min(1).max(1000),
    timeMs: z.int().min(1).max(hourMs),
    cpuMs: z.int().min(1).max(60_000).exactOptional(),
    force: z.boolean().exactOptional(),
  }),
  z.object({ what: z.literal('dap') }),
])

/** What a capture is bounded by. */
export type CaptureBounds = Pick<Extract<StreamTarget, { kind: 'capture' }>, 'durationMs' | 'bytesMax' | 'port'>

/** Validates it: at most an hour, and a gigabyte. */
export const captureBounds: { readonly [name in keyof CaptureBounds]: z.ZodType<CaptureBounds[name]> } = {
  durationMs: z.int().min(1).max(hourMs),
  bytesMax: z.int().min(100).max(1e9),
  port: z.int().min(1).max(65_535).nullable(),
}

/** What a trace says of itself. */
export type TraceBounds = Pick<Extract<StreamTarget, { kind: 'trace' }>, 'node' | 'trace' | 'durationMs'>

/** Validates it. */
export const traceBounds: { readonly [name in keyof TraceBounds]: z.ZodType<TraceBounds[name]> } = {
  node: z.string().max(100).nullable(),
  trace: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('reviewed'), name: z.string().max(100) }),
    z.object({ kind: z.literal('own'), program: z.string().max(10_000) }),
  ]),
  durationMs: z.int().min(1).max(hourMs),
}

export const streamTargetSchema: z.ZodType<StreamTarget> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('exec'),
    assignment,
    argv: z.array(word).min(1).max(1000),
    env: z.record(z.string(), word),
    terminal: terminalSizeSchema.nullable(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({
    kind: z.literal('connect'),
    assignment,
    port: z.int().min(1).max(65_535).nullable(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({
    kind: z.literal('debug'),
    assignment,
    look: debugLookSchema,
    debugger: debuggerOf.exactOptional(),
    resume: resumeSchema.exactOptional(),
  }),
  z.object({ kind: z.literal('capture'), assignment, ...captureBounds }),
  z.object({ kind: z.literal('core'), assignment }),
  z.object({ kind: z.literal('trace'), ...traceBounds }),
  z.discriminatedUnion('what', [
    z.object({ kind: z.literal('machine'), assignment, what: z.enum(machineWays).exclude(['debugger']) }),
    z.object({
      kind: z.literal('machine'),
      assignment,
      what: z.literal('debugger'),
      debugger: debuggerOf.exactOptional(),
      resume: resumeSchema.exactOptional(),
    }),
    z.object({ kind: z.literal('machine'), assignment, what: z.enum(snapshotDeeds), name: z.string().max(63) }),
    z.object({ kind: z.literal('machine'), assignment, what: z.literal('snapshots') }),
  ]),
])
