/** Keeps what this process inherited itself from reaching what it starts. Invariant: only what is handed over by place is. */
import { readdirSync } from 'node:fs'
import { readIfThere } from './records.ts'

/** O_CLOEXEC in the flags of /proc/PID/fdinfo. */
const closeOnExec = 0o2000000

export type StdioPlace = 'ignore' | 'pipe' | number

/**
 * A descriptor that this process inherited itself would reach the program as well, because nobody marked it to be closed:
 * each such place is taken by /dev/null.
 */
export function withoutInherited(stdio: readonly StdioPlace[], nothing: number): StdioPlace[] {
  const length = Math.max(stdio.length, ...inherited.map((descriptor) => descriptor + 1))
  return Array.from({ length }, (_, index) => stdio[index] ?? (inherited.includes(index) ? nothing : 'ignore'))
}

/** Looked for once: whatever this process opens later is closed on exec. */
const inherited: readonly number[] = inheritedDescriptors()

function inheritedDescriptors(): readonly number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc/self/fdinfo')
    .map(Number)
    .filter((descriptor) => descriptor > 2 && !isClosedOnExec(descriptor))
}

function isClosedOnExec(descriptor: number): boolean {
  const flags = /^flags:\s+(\d+)$/m.exec(readIfThere(`/proc/self/fdinfo/${descriptor}`) ?? '')?.[1]
  return flags === undefined || (parseInt(flags, 8) & closeOnExec) !== 0
}
