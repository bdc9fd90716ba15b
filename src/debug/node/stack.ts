/**
 * Where a Node stands: its JavaScript frames with what had asked for them, and what it waits for.
 *
 * Invariant: a pause that was asked for is taken back before this returns, whether it came about or not.
 */
import { type Clock, sleep } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import type { Events, StackTrace } from '../cdp/protocol.ts'
import type { Frame, StackReport } from '../recipe.ts'
import type { Scripts } from './scripts.ts'

type Paused = Events['Debugger.paused']

/** A program that runs JavaScript is stopped by then. */
const busyMs = 150
/** A program that answers at all answers by then. */
const idleMs = 3000
/** The name of the statement that an idle program is stopped in. */
const idleMark = 'stead-idle'
const asyncDepth = 32
const asyncFramesMax = 200

export async function takeStack(cdp: Cdp, scripts: Scripts, clock: Clock): Promise<StackReport> {
  await cdp.call('Debugger.setAsyncCallStackDepth', { maxDepth: asyncDepth })
  try {
    return await takenStack(cdp, scripts, clock)
  } finally {
    // What remembers callers takes a server's pace.
    await cdp.call('Debugger.setAsyncCallStackDepth', { maxDepth: 0 }).catch(() => null)
  }
}

async function takenStack(cdp: Cdp, scripts: Scripts, clock: Clock): Promise<StackReport> {
  const waitingFor = await resources(cdp).catch(() => [])
  const { paused, stoppedMs } = await stopOnce(cdp, clock)
  if (paused === null) {
    const frames = [{ name: 'a call of the system, no JavaScript', file: '', line: 0 }]
    return { threads: [{ name: 'main', state: 'running', frames }], waitingFor, stoppedMs }
  }
  const idle = paused.callFrames.every((frame) => scripts.urlOf(frame.location.scriptId) === idleMark)
  const frames = idle ? [] : await framesOf(paused, scripts)
  return { threads: [{ name: 'main', state: idle ? 'waiting' : 'running', frames }], waitingFor, stoppedMs }
}

/** Stops the program where it stands and lets it go on at once. Null when it runs no JavaScript and answers nothing. */
export async function stopOnce(cdp: Cdp, clock: Clock): Promise<{ paused: Paused | null; stoppedMs: number }> {
  const stopped = Promise.withResolvers<Paused>()
  const resumed = Promise.withResolvers<void>()
  using _paused = cdp.on('Debugger.paused', (paused) => {
    stopped.resolve(paused)
    cdp.call('Debugger.resume', {}).catch(() => resumed.resolve())
  })
  using _resumed = cdp.on('Debugger.resumed', () => resumed.resolve())
  let fromMs = clock.monotonicMs()
  await cdp.call('Debugger.pause', {}, idleMs).catch(() => null)
  const busy = await Promise.race([stopped.promise, sleep(clock, busyMs).then(() => null)])
  if (busy === null) {
    // Nothing runs: a statement of ours is what it stops in, unless its own came first.
    fromMs = clock.monotonicMs()
    const expression = `0\n//# sourceURL=${idleMark}`
    void cdp.call('Runtime.evaluate', { expression, silent: true }, idleMs).catch(() => null)
  }
  const paused = await Promise.race([stopped.promise, sleep(clock, idleMs).then(() => null)])
  // In a call of the system it has read nothing yet; when it does, it reads this in the same breath and does not stop.
  if (paused === null) void cdp.call('Debugger.disable', {}).catch(() => null)
  else await Promise.race([resumed.promise, sleep(clock, idleMs)])
  return { paused, stoppedMs: paused === null ? 0 : clock.monotonicMs() - fromMs }
}

async function framesOf(paused: Paused, scripts: Scripts): Promise<readonly Frame[]> {
  const frames: Frame[] = []
  for (const { functionName, location } of paused.callFrames) {
    const { scriptId, lineNumber, columnNumber = 0 } = location
    frames.push({ name: nameOf(functionName), ...(await scripts.written(scriptId, lineNumber, columnNumber)) })
  }
  let trace: StackTrace | undefined = paused.asyncStackTrace
  for (let count = 0; trace !== undefined && count < asyncFramesMax; trace = trace.parent) {
    for (const { functionName, scriptId, lineNumber, columnNumber } of trace.callFrames) {
      count++
      const place = await scripts.written(scriptId, lineNumber, columnNumber)
      frames.push({ name: nameOf(functionName), ...place, asynchronous: true })
    }
  }
  return frames
}

export function nameOf(functionName: string): string {
  return functionName === '' ? '(anonymous)' : functionName
}

/** What keeps the program going: `TCPServerWrap`, `3 Timeout`. */
async function resources(cdp: Cdp): Promise<readonly string[]> {
  const expression = `process.getActiveResourcesInfo().slice(0, 10000)`
  const { result } = await cdp.call('Runtime.evaluate', { expression, returnByValue: true, silent: true }, idleMs)
  if (!Array.isArray(result.value)) return []
  const counts = new Map<string, number>()
  for (const name of result.value) counts.set(String(name), (counts.get(String(name)) ?? 0) + 1)
  return [...counts].map(([name, count]) => (count === 1 ? name : `${count} ${name}`))
}
