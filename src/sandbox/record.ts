/**
 * The record of one sandbox: what a later supervisor needs to find it again. Pure; drivers keep it as `record.json`.
 *
 * Invariants: the record is complete before the program runs its first instruction, so nothing runs unrecorded; a
 * record that was begun and not completed belongs to a program that never ran.
 */
import { SteadError } from '../base/index.ts'
import type { Exit, SandboxLimits, SyscallProfile } from './driver.ts'

/** A process by its id and its start together, because ids are used again; `start` is opaque. */
export interface ProcessIdentity {
  readonly pid: number
  readonly start: string
}

/** Who takes part in a running sandbox. */
export interface Processes {
  /** The outermost process, which keeps the exit. */
  readonly keeper: ProcessIdentity
  /** With whose end everything inside ends; the program itself where there is no process namespace. */
  readonly init: ProcessIdentity
  readonly program: ProcessIdentity
  /** Writes the output; null when it had already gone. */
  readonly logger: ProcessIdentity | null
}

export interface SandboxRecord {
  readonly version: 1
  readonly driver: string
  readonly id: string
  /** Which run of the machine's kernel it belongs to: process ids mean nothing after a restart. */
  readonly boot: string
  readonly limits: SandboxLimits
  /** Absent in records that were written before programs could be run inside. */
  readonly syscalls?: SyscallProfile
  /** Whether it has a root of its own, and so another shell. Absent in older records. */
  readonly rooted?: boolean
  /** Whether it has a limit group, under its id. */
  readonly grouped: boolean
  /** Known as soon as it was spawned; null before. */
  readonly keeper: ProcessIdentity | null
  /** Null until all is ready; only then is the program let go. */
  readonly processes: Processes | null
  /** Null until it has ended and somebody looked. */
  readonly exit: Exit | null
}

/** Reads a record. Throws `sandbox.record-unreadable` for what no version of this code wrote. */
export function parseRecord(text: string, where: string): SandboxRecord {
  const value: unknown = safeJson(text)
  if (typeof value === 'object' && value !== null && 'version' in value && value.version === 1) {
    return value as SandboxRecord
  }
  throw new SteadError({
    code: 'sandbox.record-unreadable',
    message: `The record ${where} is not one this version can read.`,
    hint: 'It was written by a newer version, or damaged. The program may still run: see its limit group.',
  })
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The exit code in the lines that bubblewrap wrote about itself; null while there is none. */
export function exitCodeOf(statusLines: string): number | null {
  return fieldOf(statusLines, 'exit-code')
}

/** The host's id of the first process inside, in the lines that bubblewrap wrote about itself. */
export function childPidOf(statusLines: string): number | null {
  return fieldOf(statusLines, 'child-pid')
}

function fieldOf(statusLines: string, name: string): number | null {
  const found = new RegExp(`"${name}": *(\\d+)`).exec(statusLines)
  return found === null ? null : Number(found[1])
}
