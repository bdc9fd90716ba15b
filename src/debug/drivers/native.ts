/**
 * The recipe for programs in C, C++, Rust and whatever else is compiled to machine code: gdb, or LLDB, from this machine.
 * Symbols are read from the files that the process sees. Needs nothing in the process and nothing of it.
 */
import { execFile } from 'node:child_process'
import { type Clock, type Random, randomId } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { type Arguments, objectsIn, textIn } from '../dap/peer.ts'
import { compilerOf, type Elf, goVersionOf, machineName, machineOf, symbolsOf } from '../native/elf.ts'
import type { Ability, Finding, ProcessFacts, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { startAdapter } from './adapter-process.ts'
import { isAlive } from './proc.ts'
import { elfOf, knowsLines } from './program-file.ts'
import { runningThreads } from './threads.ts'
import { findOnPath } from './tools.ts'

export interface NativeRecipeOptions {
  readonly clock: Clock
  readonly random: Random
  /** Null where there is none. */
  readonly debugger: NativeDebugger | null
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

export interface NativeDebugger {
  readonly kind: 'gdb' | 'lldb'
  readonly path: string
}

/** gdb speaks the protocol since that version. */
const gdbSince = 14
const askMs = 10_000
const lldbVersions = [22, 21, 20, 19, 18]

const noDebugger: Refusal = {
  reason: `this machine has neither gdb ${gdbSince} or newer nor lldb-dap, which look into machine code`,
  hint: 'Install one: `apt-get install lldb-19` on Debian 12, `apt-get install gdb` on Debian 13.',
}
const noProfile: Refusal = {
  reason: 'a debugger shows where a program stands, not where its time goes',
  hint: 'Take a few stacks (`stead stack`), or `perf record -p PID` on its machine.',
}

/** The debugger of this machine that speaks the protocol: gdb where it is new enough, else LLDB. */
export async function findNativeDebugger(): Promise<NativeDebugger | null> {
  const gdb = findOnPath('gdb')
  if (gdb !== null && (await gdbMajor(gdb)) >= gdbSince) return { kind: 'gdb', path: gdb }
  const lldb = findLldb()
  return lldb === null ? null : { kind: 'lldb', path: lldb }
}

/** LLDB's adapter, whichever version is there; null where there is none. */
export function findLldb(): string | null {
  const names = ['lldb-dap', ...lldbVersions.map((version) => `lldb-dap-${version}`)]
  return names.map(findOnPath).find((path) => path !== null) ?? null
}

function gdbMajor(path: string): Promise<number> {
  return new Promise((resolve) => {
    execFile(path, ['--version'], { timeout: askMs }, (error, stdout) => {
      resolve(error === null ? Number(/^GNU gdb .*?(\d+)\.\d/.exec(stdout)?.[1] ?? 0) : 0)
    })
  })
}

export function nativeRecipe(options: NativeRecipeOptions): Recipe {
  const { clock, hide = (text) => text } = options
  return {
    language: 'native',
    async find(facts) {
      const elf = elfOf(facts)
      return elf === null || isAnothers(facts, elf) ? null : finding(facts, elf, options.debugger)
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      const elf = elfOf(facts)
      const refusal = elf === null ? noDebugger : refusalOf(facts, elf, options.debugger)
      if (refusal !== null || options.debugger === null) {
        const { reason, hint } = refusal ?? noDebugger
        throw refused(reason, hint)
      }
      const { kind } = options.debugger
      const tool = options.debugger
      return adapterAttachment({
        facts,
        clock,
        hide,
        language: 'native',
        version: /(\d+\.\d+(?:\.\d+)?)/.exec((elf === null ? null : compilerOf(elf)) ?? '')?.[1] ?? '0.0',
        effects: [`is stopped by ${kind} while it attaches, and for each look; nothing is put into it but breakpoints`],
        open: async () => (kind === 'gdb' ? openGdb(facts, tool.path, clock) : openLldb(facts, tool.path, options)),
        isAlive: () => isAlive(facts),
        running: () => runningThreads(facts),
        noProfile,
      })
    },
  }
}

/** Programs that run programs have recipes of their own. */
function isAnothers({ executable }: ProcessFacts, elf: Elf): boolean {
  return goVersionOf(elf) !== null || /\/(?:node(?:js)?|python|ruby|java|php)[\d.]*$/.test(executable)
}

function finding(facts: ProcessFacts, elf: Elf, tool: NativeDebugger | null): Finding {
  const refusal = refusalOf(facts, elf, tool)
  const all: readonly Ability[] = ['dap', 'stack', 'snapshot']
  const lines = knowsLines(facts, elf)
  const noLines: Refusal = {
    reason: `${facts.executable} was built without line information, so that no line of it can be named`,
    hint: 'Build it with -g (it may be stripped into a file below /usr/lib/debug/.build-id); `stead stack` works without.',
  }
  const cannot = refusal ?? (lines ? null : noLines)
  const can = refusal !== null ? [] : lines ? all : all.slice(0, 2)
  return {
    language: 'native',
    version: compilerOf(elf),
    way: tool === null ? 'a debugger attaches to it' : `${tool.kind} attaches to it`,
    can,
    cannot: {
      ...Object.fromEntries(
        all.filter((ability) => !can.includes(ability)).map((ability) => [ability, cannot ?? noDebugger]),
      ),
      'cpu-profile': noProfile,
      'heap-profile': noProfile,
    },
    costs: ['stopped while a debugger attaches, and at each hit of a breakpoint or snapshot'],
  }
}

function refusalOf(facts: ProcessFacts, elf: Elf, tool: NativeDebugger | null): Refusal | null {
  const here = machineOf(process.arch)
  if (here !== null && elf.machine !== here) {
    return {
      reason: `${facts.executable} was made for ${machineName(elf.machine)} and is emulated here, where its own code cannot be seen`,
      hint: 'Debug it on a machine of that kind.',
    }
  }
  if (facts.tracerPid !== 0) {
    return {
      reason: `process ${facts.pid} is traced by process ${facts.tracerPid} already, and there can be one only`,
      hint: 'End the other debugger first.',
    }
  }
  if (tool === null) return noDebugger
  if (symbolsOf(elf) !== 'none' || knowsLines(facts, elf)) return null
  if (isShell.test(facts.executable)) {
    return {
      reason: `process ${facts.pid} is a shell (${facts.executable}), which shows nothing of its script`,
      hint: 'Look into what the script has started, by its id; or let the script `exec` its last program.',
    }
  }
  return {
    reason: `${facts.executable} was stripped of its symbols`,
    hint: 'Keep them: build with -g, and without `strip`; or put the file with them below /usr/lib/debug/.build-id.',
  }
}

const isShell = /\/(?:ba|da|k|z|a)?sh$|\/busybox$/

/** gdb functions that run programs or show what is gdb's own. */
const gdbOwn = /\$_(?:shell|gdb_setting|cimag|inferior)|^\s*-/

function openGdb(facts: ProcessFacts, path: string, clock: Clock): OpenAdapter {
  const root = facts.shares.files ? [] : ['-iex', `set sysroot /proc/${facts.pid}/root`]
  const settings = ['auto-load off', 'debuginfod enabled off', 'startup-with-shell off', 'print elements 200']
  const how = settings.flatMap((setting) => ['-iex', `set ${setting}`])
  const { streams, end } = startAdapter(facts, [path, '-nx', '-q', ...how, ...root, '-i=dap'], clock)
  return {
    streams,
    end,
    attach: { pid: facts.pid, program: `/proc/${facts.pid}/exe` },
    stopsFirst: true,
    pausesLast: true,
    async files(session) {
      const { sources } = await session
        .request('loadedSources')
        .then((body) => ({ sources: objectsIn(body, 'sources') }))
      return sources.map((source) => textIn(source, 'path')).filter((file) => file !== '')
    },
    guard(expression) {
      if (gdbOwn.test(expression)) throw notAnExpression(expression)
      return expression
    },
  }
}

/** LLDB at `path`, with the rights of the process, for what `meant` names: the process itself where nothing is said. */
export function openLldb(
  facts: ProcessFacts,
  path: string,
  { clock, random }: Pick<NativeRecipeOptions, 'clock' | 'random'>,
  meant: Arguments = { pid: facts.pid, program: `/proc/${facts.pid}/exe` },
): OpenAdapter {
  const { streams, end } = startAdapter(facts, [path], clock)
  // What begins so is a command of LLDB, and not an expression: nobody else knows how.
  const command = randomId(random)
  return {
    streams,
    end,
    attach: {
      ...meant,
      stopOnEntry: false,
      initCommands: quietLldb.map((setting) => `settings set ${setting}`),
      commandEscapePrefix: command,
    },
    attachStanding: { stopOnEntry: true },
    stopsFirst: false,
    pausesLast: true,
    async files(session, file) {
      const name = file.slice(file.lastIndexOf('/') + 1).replaceAll(/[^\w.+-]/g, '')
      const listed = async (words: string, row: RegExp): Promise<readonly string[]> => {
        const asked = session.request('evaluate', { expression: `${command}${words} ${name}`, context: 'repl' })
        // It refuses a name that it does not know.
        const text = textIn(await asked.catch(() => ({})), 'result')
        return [...new Set([...text.matchAll(row)].map(([, found = '']) => found))]
      }
      const units = await listed('image dump line-table', /^Line table for (.+) in [^ ]+$/gm)
      // Compilers may put several files into one unit, which is called otherwise then: Rust does.
      return units.length > 0 ? units : await listed('source info -f', /^\[0x\S+\): (.+?):\d+(?::\d+)?$/gm)
    },
    guard: (expression) => expression,
  }
}

/** It reads nothing of what a program could have laid out for it, and asks nobody. */
const quietLldb = [
  'target.load-script-from-symbol-file false',
  'target.load-cwd-lldbinit false',
  'symbols.enable-external-lookup false',
]

function notAnExpression(expression: string): Error {
  return refused(
    `'${expression}' is no expression of the program`,
    'Name variables, fields, or calls of its functions.',
  )
}
