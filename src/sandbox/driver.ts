/**
 * The interface of sandbox drivers: start a program in isolation, follow it, find it again after the supervisor died.
 *
 * Invariants every driver keeps, and the conformance suite checks:
 * - A running program does not depend on the process that started it: after kill -9 of that process it goes on, its
 *   output is kept with time and bounded in size, and its exit is kept until somebody asks.
 * - What a driver cannot do is declared in its capabilities and refused at start, never silently left out.
 * - An exit is explained: what ended the program, in a sentence.
 */
import type { Duplex, Readable, Writable } from 'node:stream'
import type { CpuClass } from './cpu-class.ts'

/**
 * A directory or file of the host that the program may see. With a driver that does not isolate, paths inside are those
 * of the host, so `target` must equal `source`.
 */
export interface Mount {
  readonly source: string
  /** Absolute path inside. */
  readonly target: string
  readonly access: 'read-only' | 'read-write'
}

/**
 * A file that exists only inside (a secret, /etc/hosts): handed over by descriptor, never on the host's disk. With a
 * driver that does not isolate it is written below `recordDir/files`, where its path must lie, and removed at the end.
 */
export interface InlineFile {
  readonly path: string
  /** At most `specLimits.inlineFileBytesMax`. */
  readonly content: string
  /** Permission bits, such as 0o400. Owned by the program's user. */
  readonly mode: number
  /** The program may write into it; what it writes is gone with it. */
  readonly writable?: boolean
}

/**
 * Limits of one sandbox; null asks for none. Reaching memory or pids is reported in the exit. A limit that the driver
 * cannot hold is refused at start: whoever goes on without it says so, see `limitsWithin`.
 */
export interface SandboxLimits {
  readonly memoryBytes: number | null
  /** CPU time per wall time: 0.5 is half a core. */
  readonly cpuCores: number | null
  readonly pidsMax: number | null
  /** Size of the writable /tmp. */
  readonly tmpBytes: number | null
}

/** Where the program's sockets live. `enter` runs a synchronous function (the spawn) inside. */
export interface NetworkPlace {
  /** Names the place in records and messages. */
  readonly name: string
  enter<T>(run: () => T): T
}

/** Which system calls the kernel answers. `guarded`: as `strict`, and attempts to escape end the program. `none`: all, for a driver that has no filter. */
export type SyscallProfile = 'strict' | 'guarded' | 'default' | 'none'

/**
 * A root file system of the program's own, in the place of the host's programs and libraries. /proc, /dev and /tmp are the
 * sandbox's own also here; mounts and inline files lie above it, wherever its symbolic links lead within it.
 */
export interface RootTree {
  /**
   * Directories of the host, the lowest first, each an unpacked layer that nobody changes and that belongs to root, with what
   * it removes in the form of overlayfs. Inside, everything belongs to the program's user.
   */
  readonly layers: readonly string[]
  /** Whether the program may write into it; what it writes lies in memory, within `tmpBytes`, and is gone with it. */
  readonly writable: boolean
  /** Most bytes that can be written, where that is not `tmpBytes`. */
  readonly writtenBytesMax?: number
  /**
   * Directories of it that the program may write all the same, in memory, within `tmpBytes` together; made where they are
   * missing, and with what the layers have in them.
   */
  readonly scratch?: readonly string[]
  /** Ids of the program inside; 1000 where absent. 0 has no power either: on the host it is `hostUid` all the same. */
  readonly user?: { readonly uid: number; readonly gid: number }
  /**
   * Several users inside: the program's own is `hostUid` on the host, every other `first` and its own number; unique to the
   * workload. Files belong to whom the layers say. User 0 may give them away and become another, and has no power over
   * anything else. Absent: one user, to whom everything belongs.
   */
  readonly hostIds?: HostIds
}

/** A range of user ids, and group ids, of the host. */
export interface HostIds {
  readonly first: number
  readonly count: number
}

/** Container runtimes of OCI that there are drivers for. */
export type OciRuntime = 'runc' | 'crun'

