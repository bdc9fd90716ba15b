/** From what went wrong in the child to the error a person reads: what, in which file and line, with the line itself. Pure. */
import { basename } from 'node:path'
import { SteadError } from '../base/index.ts'
import { formatBytes, formatDuration } from '../model/index.ts'
import { answerBytesMax } from './answer.ts'
import type { Thrown } from './answer.ts'
import { pathOf, placeInStack, placeOfCaret } from './place.ts'
import type { Place } from './place.ts'
import type { Outcome } from './process.ts'

/** What there is to explain with. */
export interface Scene {
  /** Real path of the app file. */
  readonly file: string
  /** The directories of the platform's own code, whose lines are nobody's business. */
  readonly ownCode: string
  /** What the child printed to its standard error. */
  readonly stderr: string
  /** A text of the app's code, or null when there is none. */
  readonly read: (path: string) => string | null
}

const allowed = 'An app file only describes the app: it can read the files beside it, and nothing else.'

/** What a refused access was, by the flag of Node that would allow it. */
const accesses: Readonly<Record<string, string>> = {
  'fs-read': 'reads',
  'fs-write': 'writes',
  net: 'opens a network connection',
  'child-process': 'starts a process',
  worker: 'starts a thread',
  addons: 'loads a native addon',
  wasi: 'uses WASI',
  ffi: 'calls native code',
  inspector: 'opens the inspector',
}

/** The first line of a file in which a quoted text ends with `text`. */
function placeOfText(scene: Scene, path: string, text: string): Place | null {
  const rows = scene.read(path)?.split('\n') ?? []
  const index = rows.findIndex((row) => row.includes(`${text}'`) || row.includes(`${text}"`))
  return index < 0 ? null : { path, line: index + 1, column: 0 }
}

/** `app.ts:3:15`, as terminals and editors link it. */
function where(scene: Scene, place: Place | null): string {
  if (place === null) return scene.file
  return [place.path, place.line, ...(place.column > 0 ? [place.column] : [])].join(':')
}

/** The line of a place with a caret under the column, to stand below a message. */
function excerpt(scene: Scene, place: Place | null): string {
  const line = place === null ? undefined : scene.read(place.path)?.split('\n')[place.line - 1]
  if (place === null || line === undefined || line.length > 200) return ''
  const margin = String(place.line)
  const caret = place.column === 0 ? '' : `\n  ${' '.repeat(margin.length)} | ${' '.repeat(place.column - 1)}^`
  return `\n  ${margin} | ${line.replaceAll('\t', ' ')}${caret}`
}

/** The first line of a message, without the full stop it may have. */
function sentence(message: string): string {
  return (message.split('\n')[0] ?? '').replace(/\.$/, '')
}

/** The error for something that the app file, or the model on its behalf, threw. */
export function explainThrown(thrown: Thrown, scene: Scene): SteadError {
  const place = placeInStack(thrown.stack, scene.ownCode)
  const at = where(scene, place)
  if (thrown.code === 'model.not-an-app') {
    const message = `${scene.file}: ${thrown.message}`
    return new SteadError({ code: 'evaluate.not-an-app', message, hint: thrown.hint })
  }
  if (thrown.name === 'SteadError' && thrown.code.startsWith('model.')) {
    const message = `${at}: ${thrown.message}${excerpt(scene, place)}`
    return new SteadError({ code: thrown.code, message, hint: thrown.hint })
  }
  if (thrown.code === 'ERR_MODULE_NOT_FOUND') return explainMissing(thrown, scene)
  if (thrown.code === 'ERR_ACCESS_DENIED' || thrown.code === 'ERR_DLOPEN_DISABLED') {
    // Only the lookup of a host name says no flag.
    const named = /--allow-([a-z-]+)/.exec(thrown.message)?.[1] ?? 'net'
    const flag = thrown.code === 'ERR_DLOPEN_DISABLED' ? 'addons' : named
    const what = `${accesses[flag] ?? `needs ${flag}`}${flag.startsWith('fs-') ? ` ${thrown.resource}` : ''}`
    const message = `${at} ${what}, which an app file must not.${excerpt(scene, place)}`
    return new SteadError({ code: 'evaluate.refused', message, hint: allowed })
  }
  if (thrown.code === 'ERR_MEMORY_ALLOCATION_FAILED' || thrown.message === 'Array buffer allocation failed') {
    return outOfMemory(at, excerpt(scene, place))
  }
  const caret = placeOfCaret(thrown.stack) ?? placeOfCaret(scene.stderr)
  if (thrown.name === 'SyntaxError' && place === null) {
    return new SteadError({
      code: 'evaluate.does-not-compile',
      message: `${where(scene, caret)} does not compile: ${sentence(thrown.message)}.${excerpt(scene, caret)}`,
      hint: 'Types are stripped, not compiled: enums, namespaces and parameter properties cannot be used.',
    })
  }
  return new SteadError({
    code: 'evaluate.threw',
    message: `${at} threw ${thrown.name || 'a value'}: ${sentence(thrown.message)}.${excerpt(scene, place)}`,
    hint: thrown.message.endsWith(' before initialization')
      ? 'A part can use only what is declared above it. Parts that use each other in a circle have no start order.'
      : 'Correct the line, or take it out: an app file only puts values together.',
  })
}

