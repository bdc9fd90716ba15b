/** Finds the kind of limit groups this machine offers. Invariant: what is answered was tried out, by making a group and removing it. */
import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import type { Clock } from '../../base/index.ts'
import type { LimitGroups } from '../cgroup.ts'
import { textOf } from './cgroup-files.ts'
import { groupsV1 } from './cgroup-v1.ts'
import { groupsV2 } from './cgroup-v2.ts'

/**
 * Limit groups below `parent`, which stands at the top of the hierarchy: not below the supervisor's own group, or its
 * service manager would end the sandboxes together with it. Null where none can be made.
 */
export function detectLimitGroups(
  clock: Clock,
  parent: string = 'stead',
  root: string = '/sys/fs/cgroup',
): LimitGroups | null {
  const unified = textOf(`${root}/cgroup.controllers`).trim().split(' ')
  if (['memory', 'pids', 'cpu'].every((controller) => unified.includes(controller))) {
    return canMake(`${root}/${parent}-probe-${process.pid}`) ? groupsV2(clock, { root, parent }) : null
  }
  if (['pids', 'freezer'].every((controller) => existsSync(`${root}/${controller}/cgroup.procs`))) {
    return canMake(`${root}/pids/${parent}-probe-${process.pid}`) ? groupsV1(clock, { root, parent }) : null
  }
  return null
}

function canMake(directory: string): boolean {
  try {
    mkdirSync(directory)
    rmdirSync(directory)
    return true
  } catch {
    return false
  }
}