/** A disk that a guest boots from by itself: a whole system in the place of a program. */
export interface Disk {
  /** The image, which is never written: what the system writes is kept apart. */
  readonly path: string
  readonly format: 'qcow2' | 'raw'
  /**
   * Directory of the workload's user that holds what the system writes, from one start to the next; it belongs to this image
   * and to no other. Absent: it is kept until the records are removed.
   */
  readonly writtenDir?: string
  /** Files of a second, read-only disk with the label CIDATA, by path: for cloud-init `user-data`, `meta-data`. Empty: none. */
  readonly seed: Readonly<Record<string, string>>
  /** Boots this kernel, with what it unpacks first, in the place of what the disk would. */
  readonly kernel?: { readonly path: string; readonly initrd?: string; readonly commandLine: string }
}

/** A state of a machine that is kept, memory and disk. */
export interface MachineSnapshot {
  readonly name: string
  /** When it was taken, milliseconds since 1970, to the second. */
  readonly timeMs: number
  /** What its memory takes on the disk. */
  readonly memoryBytes: number
}

export interface SandboxSpec {
  /** Unique; letters, digits, dot, dash. Names the cgroup and the directory of records. */
  readonly id: string
  /** Program and arguments; the program is an absolute path inside, or a name found on PATH inside. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Working directory inside; made where it is missing in a root of its own. */
  readonly cwd: string
  readonly mounts: readonly Mount[]
  readonly files: readonly InlineFile[]
  /** Absent: the programs and libraries of the host. */
  readonly root?: RootTree
  /** The runtime that makes the container of a root of its own. Absent: the driver makes the sandbox itself. */
  readonly runtime?: OciRuntime
  /** Host user id the program runs as when the driver separates users; unique to the workload. */
  readonly hostUid: number
  readonly limits: SandboxLimits
  /** Absent: processors are shared as with everything else on the machine. */
  readonly cpu?: CpuClass
  /** Files of devices below /dev that the program may use. */
  readonly devices?: readonly string[]
  readonly syscalls: SyscallProfile
  /** null: the host's own network, abstract sockets included; only for machines where no place of its own can be had. */
  readonly network: NetworkPlace | null
  /** Directory of this instance's records (exit status, output); made by the driver, kept until `remove`. */
  readonly recordDir: string
  /** Most bytes of output kept on disk; older output is dropped. */
  readonly outputBytesMax: number
  /**
   * A file of texts that are taken out of the output before it is kept, one a line in hexadecimal (`filterFile`). It may be
   * replaced while the program runs. It holds secrets: it belongs into memory, not on a disk.
   */
  readonly filterFile?: string
  /**
   * `kernel`: on a kernel that no other program uses. `container`: in a container of the machine's Incus server. Absent:
   * whatever the driver gives.
   */
  readonly isolation?: 'kernel' | 'container'
  /**
   * Boots this instead of running `argv`, which names the system in messages only. It ends when the system switches itself
   * off, its output is its console, SIGTERM presses its power button, and the memory limit is what its computer has; it is
   * given no mounts, no root, and of files /etc/resolv.conf alone, which says where its names are looked up.
   */
  readonly disk?: Disk
  /** Ports that the program serves on: where it has a network interface of its own, what comes for them is led to it. */
  readonly ports?: readonly number[]
}

/** How a program ended, in a form to branch on and a sentence to read. */
export interface Exit {
  readonly cause: 'code' | 'signal' | 'memory' | 'unknown'
  /** Exit code when `cause` is `code`. */
  readonly code: number | null
  /** Signal name when `cause` is `signal` or `memory`. */
  readonly signal: string | null
  /** For a person: "ended with code 3", "killed: it reached its memory limit of 128 MiB". */
  readonly sentence: string
}

/** A line of output. */
export interface OutputLine {
  /** Milliseconds since 1970, taken when the line was written. */
  readonly timeMs: number
  readonly text: string
}

/** What a running sandbox uses now, the two or three small processes of the driver included; null where the driver cannot tell. */
export interface SandboxUsage {
  readonly memoryBytes: number | null
  readonly cpuSeconds: number | null
  readonly pids: number | null
}

