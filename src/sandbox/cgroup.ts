/**
 * Limit groups (cgroups): the interface, and both versions of the kernel's files as plans. Pure: a plan says which
 * directories to make and what to write where; the drivers do it.
 *
 * Invariant: a limit that a plan writes is one the kernel will hold; writes that only some kernels know are marked.
 */
import type { CpuClass, ReservedCpu } from './cpu-class.ts'
import type { Evidence } from './exit.ts'
import type { SandboxUsage } from './driver.ts'

/** What a group shall hold; null for no limit. */
export interface GroupLimits {
  readonly memoryBytes: number | null
  readonly cpuCores: number | null
  readonly pidsMax: number | null
  readonly cpuClass?: CpuClass['kind'] | undefined
}

/** The group of one sandbox. */
export interface LimitGroup {
  /** Puts processes into the group, with all they start from then on. Throws `sandbox.limits-failed` when one is gone. */
  join(pids: readonly number[]): Promise<void>
  /** Reserves CPU time for one that waits in the group, before it begins. Throws `sandbox.limits-failed`. */
  reserve(cpu: ReservedCpu, pid: number): Promise<void>
  usage(): SandboxUsage
  /** What the limits did so far; nothing when the group is gone. */
  evidence(): Evidence
  /** Resolves when all processes stand still. Throws `sandbox.freeze-failed` when they do not within five seconds. */
  freeze(): Promise<void>
  thaw(): void
  /** Ends all processes in the group, frozen or not. Throws `sandbox.kill-failed` when some are left after ten seconds. */
  kill(): Promise<void>
  /** Removes the group, which must be empty. Does nothing when there is none. */
  remove(): Promise<void>
}

/** Why a class of CPU cannot be had; null: it can. */
export interface CpuSupport {
  readonly deadline: string | null
  readonly fifo: string | null
  readonly bestEffort: string | null
}

/** A way to make groups on this machine. */
export interface LimitGroups {
  readonly version: 1 | 2
  readonly holds: { readonly memory: boolean; readonly cpu: boolean; readonly pids: boolean; readonly freeze: boolean }
  /** Which classes of CPU there are; tried when it is first asked. */
  readonly cpu: CpuSupport
  /**
   * Tells the kernel that a process is about to join a group. It makes the first join after a while wait some
   * milliseconds for all processors; asked for early, the wait is over when the join comes.
   */
  warm(): void
  /** Makes the group and sets its limits; one that is left over under this name is used again. */
  make(name: string, limits: GroupLimits): LimitGroup
  /** The group as it is, whether or not there still is one. */
  open(name: string): LimitGroup
}

export interface GroupWrite {
  readonly path: string
  readonly value: string
  /** False where some kernels lack the file: then it is left out. */
  readonly required: boolean
}

export interface GroupPlan {
  /** Parents first. */
  readonly directories: readonly string[]
  readonly writes: readonly GroupWrite[]
}

/** Where groups are made: the mount of the hierarchies, and the parent of all our groups below it. */
export interface GroupPlace {
  readonly root: string
  readonly parent: string
}

const cpuPeriodUs = 100_000
const cpuQuotaUsMin = 1000
/** What a group of version 1 weighs at the least; 1024 is usual. */
const sharesMin = 2

function cpuQuotaUs(cores: number): number {
  return Math.max(cpuQuotaUsMin, Math.round(cores * cpuPeriodUs))
}

/** Controllers of version 1 that every group uses, each a hierarchy of its own; `cpuset` only what has time reserved. */
export const controllersV1 = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer'] as const
export type ControllerV1 = (typeof controllersV1)[number]

/** The directory of a group in one hierarchy of version 1. */
export function directoryV1({ root, parent }: GroupPlace, controller: ControllerV1 | 'cpuset', name: string): string {
  return `${root}/${controller}/${parent}/${name}`
}

/** Version 1: a directory in every hierarchy that the machine has. */
export function planV1(place: GroupPlace, name: string, limits: GroupLimits, has: readonly ControllerV1[]): GroupPlan {
  const write = (controller: ControllerV1, file: string, value: number, required = true): GroupWrite => ({
    path: `${directoryV1(place, controller, name)}/${file}`,
    value: String(value),
    required,
  })
  const { memoryBytes, cpuCores, pidsMax } = limits
  return {
    directories: has.map((controller) => directoryV1(place, controller, name)),
    writes: [
      ...(memoryBytes === null
        ? []
        : [
            write('memory', 'memory.limit_in_bytes', memoryBytes),
            write('memory', 'memory.memsw.limit_in_bytes', memoryBytes, false),
          ]),
      ...(cpuCores === null
        ? []
        : [write('cpu', 'cpu.cfs_period_us', cpuPeriodUs), write('cpu', 'cpu.cfs_quota_us', cpuQuotaUs(cpuCores))]),
      ...(limits.cpuClass === 'best-effort'
        ? [write('cpu', 'cpu.shares', sharesMin), write('cpu', 'cpu.idle', 1, false)]
        : []),
      ...(pidsMax === null ? [] : [write('pids', 'pids.max', pidsMax)]),
    ],
  }
}

/** The directory of a group in version 2. */
export function directoryV2({ root, parent }: GroupPlace, name: string): string {
  return `${root}/${parent}/${name}`
}

/** Version 2: one directory, after its controllers were handed down from the root. */
export function planV2(place: GroupPlace, name: string, limits: GroupLimits): GroupPlan {
  const parent = `${place.root}/${place.parent}`
  const group = directoryV2(place, name)
  const handDown = [place.root, parent].map((directory) => ({
    path: `${directory}/cgroup.subtree_control`,
    value: '+memory +pids +cpu',
    required: true,
  }))
  const write = (file: string, value: string, required = true): GroupWrite => ({
    path: `${group}/${file}`,
    value,
    required,
  })
  const { memoryBytes, cpuCores, pidsMax } = limits
  return {
    directories: [parent, group],
    writes: [
      ...handDown,
      ...(memoryBytes === null ? [] : [write('memory.max', String(memoryBytes)), write('memory.swap.max', '0', false)]),
      ...(cpuCores === null ? [] : [write('cpu.max', `${cpuQuotaUs(cpuCores)} ${cpuPeriodUs}`)]),
      ...(limits.cpuClass === 'best-effort' ? [write('cpu.weight', '1'), write('cpu.idle', '1', false)] : []),
      ...(pidsMax === null ? [] : [write('pids.max', String(pidsMax))]),
    ],
  }
}

/** The number after a name in the kernel's "name number" lines; 0 when it is not there. */
export function numberIn(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}
