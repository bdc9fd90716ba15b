/**
 * What is said about an app's data: where a resource finds it, what a node is asked to do with it, and what the node
 * answers. Every task can be asked for again: what is done already is answered as done.
 */
import { z } from 'zod'
import type { Json } from '../base/index.ts'
import type { LedgerEntry, Pending, PreparePhase, TriedStatement, LogTarget, Restored } from '../provider/index.ts'

/**
 * The data that an assignment is about. A node brings its domain to the generation before anything of that generation
 * starts, and by then nothing of an older one runs.
 */
export interface DataPlace {
  /** App whose domain it is: of a branch, the app that it was made from. */
  readonly app: string
  /** Name of the copy in that domain; null: its live data. */
  readonly copy: string | null
  /** Generation of the live data, from 1. */
  readonly generation: number
  /** How that generation comes to be: this copy becomes the live data, which is kept under that name. Null for the first. */
  readonly swap: { readonly from: string; readonly keepAs: string } | null
}

/** How far migrations go, as `PreparePhase` of the providers has it. */
export const preparePhases: readonly PreparePhase[] = ['expand', 'all']

/** A copy of an app's data, as a node tells of it. */
export interface DataCopy {
  readonly name: string
  readonly kind: 'checkpoint' | 'clone' | 'branch'
  /** Where it lies on the node; nobody reads it there but who may read all data. */
  readonly path: string
  readonly createdAtMs: number
  readonly generation: number
  /** Held by it alone; null where that is not known, or was not asked for. */
  readonly ownBytes: number | null
}

/** All data of an app on its node. */
export interface DataState {
  readonly generation: number
  readonly driver: string
  readonly totalBytes: number
  readonly freeBytes: number
  readonly copies: readonly DataCopy[]
  /** What is weaker than it could be or runs out, and how to mend it, a sentence each. Absent from an older node. */
  readonly weaker?: readonly string[]
}

/** A resource as a release has it, for work on copies of its data. */
export interface DataResource {
  readonly part: string
  readonly type: string
  readonly config: Json
  readonly bundle: string | null
}

/** What a node can be asked to do with the data of an app. Answered with one line of JSON; its type is in `DataAnswers`. */
export type DataTask =
  /** `sizes` false: without what each copy holds alone, which is looked for in all of it. Older nodes look for it all the same. */
  | { readonly do: 'state'; readonly sizes?: boolean }
  /** What is declared in `resources` and not in force. Changes nothing. */
  | { readonly do: 'pending'; readonly resources: readonly DataResource[] }
  /** Throws `agent.data-full` early. A checkpoint of that name that is there already is the answer. */
  | { readonly do: 'checkpoint'; readonly name: string }
  /** A writable copy; of the live data when `from` is null. */
  | { readonly do: 'clone'; readonly name: string; readonly from: string | null }
  /** Deletes those copies that are there. */
  | { readonly do: 'delete'; readonly names: readonly string[] }
  /**
   * Runs the migrations of `resources` on a new copy of the live data, which is left there under the name `copy`, and
   * measures them. Live servers are not touched.
   */
  | {
      readonly do: 'rehearse'
      readonly copy: string
      readonly resources: readonly DataResource[]
      /** A lock that keeps others from a table longer than this is a reason to refuse. */
      readonly lockMsMax: number
    }
  /** What has changed since a checkpoint, counted while it happened; nothing is compared. */
  | { readonly do: 'preview'; readonly since: string }
  /** Compares two copies, resource by resource. */
  | { readonly do: 'compare'; readonly before: string; readonly after: string }
  /**
   * Proves that a copy can be used: starts the resources on a copy of it, reads all they hold, and asks the app's own
   * questions (`probes`, by part).
   */
  | { readonly do: 'verify'; readonly copy: string; readonly probes: Readonly<Record<string, string>> }
  /**
   * Brings a new copy, made from the first of `from` that leads there, forward along the logs to a moment: those of the copy
   * `log`, or of the live data. Throws `agent.clock-unknown` for a time where the error of the clock is unknown and nobody
   * has `confirmed` that it may be.
   */
  | {
      readonly do: 'forward'
      readonly copy: string
      readonly from: readonly string[]
      readonly target: LogTarget
      readonly confirmed: boolean
      /** Absent: of the live data. */
      readonly log?: string
    }
  /** Asks the live resource of a part something, or has it done, in the words of its provider. */
  | { readonly do: 'operate'; readonly part: string; readonly order: Json }
  /** Lays out the logs of the live data, for whoever carries them elsewhere. */
  | { readonly do: 'log' }
  /** Copies rows that are only in a copy into the live data. */
  | {
      readonly do: 'replay'
      readonly from: string
      readonly part: string
      readonly table: string
      readonly where: string | null
    }

