/**
 * Talking to a running HAProxy: one command a connection, its answer as text. Invariant: an answer is bounded in size and
 * in time; what HAProxy says in place of doing it is an error.
 */
import { connect } from 'node:net'
import { SteadError } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'

const answerBytesMax = 64 * 1024 * 1024
const answerMs = 10_000

/** Sends a command (or several, parted by semicolons) to a socket. Throws `gateway.engine-failed`. */
export function ask(clock: Clock, socketPath: string, command: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const socket = connect(socketPath, () => socket.end(`${command}\n`))
  const chunks: Buffer[] = []
  let bytes = 0
  const fail = (why: string, cause?: unknown): void => {
    socket.destroy()
    reject(engineFailed(`HAProxy did not answer "${command.slice(0, 60)}": ${why}`, cause))
  }
  const timer = clock.after(answerMs, () => fail(`nothing came within ${answerMs} ms`))
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > answerBytesMax) fail('its answer has no end')
  })
  socket.on('error', (error) => fail(error.message, error))
  socket.on('close', () => {
    timer[Symbol.dispose]()
    resolve(Buffer.concat(chunks).toString())
  })
  return promise
}

export function engineFailed(message: string, cause?: unknown): SteadError {
  return new SteadError({
    code: 'gateway.engine-failed',
    message,
    hint: 'The table before stays in force where HAProxy still runs.',
    retry: 'later',
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Rows of `show stat`, each by the names of its columns. */
export function parseStats(csv: string): Readonly<Record<string, string>>[] {
  const [head = '', ...lines] = csv.split('\n').filter((line) => line !== '')
  const names = head.replace(/^# /, '').split(',')
  return lines.map((line) => {
    const values = line.split(',')
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']))
  })
}

/** The workers of a master: the one in charge, and those that only end what they have begun. */
export interface Workers {
  readonly current: number | null
  readonly old: readonly number[]
}

/** Reads `show proc` of a master. */
export function parseWorkers(text: string): Workers {
  const [now = '', before = ''] = text.split('# old workers')
  const pids = (part: string): number[] => [...part.matchAll(/^(\d+)\s+worker\b/gm)].map(([, pid]) => Number(pid))
  return { current: pids(now)[0] ?? null, old: pids(before) }
}
