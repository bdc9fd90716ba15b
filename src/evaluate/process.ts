/**
 * Runs the child process and keeps what it says, all of it bounded: time, answer, output. Whatever the child does, the
 * promise settles, and the process is gone by then.
 */
import { spawn } from 'node:child_process'
import { dirname } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { SteadError } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { answerBytesMax, answerFd, startedLine } from './answer.ts'

/** Bytes that are kept of each output stream. */
const outputBytesMax = 65_536

/** How a child process ended. */
export interface Outcome {
  /** All guards stood; the app file may have run. */
  readonly started: boolean
  /** What it said on its own channel after it had started. */
  readonly answer: string
  readonly stdout: string
  readonly stderr: string
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  /** Why it was ended from here, if it was. */
  readonly ended: 'timeout' | 'too-large' | null
}

/** Runs a command to its end for an app file. Throws `evaluate.not-started`. */
export function runChild(
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
      resolve({ started, answer: rest, stdout: stdout(), stderr: stderr(), exitCode, signal, ended })
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
