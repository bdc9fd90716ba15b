/**
 * The recipe for Ruby. A program that was started with the hook is entered by a signal; a small debugger is laid into its own /tmp
 * for as long as somebody looks, and shows stacks, values and breakpoints. One that was started without is not entered; where its time
 * goes is read from outside, by rbspy.
 */
import type { Clock } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { objectsIn, textIn } from '../dap/peer.ts'
import { doorSignal, handlesDoor, hookDirectory } from '../door.ts'
import type { Ability, Finding, ProcessFacts, Profile, ProfileRequest, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { rubyBoot } from '../ruby/boot.ts'
import { isAlive, signalProcess, startedWith } from './proc.ts'
import { openRoom } from './room.ts'
import { sampledProfile, samplesPerSecond } from './sampler.ts'
import { runningThreads } from './threads.ts'

export interface RubyRecipeOptions {
  readonly clock: Clock
  /** Path of rbspy; null where there is none. */
  readonly rbspy?: string | null
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

const noTool: Refusal = {
  reason: 'rbspy is not on this machine, which is what shows where the time of a Ruby goes',
  hint: 'Install it (`cargo install rbspy`) so that it is on the PATH; `stead stack` shows where it stands.',
}
const noHeap: Refusal = {
  reason: 'what allocates memory in Ruby can be seen by what was started for it only',
  hint: 'Let it use `ObjectSpace.trace_object_allocations`, or `memory_profiler`.',
}
const laidInside =
  'gets a small debugger laid into its /tmp, run by a thread of its own, for each look; only a thread at a breakpoint stands still'
/** What the hook is needed for. */
const inside: readonly Ability[] = ['dap', 'stack', 'snapshot']

export function rubyRecipe({ clock, rbspy = null, hide = (text) => text }: RubyRecipeOptions): Recipe {
  return {
    language: 'ruby',
    async find(facts) {
      return versionOf(facts) === null ? null : finding(facts, rbspy)
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      const refusal = refusalOf(facts)
      if (refusal !== null && rbspy === null) throw refused(refusal.reason, refusal.hint)
      return adapterAttachment({
        facts,
        clock,
        hide,
        language: 'ruby',
        version: versionOf(facts) || '0.0',
        effects: [
          ...(refusal === null ? [laidInside] : []),
          ...(rbspy === null ? [] : ['is read from outside, and stopped for a moment, for each sample of a profile']),
        ],
        async open() {
          if (refusal !== null) throw refused(refusal.reason, refusal.hint)
          return await openBoot(facts, clock)
        },
        isAlive: () => isAlive(facts),
        running: () => {
          const runs = runningThreads(facts)
          return (name) => runs(name, 0)
        },
        ...(rbspy === null ? {} : { profile: (request, signal) => profileBy(facts, rbspy, request, signal) }),
        noProfile: noTool,
      })
    },
  }
}

/** By the name of the program; empty where the name does not say, null for what is no Ruby. */
function versionOf({ executable }: ProcessFacts): string | null {
  return /(?:^|\/)ruby(\d?(?:\.\d+)*)$/.exec(executable)?.[1] ?? null
}

function refusalOf(facts: ProcessFacts): Refusal | null {
  if (handlesDoor(facts) && startedWith(facts, 'RUBYOPT').includes(`${hookDirectory}/door`)) return null
  return {
    reason: `process ${facts.pid} was started without the hook that lets a debugger in, and Ruby cannot be entered by force without danger`,
    hint: 'Parts that run `ruby` are started with it; for others, `stead debug --prepare DIR` says what to set before the start.',
  }
}

function finding(facts: ProcessFacts, rbspy: string | null): Finding {
  const refusal = refusalOf(facts)
  const refusedInside = refusal === null ? [] : inside.map((ability) => [ability, refusal])
  return {
    language: 'ruby',
    version: versionOf(facts) || null,
    way: 'a small debugger is laid into its /tmp while somebody looks, and let in by a signal; rbspy reads its memory from outside',
    can: [...(refusal === null ? inside : []), ...(rbspy === null ? [] : (['cpu-profile'] as const))],
    cannot: {
      ...(rbspy === null ? { 'cpu-profile': noTool } : {}),
      'heap-profile': noHeap,
      ...Object.fromEntries(refusedInside),
    },
    costs: [
      'a thread of its own, which asks for some milliseconds of its time',
      'breakpoints cost at their line only; in code outside of any method, at every line',
      `stopped for a moment ${samplesPerSecond} times a second for a profile`,
    ],
  }
}

function profileBy(
  facts: ProcessFacts,
  rbspy: string,
  request: ProfileRequest,
  signal?: AbortSignal,
): Promise<Profile> {
  if (request.kind === 'heap') return Promise.reject(refused(noHeap.reason, noHeap.hint))
  const busy = request.kind === 'cpu' ? ['--on-cpu'] : []
  const how = ['record', '--pid', String(facts.pid), '--rate', String(samplesPerSecond)]
  const format = ['--format', 'collapsed', '--silent']
  // It keeps what it saw in the user's own cache, unless it is told where.
  const argsOf = (output: string, seconds: string): readonly string[] =>
    how.concat(busy, format, ['--duration', seconds, '--file', output, '--raw-file', `${output}.raw`])
  return sampledProfile(facts, { name: 'rbspy', path: rbspy }, argsOf, request, signal)
}

async function openBoot(facts: ProcessFacts, clock: Clock): Promise<OpenAdapter> {
  const contents = { files: { 'boot.rb': rubyBoot }, tools: null }
  const { streams, end } = await openRoom(facts, contents, () => signalProcess(facts, doorSignal), clock)
  return {
    streams,
    end,
    attach: {},
    attachStanding: { stopOnEntry: true },
    stopsFirst: false,
    // It takes them out itself, and lets threads go on, when the connection ends.
    pausesLast: false,
    async files(session, path) {
      const found = objectsIn(await session.request('loadedSources', { path }), 'sources')
      return found.map((source) => textIn(source, 'path'))
    },
    // It has no commands.
    guard: (expression) => expression,
  }
}
