/**
 * Runs an app file in a child process that has nothing but the file's directory, and answers the graph.
 *
 * Invariants: a graph that is answered was checked in this process; two runs of one file give equal graphs; whatever the
 * file does, the call ends within its time limit and leaves no process behind.
 */
import { spawn } from 'node:child_process'
import { lstatSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { SteadError, systemClock } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { describePart, formatBytes, formatDuration, parseGraph } from '../model/index.ts'
import type { Environment, Graph, Part } from '../model/index.ts'
import { answerFd, startedLine } from './answer.ts'
import type { Answer, Question } from './answer.ts'
import { explainThrown, outOfMemory } from './explain.ts'
import type { Scene } from './explain.ts'
import { findAppFile, kindOf } from './find.ts'
import { guardedCommand, hasBubblewrap } from './guards.ts'

export interface EvaluateOptions {
  readonly environment: Environment
  /** Default 5 seconds. */
  readonly timeoutMs?: number
  /** Heap of the process. Buffers do not count as heap; on Linux a coarser limit, a gigabyte more, holds them. Default 256MB. */
  readonly memoryBytes?: number
  /** Gets what the app file printed, once it has ended; at most 64 KB of it. */
  readonly onOutput?: (text: string) => void
  /** Default: the machine's. */
  readonly clock?: Clock
}

/** Longest answer of a child. A graph at its limits is far below. */
const answerBytesMax = 16_000_000
/** Output that is kept or handed on. */
const outputBytesMax = 65_536
/** Largest source file that is quoted in an error. */
const sourceBytesMax = 1_000_000

/** How a child process ended. */
interface Outcome {
  readonly started: boolean
  readonly answer: string
  readonly output: string
  readonly stderr: string
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** Why it was ended from here, if it was. */
  readonly ended: 'timeout' | 'too-large' | null
}

/**
 * The graph of the app file at `path` (a file, or a directory that holds one) in an environment.
 *
 * Throws `evaluate.*` for the file, and `model.*` with file and line for what it declares.
 */
export async function evaluateAppFile(path: string, options: EvaluateOptions): Promise<Graph> {
  const file = await findAppFile(path)
  const { name, production } = options.environment
  const packages = { croner: import.meta.resolve('croner') }
  const question: Question = { file, environment: { name, production }, packages }
  const { timeoutMs = 5000, memoryBytes = 256_000_000, clock = systemClock } = options
  let outcome: Outcome | undefined
  // Where bubblewrap is there but not allowed to work (in a container), it fails before a line of the app file has run.
  for (const wrapped of hasBubblewrap() ? [true, false] : [false]) {
    const command = await guardedCommand(question, { memoryBytes, wrapped })
    outcome = await run(command, file, timeoutMs, clock)
    if (outcome.started || outcome.ended !== null) break
  }
  if (outcome === undefined) throw new Error('no attempt was made')
  // With another exit code it is Node that wrote there.
  const printed = outcome.exitCode === 0 ? outcome.output + outcome.stderr : outcome.output
  if (printed !== '') options.onOutput?.(printed)
  const graph = await parseGraph(read(file, outcome, timeoutMs))
  await checkDirectories(file, graph)
  return graph
}

function run(
  [program, ...args]: readonly [string, ...string[]],
  file: string,
  timeoutMs: number,
  clock: Clock,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const stdio = ['ignore', 'pipe', 'pipe', 'pipe'] as const
    const child = spawn(program, args, { cwd: dirname(file), env: { TZ: 'UTC' }, stdio: [...stdio] })
    let ended: Outcome['ended'] = null
    const end = (why: 'timeout' | 'too-large'): void => {
      ended ??= why
      child.kill('SIGKILL')
    }
    const answer = collect(child.stdio[answerFd], answerBytesMax, () => end('too-large'))
    const stdout = collect(child.stdout, outputBytesMax)
    const stderr = collect(child.stderr, outputBytesMax)
    const timer = clock.after(timeoutMs, () => end('timeout'))
    child.once('error', (cause) => {
      timer[Symbol.dispose]()
      const message = `The process for ${file} could not be started: ${cause.message}.`
      reject(new SteadError({ code: 'evaluate.not-started', message, retry: 'later', cause }))
    })
    child.once('close', (exitCode, signal) => {
      timer[Symbol.dispose]()
      const started = answer().startsWith(startedLine)
      const rest = started ? answer().slice(startedLine.length) : ''
      resolve({ started, answer: rest, output: stdout(), stderr: stderr(), exitCode, signal, ended })
    })
  })
}

/** Keeps the first bytes of a stream, reading on to its end; answers how to get them as text. */
function collect(stream: Readable | Writable | null | undefined, bytesMax: number, onFull?: () => void): () => string {
  const chunks: Buffer[] = []
  let length = 0
  stream?.on('data', (chunk: Buffer) => {
    if (length < bytesMax) chunks.push(chunk.subarray(0, bytesMax - length))
    length += chunk.length
    if (length > bytesMax) onFull?.()
  })
  return () => Buffer.concat(chunks).toString()
}

/** The graph in an answer, not yet checked; or the error that the outcome means. */
function read(file: string, outcome: Outcome, timeoutMs: number): unknown {
  const answer = parseAnswer(outcome.answer)
  if (answer === null) throw explainSilence(file, outcome, timeoutMs)
  if (answer.kind === 'graph') return answer.graph
  if (answer.kind === 'thrown') throw explainThrown(answer, scene(file, outcome.stderr))
  const names = answer.exports.length === 0 ? 'nothing' : `only ${answer.exports.slice(0, 10).join(', ')}`
  throw new SteadError({
    code: 'evaluate.no-default-export',
    message: `${file} has no default export; it exports ${names}.`,
    hint: "As in export default app('shop', () => ({ parts: { web } })).",
  })
}

function parseAnswer(text: string): Answer | null {
  try {
    return JSON.parse(text) as Answer
  } catch {
    return null
  }
}

function scene(file: string, stderr: string): Scene {
  const readText = (path: string): string | null => readSource(dirname(file) + sep, path)
  return { file, ownCode: dirname(import.meta.dirname) + sep, stderr, read: readText }
}

/** A source file of the app, or null. The path is the child's word: only plain files of the app are read. */
function readSource(root: string, path: string): string | null {
  try {
    const found = lstatSync(path)
    const plain = found.isFile() && found.size <= sourceBytesMax && realpathSync(path).startsWith(root)
    return plain ? readFileSync(path, 'utf8') : null
  } catch {
    return null
  }
}

/** The error for a child that ended without an answer. */
function explainSilence(
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

/** Refuses a graph that names directories which are not there. */
async function checkDirectories(file: string, graph: Graph): Promise<void> {
  for (const part of graph.parts) {
    const directory = directoryOf(part)
    if (directory === null) continue
    const path = join(dirname(file), directory)
    if ((await kindOf(path)) === 'directory') continue
    throw new SteadError({
      code: 'evaluate.missing-directory',
      message: `${file}: ${describePart(part)} needs the directory ${path}, which is not there.`,
      hint: 'Directories are written relative to the app file. Make it, or correct the name.',
    })
  }
}

function directoryOf(part: Part): string | null {
  return part.kind === 'resource' ? part.files : part.from
}
