/**
 * What runs on this machine: from /proc on Linux, from POSIX `ps` elsewhere.
 *
 * Invariant: a process is named by its id and its start together, because ids are used again.
 */
import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { systemCodeOf } from '../../base/index.ts'
import type { ProcessIdentity } from '../record.ts'

export interface ProcessInfo {
  readonly pid: number
  /** Opaque, as in an identity. */
  readonly start: string
  readonly parent: number
  /** Session on Linux, process group elsewhere. */
  readonly session: number
  readonly memoryBytes: number
  readonly cpuSeconds: number
}

export interface ProcessTable {
  /** Everything that runs, zombies left out. */
  list(): readonly ProcessInfo[]
  /** The process that has this id now; null when there is none, or only a zombie. */
  identify(pid: number): ProcessIdentity | null
}

/** Ticks of /proc/PID/stat and page size: fixed in the kernel's interface on x86_64 and on aarch64 with 4 KiB pages. */
const ticksPerSecond = 100
const pageBytes = 4096

function readStat(pid: number): ProcessInfo | null {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ESRCH') return null
    throw error
  }
  // The name stands in parentheses and may hold anything, so fields count from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  if (state === 'Z' || state === 'X') return null
  return {
    pid,
    parent: Number(fields[1]),
    session: Number(fields[3]),
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    start: fields[19] ?? '',
    memoryBytes: Number(fields[21]) * pageBytes,
  }
}

/** The table from /proc. */
export const linuxProcesses: ProcessTable = {
  list() {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
    return pids.map((pid) => readStat(Number(pid))).filter((stat) => stat !== null)
  },
  identify(pid) {
    const stat = readStat(pid)
    return stat === null ? null : { pid, start: stat.start }
  },
}

function ps(args: readonly string[]): readonly string[] {
  const { stdout } = spawnSync('ps', args, {
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
    timeout: 10_000,
  })
  return stdout.split('\n').filter((line) => line.trim() !== '')
}

/** Seconds of `[[days-]hours:]minutes:seconds`. */
function secondsOf(time: string): number {
  const [clock = '', days = '0'] = time.split('-').reverse()
  return clock.split(':').reduce((sum, part) => sum * 60 + Number(part), 0) + Number(days) * 86_400
}

/** The table from `ps`, for macOS and other systems without /proc. */
export const posixProcesses: ProcessTable = {
  list() {
    return ps(['-A', '-o', 'pid=,ppid=,pgid=,rss=,time=,stat=,lstart=']).flatMap((line) => {
      const [pid, parent, group, kilobytes, time = '0', state = '', ...start] = line.trim().split(/\s+/)
      if (state.startsWith('Z')) return []
      return [
        {
          pid: Number(pid),
          start: start.join(' '),
          parent: Number(parent),
          session: Number(group),
          memoryBytes: Number(kilobytes) * 1024,
          cpuSeconds: secondsOf(time),
        },
      ]
    })
  },
  identify(pid) {
    const [line] = ps(['-o', 'stat=,lstart=', '-p', String(pid)])
    const [state = '', ...start] = (line ?? '').trim().split(/\s+/)
    return state === '' || state.startsWith('Z') ? null : { pid, start: start.join(' ') }
  },
}

/** The table for this machine. */
export const processes: ProcessTable = process.platform === 'linux' ? linuxProcesses : posixProcesses

/** Whether this very process still runs. */
export function isAlive(identity: ProcessIdentity | null): boolean {
  return identity !== null && processes.identify(identity.pid)?.start === identity.start
}

/** The process and all that descend from it. */
export function treeOf(root: number, all: readonly ProcessInfo[]): readonly ProcessInfo[] {
  const found = all.filter((process) => process.pid === root)
  for (let index = 0; index < found.length; index++) {
    found.push(...all.filter((process) => process.parent === found[index]?.pid))
  }
  return found
}

/** Whether a process may descend from another: nothing is older than what it comes from. */
export function mayDescend(process: ProcessInfo, from: ProcessIdentity): boolean {
  return processes !== linuxProcesses || Number(process.start) >= Number(from.start)
}

/** Sends a signal; nothing happens when the process is gone or its id belongs to another now. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(identity)) return
  try {
    process.kill(identity.pid, signal)
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error
  }
}
