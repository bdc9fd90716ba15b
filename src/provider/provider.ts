/**
 * The interface of resource providers: what stands behind a kind of resource (database, queue, bucket, secret).
 *
 * A provider declares the server it needs as data and the agent runs it as it runs everything else: in a sandbox, with
 * limits, logs and restarts. What the provider does itself is administration: make the data directory, let consumers in,
 * say what they get, come to rest for a checkpoint, go on from one.
 *
 * Invariants, checked by the conformance suite: every step is idempotent, so that it can be run again after a crash at
 * any point; a consumer reaches only what it was granted; all data is under `dataDir`, which lies in the app's domain.
 */
import { join } from 'node:path'
import type { Clock, Json, Random } from '../base/index.ts'

/** The socket by which a server in front of a resource that somebody else runs reaches it. */
export function outletPath(socketDir: string): string {
  return join(socketDir, 'outlet')
}

/** One resource of one app, with what the provider may use to serve it. */
export interface ProviderContext {
  readonly app: string
  readonly name: string
  /** From the graph; the provider validates it. */
  readonly config: Json
  /** Live data of this resource inside the domain; exists and belongs to the server's user. */
  readonly dataDir: string
  /** A directory for sockets, outside the domain, emptied at boot; paths in it are short enough for a Unix socket. */
  readonly socketDir: string
  /** The administrator's password for this resource, kept by the platform. */
  readonly adminPassword: string
  /** Files that the config refers to (migrations), read-only; null when it refers to none. */
  readonly filesDir: string | null
  /** Runs a program to its end in the resource's sandbox, with dataDir and socketDir mounted at their own paths. */
  run(program: ProviderProgram): Promise<ProgramResult>
  /** Starts a second server in the same kind of sandbox on other data (a clone or checkpoint); disposing stops it. */
  serve(server: ProviderServer): Promise<RunningServer>
  /** The last lines that the resource's own server wrote; empty when it has not run. For error messages. */
  serverOutput(): Promise<string>
  readonly clock: Clock
  readonly random: Random
}

export interface ProviderProgram {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Directories of the host it needs to read (its binaries), mounted at the same path. */
  readonly reads: readonly string[]
  /** Directories of the host it may write, beside dataDir and socketDir, mounted at the same path. */
  readonly writes: readonly string[]
  readonly timeoutMs: number
}

export interface ProgramResult {
  /** Exit code; null when it was killed. */
  readonly code: number | null
  /** Why it ended, in a sentence. */
  readonly sentence: string
  /** Its last lines of output. */
  readonly output: string
}

/** A long-running server, as data. */
export interface ProviderServer extends Omit<ProviderProgram, 'timeoutMs'> {
  readonly memoryBytes: number
  /** Where it takes connections: a Unix socket under socketDir. Edges of consumers lead there. */
  readonly socketPath: string
  readonly stopSignal: NodeJS.Signals
  readonly stopTimeoutMs: number
}

/** A program that is a part of Stead itself, made ready to run in the sandbox of a resource. */
export interface OwnProgram {
  /** Its command line; arguments come after it. */
  readonly argv: readonly string[]
  /** Directories of the host it needs to read, as `reads` of a program says. */
  readonly reads: readonly string[]
}

/**
 * Finds a program of Stead's own on this machine. The first of `entries` is what runs; the others are modules that it loads by
 * a name that it makes up (threads). Each is a path below the code of Stead without its ending, as `queue/drivers/http/main`.
 */
export type FindOwnProgram = (entries: readonly string[]) => Promise<OwnProgram>

/** A server started with `serve`. */
export interface RunningServer extends AsyncDisposable {
  /** Settles once, when the server has ended, with its last lines. */
  readonly exited: Promise<ProgramResult>
}

/** A consumer and its credential. The platform makes the credential; the provider makes it valid. */
export interface Grant {
  /** Name of the consuming part. */
  readonly consumer: string
  readonly user: string
  readonly password: string
  /** What it may do, of what the type offers, sorted. Absent: everything. */
  readonly rights?: readonly string[]
}

/** What a consumer gets to reach a resource, in standard form, whatever its language. */
export interface Binding {
  /** Environment variables, without the prefix of the consumer's own name for the resource. */
  readonly env: Readonly<Record<string, string>>
  /** Files under /run/secrets: name and content. */
  readonly files: readonly { readonly name: string; readonly content: string }[]
}

/** Where the consumer dials: the edge's address on its own node. */
export interface BindTarget {
  /** The name to dial; resolves to `address`. */
  readonly host: string
  readonly address: string
  readonly port: number
}

