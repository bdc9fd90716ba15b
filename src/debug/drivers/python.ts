/**
 * The recipe for Python. py-spy reads the process's memory from outside, whatever its version, also in a sandbox: stacks and
 * where the time goes. A debugger and values come from debugpy, which is laid into the process's own /tmp when it is asked
 * for, and only where the process was started with the hook that lets it in: never by gdb, which ends the process too often.
 */
import type { Clock } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { doorSignal, handlesDoor, hookDirectory, roomOf } from '../door.ts'
import { pythonBoot, pythonEntry } from '../python/hook.ts'
import { pyThreads } from '../python/reports.ts'
import type { Ability, Attachment, Finding, ProcessFacts, Profile, ProfileRequest, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { isAlive, signalProcess, startedWith } from './proc.ts'
import { filesLike, linesOf } from './program-file.ts'
import { findRemoteDoor } from './python-memory.ts'
import { openRoom } from './room.ts'
import { runSampler, sampledProfile, samplesPerSecond } from './sampler.ts'
import { runningThreads } from './threads.ts'

export interface PythonRecipeOptions {
  readonly clock: Clock
  /** Path of py-spy; null where there is none. */
  readonly pySpy: string | null
  /** The directory that the package `debugpy` lies in; null where there is none. */
  readonly debugpy: string | null
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

const dumpMs = 30_000

const noTool: Refusal = {
  reason: 'py-spy is not on this machine, which is what shows where a Python stands without a stop',
  hint: 'Install it (`pipx install py-spy`) so that it is on the PATH.',
}
const noDebugpy: Refusal = {
  reason: 'debugpy is not on this machine, which is what debugs Python',
  hint: 'Install it for the `python3` on the PATH (`pip install debugpy`), or name its directory in STEAD_DEBUGPY.',
}
const noHeap: Refusal = {
  reason: 'what allocates memory in Python can be seen by what was started for it only',
  hint: 'Start the program under `memray`, or let it use `tracemalloc`.',
}

export function pythonRecipe(options: PythonRecipeOptions): Recipe {
  return {
    language: 'python',
    async find(facts) {
      return versionOf(facts) === null ? null : finding(facts, options)
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      const [first] = Object.values(finding(facts, options).cannot)
      if (finding(facts, options).can.length === 0 && first !== undefined) throw refused(first.reason, first.hint)
      return await attachment(facts, options)
    },
  }
}

/** By the name of the program; empty where the name does not say, null for what is no Python. */
function versionOf({ executable }: ProcessFacts): string | null {
  return /(?:^|\/)python(\d?(?:\.\d+)?)$/.exec(executable)?.[1] ?? null
}

/** Why no debugger can be let in; null where it can. */
function debuggerRefusal(facts: ProcessFacts, { debugpy }: PythonRecipeOptions): Refusal | null {
  if (!isPrepared(facts) && findRemoteDoor(facts) === null) {
    return {
      reason: `process ${facts.pid} was started without the hook that lets a debugger in, and Python before 3.14 cannot be entered by force without danger`,
      hint: 'Parts are started with it; for others, `stead debug --prepare DIR` says what to set before the start. `stead stack` needs nothing.',
    }
  }
  return debugpy === null ? noDebugpy : null
}

/** Whether the hook waits in it. Python 3.14 needs none, where it was not told to refuse. */
function isPrepared(facts: ProcessFacts): boolean {
  return handlesDoor(facts) && startedWith(facts, 'PYTHONPATH').includes(hookDirectory)
}

function finding(facts: ProcessFacts, options: PythonRecipeOptions): Finding {
  const noDebugger = debuggerRefusal(facts, options)
  const noLook = options.pySpy === null ? noTool : null
  const why: Readonly<Record<Ability, Refusal | null>> = {
    dap: noDebugger,
    stack: noLook === null || noDebugger === null ? null : noLook,
    snapshot: noDebugger,
    'cpu-profile': noLook,
    'heap-profile': noHeap,
  }
  const entries = abilities.map((ability) => [ability, why[ability]] as const)
  return {
    language: 'python',
    version: versionOf(facts) || null,
    way: 'py-spy reads its memory from outside; debugpy is laid into its /tmp when a debugger is wanted',
    can: entries.flatMap(([ability, refusal]) => (refusal === null ? [ability] : [])),
    cannot: Object.fromEntries(entries.filter(([, refusal]) => refusal !== null)),
    costs: [
      `stopped for some milliseconds for a stack, ${samplesPerSecond} times a second for a profile`,
      'debugger: about a second of its CPU once, 15 MB in its /tmp, and what the breakpoints cost',
    ],
  }
}

const abilities: readonly Ability[] = ['dap', 'stack', 'snapshot', 'cpu-profile', 'heap-profile']

async function attachment(facts: ProcessFacts, options: PythonRecipeOptions): Promise<Attachment> {
  const { clock, pySpy, debugpy, hide = (text) => text } = options
  const pid = ['--pid', String(facts.pid)]
  const run = (args: readonly string[], timeoutMs: number): Promise<string> =>
    pySpy === null
      ? Promise.reject(refused(noTool.reason, noTool.hint))
      : runSampler(facts, { name: 'py-spy', path: pySpy }, args, timeoutMs)
  // It says the exact version, and whether it may look at all.
  const seen =
    pySpy === null
      ? null
      : await run(['dump', ...pid], dumpMs).catch((error: unknown) => {
          // It does not know every version of Python; where a debugger can be let in, that shows the stack instead.
          if (isAlive(facts) && debuggerRefusal(facts, options) === null) return null
          throw error
        })
  const looks = {
    stack: async () => {
      const fromMs = clock.monotonicMs()
      const threads = pyThreads(await run(['dump', ...pid, '--json'], dumpMs))
      return { threads, waitingFor: [], stoppedMs: clock.monotonicMs() - fromMs }
    },
    profile: (request: ProfileRequest, signal?: AbortSignal) => profileBy(facts, pySpy, request, signal),
  }
  return adapterAttachment({
    facts,
    clock,
    hide,
    language: 'python',
    version: /^Python v(\S+)/m.exec(seen ?? '')?.[1] ?? (versionOf(facts) || '3.0'),
    effects: [
      'is read from outside and stopped for some milliseconds when its stack is looked at; nothing in it is changed',
      'gets debugpy laid into its /tmp, only for a debugger or a snapshot, and keeps what that loads, some 40 MB, until it ends',
    ],
    async open() {
      const refusal = debuggerRefusal(facts, options)
      if (refusal !== null || debugpy === null)
        throw refused((refusal ?? noDebugpy).reason, (refusal ?? noDebugpy).hint)
      return await openDebugpy(facts, debugpy, clock)
    },
    isAlive: () => isAlive(facts),
    running: () => runningThreads(facts),
    ...(seen === null ? {} : looks),
    noProfile: seen === null ? noTool : noHeap,
  })
}

function profileBy(
  facts: ProcessFacts,
  pySpy: string | null,
  request: ProfileRequest,
  signal?: AbortSignal,
): Promise<Profile> {
  if (request.kind === 'heap') return Promise.reject(refused(noHeap.reason, noHeap.hint))
  if (pySpy === null) return Promise.reject(refused(noTool.reason, noTool.hint))
  const waits = request.kind === 'wall' ? ['--idle'] : []
  const how = ['record', '--pid', String(facts.pid), '--rate', String(samplesPerSecond)]
  const format = ['--format', 'raw', '--full-filenames']
  const argsOf = (output: string, seconds: string): readonly string[] =>
    how.concat(waits, format, ['--duration', seconds, '--output', output])
  return sampledProfile(facts, { name: 'py-spy', path: pySpy }, argsOf, request, signal)
}

async function openDebugpy(facts: ProcessFacts, debugpy: string, clock: Clock): Promise<OpenAdapter> {
  const room = roomOf(facts.innerPid)
  const contents = {
    files: { 'boot.py': pythonBoot, 'enter.py': pythonEntry(room) },
    tools: { parent: debugpy, name: 'debugpy' },
  }
  const knock = (): void => {
    if (isPrepared(facts)) return signalProcess(facts, doorSignal)
    const door = findRemoteDoor(facts)
    if (door === null) throw processGone(facts)
    door.run(`${room}/enter.py`)
  }
  const { streams, end } = await openRoom(facts, contents, knock, clock)
  return {
    streams,
    end,
    // Code of libraries is stepped into as any other: whoever debugs a library wants it.
    attach: { justMyCode: false, subProcess: false, redirectOutput: false },
    stopsFirst: false,
    pausesLast: false,
    files: async (_session, path) => filesLike(facts, path),
    lines: (path) => linesOf(facts, path),
    guard: (expression) => expression,
  }
}
