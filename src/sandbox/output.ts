/**
 * The format of kept output, that of s6-log: a file `current`, rotated into files named by time, each line opened by
 * its time in UTC. Pure.
 *
 * Invariant: sizes are chosen so that all files together stay below what was asked for.
 */
import type { OutputLine } from './driver.ts'

/** Longest line that is kept in one piece; a longer one is continued as further lines. */
export const lineBytesMax = 8192

/** Files beside `current` that are kept: full ones, so at least two thirds of the total once it was reached. */
const archives = 2
const stampBytes = 31

/**
 * How far a file may outgrow its size: s6-log looks only after it has written out what it had read, which is 8 KiB at
 * once and grows by a time for each line, at worst for each byte.
 */
const overshootBytes = 8192 * (stampBytes + 1)

/** How large each file may grow so that all stay within the total. */
export function rotationFor(outputBytesMax: number): { readonly archives: number; readonly fileBytes: number } {
  return { archives, fileBytes: Math.floor(outputBytesMax / (archives + 1)) - overshootBytes }
}

const stamped = /^(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2}:\d{2}\.\d{3})\d{6} {2}/

/** A kept line; null for what does not open with a time. */
export function parseOutputLine(line: string): OutputLine | null {
  const stamp = stamped.exec(line)
  if (stamp === null) return null
  return { timeMs: Date.parse(`${stamp[1]}T${stamp[2]}Z`), text: line.slice(stamp[0].length) }
}

/** The time that opens a line. */
export function stampOf(timeMs: number): string {
  return `${new Date(timeMs).toISOString().replace('T', ' ').replace('Z', '')}000000  `
}

/** TAI64N, as in the names of archived files: sorts as time does. */
export function archiveName(timeMs: number): string {
  const seconds = (2n ** 62n + 10n + BigInt(Math.floor(timeMs / 1000))).toString(16)
  const nanoseconds = ((timeMs % 1000) * 1e6).toString(16).padStart(8, '0')
  return `@${seconds}${nanoseconds}.s`
}

/** Whether a file name is that of archived output. */
export function isArchive(name: string): boolean {
  return /^@[0-9a-f]{24}\.[su]$/.test(name)
}