export interface TerminalSize {
  readonly columns: number
  readonly rows: number
}

/** A program to be run inside a sandbox that runs. */
export interface ExecOptions {
  /** The program is an absolute path inside, or a name found on PATH inside. */
  readonly argv: readonly string[]
  /** Beside the environment of the sandbox's own program. */
  readonly env: Readonly<Record<string, string>>
  /** Null: without a terminal, with three streams of its own. */
  readonly terminal: TerminalSize | null
}

/** A program that runs inside a sandbox beside the sandbox's own. It does not outlive its supervisor. */
export interface Executed {
  readonly input: Writable
  /** What it prints; with a terminal, on both of its outputs. */
  readonly output: Readable
  /** Null with a terminal. */
  readonly errors: Readable | null
  /** Nothing happens without a terminal. */
  resize(size: TerminalSize): void
  /** Settles once, when it is gone. Never rejects. What it left behind in the background is ended then. */
  readonly exited: Promise<Exit>
  /** Ends it and what it started, but for what has cleared its environment: that goes with the sandbox. */
  kill(): Promise<void>
}

/** One started program. */
export interface Sandbox {
  readonly id: string
  /** Process id on the host of the program itself, for attaching and for its network. */
  readonly pid: number
  /** Settles once, when the program and everything it started are gone. Never rejects, and does not keep the process alive. */
  readonly exited: Promise<Exit>
  /** Sends a signal to the program, such as 'SIGTERM'. Nothing happens when it is gone. */
  signal(signal: NodeJS.Signals): void
  /** Ends the program and everything it started, at once. Resolves when they are gone. */
  kill(): Promise<void>
  /** Stops and continues all its processes without ending them. Refused with `sandbox.refused` where unsupported. */
  freeze(): Promise<void>
  thaw(): Promise<void>
  usage(): Promise<SandboxUsage>
  /**
   * Runs a program inside: in the namespaces, under the user, the limits and the filter of the sandbox. Throws
   * `sandbox.refused` where unsupported, `sandbox.ended`, `sandbox.exec-failed`.
   */
  exec(options: ExecOptions): Promise<Executed>
  /** How many processes of it were killed so far because it reached its memory limit; null where that is not known yet. */
  oomKills(): number | null
  /** Ids on the host of all its processes now, the first process inside among them. */
  members(): readonly number[]
  /** What it has because its kernel is its own. Throws `sandbox.refused` where it shares the host's. */
  machine(): Machine
}

/** What only a sandbox with a kernel of its own has; each refused with `sandbox.refused` where the capabilities say so. */
export interface Machine {
  /**
   * The console: what the kernel says, which is kept in the output as well. A line typed there opens a shell of the guest's
   * root. One at a time may hold it. Throws `sandbox.ended`.
   */
  console(): Promise<Duplex>
  /** The Unix socket on which the kernel can be debugged by the remote protocol of gdb; root's alone. */
  readonly debugStub: string
  /** A connection to it. While one is open the kernel may stand still; it goes on when that is closed. Throws `sandbox.ended`. */
  debugger(): Promise<Duplex>
  /**
   * Whether something inside has taken a stream to a port of `ports` that is open now. What runs the machine accepts every
   * stream before it knows whether it leads anywhere. Throws `sandbox.ended`.
   */
  accepts(port: number): Promise<boolean>
  /** Addresses of symbols in the running kernel; those it does not have are left out. Throws `sandbox.ended`. */
  symbols(names: readonly string[]): Promise<ReadonlyMap<string, bigint>>
  /**
   * What a debugger needs to know of the running kernel: its symbols as an ELF file, and commands for gdb that list its
   * tasks, made from what the kernel says of its own types. Throws `sandbox.ended`, `sandbox.machine-silent`.
   */
  debugFiles(): Promise<{ readonly symbols: Uint8Array; readonly commands: string }>
  /**
   * Keeps its whole state, memory and disk, under a name; it stands still meanwhile. Only of a machine that has no directory
   * of the host, which is one that booted from a disk. Throws `sandbox.refused`, `sandbox.no-space`, `sandbox.machine-refused`.
   */
  snapshot(name: string): Promise<void>
  /** Goes on from a kept state; what came after it is gone. Throws as `snapshot` does. */
  restore(name: string): Promise<void>
  /** Keeps a state no longer. Throws as `snapshot` does. */
  forget(name: string): Promise<void>
  /** The kept states, oldest first. */
  snapshots(): Promise<readonly MachineSnapshot[]>
}

