/** What a platform under test holds of the machine: processes, limit groups, mounts, namespaces, users. For tests that nothing grows. */
import { globSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { Workbench } from './command-line.ts'

/** Counts by kind. Only what belongs to this bench, but for network namespaces, which carry no name. */
export function inventory(bench: Workbench): Readonly<Record<string, number>> {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const own = processes.filter(
    (pid) => read(`/proc/${pid}/environ`).includes(bench.dir) || read(`/proc/${pid}/cmdline`).includes(bench.dir),
  )
  const mounts = read('/proc/mounts')
    .split('\n')
    .filter((line) => line.includes(bench.dir))
  const namespaces = new Set(own.map((pid) => linkOf(`/proc/${pid}/ns/net`)))
  // The parent of all limit groups of this platform, by the group of any of its instances.
  const parents = own.flatMap((pid) => /^\d+:memory:\/(stead-[^/]+)\//m.exec(read(`/proc/${pid}/cgroup`))?.[1] ?? [])
  const groups = globSync(`/sys/fs/cgroup/*/${parents[0] ?? 'none'}/*/`).length
  return {
    processes: own.length,
    mounts: mounts.length,
    'network namespaces': namespaces.size,
    'limit groups': groups,
    // Users are given to parts in a row: were each release given others, the last one's number would grow.
    'last user': Math.max(...own.map((pid) => Number(/^Uid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0))),
  }
}

/** What there is more of than before. */
export function grown(before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): string[] {
  return Object.entries(after).flatMap(([what, count]) =>
    count > (before[what] ?? 0) ? [`${what}: ${before[what] ?? 0} -> ${count}`] : [],
  )
}

/** Memory and descriptors of a process. */
export function holds(pid: number): { readonly pssBytes: number; readonly descriptors: number } {
  const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? '0'
  let descriptors = 0
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`).length
  } catch {
    // It has ended.
  }
  return { pssBytes: Number(pss) * 1024, descriptors }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
