/**
 * A stack, and values as a line is passed, by a debug adapter: for languages whose adapter can do no more than stop.
 *
 * Invariants: the program is stopped for each look and runs again at once. A snapshot ends by its hits, its time or the time
 * that the program has stood still for it, whichever is spent first; its breakpoint goes with it. A hot line is not looked at
 * for long, with a condition or without, unless that is forced.
 */
import { type Clock, messageOf } from '../../base/index.ts'
import { Paths } from '../dap/paths.ts'
import { type Arguments, numberIn, objectsIn, textIn } from '../dap/peer.ts'
import type { DapSession } from '../dap/session.ts'
import {
  type Frame,
  type Hit,
  type ProcessFacts,
  snapshotCpuMs,
  type SnapshotReport,
  type SnapshotRequest,
  type SnapshotValue,
  type ThreadStack,
} from '../recipe.ts'
import { looksSecret, redactedText, redactText } from '../redact.ts'
import { connectionLost, noStatement, processGone, unknownPlace } from '../refusals.ts'
import { attachMs, begin, type OpenAdapter } from './open.ts'

/** Threads of a stack; programs with more show those that come first. */
const threadsMax = 200
const framesMax = 64

/** Where every thread stands. `isRunning` says it of a thread by its name, as the adapter calls it. */
export async function stackOf(
  adapter: OpenAdapter,
  clock: Clock,
  isRunning: (name: string, index: number) => boolean,
): Promise<{ readonly threads: readonly ThreadStack[]; readonly stoppedMs: number }> {
  await using begun = await begin(adapter, clock)
  const { session } = begun
  const stopped = session.event('stopped', attachMs)
  stopped.catch(() => undefined)
  const fromMs = clock.monotonicMs()
  await begun.attach('standing')
  if (!adapter.stopsFirst) await begun.go()
  if (!adapter.stopsFirst && adapter.attachStanding === undefined) await begun.pause()
  await stopped
  const threads: ThreadStack[] = []
  const known = objectsIn(await session.request('threads'), 'threads').slice(0, threadsMax)
  for (const [index, thread] of known.entries()) {
    const name = textIn(thread, 'name')
    const asked = session.request('stackTrace', { threadId: thread['id'], startFrame: 0, levels: framesMax })
    // One that is ending has none.
    const frames = objectsIn(await asked.catch(() => ({})), 'stackFrames').map(frameOf)
    threads.push({ name, state: isRunning(name, index) ? 'running' : 'waiting', frames })
  }
  return { threads, stoppedMs: clock.monotonicMs() - fromMs }
}

function frameOf(frame: Arguments): Frame {
  const [source = {}] = objectsIn({ list: [frame['source']] }, 'list')
  return {
    name: textIn(frame, 'name'),
    file: textIn(source, 'path') || textIn(source, 'name'),
    line: numberIn(frame, 'line'),
  }
}

/** A line is hot when a program that is stopped there stands for more than this share of the time, over so many stops. */
const hot = { share: 0.8, stops: 20 }

