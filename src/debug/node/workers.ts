/**
 * The worker threads of a Node: each speaks the protocol through the connection to its main thread, also while that hangs.
 *
 * Invariant: a thread that does not answer is named, and keeps nobody waiting for longer than the limit.
 */
import { type Clock, sleep } from '../../base/index.ts'
import { Cdp } from '../cdp/client.ts'
import type { StackReport, ThreadStack } from '../recipe.ts'
import { Scripts } from './scripts.ts'
import { takeStack } from './stack.ts'

/** Threads that are asked; more are counted. */
const workersMax = 64
/** Longest wait for one thread: one may wait for another, and run no JavaScript. */
const workerMs = 5000

/** The thread that carries a debugger of ours is none of the program's. */
export const bridgeName = 'stead.debug'

interface Worker {
  readonly name: string
  readonly cdp: Cdp
}

/** Where the worker threads stand, all asked at once. */
export async function takeWorkerStacks(cdp: Cdp, clock: Clock): Promise<readonly StackReport[]> {
  const workers = new Map<string, Worker>()
  using listening = new DisposableStack()
  listening.use(
    cdp.on('NodeWorker.attachedToWorker', ({ sessionId, workerInfo: { title, url } }) => {
      if (workers.size >= workersMax || title.includes(bridgeName)) return
      const send = (message: string): void =>
        void cdp.call('NodeWorker.sendMessageToWorker', { sessionId, message }).catch(() => undefined)
      const name = `${title === '' ? 'worker' : title} ${url.replace(/^file:\/\//, '')}`.trim()
      workers.set(sessionId, { name, cdp: new Cdp({ send, close() {} }, clock) })
    }),
  )
  listening.use(
    cdp.on('NodeWorker.receivedMessageFromWorker', ({ sessionId, message }) =>
      workers.get(sessionId)?.cdp.receive(message),
    ),
  )
  listening.use(cdp.on('NodeWorker.detachedFromWorker', ({ sessionId }) => workers.get(sessionId)?.cdp.end('it ended')))
  // Those that run are told of before this is answered.
  await cdp.call('NodeWorker.enable', { waitForDebuggerOnStart: false })
  try {
    return await Promise.all([...workers.values()].map((worker) => stackOf(worker, clock)))
  } finally {
    for (const worker of workers.values()) worker.cdp.end('done')
    await cdp.call('NodeWorker.disable', {})
  }
}

async function stackOf({ name, cdp }: Worker, clock: Clock): Promise<StackReport> {
  const asked = (async () => {
    const scripts = new Scripts(cdp)
    await cdp.call('Debugger.enable', {}, workerMs)
    return await takeStack(cdp, scripts, clock)
  })()
  const late = sleep(clock, workerMs).then(() => null)
  const report = await Promise.race([asked.catch(() => null), late])
  if (report !== null) return { ...report, threads: report.threads.map((thread) => ({ ...thread, name })) }
  const frames = [{ name: 'a call of the system, no JavaScript', file: '', line: 0 }]
  const silent: ThreadStack = { name, state: 'running', frames }
  return { threads: [silent], waitingFor: [], stoppedMs: 0 }
}
