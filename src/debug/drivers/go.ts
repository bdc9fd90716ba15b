/**
 * The recipe for Go: delve, from this machine, on a Unix socket that only the process's own user can open. Needs nothing in the
 * process; a build with optimisations works, a stripped one does not.
 */
import type { Clock } from '../../base/index.ts'
import { adapterAttachment } from '../adapter/attachment.ts'
import type { OpenAdapter } from '../adapter/open.ts'
import { textIn } from '../dap/peer.ts'
import { type Elf, goVersionOf, symbolsOf } from '../native/elf.ts'
import type { Ability, Finding, ProcessFacts, Recipe } from '../recipe.ts'
import { processGone, type Refusal, refused } from '../refusals.ts'
import { startListeningAdapter } from './adapter-process.ts'
import { isAlive, isPending } from './proc.ts'
import { elfOf } from './program-file.ts'
import { runningThreads } from './threads.ts'

export interface GoRecipeOptions {
  readonly clock: Clock
  /** Path of dlv; null where there is none. */
  readonly delve: string | null
  /** Takes texts that are known to be secret out of whatever is handed on. */
  readonly hide?: (text: string) => string
}

const noDelve: Refusal = {
  reason: 'delve, which looks into Go, is not on this machine',
  hint: 'Install it so that `dlv` is on the PATH: `go install github.com/go-delve/delve/cmd/dlv@latest`.',
}
const noProfile: Refusal = {
  reason: 'Go profiles itself, when it was built to',
  hint: 'Let it serve net/http/pprof and reach that by `stead forward`; `stead stack` shows where it stands.',
}
const trapSignal = 5
const all: readonly Ability[] = ['dap', 'stack', 'snapshot']

export function goRecipe({ clock, delve, hide = (text) => text }: GoRecipeOptions): Recipe {
  return {
    language: 'go',
    async find(facts) {
      const elf = elfOf(facts)
      const version = elf === null ? null : goVersionOf(elf)
      return elf === null || version === null ? null : finding(facts, elf, version, delve)
    },
    async attach(facts) {
      if (!isAlive(facts)) throw processGone(facts)
      const elf = elfOf(facts)
      const refusal = elf === null ? noDelve : refusalOf(facts, elf, delve)
      if (elf === null || delve === null || refusal !== null) {
        throw refused((refusal ?? noDelve).reason, (refusal ?? noDelve).hint)
      }
      return adapterAttachment({
        facts,
        clock,
        hide,
        language: 'go',
        version: goVersionOf(elf) ?? '',
        effects: ['is stopped by delve while it attaches, and for each look; nothing is put into it but breakpoints'],
        open: () => openDelve(facts, delve, clock),
        isAlive: () => isAlive(facts),
        running: () => {
          const runs = runningThreads(facts)
          // One that was taken off its thread for a moment goes on when it is its turn.
          return (name, index) => runs(name, index) || !name.includes('runtime.gopark')
        },
        noProfile,
      })
    },
  }
}

function finding(facts: ProcessFacts, elf: Elf, version: string, delve: string | null): Finding {
  const refusal = refusalOf(facts, elf, delve)
  const refusedAbilities = refusal === null ? [] : all.map((ability) => [ability, refusal])
  return {
    language: 'go',
    version,
    way: 'delve attaches to it',
    can: refusal === null ? all : [],
    cannot: { 'cpu-profile': noProfile, 'heap-profile': noProfile, ...Object.fromEntries(refusedAbilities) },
    costs: ['stopped while delve attaches, and at each hit of a breakpoint or snapshot'],
  }
}

function refusalOf(facts: ProcessFacts, elf: Elf, delve: string | null): Refusal | null {
  if (delve === null) return noDelve
  if (facts.tracerPid !== 0) {
    return {
      reason: `process ${facts.pid} is traced by process ${facts.tracerPid} already, and there can be one only`,
      hint: 'End the other debugger first.',
    }
  }
  return symbolsOf(elf) === 'lines'
    ? null
    : {
        reason: `${facts.executable} was stripped of what a debugger needs (built with -ldflags=-s or -w)`,
        hint: 'Build it without those two; the file is larger, the program is not slower.',
      }
}

async function openDelve(facts: ProcessFacts, delve: string, clock: Clock): Promise<OpenAdapter> {
  const argvFor = (socket: string): readonly string[] => [
    delve,
    'dap',
    `--listen=unix:${socket}`,
    '--check-go-version=false',
  ]
  const { streams, end } = await startListeningAdapter(facts, argvFor, clock)
  return {
    streams,
    end,
    attach: { mode: 'local', processId: facts.pid, stopOnEntry: false, stackTraceDepth: 64 },
    attachStanding: { stopOnEntry: true },
    stopsFirst: false,
    pausesLast: true,
    // delve stops a program by this signal; when a breakpoint was faster it is still to come.
    isUnsettled: () => isPending(facts, trapSignal),
    async files(session, path) {
      const name = path.slice(path.lastIndexOf('/') + 1).replaceAll(/[^\w.-]/g, '.')
      // Its own list, as only its console tells it.
      const asked = session.request('evaluate', { expression: `dlv sources /${name}$`, context: 'repl' })
      const text = textIn(await asked, 'result')
      return text.split('\n').filter((line) => line.endsWith(name))
    },
    // Its console has commands; what is handed on is never asked as one.
    guard: (expression) => expression,
  }
}
