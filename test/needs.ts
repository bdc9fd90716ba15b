/** What a test needs from the machine. Each answers false when it is there, or the reason to skip with, which node:test prints and counts. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** Linux and root. */
export function needsRoot(): string | false {
  if (process.platform !== 'linux') return `needs Linux, this is ${process.platform}`
  return process.getuid?.() === 0 ? false : 'needs root: run the tests as root to include it'
}

/** A program by its absolute path. */
export function needsFile(path: string, install: string): string | false {
  return existsSync(path) ? false : `needs ${path}: ${install}`
}

/** Go, to build test servers that come as Go modules. */
export const goPath: string | null =
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/go/bin']
    .map((dir) => join(dir, 'go'))
    .find((path) => existsSync(path)) ?? null

/** The same as a reason. */
export function needsGo(): string | false {
  return goPath === null ? 'needs Go: apt-get install golang, or https://go.dev' : false
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

/** Why no time can be reserved here; false: it can. */
export function needsDeadlines(): string | false {
  const words = ['--deadline', '--sched-runtime', '1000000', '--sched-deadline', '100000000']
  const tried = spawnSync('chrt', [...words, '--sched-period', '100000000', '0', 'true'], { encoding: 'utf8' })
  return tried.status === 0 ? false : `needs SCHED_DEADLINE: ${tried.stderr?.trim() ?? 'install util-linux'}`
}
