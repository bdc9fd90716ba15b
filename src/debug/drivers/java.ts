/**
 * The recipe for Java. The machine itself is asked, over the socket that it opens for its own user, where every thread stands:
 * that needs nothing. A debugger comes in by the agent that the machine was started with, which waits until it is asked for.
 *
 * Invariant: an agent that would listen for everybody is not asked to. It has no password, and cannot be made to stop listening:
 * in a network of its own only the program itself can reach it, elsewhere it is entered only where it listens anyway.
 */
import { duplexPair } from 'node:stream'
import type { Clock } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { objectsIn, textIn } from '../dap/peer.ts'
import { javaAgent, listeningAgent } from '../java/agent.ts'
import { serveJava } from '../java/adapter.ts'
import { javaThreads } from '../java/threads.ts'
import { Jdwp } from '../jdwp/client.ts'
import type { Ability, Attachment, Finding, ProcessFacts, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { answersQuit, askHotspot, notListening } from './hotspot.ts'
import { isAlive, startedWith } from './proc.ts'
import { hasMapped } from './program-file.ts'
import { openReach, type Reach } from './reach.ts'
import { runningThreads } from './threads.ts'

export interface JavaRecipeOptions {
  readonly clock: Clock
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

const noProfile: Refusal = {
  reason: 'a Java machine records where its time goes itself',
  hint: 'Ask for it: `jcmd PID JFR.start duration=10s filename=/tmp/p.jfr`; `stead stack` shows where it stands.',
}
const notPrepared: Refusal = {
  reason: 'a Java machine lets a debugger in only by an agent that it was started with, and this one has none',
  hint: `Parts that run \`java\` have it; start others with JAVA_TOOL_OPTIONS='${javaAgent}', by which nothing listens yet. \`stead stack\` needs nothing.`,
}
const sharedNetwork: Refusal = {
  reason:
    'the port of a Java debugger has no password and stays open, and here every program of this machine could reach it',
  hint: `Run the program in a network of its own, as parts in a sandbox have it; or, where you are alone on the machine, start it with '${listeningAgent}'.`,
}

export function javaRecipe({ clock, hide = (text) => text }: JavaRecipeOptions): Recipe {
  const reach = openReach()
  return {
    language: 'java',
    async find(facts) {
      return facts.executable.endsWith('/java') ? finding(facts) : null
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      if (!answersQuit(facts)) throw refused(...notListening(facts))
      return await attachment(facts, clock, reach, hide)
    },
  }
}

function finding(facts: ProcessFacts): Finding {
  const silent = answersQuit(facts) ? null : toRefusal(notListening(facts))
  const noDebugger = silent ?? debuggerRefusal(facts)
  const why: Readonly<Record<Ability, Refusal | null>> = {
    dap: noDebugger,
    stack: silent,
    snapshot: noDebugger,
    'cpu-profile': noProfile,
    'heap-profile': noProfile,
  }
  return {
    language: 'java',
    version: null,
    way: 'the machine itself is asked, over a socket that it opens for its own user; its own agent lets a debugger in',
    can: abilities.filter((ability) => why[ability] === null),
    cannot: Object.fromEntries(Object.entries(why).filter(([, refusal]) => refusal !== null)),
    costs: [
      'all threads stop for some milliseconds for a stack, and at each hit of a breakpoint or snapshot',
      'the agent that waits costs a part of a second at the start of the machine',
    ],
  }
}

const abilities: readonly Ability[] = ['dap', 'stack', 'snapshot', 'cpu-profile', 'heap-profile']

function toRefusal([reason, hint]: readonly [string, string]): Refusal {
  return { reason, hint }
}

/** Why no debugger can be let in; null where it can. */
function debuggerRefusal(facts: ProcessFacts): Refusal | null {
  if (!hasMapped(facts, /\/libjdwp\.so$/m)) return notPrepared
  return facts.shares.network && waitsToBeAsked(facts) ? sharedNetwork : null
}

/** Whether its agent was started so that nothing listens until it is asked to. */
function waitsToBeAsked(facts: ProcessFacts): boolean {
  const given = ['JAVA_TOOL_OPTIONS', 'JDK_JAVA_OPTIONS', '_JAVA_OPTIONS'].map((name) => startedWith(facts, name))
  return [...given, ...facts.argv].some((text) => /jdwp[=:][^ ]*onjcmd=y/.test(text))
}

async function attachment(
  facts: ProcessFacts,
  clock: Clock,
  reach: Reach,
  hide: (text: string) => string,
): Promise<Attachment> {
  // Its version, and whether it answers at all.
  const version = /version (?:\S+ )?"?(\d+\.\d+(?:\.\d+)*)/.exec(await askHotspot(facts, { jcmd: 'VM.version' }, clock))
  return adapterAttachment({
    facts,
    clock,
    hide,
    language: 'java',
    version: version?.[1] ?? '0.0',
    effects: [
      'opened a Unix socket in its /tmp for its own user and root, which stays; all threads stop for some milliseconds at each look',
      'listens on its own loopback once a debugger or a snapshot was wanted, also for the next one',
    ],
    stack: async () => {
      const fromMs = clock.monotonicMs()
      const threads = javaThreads(await askHotspot(facts, { jcmd: 'Thread.print' }, clock))
      return { threads, waitingFor: [], stoppedMs: clock.monotonicMs() - fromMs }
    },
    async open() {
      const refusal = debuggerRefusal(facts)
      if (refusal !== null) throw refused(refusal.reason, refusal.hint)
      return await openAgent(facts, clock, reach)
    },
    isAlive: () => isAlive(facts),
    running: () => runningThreads(facts),
    noProfile,
  })
}

async function openAgent(facts: ProcessFacts, clock: Clock, reach: Reach): Promise<OpenAdapter> {
  const jdwp = await Jdwp.open(reach(facts, await agentPort(facts, clock)), clock)
  const [ours, theirs] = duplexPair()
  const served = serveJava(theirs, jdwp).catch(
    (error: unknown) => void ours.destroy(error instanceof Error ? error : undefined),
  )
  return {
    streams: { from: ours, to: ours },
    async end() {
      ours.destroy()
      await served
    },
    attach: {},
    stopsFirst: false,
    // The machine forgets breakpoints and lets its threads run in one step.
    pausesLast: false,
    async files(session, path) {
      const found = objectsIn(await session.request('loadedSources', { path }), 'sources')
      return found.map((source) => textIn(source, 'path'))
    },
    namesBelowRoot: true,
    // It has no commands, and nothing that could be assigned.
    guard: (expression) => expression,
  }
}

/** Where its agent listens; it is asked to where it does not yet. Throws `debug.refused`. */
async function agentPort(facts: ProcessFacts, clock: Clock): Promise<number> {
  const known = portIn(await askHotspot(facts, 'agentProperties', clock))
  if (known !== null) return known
  const said = await askHotspot(facts, { jcmd: 'VM.start_java_debugging' }, clock)
  const opened = portIn(await askHotspot(facts, 'agentProperties', clock))
  if (opened !== null) return opened
  const reason = /already active/i.test(said) ? 'another debugger is in it' : said.trim().split('\n').at(-1)
  throw refused(`process ${facts.pid} lets no debugger in: ${reason}`, 'End the other debugger, or see its output.')
}

/** `sun.jdwp.listenerAddress=dt_socket\:127.0.0.1\:37211`; none while a debugger is connected. */
function portIn(properties: string): number | null {
  const found = /^sun\.jdwp\.listenerAddress=dt_socket.*?:(\d+)\s*$/m.exec(properties)?.[1]
  return found === undefined ? null : Number(found)
}