/** Throws `debug.unknown-place`, `debug.refused` for what is no expression, `debug.lost`. */
export async function snapshotOf(
  adapter: OpenAdapter,
  clock: Clock,
  facts: ProcessFacts,
  request: SnapshotRequest,
  hide: (text: string) => string,
  signal?: AbortSignal,
): Promise<SnapshotReport> {
  const expressions = request.expressions.map((text) => ({ text, guarded: adapter.guard(text) }))
  const condition = request.condition === undefined ? {} : { condition: adapter.guard(request.condition) }
  await using begun = await begin(adapter, clock)
  const { session } = begun
  await begun.attach()
  const files = await adapter.files(session, request.file)
  const path = new Paths({ sameFiles: facts.shares.files, belowRoot: adapter.namesBelowRoot === true }).inside(
    request.file,
    files,
  )
  if (!files.includes(path)) throw unknownPlace(request.file, files.slice(0, 5))
  const lines = adapter.lines?.(path) ?? null
  if (lines !== null && request.line > lines) throw noStatement(request.file, request.line)
  const source = { name: path.slice(path.lastIndexOf('/') + 1), path }
  const place = async (when: Arguments): Promise<Arguments> => {
    const breakpoints = [{ line: request.line, ...when }]
    const set = await session.request('setBreakpoints', { source, breakpoints, lines: [request.line] })
    const [placed = {}] = objectsIn(set, 'breakpoints')
    if (placed['verified'] !== true) throw noStatement(request.file, request.line)
    return placed
  }
  // An adapter stops the program for each pass that it looks at a condition and says nothing: at first we look ourselves.
  let watched = request.condition === undefined || request.force === true ? null : adapter.guard(request.condition)

  const hits: Hit[] = []
  const ended = Promise.withResolvers<SnapshotReport['ended']>()
  ended.promise.catch(() => undefined)
  let [stops, stoppedMs] = [0, 0]
  let firstMs: number | null = null
  const stop = async (threadId: number): Promise<void> => {
    const fromMs = clock.monotonicMs()
    firstMs ??= fromMs
    const trace = await session.request('stackTrace', { threadId, startFrame: 0, levels: 1 })
    const frameId = numberIn(objectsIn(trace, 'stackFrames')[0] ?? {}, 'id')
    if (watched === null || (await holds(session, frameId, watched))) {
      const values: SnapshotValue[] = []
      for (const { text, guarded } of expressions) values.push(await valueOf(session, frameId, text, guarded, hide))
      hits.push({ timeMs: clock.nowMs(), values })
    }
    stops++
    stoppedMs += clock.monotonicMs() - fromMs
    if (hits.length >= request.hits) return ended.resolve('hits')
    if (stoppedMs > (request.cpuMs ?? snapshotCpuMs)) return ended.resolve('cost')
    if (stops >= hot.stops && request.force !== true) {
      if (stoppedMs > hot.share * (clock.monotonicMs() - firstMs)) return ended.resolve('too-often')
      if (watched !== null) await place(condition)
      watched = null
    }
    await session.request('continue', { threadId })
  }
  // Before the line is looked at: some stop there at once.
  using _listening = session.on((event, body) => {
    // The connection of an adapter outlives the process.
    if (event === 'terminated' || event === 'exited') ended.reject(processGone(facts))
    if (event !== 'stopped' || adapterStop(body)) return
    stop(numberIn(body, 'threadId')).catch(ended.reject)
  })
  const placed = await place(watched === null ? condition : {})
  using _timer = clock.after(request.timeMs, () => ended.resolve('time'))
  const asked = (): void => ended.resolve('asked')
  if (signal?.aborted === true) asked()
  signal?.addEventListener('abort', asked, { once: true })
  void session.lost.then((why) => ended.reject(connectionLost(why)))
  await begun.go()
  const why = await ended.promise
  signal?.removeEventListener('abort', asked)
  const line = numberIn(placed, 'line') || request.line
  // Several threads may have come by at once.
  return { file: path, line, hits: hits.slice(0, request.hits), ended: why, costMs: Math.round(stoppedMs) }
}

/** How languages write what does not hold. */
const nothing: ReadonlySet<string> = new Set(['', 'false', 'False', '0', 'None', 'nil', 'null', 'NULL', '0x0'])

async function holds(session: DapSession, frameId: number, guarded: string): Promise<boolean> {
  try {
    const { result } = await session.request('evaluate', { expression: guarded, frameId, context: 'watch' })
    return !nothing.has(String(result))
  } catch {
    return false
  }
}

/** A stop that is none of the breakpoint's: that of attaching. */
function adapterStop(body: Arguments): boolean {
  return !/breakpoint/.test(textIn(body, 'reason'))
}

async function valueOf(
  session: DapSession,
  frameId: number,
  expression: string,
  guarded: string,
  hide: (text: string) => string,
): Promise<SnapshotValue> {
  if (looksSecret(expression)) return { expression, value: redactedText, asWritten: true }
  try {
    const { result } = await session.request('evaluate', { expression: guarded, frameId, context: 'watch' })
    return { expression, value: hide(redactText(String(result))), asWritten: true }
  } catch (error) {
    return { expression, error: hide(saidOf(messageOf(error))) }
  }
}

/** What an adapter says of an expression that cannot be had, in a line: compilers draw the place, Python tells how it came there. */
function saidOf(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const [first = ''] = lines
  const said = /^(?:evaluate: )?Traceback/.test(first) ? lines.at(-1) : first
  return (said ?? '').replace(/^evaluate: /, '').replace(/^error: (?:<user expression \d+>:\d+:\d+: )?/, '')
}
