/**
 * Runs a program to its end: output as lines, the last ones kept for the error, a limit on time. It and whatever it started
 * are gone when this returns.
 */
import { spawn } from 'node:child_process'
import { messageOf } from '../base/index.ts'
import type { Clock } from '../base/index.ts'

const lastLinesMax = 20
const lineCharsMax = 500

export interface RunRequest {
  readonly argv: readonly [string, ...string[]]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
  /** Called with each line of output and of errors. */
  readonly onLine?: ((line: string) => void) | undefined
}

export interface RunResult {
  /** Null when it ended well; else the end of a sentence: "ended with code 1". */
  readonly fault: string | null
  readonly lastLines: readonly string[]
}

/** Runs a program. Throws only the reason of an aborted signal. */
export async function runProgram(request: RunRequest): Promise<RunResult> {
  const [command, ...args] = request.argv
  request.signal?.throwIfAborted()
  const lastLines: string[] = []
  const child = spawn(command, args, {
    cwd: request.cwd,
    env: request.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A process group of its own, so that its children can be ended with it.
    detached: true,
  })
  const onLine = (line: string): void => {
    lastLines.push(line)
    if (lastLines.length > lastLinesMax) lastLines.shift()
    request.onLine?.(line)
  }
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', lineSplitter(onLine))
  const kill = (): void => {
    // What left the group may still hold the pipes: nothing is waited for any more.
    child.stdout.destroy()
    child.stderr.destroy()
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The group is gone already.
    }
  }
  let late = false
  using _timer = request.clock.after(request.timeoutMs, () => {
    late = true
    kill()
  })
  request.signal?.addEventListener('abort', kill, { once: true })
  const fault = await new Promise<string | null>((resolve) => {
    child.once('error', (error) => resolve(`could not be started (${messageOf(error)})`))
    child.once('close', (code, signal) => resolve(code === 0 ? null : `ended with ${signal ?? `code ${code}`}`))
  })
  request.signal?.removeEventListener('abort', kill)
  kill()
  request.signal?.throwIfAborted()
  return { fault: late ? `was not done after ${request.timeoutMs / 1000} s` : fault, lastLines }
}

function lineSplitter(onLine: (line: string) => void): (chunk: string) => void {
  let rest = ''
  return (chunk) => {
    const lines = `${rest}${chunk}`.split(/\r?\n/)
    rest = (lines.pop() ?? '').slice(0, lineCharsMax)
    for (const line of lines) if (line.trim() !== '') onLine(line.slice(0, lineCharsMax))
  }
}
