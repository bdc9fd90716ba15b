/**
 * The shells that run tasks of a job one after another. Pure. Each takes orders from a pipe, a line each: the task, words that
 * say where its output goes, and variables; and writes a line with the task and its exit when it is over.
 *
 * Invariant: nothing of a job stands in a script but as quoted words.
 */
import type { TaskJob } from '../protocol/index.ts'

const signals = ['HUP', 'INT', 'QUIT', 'USR1', 'USR2', 'TERM', 'CONT'] as const

export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/**
 * Tasks that share a place, run by `./job`. Words of an order: where the output goes, where the errors go ('': the same). What
 * a task leaves behind in a sandbox (`isolated`) is ended with it.
 */
export function sharedScript(isolated: boolean): string {
  return [
    ...opening,
    ...signals.map((signal) => `trap 'kill -${signal} $child 2>/dev/null' ${signal}`),
    'child=',
    'while read -r line <&9; do',
    '  eval "set -- $line"',
    '  id=$1 out=$2 err=$3; shift 3',
    '  (',
    '    exec </dev/null >>"$out" 9>&- 8>&- || exit 126',
    '    if [ -n "$err" ]; then exec 2>>"$err" || exit 126; else exec 2>&1; fi',
    '    for variable; do export "$variable"; done',
    '    . ./job',
    '  ) &',
    '  child=$!',
    '  wait $child; status=$?',
    '  while kill -0 $child 2>/dev/null; do wait $child; status=$?; done',
    '  child=',
    ...(isolated ? ['  kill -9 -1 2>/dev/null'] : []),
    '  echo "$id $status" >&8',
    'done',
  ].join('\n')
}

/** Tasks that each have a sandbox of their own, by the functions of a series (see `Series` in sandbox). Words of an order: how, out, err, log. */
export function seriesPlaceScript(functions: string): string {
  return [
    ...opening,
    functions,
    ...signals.map((signal) => `trap 'forward ${signal}' ${signal}`),
    'while read -r line <&9; do',
    '  eval "set -- $line"',
    '  id=$1 how=$2 out=$3 err=$4 log=$5; shift 5',
    '  start "$@"',
    '  echo "$id $status" >&8',
    'done',
  ].join('\n')
}

const opening = ['cd "$1" || exit 125', 'exec 9<>orders 8>>ends']

/** What each task that shares a place begins with. Without a sandbox the script lies elsewhere. */
export function jobFile({ argv, cwd }: TaskJob, script: string): string {
  const words = argv.map((word) => (word === '/run/stead/script' ? script : word))
  return `cd ${quote(cwd)} || exit 126\nexec ${words.map(quote).join(' ')}\n`
}
