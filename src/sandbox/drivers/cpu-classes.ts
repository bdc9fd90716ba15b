/**
 * Gives a program its class of CPU, by `chrt` (util-linux) and CPU sets.
 *
 * Invariant: what is said to work was tried on this machine; what the kernel refuses is an error with its words.
 */
import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { SteadError, messageOf } from '../../base/index.ts'
import { chrtArguments, numbersIn, processorOf } from '../cpu-class.ts'
import type { CpuSupport } from '../cgroup.ts'
import type { ReservedCpu } from '../cpu-class.ts'
import { textOf } from './cgroup-files.ts'
import { findProgram } from './programs.ts'

const tryTimeoutMs = 10_000
const tried: ReservedCpu = {
  kind: 'reserved',
  runtimeUs: 1000,
  periodUs: 100_000,
  deadlineUs: 100_000,
  core: 0,
  policy: 'deadline',
}

/** Tries what can be reserved. `rtGroup`: a group that could be made, where this kernel gives real time by groups. */
export function trySupport(rtGroup: string | null, bestEffort: string | null): CpuSupport {
  const chrt = findProgram('chrt')
  if (chrt === null) {
    const missing = 'there is no chrt: install util-linux'
    return { deadline: missing, fifo: missing, bestEffort }
  }
  const fifo = { ...tried, policy: 'fifo' } as const
  return {
    deadline: whyNot('exec "$0" "$@" /bin/true', [chrt, ...chrtArguments(tried)]),
    fifo: inGroup(rtGroup, (join) => whyNot(`${join}exec "$0" "$@" /bin/true`, [chrt, ...chrtArguments(fifo)])),
    bestEffort,
  }
}

function whyNot(script: string, words: readonly string[]): string | null {
  const options = { encoding: 'utf8', timeout: tryTimeoutMs, env: { PATH: '/usr/bin:/bin' } } as const
  const { status, stderr, error } = spawnSync('/bin/sh', ['-c', script, ...words], options)
  if (status === 0) return null
  return lastLine(error === undefined ? stderr : messageOf(error)) || 'chrt failed'
}

function inGroup(directory: string | null, run: (join: string) => string | null): string | null {
  if (directory === null) return run('')
  try {
    mkdirSync(directory)
    try {
      writeFileSync(`${directory}/cpu.rt_runtime_us`, '1000')
      return run(`echo $$ >${directory}/cgroup.procs && `)
    } finally {
      rmdirSync(directory)
    }
  } catch (error) {
    return messageOf(error)
  }
}

/** Gives a process its class. Throws `sandbox.limits-failed`. */
export async function giveClass(cpu: ReservedCpu, pid: number): Promise<void> {
  const chrt = findProgram('chrt')
  const words = chrtArguments(cpu)
  try {
    if (chrt === null) throw new Error('there is no chrt')
    await promisify(execFile)(chrt, [...words.slice(0, -1), '--pid', ...words.slice(-1), String(pid)], {
      timeout: tryTimeoutMs,
    })
  } catch (cause) {
    throw refused(`${cpu.runtimeUs} us in every ${cpu.periodUs} us`, lastLine(messageOf(cause)), cause)
  }
}

/** The processors below a directory of CPU sets, or all of the machine. */
export function processorsOf(file: string): readonly number[] {
  const listed = numbersIn(textOf(file))
  return listed.length > 0 ? listed : Array.from({ length: availableParallelism() }, (_, index) => index)
}

/** The processor of a core. Throws `sandbox.limits-failed` when the machine has not so many. */
export function needProcessor(core: number, processors: readonly number[]): number {
  const found = processorOf(core, processors)
  if (found !== null) return found
  throw refused(`time on core ${core}`, `there are ${processors.length} processors`, undefined)
}

/** Writes into a file of a group. Throws `sandbox.limits-failed`. */
export function writeClass(path: string, value: string): void {
  try {
    writeFileSync(path, value)
  } catch (cause) {
    throw refused(`${value} in ${path}`, messageOf(cause), cause)
  }
}

/**
 * Real time for a group of version 1, bounded to what is reserved. Groups are given of what their parent has, so the parent
 * is given the sum of what is in it. `siblings`: the directories of all groups below the parent.
 */
export function giveGroupTime(parent: string, group: string, siblings: readonly string[], cpu: ReservedCpu): void {
  if (!existsSync(`${group}/cpu.rt_runtime_us`)) return
  const others = siblings
    .filter((directory) => directory !== group)
    .map(
      (directory) => Number(textOf(`${directory}/cpu.rt_runtime_us`)) / Number(textOf(`${directory}/cpu.rt_period_us`)),
    )
    .filter((share) => Number.isFinite(share))
  const share = others.reduce((sum, one) => sum + one, cpu.runtimeUs / cpu.periodUs)
  const parentPeriodUs = Number(textOf(`${parent}/cpu.rt_period_us`))
  writeClass(`${parent}/cpu.rt_runtime_us`, String(Math.ceil(share * parentPeriodUs) + 1))
  writeClass(`${group}/cpu.rt_period_us`, String(cpu.periodUs))
  writeClass(`${group}/cpu.rt_runtime_us`, String(cpu.runtimeUs))
}

function refused(what: string, why: string, cause: unknown): SteadError {
  return new SteadError({
    code: 'sandbox.limits-failed',
    message: `The kernel refused to reserve ${what}: ${why}.`,
    hint: 'Everything reserved on a machine has to leave 5 % of it to the rest: reserve less, or end what has some.',
    cause,
  })
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
