/**
 * Whether a server has really set the limits of a container: servers leave out, with a line in their log, what their host has no
 * group for. Looked at from outside, in the groups of a process of it, of either version.
 */
import { dirname } from 'node:path'
import type { SandboxLimits } from '../../driver.ts'
import { readIfThere } from '../records.ts'

const root = '/sys/fs/cgroup'

/** For each kind of limit why it cannot be held; null where it can. */
export type LimitsHeld = Readonly<Record<'memory' | 'cpu' | 'pids', string | null>>

/** All of them, for one reason or none. */
export function allLimits(reason: string | null): LimitsHeld {
  return { memory: reason, cpu: reason, pids: reason }
}

/** Which limits hold a process, of those that it was to be given. */
export function limitsOf(pid: number, asked: SandboxLimits): LimitsHeld {
  const groups = readIfThere(`/proc/${pid}/cgroup`) ?? ''
  const first = (controller: string): string | null =>
    new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, 'm').exec(groups)?.[1] ?? null
  const second = /^0::(.*)$/m.exec(groups)?.[1] ?? null
  const held = (
    controller: string,
    files: readonly [first: string, second: string],
    fits: (text: string, directory: string) => boolean,
  ): string | null => {
    const inFirst = first(controller)
    const top = inFirst === null ? root : `${root}/${controller}`
    const file = inFirst === null ? files[1] : files[0]
    for (let path = inFirst ?? second ?? '/'; path !== '/' && path !== '.'; path = dirname(path)) {
      const text = readIfThere(`${top}${path}/${file}`)
      if (text !== null && fits(text.trim(), `${top}${path}`)) return null
    }
    return `it sets no limit of ${controller}, as its host has no such group or it may not use it`
  }
  const atMost =
    (most: number | null) =>
    (text: string): boolean =>
      most !== null && text !== '' && Number(text) <= most
  return {
    memory: held('memory', ['memory.limit_in_bytes', 'memory.max'], atMost(asked.memoryBytes)),
    pids: held('pids', ['pids.max', 'pids.max'], atMost(asked.pidsMax)),
    cpu: held('cpu', ['cpu.cfs_quota_us', 'cpu.max'], (text, directory) => {
      const [quota = '', period = readIfThere(`${directory}/cpu.cfs_period_us`) ?? ''] = text.split(' ')
      return Number(quota) > 0 && Number(quota) / Number(period) <= (asked.cpuCores ?? 0) + 0.01
    }),
  }
}
