/**
 * Takes out of a program's code what a debugger that had to be ended by force has left there: the program would end where it
 * comes to it.
 *
 * Invariant: nothing is written but the byte that the file has in that place, and only where the instruction for a breakpoint
 * stands instead of it.
 */
import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import type { ProcessFacts } from '../recipe.ts'

/** `int3`, of x86 alone: other processors are not swept. */
const breakpoint = 0xcc
const pieceBytes = 1024 * 1024
/** Code that is looked through; programs have less. */
const codeBytesMax = 1024 ** 3

/** Answers how many were taken out. Does nothing to a process that is gone, or not ours to write to. */
export function sweepBreakpoints({ pid }: Pick<ProcessFacts, 'pid'>): number {
  if (process.arch !== 'x64') return 0
  let found = 0
  let memory: number | null = null
  try {
    memory = openSync(`/proc/${pid}/mem`, 'r+')
    let left = codeBytesMax
    for (const mapping of codeOf(pid)) {
      left -= mapping.end - mapping.start
      if (left < 0) break
      found += sweep(memory, mapping, pid)
    }
  } catch {
    // Gone, or somebody else's.
  } finally {
    if (memory !== null) closeSync(memory)
  }
  return found
}

interface Mapping {
  readonly start: number
  readonly end: number
  readonly offset: number
  readonly range: string
  readonly path: string
}

/** The mappings of files that hold code. */
function codeOf(pid: number): readonly Mapping[] {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, range = '', offset = '', path = ''] =
        /^([0-9a-f]+-[0-9a-f]+) r-xp ([0-9a-f]+) \S+ \d+\s+(\/.*)$/.exec(line) ?? []
      const [start, end] = range.split('-').map((digits) => Number.parseInt(digits, 16))
      if (start === undefined || end === undefined) return []
      return [{ start, end, offset: Number.parseInt(offset, 16), range, path }]
    })
}

function sweep(memory: number, { start, end, offset, range, path }: Mapping, pid: number): number {
  let file: number
  try {
    // The very file, also when another lies in its place now.
    file = openSync(`/proc/${pid}/map_files/${range}`, 'r')
  } catch {
    file = openSync(`/proc/${pid}/root${path}`, 'r')
  }
  let found = 0
  try {
    const [now, meant] = [Buffer.alloc(pieceBytes), Buffer.alloc(pieceBytes)]
    for (let at = start; at < end; at += pieceBytes) {
      const length = Math.min(pieceBytes, end - at)
      const read = readSync(memory, now, 0, length, at)
      const known = readSync(file, meant, 0, read, offset + (at - start))
      if (now.subarray(0, known).equals(meant.subarray(0, known))) continue
      for (
        let index = now.indexOf(breakpoint);
        index !== -1 && index < known;
        index = now.indexOf(breakpoint, index + 1)
      ) {
        if (meant[index] === breakpoint) continue
        writeSync(memory, meant, index, 1, at + index)
        found++
      }
    }
  } finally {
    closeSync(file)
  }
  return found
}