/** What differs between two states of a resource's data. */
export interface ResourceDiff {
  readonly items: readonly {
    /** Table, queue, bucket. */
    readonly name: string
    readonly added: number
    readonly removed: number
    readonly changed: number
  }[]
  /** False when only counts could be compared. */
  readonly exact: boolean
  /** What its ledger of outside effects holds in the later state and not, or not as sent, in the earlier one. Absent without a ledger. */
  readonly effects?: readonly LedgerEntry[]
  /** What was not compared, a sentence each. */
  readonly gaps?: readonly string[]
}

/** An effect on the outside world, as an app has written it down. */
export interface LedgerEntry {
  readonly key: string
  /** What it was, in the app's words. */
  readonly what: string
  readonly state: 'sent' | 'possibly-sent'
  /** What undoes it, in the app's words; null where it gave nothing. */
  readonly compensation: string | null
  readonly timeMs: number
}

/** How far changes of what is declared go. expand: what the release before can work with. all: what is left too. */
export type PreparePhase = 'expand' | 'all'

/** What is in force after `prepare`. */
export interface Prepared {
  /** Names the schema for a person, such as the last migration; null where there is none. */
  readonly schema: string | null
}

/** A statement that was tried on a copy of the data. */
export interface TriedStatement {
  readonly file: string
  readonly line: number
  /** Its first words. */
  readonly text: string
  readonly durationMs: number
  /** The locks that kept others from a table, or from `rows` of it, and for how long: until the end of the transaction. */
  readonly locks: readonly {
    readonly table: string
    readonly mode: string
    readonly rows?: number
    readonly heldMs: number
  }[]
}

/** What came of trying the declared changes on a copy of the data. */
export interface Trial {
  /** In the order in which they ran. */
  readonly statements: readonly TriedStatement[]
  /** Why they should not be run on the live data, a sentence each: with table, lock and duration. */
  readonly refusals: readonly string[]
}

/** What is declared and not yet in force: whether it comes in two halves. */
export interface Pending {
  /** None: nothing is due. expand: each has a first half that the release before can work with. stop: one has not. */
  readonly migrates: 'none' | 'expand' | 'stop'
  /** Whether second halves are due. */
  readonly contracts: boolean
  /** What would run, a statement each, for a person to read first. */
  readonly statements: readonly {
    readonly file: string
    readonly half: 'expand' | 'contract' | 'whole'
    readonly text: string
  }[]
}

/** What has happened to the data since the server started to count, which costs next to nothing. */
export interface Position {
  /** Where it stands in its log, in its own words. */
  readonly position: string
  /** When it began to count, milliseconds since 1970: after a crash it begins anew. */
  readonly countedSinceMs: number
  readonly counts: readonly {
    readonly name: string
    readonly added: number
    readonly removed: number
    readonly changed: number
  }[]
}

/** Rows of one table of a copy that are to come into the live data. */
export interface ReplayOrder {
  readonly table: string
  /** A condition in the resource's own language; null: all that is missing. */
  readonly where: string | null
}

/** A moment in the log of a resource: one that was named, a position in the resource's own words, a time by its clock, or where it ends. */
export type LogTarget =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'position'; readonly position: string }
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'end' }

/** Where going along the log has led. */
export interface Restored {
  readonly position: string
  /** When the last change that is there was committed, by the clock of the machine that it was on; null: there is none since the copy. */
  readonly lastChangeMs: number | null
}

/** The log that a resource keeps beside its data. */
export interface LogStanding {
  /** A copy that was made later than this can be brought forward along it; null: none of it was kept yet. Milliseconds since 1970. */
  readonly sinceMs: number | null
  readonly bytes: number
  /** Files that are written and not kept yet. */
  readonly waiting: number
  /** What is wrong with it, a sentence; null: nothing. */
  readonly trouble: string | null
}

/** What was checked of a copy, a sentence each. */
export interface Verification {
  readonly checks: readonly string[]
}

export interface Metric {
  /** Prometheus style, with the unit: `postgres_connections`, `postgres_size_bytes`. */
  readonly name: string
  readonly kind: 'counter' | 'gauge'
  readonly help: string
  readonly value: number
}

export interface ProviderCapabilities {
  /** `none`: a checkpoint may be taken while it runs; `pause`: writers must be held; `stop`: the server must be stopped. */
  readonly quiesce: 'none' | 'pause' | 'stop'
  readonly diff: 'exact' | 'counts' | 'refused'
  /** Whether `metrics` costs next to nothing, so that it is asked every few seconds and shown. Absent: it is not. */
  readonly metered?: boolean
}

