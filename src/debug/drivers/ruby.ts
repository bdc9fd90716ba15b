/**
 * The recipe for Ruby. A program that was started with the hook is entered by a signal; a small debugger is laid into its own /tmp
 * for as long as somebody looks, and shows stacks, values and breakpoints. One that was started without is not entered.
 */
import type { Clock } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { objectsIn, textIn } from '../dap/peer.ts'
import { doorSignal, handlesDoor, hookDirectory } from '../door.ts'
import type { Ability, Finding, ProcessFacts, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { rubyBoot } from '../ruby/boot.ts'
import { isAlive, signalProcess, startedWith } from './proc.ts'
import { openRoom } from './room.ts'
import { runningThreads } from './threads.ts'

export interface RubyRecipeOptions {
  readonly clock: Clock
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

const noProfile: Refusal = {
  reason: 'where time and memory go in Ruby can be seen by what was started for it only',
  hint: 'Let it use `stackprof`, or `ruby-prof`; `stead stack` shows where it stands.',
}
const all: readonly Ability[] = ['dap', 'stack', 'snapshot']

export function rubyRecipe({ clock, hide = (text) => text }: RubyRecipeOptions): Recipe {
  return {
    language: 'ruby',
    async find(facts) {
      return versionOf(facts) === null ? null : finding(facts)
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      const refusal = refusalOf(facts)
      if (refusal !== null) throw refused(refusal.reason, refusal.hint)
      return adapterAttachment({
        facts,
        clock,
        hide,
        language: 'ruby',
        version: versionOf(facts) || '0.0',
        effects: [
          'gets a small debugger laid into its /tmp, run by a thread of its own, for each look; only a thread at a breakpoint stands still',
        ],
        open: () => openBoot(facts, clock),
        isAlive: () => isAlive(facts),
        running: () => {
          const runs = runningThreads(facts)
          return (name) => runs(name, 0)
        },
        noProfile,
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

function finding(facts: ProcessFacts): Finding {
  const refusal = refusalOf(facts)
  const refusedAbilities = refusal === null ? [] : all.map((ability) => [ability, refusal])
  return {
    language: 'ruby',
    version: versionOf(facts) || null,
    way: 'a small debugger is laid into its /tmp while somebody looks, and let in by a signal',
    can: refusal === null ? all : [],
    cannot: { 'cpu-profile': noProfile, 'heap-profile': noProfile, ...Object.fromEntries(refusedAbilities) },
    costs: [
      'a thread of its own, which asks for some milliseconds of its time',
      'breakpoints cost at their line only; in code outside of any method, at every line',
    ],
  }
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
