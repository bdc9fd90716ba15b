/**
 * The recipe for Java: the machine itself is asked, over the socket that it opens for its own user, and says where every thread
 * stands. Needs nothing in the process and nothing on this machine.
 */
import type { Clock } from '../../base/index.ts'
import { javaThreads } from '../java/threads.ts'
import type { Ability, Attachment, Finding, ProcessFacts, Recipe } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { answersQuit, askHotspot, notListening } from './hotspot.ts'
import { isAlive } from './proc.ts'

export interface JavaRecipeOptions {
  readonly clock: Clock
}

type Refusal = { readonly reason: string; readonly hint: string }

const noDebugger: Refusal = {
  reason:
    'a Java machine can be debugged only by an agent that it was started with, and that listens without a password',
  hint: 'Start it with -agentlib:jdwp=transport=dt_socket,server=y,suspend=n,onjcmd=y,address=127.0.0.1:5005, ask for it by `jcmd PID VM.start_java_debugging`, and reach that port by `stead forward`.',
}
const noProfile: Refusal = {
  reason: 'a Java machine records where its time goes itself',
  hint: 'Ask for it: `jcmd PID JFR.start duration=10s filename=/tmp/p.jfr`; `stead stack` shows where it stands.',
}

export function javaRecipe({ clock }: JavaRecipeOptions): Recipe {
  return {
    language: 'java',
    async find(facts) {
      return facts.executable.endsWith('/java') ? finding(facts) : null
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      if (!answersQuit(facts)) throw refused(...notListening(facts))
      return await attachment(facts, clock)
    },
  }
}

function finding(facts: ProcessFacts): Finding {
  const silent = answersQuit(facts) ? null : toRefusal(notListening(facts))
  const never = { dap: noDebugger, snapshot: noDebugger, 'cpu-profile': noProfile, 'heap-profile': noProfile }
  const can: readonly Ability[] = silent === null ? ['stack'] : []
  return {
    language: 'java',
    version: null,
    way: 'the machine itself is asked, over a socket that it opens for its own user',
    can,
    cannot: silent === null ? never : { ...never, stack: silent },
    costs: ['all threads stop for some milliseconds for a stack'],
  }
}

function toRefusal([reason, hint]: readonly [string, string]): Refusal {
  return { reason, hint }
}

async function attachment(facts: ProcessFacts, clock: Clock): Promise<Attachment> {
  // Its version, and whether it answers at all.
  const version = /version (?:\S+ )?"?(\d+\.\d+(?:\.\d+)*)/.exec(await askHotspot(facts, 'VM.version', clock))
  const refuse = (refusal: Refusal): Promise<never> => Promise.reject(refused(refusal.reason, refusal.hint))
  return {
    language: 'java',
    version: version?.[1] ?? '0.0',
    effects: [
      'opened a Unix socket in its /tmp for its own user and root, which stays; all threads stop for some milliseconds at each look',
    ],
    lost: new Promise(() => undefined),
    async stack() {
      if (!isAlive(facts)) throw processGone(facts)
      const fromMs = clock.monotonicMs()
      const threads = javaThreads(await askHotspot(facts, 'Thread.print', clock))
      return { threads, waitingFor: [], stoppedMs: clock.monotonicMs() - fromMs }
    },
    snapshot: () => refuse(noDebugger),
    profile: () => refuse(noProfile),
    serveDap: () => refuse(noDebugger),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
