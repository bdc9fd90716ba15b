/**
 * What a driver can do, as a table to read and as checks to hold a wish against. Pure.
 *
 * Invariant: a wish that the driver cannot fulfil is an error that names it; nothing is left out in silence.
 */
import { SteadError } from '../base/index.ts'
import type { LimitGroups } from './cgroup.ts'
import type { SandboxCapabilities, SandboxDriver, SandboxLimits, SandboxSpec, Support } from './driver.ts'

const rows: readonly (readonly [keyof Omit<SandboxCapabilities, 'weaker'>, string])[] = [
  ['isolation', 'own user, processes and files'],
  ['ownNetwork', 'own network, given by the network driver'],
  ['memoryLimit', 'memory limit'],
  ['cpuLimit', 'CPU limit'],
  ['bestEffortCpu', 'CPU that nobody else wants'],
  ['deadlineCpu', 'reserved CPU time, by deadline'],
  ['fifoCpu', 'reserved CPU time, first in first out'],
  ['pidsLimit', 'limit of processes'],
  ['tmpLimit', 'size of /tmp'],
  ['freeze', 'freeze and thaw'],
  ['syscallFilter', 'system call filter'],
  ['devices', 'devices of the host'],
  ['root', 'a root file system of its own'],
  ['users', 'several users in such a root'],
  ['exec', 'another program inside'],
  ['outputFilter', 'texts kept out of the output'],
  ['survivesSupervisor', 'outlives its supervisor'],
  ['ownKernel', 'a kernel of its own'],
  ['container', 'a container of an Incus server'],
  ['console', 'console of its kernel'],
  ['debugStub', 'debugging its kernel'],
  ['disk', 'a system booted from a disk'],
  ['snapshot', 'snapshots of such a system'],
]

/** A Markdown table of what drivers can do, with what is weaker below it. */
export function describeCapabilities(drivers: readonly Pick<SandboxDriver, 'name' | 'capabilities'>[]): string {
  const cells = [
    ['capability', ...drivers.map((driver) => driver.name)],
    ...rows.map(([key, title]) => [title, ...drivers.map((driver) => driver.capabilities[key])]),
  ]
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = cells.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`)
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`
  const table = [...lines.slice(0, 1), rule, ...lines.slice(1)]
  const weaker = drivers.flatMap((driver) => driver.capabilities.weaker.map((line) => `- ${driver.name}: ${line}`))
  return [...table, ...(weaker.length > 0 ? ['', ...weaker] : [])].join('\n')
}

const limitRows: readonly (readonly [keyof SandboxLimits, keyof SandboxCapabilities & `${string}Limit`])[] = [
  ['memoryBytes', 'memoryLimit'],
  ['cpuCores', 'cpuLimit'],
  ['pidsMax', 'pidsLimit'],
  ['tmpBytes', 'tmpLimit'],
]

/** What drivers declare that run programs on the kernel of the host, by themselves. */
export const sharedKernel: Pick<
  SandboxCapabilities,
  'ownKernel' | 'container' | 'console' | 'debugStub' | 'disk' | 'snapshot'
> = {
  ownKernel: 'refused',
  container: 'refused',
  console: 'refused',
  debugStub: 'refused',
  disk: 'refused',
  snapshot: 'refused',
}

/** What carries the packets of a system looks up names by it. */
const resolverPath = '/etc/resolv.conf'

const classes = {
  'best-effort': ['bestEffortCpu', 'only the CPU that nobody else wants'],
  deadline: ['deadlineCpu', 'reserved CPU time by deadline'],
  fifo: ['fifoCpu', 'reserved CPU time, first in first out'],
} as const

/** What the limit groups of a machine hold, and a line for each class of CPU that they do not. */
export function groupSupport(
  groups: LimitGroups | null,
): Pick<
  SandboxCapabilities,
  'memoryLimit' | 'cpuLimit' | 'pidsLimit' | 'freeze' | 'bestEffortCpu' | 'deadlineCpu' | 'fifoCpu' | 'weaker'
> {
  if (groups === null) {
    const none = { memoryLimit: 'refused', cpuLimit: 'refused', pidsLimit: 'refused', freeze: 'emulated' } as const
    return { ...none, ...noCpuClasses, weaker: [] }
  }
  const { bestEffort, deadline, fifo } = groups.cpu
  const can = (does: boolean): Support => (does ? 'native' : 'refused')
  const held = (why: string | null): Support => can(why === null)
  return {
    memoryLimit: can(groups.holds.memory),
    cpuLimit: can(groups.holds.cpu),
    pidsLimit: can(groups.holds.pids),
    freeze: groups.holds.freeze ? 'native' : 'emulated',
    bestEffortCpu: held(bestEffort),
    deadlineCpu: held(deadline),
    fifoCpu: held(fifo),
    weaker: [
      ...(bestEffort === null ? [] : [`best-effort CPU is refused: ${bestEffort}`]),
      ...(deadline === null ? [] : [`CPU time by deadline is refused: ${deadline}`]),
      ...(fifo === null ? [] : [`CPU time first in first out is refused: ${fifo}`]),
    ],
  }
}

