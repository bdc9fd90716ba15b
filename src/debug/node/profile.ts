/** Where the time, or the memory, of a Node goes: V8's own profiles, and their stacks. */
import { type Clock, sleep } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import type { CpuProfile, HeapProfileNode } from '../cdp/protocol.ts'
import type { Profile, ProfileRequest, WeightedStack } from '../recipe.ts'
import { rebuild } from './rebuild.ts'
import { pathOf } from './scripts.ts'
import { nameOf, stopOnce } from './stack.ts'

const cpuIntervalMicroseconds = 1000
const heapIntervalBytes = 32_768
/** The innermost functions are those that loop. */
const framesRebuilt = 4
/** A long profile takes a while to be put together. */
const collectMs = 60_000

/** Ends early, with what there is, when the signal aborts. */
export async function takeProfile(
  cdp: Cdp,
  clock: Clock,
  { kind, durationMs }: ProfileRequest,
  signal?: AbortSignal,
): Promise<Profile> {
  const wait = async (): Promise<void> => {
    const lost = cdp.lost.then(() => undefined)
    await Promise.race([sleep(clock, durationMs, signal).catch(() => undefined), lost])
  }
  if (kind !== 'heap') {
    await cdp.call('Profiler.enable', {})
    await cdp.call('Profiler.setSamplingInterval', { interval: cpuIntervalMicroseconds })
    await cdp.call('Profiler.start', {})
    await rebuildRunning(cdp, clock)
    await wait()
    const { profile } = await cdp.call('Profiler.stop', {}, collectMs)
    await cdp.call('Profiler.disable', {})
    const raw = { extension: 'cpuprofile', text: JSON.stringify(profile) }
    const stacks = cpuStacks(profile).filter(({ frames: [first] }) => kind === 'wall' || first !== idleFrame)
    return { kind, unit: 'microseconds', stacks, raw }
  }
  await cdp.call('HeapProfiler.enable', {})
  await cdp.call('HeapProfiler.startSampling', { samplingInterval: heapIntervalBytes })
  await wait()
  const { profile } = await cdp.call('HeapProfiler.stopSampling', {}, collectMs)
  await cdp.call('HeapProfiler.disable', {})
  const raw = { extension: 'heapprofile', text: JSON.stringify(profile) }
  return { kind, unit: 'bytes', stacks: heapStacks(profile.head), raw }
}

/**
 * V8 does not know the code of a function that it optimised in the middle of a loop before the profile began. A breakpoint
 * throws that code away, and what V8 makes next it knows: so those that run now are touched once.
 */
async function rebuildRunning(cdp: Cdp, clock: Clock): Promise<void> {
  const { paused } = await stopOnce(cdp, clock)
  const running = paused?.callFrames.slice(0, framesRebuilt) ?? []
  await rebuild(
    cdp,
    running.map(({ location }) => location),
  )
}

/** What V8 calls the time in which nothing runs. */
const idleFrame = '(idle)'

/** Time by stack. What V8 calls `(root)` is left out; idle time is kept: it is the answer to many questions. */
export function cpuStacks({ nodes, samples = [], timeDeltas = [] }: CpuProfile): readonly WeightedStack[] {
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const parents = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node.id] as const)))
  const weights = new Map<number, number>()
  // A delta is the time before its sample: what was seen then lasts until the next one.
  for (const [index, id] of samples.entries()) {
    weights.set(id, (weights.get(id) ?? 0) + Math.max(0, timeDeltas[index + 1] ?? 0))
  }
  return [...weights].flatMap(([id, weight]) => {
    const frames: string[] = []
    for (let at: number | undefined = id; at !== undefined && parents.has(at); at = parents.get(at)) {
      const node = byId.get(at)
      if (node !== undefined) frames.unshift(frameName(node.callFrame))
    }
    return frames.length === 0 || weight === 0 ? [] : [{ frames, weight }]
  })
}

export function heapStacks(head: HeapProfileNode): readonly WeightedStack[] {
  const stacks: WeightedStack[] = []
  const pending = head.children.map((node) => ({ node, above: [] as readonly string[] }))
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const frames = [...next.above, frameName(next.node.callFrame)]
    if (next.node.selfSize > 0) stacks.push({ frames, weight: next.node.selfSize })
    for (const child of next.node.children) pending.push({ node: child, above: frames })
  }
  return stacks
}

function frameName(frame: CpuProfile['nodes'][number]['callFrame']): string {
  const { functionName, url, lineNumber } = frame
  return url === '' ? nameOf(functionName) : `${nameOf(functionName)} ${pathOf(url)}:${lineNumber + 1}`
}