/** The error for a file that takes more memory than it is given. */
function outOfMemory(at: string, code = ''): SteadError {
  const message = `${at} needs more memory than an app file is given.${code}`
  const hint = 'Look for a list that grows without end: an app file only puts values together.'
  return new SteadError({ code: 'evaluate.out-of-memory', message, hint })
}

function explainMissing(thrown: Thrown, scene: Scene): SteadError {
  const [, kind = 'module', name = '', from = ''] =
    /^Cannot find (package|module) '([^']+)' imported from (.+)$/.exec(thrown.message) ?? []
  const importer = from.startsWith('file:') ? (pathOf(from) ?? scene.file) : from || scene.file
  const place = placeOfText(scene, importer, basename(name))
  return new SteadError({
    code: 'evaluate.missing-import',
    message: `${place === null ? importer : where(scene, place)} imports ${name}, and there is no such ${kind}.${excerpt(scene, place)}`,
    hint:
      kind === 'package'
        ? `Install it beside the app file: npm install ${name}.`
        : 'An import names the file with its ending, and the file must be in the directory of the app file or below it.',
  })
}

/** The error for a child that ended without an answer. */
export function explainSilence(
  file: string,
  { ended, exitCode, signal, stderr, started }: Outcome,
  timeoutMs: number,
): SteadError {
  if (ended === 'timeout') {
    const message = `${file} did not finish within ${formatDuration(timeoutMs)}.`
    const hint = 'Look for a loop that never ends, or for waiting: an app file only puts values together.'
    return new SteadError({ code: 'evaluate.timeout', message, hint })
  }
  if (ended === 'too-large') {
    const message = `The graph of ${file} is larger than ${formatBytes(answerBytesMax)}.`
    return new SteadError({ code: 'evaluate.too-large', message, hint: 'Keep data out of the app file.' })
  }
  if (/heap out of memory|allocation failed/i.test(stderr) || signal === 'SIGABRT' || exitCode === 134) {
    return outOfMemory(file)
  }
  if (started && exitCode === 13) {
    const message = `${file} waits at its top level for something that never comes.`
    return new SteadError({ code: 'evaluate.never-settles', message, hint: 'Take the `await` out.' })
  }
  if (!started) {
    const message = `The process for ${file} failed before a line of the file had run: ${lastLines(stderr)}.`
    return new SteadError({ code: 'evaluate.not-started', message, hint: 'This is not the fault of the file.' })
  }
  const how = exitCode === null ? `was ended by ${signal ?? 'a signal'}` : `ended with exit code ${exitCode}`
  const last = lastLines(stderr)
  return new SteadError({
    code: 'evaluate.no-answer',
    message: `The process that ran ${file} ${how} before it had answered.`,
    hint: last === '' ? 'Take calls of process.exit out of the app file.' : `Its last words: ${last}`,
  })
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-3).join('\n')
}
