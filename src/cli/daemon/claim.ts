/**
 * Who has a role of the daemon: a file with the process that does. A successor asks the one before it to go, waits until it
 * has let go, and ends it when it does not. Invariant: a process is signalled only when it is the one that wrote the file,
 * not another that got its number since.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Home } from '../home.ts'

/** The processes that the supervisor keeps running. */
export const roles = ['control', 'agent', 'gateway'] as const
export type Role = (typeof roles)[number]

export interface Holder {
  readonly pid: number
  /** When the process started, in the kernel's own count; null where the machine does not tell. */
  readonly started: string | null
  /** Version of Stead it runs. */
  readonly version: string
}

const lookMs = 20

/** The file of a role. */
export function claimPath(home: Pick<Home, 'runDir'>, role: Role | 'supervisor'): string {
  return join(home.runDir, 'claims', `${role}.json`)
}

/** Says that this process has the role. */
export function claim(path: string, version: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o711 })
  const holder: Holder = { pid: process.pid, started: startOf(process.pid), version }
  writeFileSync(`${path}.${process.pid}`, JSON.stringify(holder), { mode: 0o600 })
  renameSync(`${path}.${process.pid}`, path)
}

/** Lets the role go, unless a successor has it already. */
export function release(path: string): void {
  if (holderOf(path)?.pid === process.pid) rmSync(path, { force: true })
}

/** The process that has the role; null when there is none, or it is gone. */
export function holderOf(path: string): Holder | null {
  try {
    const { pid, started, version } = JSON.parse(readFileSync(path, 'utf8')) as Holder
    return pid > 0 && isAlive(pid) && startOf(pid) === started ? { pid, started, version } : null
  } catch {
    return null
  }
}

/** Asks whoever has the role to go. Resolves when it has let go; after `graceMs` it is ended. */
export async function takeOver(path: string, graceMs: number, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const before = holderOf(path)
  if (before === null || before.pid === process.pid) return
  send(before.pid, signal)
  const untilMs = performance.now() + graceMs
  while (holderOf(path)?.pid === before.pid) {
    if (performance.now() > untilMs) send(before.pid, 'SIGKILL')
    await pause(lookMs)
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has gone by itself.
  }
}

/** Whether there is a process of this number. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The start time of a process, from the 22nd field of its `stat`. The name before it may hold anything, so we count from its end. */
function startOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? 'ended' : (fields[19] ?? null)
  } catch {
    return null
  }
}
