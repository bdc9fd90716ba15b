/**
 * What both versions of limit groups share: carrying out a plan, reading the kernel's files, ending all members.
 *
 * Invariant: reading from a group that is gone gives nothing rather than an error, because a group may vanish at any time.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { SteadError, messageOf, systemCodeOf } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { GroupPlan } from '../cgroup.ts'
import { waitUntil } from './wait.ts'

const killTimeoutMs = 10_000
const removeTimeoutMs = 5_000

/** Makes the directories and writes the limits. Throws `sandbox.limits-failed` naming the file that refused. */
export function carryOut(plan: GroupPlan): void {
  for (const directory of plan.directories) mkdirSync(directory, { recursive: true })
  for (const { path, value, required } of plan.writes) {
    if (!required && !existsSync(path)) continue
    try {
      writeFileSync(path, value)
    } catch (cause) {
      throw new SteadError({
        code: 'sandbox.limits-failed',
        message: `The kernel refused ${value} for ${path}: ${messageOf(cause)}.`,
        hint: 'See that the limit is within what the machine has, and that limit groups are writable.',
        cause,
      })
    }
  }
}

/** Puts processes into groups, without holding up this process: the kernel may take milliseconds. Throws `sandbox.limits-failed`. */
export async function joinGroups(directories: readonly string[], pids: readonly number[]): Promise<void> {
  for (const path of directories.map((directory) => `${directory}/cgroup.procs`)) {
    for (const pid of pids) {
      await writeFile(path, String(pid)).catch((cause: unknown) => {
        throw new SteadError({
          code: 'sandbox.limits-failed',
          message: `Process ${pid} could not be put into ${path}: ${messageOf(cause)}.`,
          hint: 'It may have ended already; see what it printed.',
          cause,
        })
      })
    }
  }
}

/**
 * Joins the group that this process is in already, in the background: it changes nothing, and has the kernel's lock for
 * joins taken out of the idle state. `line` matches the hierarchy in /proc/self/cgroup, `mount` is where it is mounted.
 */
export function joinOwnGroup(line: RegExp, mount: string): void {
  const own = line.exec(textOf('/proc/self/cgroup'))?.[1]
  // Failing costs the head start and nothing else.
  if (own !== undefined)
    writeFile(`${mount}${own === '/' ? '' : own}/cgroup.procs`, String(process.pid)).catch(() => {})
}

/** The text of a kernel file; empty when it is not there. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (['ENOENT', 'ENODEV', 'EACCES'].includes(systemCodeOf(error) ?? '')) return ''
    throw error
  }
}

/** The number in a kernel file; null when it is not there. */
export function numberOf(path: string): number | null {
  const text = textOf(path).trim()
  return text === '' ? null : Number(text)
}

/** Process ids of the members. */
export function membersOf(procsFile: string): readonly number[] {
  return textOf(procsFile).split('\n').filter(Boolean).map(Number)
}

/** Kills members, again and again until none is left: one may fork while we look. */
export async function killMembers(clock: Clock, procsFile: string): Promise<void> {
  const gone = await waitUntil(clock, killTimeoutMs, () => {
    const members = membersOf(procsFile)
    for (const pid of members) killQuietly(pid)
    return members.length === 0
  })
  if (gone) return
  throw new SteadError({
    code: 'sandbox.kill-failed',
    message: `Processes ${membersOf(procsFile).join(', ')} did not end within ${killTimeoutMs} ms of SIGKILL.`,
    hint: 'They wait inside the kernel, usually for a disk or a network file system; see `ps -o pid,stat,wchan`.',
    retry: 'later',
  })
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error
  }
}

/** Removes empty groups, and their parents once nothing is in them any more. */
export async function removeGroups(
  clock: Clock,
  directories: readonly string[],
  parents: readonly string[],
): Promise<void> {
  // The kernel answers EBUSY for a moment after the last member has gone.
  await waitUntil(clock, removeTimeoutMs, () => directories.every(removeDirectory))
  const left = directories.filter((directory) => existsSync(directory))
  if (left.length > 0) {
    throw new SteadError({
      code: 'sandbox.limits-failed',
      message: `The limit group ${left.join(', ')} could not be removed: it still has members.`,
      hint: 'End the sandbox first.',
      retry: 'later',
    })
  }
  for (const parent of parents) removeDirectory(parent)
}

/** Whether the directory is gone now. */
function removeDirectory(directory: string): boolean {
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'ENOENT') return true
    if (code === 'EBUSY' || code === 'ENOTEMPTY') return false
    throw error
  }
}
