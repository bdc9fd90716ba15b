/**
 * Runs the system's programs. Invariant: no program outlives the call that started it, and each failure is one sentence
 * with what the program itself said.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { pipeline } from 'node:stream/promises'
import { SteadError, messageOf } from '../../base/index.ts'

export type Argv = readonly [string, ...string[]]

const outputBytesMax = 1_000_000
const errorBytesMax = 2_000
/** For programs whose time does not depend on the size of the data; a disk under heavy load may well need a minute. */
const toolTimeoutMs = 600_000

// Messages are looked at, so they have to be in one language; and the tools of the file system are not in everybody's PATH.
const env = { ...process.env, LC_ALL: 'C', PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin` }

/** Runs a program to its end and gives what it printed. `what` says in the error what was being done. */
export async function run(what: string, argv: Argv, timeoutMs: number = toolTimeoutMs): Promise<string> {
  const [command, ...args] = argv
  const child = spawn(command, args, {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < outputBytesMax) output += text
  })
  await endOf(what, command, child)
  return output
}

/** Runs a program whose time depends on the size of the data, without a limit of time. */
export async function runLong(what: string, argv: Argv): Promise<void> {
  await run(what, argv, 0)
}

/** What a program prints, as it comes. Throws at the end when the program failed; leaving early ends the program. */
export async function* outputOf(what: string, argv: Argv): AsyncGenerator<Uint8Array> {
  const [command, ...args] = argv
  const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const end = endOf(what, command, child)
  end.catch(() => undefined)
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array
    await end
  } finally {
    child.kill('SIGKILL')
    await end.catch(() => undefined)
  }
}

/** Feeds a stream to a program and waits for its end. A stream that fails ends the program. */
export async function feed(what: string, argv: Argv, stream: AsyncIterable<Uint8Array>): Promise<void> {
  const [command, ...args] = argv
  const child = spawn(command, args, { env, stdio: ['pipe', 'ignore', 'pipe'] })
  const end = endOf(what, command, child)
  end.catch(() => undefined)
  let cut = false
  const whole = async function* (): AsyncIterable<Uint8Array> {
    try {
      yield* stream
    } catch (error) {
      cut = true
      throw error
    }
  }
  try {
    await pipeline(whole, child.stdin)
  } catch (error) {
    // A program that closed its input has what it needs, or says itself why not.
    if (!cut) return await end
    child.kill('SIGKILL')
    await end.catch(() => undefined)
    throw error
  }
  await end
}

function endOf(what: string, command: string, child: ChildProcess): Promise<void> {
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-errorBytesMax)
  })
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => reject(failed(what, command, messageOf(cause), cause)))
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(failed(what, command, said.trim() || (signal === null ? `exit code ${code}` : `ended by ${signal}`)))
    })
  })
}

function failed(what: string, command: string, why: string, cause?: unknown): SteadError {
  const sentence = why.replaceAll(/\s*\n\s*/g, '; ').replace(/^ERROR: /, '')
  if (/No space left on device|Disk quota exceeded/.test(why)) {
    return new SteadError({
      code: 'domain.disk-full',
      message: `Could not ${what}, the disk is full: ${sentence}.`,
      hint: 'Delete old copies of the domain, or give it more room (open it with a larger size).',
      retry: 'later',
      cause,
    })
  }
  return new SteadError({
    code: 'domain.tool-failed',
    message: `Could not ${what}: ${command}: ${sentence}.`,
    hint: 'This is what the system said; the domain is as it was before.',
    cause,
  })
}
