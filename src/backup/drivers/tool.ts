/**
 * The tool underneath, restic: where it is on this machine, and one run of it.
 *
 * Invariant: no secret is in the arguments of a program or in what it prints; the key goes by the path of its file, keys of S3
 * by the environment of the child alone. No run outlives the call that started it, and none waits without a limit for a
 * target that does not answer.
 */
import { spawn } from 'node:child_process'
import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Clock, SteadError, messageOf } from '../../base/index.ts'
import { failureOf } from '../failure.ts'

const outputBytesMax = 64 * 1024 * 1024
const errorBytesMax = 64 * 1024
const lineBytesMax = 1024 * 1024
/** The first version with compression and with a restore that verifies. */
const oldest = [0, 14] as const

/** What all runs at one target have in common. */
export interface Tool {
  /** Path of restic. */
  readonly program: string
  readonly clock: Clock
  /** The target in words. */
  readonly place: string
  /** All that a run gets as its environment, made anew for each. */
  environment(): Promise<Readonly<Record<string, string>>>
  /** Arguments of every run. */
  readonly options: readonly string[]
  /** How long a run may go without progress once the target has failed to answer. */
  readonly stallMsMax: number
}

export interface Run {
  /** What is being done, for the error: "back up shop". */
  readonly what: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly input?: string
  readonly signal?: AbortSignal | undefined
  /** Called with each line of its output instead of keeping them. */
  readonly onLine?: (line: string) => void
  /** Whether its own copies of what the target holds may be used. */
  readonly cache?: boolean
}

export interface Ended {
  readonly exitCode: number | null
  readonly output: string
  readonly errors: string
}

/** Where restic is. Throws `backup.no-tool`, `backup.old-tool`. */
export async function findTool(given: string | null): Promise<string> {
  const dirs = (process.env['PATH'] ?? '').split(delimiter).filter((dir) => dir !== '')
  const candidates =
    given === null ? [...dirs, '/usr/bin', '/usr/local/bin'].map((dir) => join(dir, 'restic')) : [given]
  for (const path of candidates) {
    if (await isProgram(path)) {
      await ensureVersion(path)
      return path
    }
  }
  throw new SteadError({
    code: 'backup.no-tool',
    message: 'Backups need the program restic, which is not on this machine.',
    hint: 'Install it: `apt-get install restic` on Debian and Ubuntu, `brew install restic` on macOS.',
  })
}

/** Runs the tool to its end, and answers however it ended. Throws when it cannot be started or was aborted. */
export async function tryTool(tool: Tool, run: Run): Promise<Ended> {
  run.signal?.throwIfAborted()
  const env = await tool.environment()
  const cache = run.cache === true ? [] : ['--no-cache']
  const child = spawn(tool.program, [...tool.options, ...cache, ...run.args], {
    cwd: run.cwd,
    env,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(run.input ?? '')
  let output = ''
  let errors = ''
  let failingMs: number | null = null
  const lines = createInterface({ input: child.stdout, crlfDelay: Infinity })
  lines.on('line', (line) => {
    if (run.onLine !== undefined) {
      if (line.length <= lineBytesMax) run.onLine(line)
    } else if (output.length < outputBytesMax) output += `${line}\n`
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-errorBytesMax)
    // It tries again for a quarter of an hour by itself; that is long for somebody who waits.
    if (/returned error, retrying/.test(text)) failingMs ??= tool.clock.monotonicMs()
  })
  const watch = setInterval(() => {
    if (failingMs !== null && tool.clock.monotonicMs() - failingMs > tool.stallMsMax) child.kill('SIGKILL')
  }, 500)
  // Interrupted it takes its lock away; what does not end then is killed.
  let killer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    child.kill('SIGINT')
    killer = setTimeout(() => child.kill('SIGKILL'), 10_000)
  }
  run.signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const exitCode = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (cause) => {
        reject(
          new SteadError({
            code: 'backup.tool-failed',
            message: `Could not ${run.what}: ${tool.program} does not start (${messageOf(cause)}).`,
            cause,
          }),
        )
      })
      child.once('close', (code) => resolve(code))
    })
    run.signal?.throwIfAborted()
    return { exitCode, output, errors }
  } finally {
    clearInterval(watch)
    clearTimeout(killer)
    run.signal?.removeEventListener('abort', onAbort)
  }
}

/**
 * Runs the tool and answers what it printed. A lock that a killed run has left on this machine is taken away, once. Throws one
 * of the sentences of `failure.ts`.
 */
export async function runTool(tool: Tool, run: Run): Promise<string> {
  let ended = await tryTool(tool, run)
  if (ended.exitCode !== 0 && /already locked|unable to create lock/i.test(ended.errors)) {
    await tryTool(tool, { what: 'look at locks', args: ['unlock'] })
    ended = await tryTool(tool, run)
  }
  if (ended.exitCode === 0) return ended.output
  throw failureOf({ what: run.what, place: tool.place, exitCode: ended.exitCode, output: ended.errors })
}

async function isProgram(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function ensureVersion(program: string): Promise<void> {
  const child = spawn(program, ['version'], { stdio: ['ignore', 'pipe', 'ignore'], timeout: 60_000 })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(0, 1000)))
  await new Promise<void>((resolve) => child.once('error', () => resolve()).once('close', () => resolve()))
  const [, major, minor] = /restic (\d+)\.(\d+)/.exec(output) ?? []
  if (major === undefined || minor === undefined) {
    throw new SteadError({ code: 'backup.tool-failed', message: `${program} does not say which restic it is.` })
  }
  const [a, b] = [Number(major), Number(minor)]
  if (a > oldest[0] || (a === oldest[0] && b >= oldest[1])) return
  throw new SteadError({
    code: 'backup.old-tool',
    message: `Backups need restic ${oldest.join('.')} or newer, and ${program} is ${a}.${b}.`,
    hint: 'Install a newer restic.',
  })
}
