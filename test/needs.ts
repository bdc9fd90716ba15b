/** What a test needs from the machine. Each answers false when it is there, or the reason to skip with, which node:test prints and counts. */
import { existsSync, readFileSync } from 'node:fs'

/** Linux and root. */
export function needsRoot(): string | false {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  return process.getuid?.() === 0 ? false : 'needs root: run the tests as root to include it'
}

/** A program by its absolute path. */
export function needsFile(path: string, install: string): string | false {
  return existsSync(path) ? false : `needs ${path}: ${install}`
}

/** A file system the kernel knows. */
export function needsFileSystem(name: string): string | false {
  const known = existsSync('/proc/filesystems') && readFileSync('/proc/filesystems', 'utf8').includes(`\t${name}\n`)
  return known ? false : `needs ${name} in the kernel`
}

/** The first reason among several needs. */
export function needsAll(...reasons: readonly (string | false)[]): string | false {
  return reasons.find((reason) => reason !== false) ?? false
}
