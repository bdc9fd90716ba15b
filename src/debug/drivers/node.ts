/**
 * The recipe for Node: its own inspector, opened by a signal and asked over the Chrome DevTools Protocol. Works on a
 * process that nobody prepared, in its own network or ours, also while it hangs in a loop.
 */
import type { Clock, Random } from '../../base/index.ts'
import { takeProfile } from '../node/profile.ts'
import { serveNode } from '../node/adapter.ts'
import { openProbe, type ProbeRequest } from '../node/probe.ts'
import { Scripts } from '../node/scripts.ts'
import { takeStack } from '../node/stack.ts'
import { takeWorkerStacks } from '../node/workers.ts'
import {
  type Attachment,
  type Finding,
  type Hit,
  type ProcessFacts,
  type Recipe,
  snapshotCpuMs,
  type SnapshotReport,
  type SnapshotRequest,
  type SnapshotValue,
} from '../recipe.ts'
import { mapTexts } from '../redact.ts'
import { connectionLost, refused } from '../refusals.ts'
import { type Inspector, inspectorRefusal, openInspector } from './inspector.ts'
import { openReach, type Reach } from './reach.ts'

export interface NodeRecipeOptions {
  readonly clock: Clock
  readonly random: Random
  /** A debugger that has died is forgotten after so long. */
  readonly holdMs?: number
  /** Longest wait for a process to open its inspector; one that handles the signal itself never does. */
  readonly openMs?: number
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

export function nodeRecipe({ clock, random, hide = (text) => text, ...waits }: NodeRecipeOptions): Recipe {
  const reach: Reach = openReach()
  return {
    language: 'node',
    async find(facts) {
      return isNode(facts) ? finding(facts) : null
    },
    async attach(facts) {
      const refusal = inspectorRefusal(facts)
      if (refusal !== null) throw refused(refusal.reason, refusal.hint)
      const inspector = await openInspector(facts, { clock, random, reach, ...waits })
      return await attachment(inspector, { facts, clock, random, hide })
    },
  }
}

/** By the name of the program: what merely links V8 handles the signal in its own way, or dies of it. */
function isNode({ executable }: ProcessFacts): boolean {
  return /(?:^|\/)node(?:js)?(?:-?v?\d[\w.]*)?$/.test(executable)
}

function finding(facts: ProcessFacts): Finding {
  const refusal = inspectorRefusal(facts)
  const all = ['dap', 'stack', 'snapshot', 'cpu-profile', 'heap-profile'] as const
  return {
    language: 'node',
    version: null,
    way: "Node's own inspector, opened by SIGUSR1 and closed again at the end",
    can: refusal === null ? all : [],
    cannot: refusal === null ? {} : Object.fromEntries(all.map((ability) => [ability, refusal])),
    costs: [
      'attached and idle: nothing that was measurable',
      'stack: stops the program once, for less than a tenth of a second',
      'snapshot: about a quarter of a millisecond of CPU for each pass of the line, until its budget is spent',
    ],
  }
}

interface Hold {
  readonly facts: ProcessFacts
  readonly clock: Clock
  readonly random: Random
  readonly hide: (text: string) => string
}

async function attachment(inspector: Inspector, { facts, clock, random, hide }: Hold): Promise<Attachment> {
  const { cdp, version, effects } = inspector
  const scripts = new Scripts(cdp)
  try {
    await Promise.all([cdp.call('Runtime.enable', {}), cdp.call('Debugger.enable', {})])
  } catch (error) {
    await inspector[Symbol.asyncDispose]()
    throw error
  }
  return {
    language: 'node',
    version,
    effects,
    lost: cdp.lost,
    async stack() {
      const main = await takeStack(cdp, scripts, clock)
      const workers = await takeWorkerStacks(cdp, clock)
      const stoppedMs = Math.max(...[main, ...workers].map((report) => report.stoppedMs))
      return { ...main, stoppedMs, threads: [main, ...workers].flatMap(({ threads }) => threads) }
    },
    profile: (request, signal) => takeProfile(cdp, clock, request, signal),
    async snapshot(request, signal): Promise<SnapshotReport> {
      const hits: Hit[] = []
      const ended = Promise.withResolvers<Pick<SnapshotReport, 'ended' | 'passes' | 'costMs'>>()
      await using probe = await openProbe(cdp, scripts, random, {
        ...probeOf(request),
        onHit: (values) => hits.push({ timeMs: clock.nowMs(), values: values.map((value) => hidden(value, hide)) }),
        onSpent: (spent) => ended.resolve(spent),
      })
      const early = (why: 'time' | 'asked') => (): void =>
        ended.resolve(
          probe.counted().then(
            (counts) => ({ ended: why, ...counts }),
            () => ({ ended: why }),
          ),
        )
      using _timer = clock.after(request.timeMs, early('time'))
      const asked = early('asked')
      if (signal?.aborted === true) asked()
      signal?.addEventListener('abort', asked, { once: true })
      const lost = cdp.lost.then((reason) => {
        throw connectionLost(reason)
      })
      const why = await Promise.race([ended.promise, lost])
      signal?.removeEventListener('abort', asked)
      return { ...probe.place, hits, ...why }
    },
    serveDap: (client) => serveNode(client, { cdp, scripts, random, facts, hide }),
    [Symbol.asyncDispose]: () => inspector[Symbol.asyncDispose](),
  }
}

function hidden({ expression, value, error }: SnapshotValue, hide: (text: string) => string): SnapshotValue {
  return error === undefined ? { expression, value: mapTexts(value, hide) } : { expression, error: hide(error) }
}

function probeOf(request: SnapshotRequest): Omit<ProbeRequest, 'onHit' | 'onSpent'> {
  const { file, line, expressions, condition = null, hits, cpuMs = snapshotCpuMs, force = false } = request
  return { file, line, expressions, condition, hits, cpuMs, force }
}