/** Of drivers that share processors out as the machine does. */
export const noCpuClasses: Pick<SandboxCapabilities, 'bestEffortCpu' | 'deadlineCpu' | 'fifoCpu'> = {
  bestEffortCpu: 'refused',
  deadlineCpu: 'refused',
  fifoCpu: 'refused',
}

/** The limits that a driver can hold, and one line for each that it cannot: for callers who go on without, and say so. */
export function limitsWithin(
  capabilities: SandboxCapabilities,
  limits: SandboxLimits,
): { readonly limits: SandboxLimits; readonly weaker: readonly string[] } {
  const lost = limitRows.filter(([limit, support]) => limits[limit] !== null && capabilities[support] === 'refused')
  return {
    limits: { ...limits, ...Object.fromEntries(lost.map(([limit]) => [limit, null])) },
    weaker: lost.map(([limit]) => `the limit ${limit} of ${limits[limit]} is not held on this machine`),
  }
}

/** Throws `sandbox.refused` when the spec asks for more than the driver can do here. */
export function refuseBeyond(name: string, capabilities: SandboxCapabilities, spec: SandboxSpec): void {
  const refuse = (what: string, hint: string): never => {
    throw new SteadError({
      code: 'sandbox.refused',
      message: `The ${name} sandbox driver cannot give ${spec.id} ${what} on this machine.`,
      hint,
    })
  }
  const missing = (support: Support, wanted: boolean): boolean => wanted && support === 'refused'
  for (const [limit, support] of limitRows) {
    if (missing(capabilities[support], spec.limits[limit] !== null)) {
      refuse(
        `the limit ${limit}`,
        'Set this limit to null to run without it, or run where limit groups can be made (as root on Linux).',
      )
    }
  }
  if (spec.cpu !== undefined) {
    const [support, what] = classes[spec.cpu.kind === 'best-effort' ? 'best-effort' : spec.cpu.policy]
    if (missing(capabilities[support], true))
      refuse(what, 'Leave its class of CPU out, or run where `stead doctor` says that there is such time.')
  }
  if (missing(capabilities.devices, spec.devices !== undefined && spec.devices.length > 0))
    refuse('devices of the host', 'Leave them out, or use the bubblewrap driver.')
  if (missing(capabilities.syscallFilter, spec.syscalls !== 'none')) {
    refuse(`the system call filter '${spec.syscalls}'`, "Ask for 'none', or use the bubblewrap driver.")
  }
  if (missing(capabilities.root, spec.root !== undefined))
    refuse(
      'a root of its own',
      'Use the bubblewrap driver, as root on Linux 5.19 or later; its capabilities tell more.',
    )
  if (spec.runtime !== undefined && spec.runtime !== name)
    refuse(`the runtime ${spec.runtime}`, `Use the driver of that runtime, or leave it out.`)
  if (missing(capabilities.users, spec.root?.hostIds !== undefined))
    refuse('several users', 'Use the bubblewrap driver, as root, or run the image as one user.')
  if (missing(capabilities.outputFilter, spec.filterFile !== undefined))
    refuse('an output without the texts of a file', 'Install perl, or take them out when the output is read.')
  if (missing(capabilities.ownKernel, spec.isolation === 'kernel'))
    refuse('a kernel of its own', 'Use the vm driver, or leave isolation out.')
  if (missing(capabilities.container, spec.isolation === 'container'))
    refuse('a container of an Incus server', 'Use the incus driver, or leave isolation out.')
  if (missing(capabilities.disk, spec.disk !== undefined)) refuse('a system booted from a disk', 'Use the vm driver.')
  const beside =
    spec.mounts.length > 0 || spec.root !== undefined || spec.files.some(({ path }) => path !== resolverPath)
  if (spec.disk !== undefined && beside)
    refuse('directories of the host beside its disk', 'Put what it needs on the disk, or into its seed.')
  if (missing(capabilities.ownNetwork, spec.network !== null))
    refuse('a network of its own', 'Pass null as its network.')
  if (capabilities.isolation === 'refused') {
    const mount = spec.mounts.find(({ source, target }) => source !== target)
    if (mount !== undefined)
      refuse(`${mount.source} at ${mount.target}`, 'Without isolation a path inside is the path on the host.')
    const file = spec.files.find(({ path }) => !path.startsWith(`${spec.recordDir}/files/`))
    if (file !== undefined)
      refuse(`the file ${file.path}`, `Without isolation it must lie below ${spec.recordDir}/files.`)
  }
}
