/** Starts the workers that cases kill, and reads what they say. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { systemClock } from '../base/index.ts'
import type { QueuePlace } from './conformance.ts'
import { patienceMs } from './helpers.conformance.ts'
import type { WorkerJob } from './worker.conformance.ts'

const idle = { queue: 'mail', senders: 0, from: 1, concurrency: 0, hold: 0, leaseMs: 2000, ordered: false }

/** A worker: its lines so far, and its end by SIGKILL. */
export interface WorkerProcess {
  /** The words of each whole line. */
  readonly lines: (readonly string[])[]
  /** Resolves when `count` lines are there. Rejects when it ended by itself or takes too long. */
  said(count: number): Promise<void>
  kill(): Promise<void>
}

/** Starts a worker on a place; `onLine` hears each line as it comes. */
export function startWorker(
  place: QueuePlace,
  job: Partial<WorkerJob>,
  onLine: (words: readonly string[]) => void = () => {},
): WorkerProcess {
  const program = import.meta.filename.replace('process.conformance', 'worker.conformance')
  const argument = JSON.stringify({ ...idle, ...place.elsewhere, ...job })
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, argument], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: process.env.PATH },
  })
  const closed = once(child, 'close')
  const lines: (readonly string[])[] = []
  const waiting = new Set<() => void>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    // A line that the kill has cut short has no end mark.
    if (!line.endsWith(' .')) return
    const words = line.split(' ').slice(0, -1)
    lines.push(words)
    onLine(words)
    for (const look of waiting) look()
  })
  return {
    lines,
    async said(count) {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = (): void => void (lines.length >= count && resolve())
      waiting.add(look)
      look()
      using _late = systemClock.after(2 * patienceMs, () =>
        reject(new Error(`the worker said ${lines.length} of ${count} lines`)),
      )
      const onClose = (): void =>
        reject(new Error(`the worker ended by itself after ${lines.length} of ${count} lines`))
      child.once('close', onClose)
      await promise.finally(() => waiting.delete(look))
      child.off('close', onClose)
    },
    async kill() {
      child.kill('SIGKILL')
      await closed
    },
  }
}
