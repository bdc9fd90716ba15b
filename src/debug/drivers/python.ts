/**
 * The recipe for Python: py-spy reads the process's memory from outside, whatever its version, also in a sandbox. Nothing runs
 * inside the process, so there are stacks and where the time goes, and no values. Never by gdb: it ends the process too often.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, messageOf } from '../../base/index.ts'
import { foldedStacks, pyThreads } from '../python/reports.ts'
import type { Ability, Attachment, Finding, ProcessFacts, Profile, Recipe } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { isAlive } from './proc.ts'

export interface PythonRecipeOptions {
  readonly clock: Clock
  /** Path of py-spy; null where there is none. */
  readonly pySpy: string | null
}

const outputBytesMax = 64_000_000
const dumpMs = 30_000
const samplesPerSecond = 100

const noTool = {
  reason: 'py-spy is not on this machine, which is what looks into Python',
  hint: 'Install it (`pipx install py-spy`) so that it is on the PATH.',
}
const noValues = {
  reason: 'Python is looked into from outside, which shows stacks and where the time goes, but no values',
  hint: 'For a debugger start the program with `python -m debugpy --listen 127.0.0.1:5678 ...` and reach that port by `stead forward PART:5678`.',
}

export function pythonRecipe({ clock, pySpy }: PythonRecipeOptions): Recipe {
  return {
    language: 'python',
    async find(facts) {
      return versionOf(facts) === null ? null : finding(facts, pySpy)
    },
    async attach(facts) {
      if (pySpy === null) throw refused(noTool.reason, noTool.hint)
      return await attachment(facts, pySpy, clock)
    },
  }
}

/** By the name of the program; empty where the name does not say, null for what is no Python. */
function versionOf({ executable }: ProcessFacts): string | null {
  return /(?:^|\/)python(\d?(?:\.\d+)?)$/.exec(executable)?.[1] ?? null
}

function finding(facts: ProcessFacts, pySpy: string | null): Finding {
  const missing = pySpy === null ? noTool : null
  const can: readonly Ability[] = ['stack', 'cpu-profile']
  const never = { dap: noValues, snapshot: noValues, 'heap-profile': noValues }
  return {
    language: 'python',
    version: versionOf(facts) || null,
    way: 'py-spy reads its memory from outside',
    can: missing === null ? can : [],
    cannot: missing === null ? never : { ...never, ...Object.fromEntries(can.map((ability) => [ability, missing])) },
    costs: [`stopped for some milliseconds for a stack, ${samplesPerSecond} times a second for a profile`],
  }
}

async function attachment(facts: ProcessFacts, pySpy: string, clock: Clock): Promise<Attachment> {
  const run = (args: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<string> =>
    runTool(facts, pySpy, args, timeoutMs, signal)
  const pid = ['--pid', String(facts.pid)]
  // It says the exact version, and whether it may look at all.
  const first = await run(['dump', ...pid], dumpMs)
  const refuse = (): Promise<never> => Promise.reject(refused(noValues.reason, noValues.hint))
  return {
    language: 'python',
    version: /^Python v(\S+)/m.exec(first)?.[1] ?? versionOf(facts) ?? '',
    effects: ['is read from outside and stopped for some milliseconds at each look; nothing in it is changed'],
    lost: new Promise(() => undefined),
    async stack() {
      const fromMs = clock.monotonicMs()
      const threads = pyThreads(await run(['dump', ...pid, '--json'], dumpMs))
      return { threads, waitingFor: [], stoppedMs: clock.monotonicMs() - fromMs }
    },
    async profile({ kind, durationMs }, signal): Promise<Profile> {
      if (kind === 'heap') return await refuse()
      const dir = mkdtempSync(join(tmpdir(), 'stead-py-spy-'))
      try {
        const output = join(dir, 'stacks')
        const seconds = String(Math.max(1, Math.round(durationMs / 1000)))
        const how = ['--duration', seconds, '--rate', String(samplesPerSecond), '--format', 'raw', '--full-filenames']
        await run(['record', ...pid, ...how, '--output', output], durationMs + dumpMs, signal)
        const text = readFileSync(output, 'utf8')
        return { kind, unit: 'samples', stacks: foldedStacks(text), raw: { extension: 'folded', text } }
      } finally {
        rmSync(dir, { recursive: true, force: true })
      }
    },
    snapshot: refuse,
    serveDap: refuse,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Runs py-spy to its end. Aborting asks it to end soon, with what it has. Throws `debug.refused`, `debug.process-gone`. */
function runTool(
  facts: ProcessFacts,
  pySpy: string,
  args: readonly string[],
  timeoutMs: number,
  signal?: AbortSignal,
): Promise<string> {
  if (!isAlive(facts)) return Promise.reject(processGone(facts))
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, maxBuffer: outputBytesMax, env: { PATH: process.env['PATH'] ?? '' } }
    const child = execFile(pySpy, [...args], options, (error, stdout, stderr) => {
      signal?.removeEventListener('abort', stop)
      if (error === null) return resolve(stdout)
      if (!isAlive(facts)) return reject(processGone(facts))
      const said = /^Error: (.*)$/m.exec(stderr)?.[1] ?? messageOf(error)
      reject(
        refused(
          `py-spy cannot look into process ${facts.pid}: ${said}`,
          'It needs the rights of root, or of the process.',
        ),
      )
    })
    const stop = (): void => void child.kill('SIGINT')
    signal?.addEventListener('abort', stop, { once: true })
  })
}
