/**
 * Runs an app file in a child process that has nothing but the file's directory, and answers the graph.
 *
 * Invariants: a graph that is answered was checked in this process; two runs of one file give equal graphs; whatever the
 * file does, the call ends within its time limit and leaves no process behind.
 */
import { lstatSync, readFileSync, realpathSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { SteadError, systemClock } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { describePart, parseGraph } from '../model/index.ts'
import type { Environment, Graph, Part } from '../model/index.ts'
import { readAnswer } from './answer.ts'
import type { Question } from './answer.ts'
import { explainSilence, explainThrown } from './explain.ts'
import type { Scene } from './explain.ts'
import { findAppFile, kindOf } from './find.ts'
import { guardedCommand, hasBubblewrap, isForbidden } from './guards.ts'
import { runChild } from './process.ts'
import type { Outcome } from './process.ts'

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

/** Largest source file that is quoted in an error. */
const sourceBytesMax = 1_000_000

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
  const attempt = async (wrapped: boolean): Promise<Outcome> =>
    runChild(await guardedCommand(question, { memoryBytes, wrapped }), file, timeoutMs, clock)
  const first = await attempt(hasBubblewrap())
  // Where bubblewrap is there but not allowed to work (in a container), it fails before a line of the app file has run.
  const outcome = !first.started && isForbidden(first.stderr) ? await attempt(false) : first
  // With another exit code it is Node that wrote there.
  const printed = outcome.exitCode === 0 ? outcome.stdout + outcome.stderr : outcome.stdout
  if (printed !== '') options.onOutput?.(printed)
  const graph = await parseGraph(read(file, outcome, timeoutMs))
  await checkDirectories(file, graph)
  return graph
}

/** The graph in an answer, not yet checked; or the error that the outcome means. */
function read(file: string, outcome: Outcome, timeoutMs: number): unknown {
  const answer = readAnswer(outcome.answer)
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

function scene(file: string, stderr: string): Scene {
  const readText = (path: string): string | null => readSource(dirname(file), path)
  return { file, ownCode: dirname(import.meta.dirname) + sep, stderr, read: readText }
}

/** A source file of the app, or null. The path is the child's word: only plain files of the app are read. */
function readSource(root: string, path: string): string | null {
  try {
    const found = lstatSync(path)
    const plain = found.isFile() && found.size <= sourceBytesMax && isWithin(realpathSync(path), root)
    return plain ? readFileSync(path, 'utf8') : null
  } catch {
    return null
  }
}

/** Refuses a graph that names directories which are not there. */
async function checkDirectories(file: string, graph: Graph): Promise<void> {
  for (const part of graph.parts) {
    const directory = directoryOf(part)
    if (directory === null) continue
    const path = join(dirname(file), directory)
    if ((await kindOf(path)) === 'directory') {
      if (isWithin(await realpath(path), dirname(file))) continue
      throw new SteadError({
        code: 'evaluate.outside-directory',
        message: `${file}: ${describePart(part)} needs the directory ${path}, which is a link that leads out of the app.`,
        hint: 'What belongs to an app lies in the directory of its app file. Copy it there.',
      })
    }
    throw new SteadError({
      code: 'evaluate.missing-directory',
      message: `${file}: ${describePart(part)} needs the directory ${path}, which is not there.`,
      hint: 'Directories are written relative to the app file. Make it, or correct the name.',
    })
  }
}

function isWithin(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep)
}

function directoryOf(part: Part): string | null {
  return part.kind === 'resource' ? part.files : part.from
}