export interface Provider {
  /** Resource type it serves, as in the graph. */
  readonly type: string
  /** Port that consumers dial by default; null when nothing is dialled (a secret). */
  readonly port: number | null
  readonly capabilities: ProviderCapabilities
  /** Makes or completes the data directory. Answers the server to run, or null when none is needed. */
  provision(context: ProviderContext): Promise<ProviderServer | null>
  /**
   * Where a resource answers that somebody else runs; null, or not there, for all others. Edges lead there; where there is a
   * server as well they lead to that, which reaches the place by the socket at `outletPath`.
   */
  endpoint?(context: ProviderContext): { readonly host: string; readonly port: number } | null
  /** Resolves when the server answers; throws after `timeoutMs`. */
  ready(context: ProviderContext, timeoutMs: number): Promise<void>
  /**
   * Brings what was declared into being (schema migrations), as far as `phase` says; all of it unless given. All or nothing;
   * throws with file, line and the server's own words.
   */
  prepare(context: ProviderContext, phase?: PreparePhase): Promise<Prepared>
  /** Lets a consumer in, with exactly the rights of the grant. Again with another password or other rights: the new ones hold. */
  grant(context: ProviderContext, grant: Grant): Promise<void>
  /** Takes a consumer's access away and ends its connections. */
  revoke(context: ProviderContext, user: string): Promise<void>
  /** What the consumer gets. Pure. */
  bind(
    resource: { readonly app: string; readonly name: string; readonly config: Json },
    grant: Grant,
    target: BindTarget,
  ): Binding
  /** Brings the data to rest for a checkpoint, as `capabilities.quiesce` says; disposing lets it go on. */
  quiesce(context: ProviderContext): Promise<AsyncDisposable>
  /** Makes the data usable after it was put back from a checkpoint, before the server starts. */
  recover(context: ProviderContext): Promise<void>
  /** What differs between two data directories of this resource: copies that are thrown away after, because nothing in them is durable then. */
  diff(context: ProviderContext, before: string, after: string): Promise<ResourceDiff>
  metrics(context: ProviderContext): Promise<readonly Metric[]>
  /** What an operator asks of the live resource, or has done to it, in the provider's own words. Who may was decided before. */
  operate?(context: ProviderContext, order: Json): Promise<Json>
  /** What is declared and not in force in the live data. Changes nothing. Not there: nothing is ever pending. */
  pending?(context: ProviderContext): Promise<Pending>
  /**
   * Tries what is declared on a copy: `dataDir` of the context is one, writable and not live. Throws as `prepare` does.
   * A lock that keeps others from a table, or from rows of it, for more than `lockMsMax` is a refusal.
   */
  rehearse?(context: ProviderContext, lockMsMax: number): Promise<Trial>
  /**
   * Writes into `dir` what must outlive a return to an earlier state (positions of sequences, the ledger), while the server
   * answers and no consumer is left. Can be done again.
   */
  abandon?(context: ProviderContext, dir: string): Promise<void>
  /**
   * Brings that into the data that has come back, before any consumer is let in. Done once for each generation, however often
   * it is asked. Answers what a person should know of it, a sentence each: with nothing in `dir` it can only be careful.
   */
  carry?(context: ProviderContext, dir: string, generation: number): Promise<readonly string[]>
  /** What has changed so far, counted as it happens. */
  position?(context: ProviderContext): Promise<Position>
  /** Copies rows of another state (a copy, writable, not live) into the live data; answers how many. What is there already stays. */
  replay?(context: ProviderContext, from: string, order: ReplayOrder): Promise<number>
  /** Names this moment in the log, so that `restoreTo` finds it; answers its position. */
  mark?(context: ProviderContext, name: string): Promise<string>
  /** How the log stands along which copies are brought forward. */
  log?(context: ProviderContext): Promise<LogStanding>
  /**
   * Lays out the log up to now in a directory below `dataDir`, for whoever carries it elsewhere; it stays as it is until this is
   * asked again. `restoreTo` takes it as the `log` of a later state. Answers up to which position it goes.
   */
  layOutLog?(context: ProviderContext): Promise<{ readonly dir: string; readonly position: string }>
  /**
   * Brings a copy forward to a moment after it was made: `dataDir` of the context is one, writable, not live, and no server has
   * run on it yet; the log is that of `from`, a later state of the same data. Leaves the copy at rest; throws when the log does not lead there, and then
   * the copy is of no use.
   */
  restoreTo?(context: ProviderContext, from: string, target: LogTarget): Promise<Restored>
  /**
   * Proves, at the start of a server, that what it acknowledges is on the disk; answers how that is known, in a sentence. Throws
   * where it is not so, and then nothing is served from it. What cannot be found out is no refusal.
   */
  durability?(context: ProviderContext): Promise<string>
  /**
   * Proves that a copy can be used: `dataDir` of the context is one, writable, not live, and thrown away after, because nothing
   * in it is durable then. `probe` is a question of the app's, in the resource's own language. Answers what was checked; throws with what is damaged.
   */
  verify?(context: ProviderContext, probe: string | null): Promise<Verification>
}
