/**
 * Shell text that starts programs of one spec over and over, each in a new sandbox of bubblewrap, for a small process of the
 * host that stays (a "series"). What is the same for all lies in files of one directory; what is another for each comes as
 * arguments. Pure.
 *
 * Beside a start by a supervisor this saves the fork of a large process, the sockets by which all is handed over, and the
 * making of a limit group: the group is that of the process that stays, since one program runs at a time.
 *
 * Invariants: each program has namespaces, /tmp and first process of its own, and nothing of it runs when `start` is over;
 * `status` is that of the program, or `failed` when it never ran; descriptors other than 0, 1 and 2 are closed when the
 * program runs. Nothing a user wrote stands in the text but as quoted words.
 */
import { quote } from './launcher.ts'

/** Processes beside the program in the limit group: the shell, the logger, bubblewrap, the first process inside. */
export const seriesProcesses = 4

/** Names in the directory of a series. */
export const seriesFiles = {
  options: 'options',
  filter: 'filter',
  /** What bubblewrap says of the sandbox that runs. */
  status: 'status',
  /** A pipe on which the output leaves the sandbox. */
  output: 'output.pipe',
} as const

/** Descriptors of bubblewrap, and one to spare. A shell knows those of one digit only; 8 and 9 are the caller's. */
const [statusFd, spareFd, optionsFd] = [4, 5, 6]
export const seriesFilterFd = 7
const callers = '8>&- 9>&-'

/**
 * The first process inside, run as `sh -c INIT sh HOW OUT ERR PROGRAM ARGS`. HOW: `new` or `add` writes the output into files
 * inside, of which ERR may be empty; empty leaves it where it goes. It reaps orphans and ends with the program. The line end
 * is for s6-log, as in `launcher.ts`.
 */
const initScript = [
  `exec ${spareFd}>&2 2>/dev/null ${statusFd}>&- ${optionsFd}<&- ${seriesFilterFd}<&-`,
  '(',
  `  exec 2>&${spareFd} ${spareFd}>&-`,
  '  case $1 in',
  '    new) exec >"$2" || exit 126; if [ -n "$3" ]; then exec 2>"$3"; else exec 2>&1; fi || exit 126 ;;',
  '    add) exec >>"$2" || exit 126; if [ -n "$3" ]; then exec 2>>"$3"; else exec 2>&1; fi || exit 126 ;;',
  '  esac',
  '  shift 3',
  '  exec "$@"',
  ')',
  'status=$?',
  `trap '' PIPE; echo`,
  'exit $status',
].join('\n')

export interface SeriesParts {
  readonly bwrap: string
  readonly argv: readonly string[]
  readonly filtered: boolean
  /** The logger's command line for the directory that the shell has in `log`. */
  readonly logger: readonly string[]
}

/** In a logger's command line: the directory that `log` names. */
export const logDirectory = '{log}'

/**
 * Two functions for a shell whose working directory is that of the series. `start NAME=VALUE...` runs the program once, with
 * these variables beside those of the spec, and leaves how it ended in `status`; before, `log` names the directory that keeps
 * the output, and `how`, `out` and `err` say what `INIT` above takes. `forward SIGNAL` sends a signal to the program that runs,
 * for traps: what the shell is sent is meant for it.
 */
export function seriesScript({ bwrap, argv, filtered, logger }: SeriesParts): string {
  const { options, filter, status, output } = seriesFiles
  const log = logger.map((word) => (word === logDirectory ? `"$log"` : quote(word))).join(' ')
  const filterFrom = filtered ? ` ${seriesFilterFd}<${filter}` : ''
  const open = `</dev/null >${output} 2>&1 ${optionsFd}<${options}${filterFrom}`
  // Whatever ends the shell ends what it runs.
  const own = `--args ${optionsFd} --json-status-fd ${statusFd} --die-with-parent`
  const program = argv.map(quote).join(' ')
  return [
    'umask 022; TZ=UTC; export TZ; child=',
    'start() {',
    '  for variable; do set -- "$@" --setenv "${variable%%=*}" "${variable#*=}"; shift; done',
    `  exec ${statusFd}>${status}`,
    `  (exec ${log} <${output} >/dev/null 2>&1 ${statusFd}>&- ${callers}) &`,
    '  logger=$!',
    '  (',
    `    exec ${open} ${callers}`,
    `    exec ${quote(bwrap)} ${own} "$@" -- /bin/sh -c ${quote(initScript)} sh "$how" "$out" "$err" ${program}`,
    '  ) &',
    '  child=$!',
    `  exec ${statusFd}>&-`,
    '  wait $child; status=$?',
    // A signal that came in between has ended the wait, and not the program.
    '  while [ $status -gt 128 ] && kill -0 $child 2>/dev/null; do wait $child; status=$?; done',
    '  child=',
    '  wait $logger',
    '  while [ $? -gt 128 ] && kill -0 $logger 2>/dev/null; do wait $logger; done',
    '  ran=',
    `  while read -r said; do case $said in *exit-code*) ran=1 ;; esac; done <${status}`,
    '  [ -n "$ran" ] || [ $status -gt 128 ] || status=failed',
    '}',
    'forward() {',
    '  tries=0 first= program=',
    '  while [ -n "$child" ] && [ -z "$program" ] && [ $tries -lt 100 ]; do',
    `    while read -r said; do case $said in *'"child-pid": '*) first=\${said#*'"child-pid": '}; first=\${first%%[!0-9]*} ;; esac; done <${status}`,
    '    [ -z "$first" ] || read -r program _ </proc/$first/task/$first/children',
    '    [ -n "$program" ] || sleep 0.05',
    '    tries=$((tries + 1))',
    '  done 2>/dev/null',
    '  [ -z "$program" ] || kill -"$1" $program 2>/dev/null',
    '}',
  ].join('\n')
}