/** native: the mechanism itself; emulated: something weaker under the named guarantee; refused: asking for it is an error. */
export type Support = 'native' | 'emulated' | 'refused'

export interface SandboxCapabilities {
  /** Own user, processes, files: whether the program is kept from the rest of the machine. */
  readonly isolation: Support
  readonly ownNetwork: Support
  readonly memoryLimit: Support
  readonly cpuLimit: Support
  /** Whether a program may take no more than what others leave; and whether time can be reserved, by either policy. */
  readonly bestEffortCpu: Support
  readonly deadlineCpu: Support
  readonly fifoCpu: Support
  readonly pidsLimit: Support
  readonly tmpLimit: Support
  readonly freeze: Support
  readonly syscallFilter: Support
  readonly devices: Support
  /** Whether a program may bring its own root file system. */
  readonly root: Support
  /** Whether there may be several users in such a root. */
  readonly users: Support
  /** Whether another program can be run inside one that runs. */
  readonly exec: Support
  readonly outputFilter: Support
  /** Whether the program runs on a kernel that no other shares. */
  readonly ownKernel: Support
  /** Whether the program runs in a container of an Incus server, under what that server allows. */
  readonly container: Support
  /** Whether a whole system can be booted from a disk, and its state be kept and gone back to. */
  readonly disk: Support
  readonly snapshot: Support
  /** Whether that kernel has a console that can be reached, and can be debugged. */
  readonly console: Support
  readonly debugStub: Support
  /** Whether the program, its output and its exit survive the supervisor. */
  readonly survivesSupervisor: Support
  /** For each thing that is weaker than it could be: one line saying what, and how to mend it. */
  readonly weaker: readonly string[]
}

/** What a process is made of that starts programs, one after another; see `series.ts`. */
export interface Series {
  /** In front of its command line: makes it the host user of the spec. */
  readonly identity: readonly string[]
  /** Shell text with the functions `start` and `forward`; its working directory is that of the series. */
  readonly script: string
}

export interface SandboxDriver {
  readonly name: string
  /** Found by looking at this machine once, when the driver was made. */
  readonly capabilities: SandboxCapabilities
  /** Starts a program. Throws `sandbox.refused` (asked for more than the capabilities), `sandbox.start-failed`. */
  start(spec: SandboxSpec): Promise<Sandbox>
  /**
   * Finds again what an earlier supervisor started under this record directory. Null when there is no record there.
   * A program that ended meanwhile is returned too: its `exited` settles at once with the kept exit.
   */
  adopt(recordDir: string): Promise<Sandbox | null>
  /** Kept output, oldest first, from the given time on; with `follow`, goes on until the signal aborts or the program is gone. */
  output(recordDir: string, options?: OutputOptions): AsyncIterable<OutputLine>
  /** Deletes kept output but for the newest file, also while the program runs; answers the bytes that became free. */
  dropOldOutput(recordDir: string): number
  /**
   * How programs of this spec are started over and over, each in a new sandbox, by a small process of the host that stays and
   * needs no supervisor: lays out in an empty directory what each start needs, and answers what that process is made of.
   * Limits and network are those of that process; `env` and `argv` are the same for all. Absent: the driver cannot.
   */
  readonly series?: (spec: SandboxSpec, directory: string) => Series
  /** Removes the records of a program that has ended, and its limit group if that is still there. */
  remove(recordDir: string): Promise<void>
}

export interface OutputOptions {
  readonly sinceMs?: number
  /** Only the last so many lines of what is kept. */
  readonly tail?: number
  readonly follow?: boolean
  readonly signal?: AbortSignal
}
