/**
 * The shell scripts around a program: the launcher on the host, and what waits in front of the program. Pure.
 *
 * How a sandbox starts. The launcher opens a pipe with the logger on its far end and becomes the keeper of the exit. In front of the program stands a gate (descriptor 3, a socket to the supervisor): it says
 * `ready` and waits for `go`. The supervisor puts it into its limit group and completes the record in between. When the supervisor dies before that, the
 * gate reads the end of the socket and the program never runs.
 *
 * Invariants: nothing a user wrote stands in a script, only in arguments after it; descriptors other than 0, 1 and 2
 * are closed when the program runs.
 */

/** Descriptors of the launcher and what it starts. */
export const descriptors: { readonly gate: 3; readonly status: 4; readonly spare: 5; readonly firstHandover: 6 } = {
  gate: 3,
  status: 4,
  /** For the launcher's own use. */
  spare: 5,
  firstHandover: 6,
}

const openGate = 'read -r go <&3 && [ "$go" = go ] || exit 125; exec 3>&- 4>&-'

/**
 * Ends the output with a line end, because s6-log drops a last line that has none. Readers leave out the last empty line
 * in turn. The logger may be gone, which must not cost the exit.
 */
const endLastLine = `trap '' PIPE; echo`

/**
 * The first process inside a process namespace, run as `sh -c INIT sh PROGRAM ARGS`. It reaps orphans and ends with the
 * program, whereupon the kernel ends everything else in the namespace. It is under the program's own system call filter:
 * bubblewrap's own first process is not, and the program could write into its memory.
 */
export const initScript: string = [
  // The shell's own remarks ("Killed") do not belong into the program's output.
  'exec 5>&2 2>/dev/null',
  `(echo ready >&3; ${openGate}; exec "$@" 2>&5 5>&-)`,
  'status=$?',
  endLastLine,
  'exit $status',
].join('\n')

/** What runs in front of the program where there is no namespace; its process id becomes the program's. */
export const gateScript: string = `echo "ready $$" >&3; ${openGate}; exec "$@"`

/** One argument of a shell command. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** What a launcher is made of. */
export interface LauncherParts {
  /** Absolute, of the program `mkfifo`. */
  readonly mkfifo: string
  readonly recordDir: string
  /** Command line of the logger. */
  readonly logger: readonly string[]
  /** Command line of what the output passes before it is logged; null when it passes nothing. */
  readonly filter: readonly string[] | null
  /** Shell text that starts the program, given in `"$@"`, and keeps its exit. */
  readonly last: string
}

/** The launcher, run as `sh -c LAUNCHER sh PROGRAM ARGS`. */
export function launcherScript({ mkfifo, recordDir, logger, filter, last }: LauncherParts): string {
  const words = (argv: readonly string[]): string => argv.map(quote).join(' ')
  const closed = '3>&- 4>&- 5<&-'
  const log = `TZ=UTC ${words(logger)}`
  // The process id that the shell tells of a pipeline is that of its last command.
  const keep =
    filter === null
      ? `${log} <&5 >/dev/null 2>&1 ${closed} &`
      : `${words(filter)} <&5 2>/dev/null ${closed} | ${log} >/dev/null 2>&1 ${closed} &`
  const pipe = quote(`${recordDir}/output.pipe`)
  return [
    'umask 022',
    // Writable for all, in a directory that nobody else can enter: so that a program may reopen /dev/stdout.
    `${quote(mkfifo)} -m 622 ${pipe} || exit 125`,
    // Opening one end of a pipe waits for the other. Held open both ways for a moment it waits for nobody, so that the
    // logger comes up while the sandbox is made.
    `exec 1<>${pipe} 5<${pipe} 1>${pipe} 2>&1`,
    keep,
    `echo $! >${quote(`${recordDir}/logger.pid`)}`,
    'exec 5<&-',
    last,
  ].join('\n')
}

/**
 * The end of a launcher that keeps the exit itself, in a file that appears whole. `newSession` starts a command in a
 * session of its own.
 */
export function keepExitScript(newSession: readonly string[], exitFile: string, mv: string): string {
  const session = newSession.map(quote).join(' ')
  return [
    'exec 5>&2 2>/dev/null',
    `(exec ${session} /bin/sh -c ${quote(gateScript)} sh "$@" 2>&5 5>&-)`,
    'status=$?',
    endLastLine,
    `echo $status >${quote(`${exitFile}.new`)}`,
    `${quote(mv)} ${quote(`${exitFile}.new`)} ${quote(exitFile)}`,
  ].join('\n')
}