/** A statement of a migration as it ran on a copy. */
export interface RehearsedStatement extends TriedStatement {
  readonly part: string
}

export interface Rehearsal {
  readonly statements: readonly RehearsedStatement[]
  /** Why a deployment is refused: a sentence each, with table, lock and duration. */
  readonly refusals: readonly string[]
  readonly tookMs: number
}

/** What has happened to a table, queue or bucket. */
export interface DataChange {
  readonly part: string
  readonly name: string
  readonly added: number
  readonly removed: number
  readonly changed: number
  /** False: what was added cannot be brought into the live data by itself. Absent where it can be, and from an older node. */
  readonly replayable?: false
}

export interface Preview {
  /** Position in the log that it is true for, as the resource names it; by part. */
  readonly positions: Readonly<Record<string, string>>
  readonly changes: readonly DataChange[]
  /** What it does not know, a sentence each. */
  readonly gaps: readonly string[]
}

/** An effect on the outside world, as the ledger of a part has it. */
export interface DataEffect extends LedgerEntry {
  readonly part: string
}

export interface Comparison {
  readonly changes: readonly DataChange[]
  readonly effects: readonly DataEffect[]
  /** False where only counts could be compared. */
  readonly exact: boolean
  /** What could not be compared or does not go back, a sentence each. */
  readonly gaps: readonly string[]
}

/** The log of a part up to a position, in a directory of the node. */
export interface LaidOutLog {
  readonly part: string
  readonly dir: string
  readonly position: string
}

/** The answer to each task. */
export interface DataAnswers {
  readonly state: DataState
  readonly pending: readonly (Pending & { readonly part: string })[]
  readonly checkpoint: {
    readonly copy: DataCopy
    readonly tookMs: number
    /** Parts whose servers stood still meanwhile; absent: none had to. */
    readonly stopped?: readonly string[]
  }
  readonly clone: { readonly copy: DataCopy }
  readonly delete: { readonly deleted: readonly string[] }
  readonly rehearse: Rehearsal
  readonly preview: Preview
  readonly compare: Comparison
  readonly forward: {
    /** The copy that it was made from. */
    readonly from: string
    readonly parts: readonly (Restored & { readonly part: string })[]
    /** What did not follow, a sentence each. */
    readonly gaps: readonly string[]
    /** How far the clock can be off by which the time was found; null where that was not asked or is not known. */
    readonly clockErrorMs: number | null
  }
  readonly operate: { readonly answer: Json }
  readonly log: readonly LaidOutLog[]
  readonly replay: { readonly rows: number }
  /** What was found to be so, a line each. */
  readonly verify: { readonly checks: readonly string[] }
}

const name = z.string().min(1).max(100)

/** Validates where the data is. */
export const dataPlaceSchema: z.ZodType<DataPlace> = z.object({
  app: name,
  copy: name.nullable(),
  generation: z.int().positive(),
  swap: z.object({ from: name, keepAs: name }).nullable(),
})

const resource = z.object({ part: name, type: name, config: z.json(), bundle: z.string().nullable() })

/** Validates a task. */
export const dataTaskSchema: z.ZodType<DataTask> = z.discriminatedUnion('do', [
  z.object({ do: z.literal('state'), sizes: z.boolean().exactOptional() }),
  z.object({ do: z.literal('pending'), resources: z.array(resource).max(1000) }),
  z.object({ do: z.literal('checkpoint'), name }),
  z.object({ do: z.literal('clone'), name, from: name.nullable() }),
  z.object({ do: z.literal('delete'), names: z.array(name).max(1000) }),
  z.object({
    do: z.literal('rehearse'),
    copy: name,
    resources: z.array(resource).max(1000),
    lockMsMax: z.int().positive(),
  }),
  z.object({
    do: z.literal('forward'),
    copy: name,
    from: z.array(name).max(10),
    target: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('name'), name }),
      z.object({ kind: z.literal('position'), position: name }),
      z.object({ kind: z.literal('time'), timeMs: z.number() }),
      z.object({ kind: z.literal('end') }),
    ]),
    confirmed: z.boolean(),
    log: name.exactOptional(),
  }),
  z.object({ do: z.literal('operate'), part: name, order: z.json() }),
  z.object({ do: z.literal('log') }),
  z.object({ do: z.literal('preview'), since: name }),
  z.object({ do: z.literal('verify'), copy: name, probes: z.record(name, z.string().max(10_000)) }),
  z.object({ do: z.literal('compare'), before: name, after: name }),
  z.object({ do: z.literal('replay'), from: name, part: name, table: name, where: z.string().max(2000).nullable() }),
])
