/**
 * How much there is to a design: moving parts, interfaces between them, ways in which each can fail; what the platform adds by
 * itself; and the same design with what is released together put into one process.
 */
import { edgesOf } from './availability/design.ts'
import { runningContainers } from './inventory.ts'
import type { Inventory, Platform, Workload } from './inventory.ts'

export interface Complexity {
  /** Programs, images, ways in, stores, policies: what somebody has to know of. */
  readonly parts: number
  readonly programs: number
  /** Uses of one program by another, over the network. */
  readonly interfaces: number
  /** Ways to fail: of a program to crash, hang, be slow; of an interface to be refused, time out, be of another version. */
  readonly failureModes: number
  /** What the platform itself has running, for this to run. */
  readonly platformParts: readonly string[]
  /** The same with everything that is released together in one process; null when there is nothing to put together. */
  readonly simpler: {
    readonly programs: number
    readonly interfaces: number
    readonly failureModes: number
    readonly together: readonly string[]
  } | null
}

const programFailures = 3
const interfaceFailures = 3

/** What runs beside the programs, by platform. */
const platforms: Readonly<Record<Platform, readonly string[]>> = {
  kubernetes: [
    'API server',
    'etcd',
    'scheduler',
    'controller manager',
    'kubelet',
    'container runtime',
    'network plug-in',
    'name service',
    'ingress controller',
  ],
  compose: ['container engine', 'its name service'],
  systemd: ['systemd'],
  stead: ['control', 'agent', 'gateway'],
  terraform: [],
  cloudformation: [],
  npm: [],
}

export function complexityOf(inventory: Inventory): Complexity {
  const { workloads, waysIn, routes, configs, networkPolicies, resources, grants } = inventory
  const edges = edgesOf(inventory)
  const programs = workloads.reduce((sum, workload) => sum + runningContainers(workload.pod).length, 0)
  const used = new Set(workloads.map(({ platform }) => platform))
  return {
    parts:
      programs +
      [waysIn, routes, configs, networkPolicies, resources, grants].reduce((sum, list) => sum + list.length, 0),
    programs,
    interfaces: edges.length,
    failureModes: programs * programFailures + edges.length * interfaceFailures,
    platformParts: [...used].flatMap((platform) => platforms[platform]),
    simpler: simplerOf(inventory, programs),
  }
}

/** Programs without data that come from one folder of one registry at one version: they are released together. */
export function togetherOf(inventory: Inventory): readonly Workload[] {
  const groups = new Map<string, Workload[]>()
  for (const workload of inventory.workloads) {
    if (workload.role !== 'service' || workload.stateful) continue
    const image = runningContainers(workload.pod)[0]?.image ?? null
    const match = image === null ? null : /^(.+)\/[^/:]+:([^/:@]+)/.exec(image)
    if (match === null) continue
    const key = `${match[1] ?? ''}:${match[2] ?? ''}`
    groups.set(key, [...(groups.get(key) ?? []), workload])
  }
  const largest = [...groups.values()].sort((a, b) => b.length - a.length)[0] ?? []
  return largest.length < 3 ? [] : largest
}

function simplerOf(inventory: Inventory, programs: number): Complexity['simpler'] {
  const together = togetherOf(inventory)
  if (together.length === 0) return null
  const inside = new Set(together)
  const outer = edgesOf(inventory).filter(({ from, to }) => !(inside.has(from) && inside.has(to)))
  const ends = new Set(
    outer.map(({ from, to }) => `${inside.has(from) ? 'one' : from.name}>${inside.has(to) ? 'one' : to.name}`),
  )
  const left = programs - together.length + 1
  return {
    programs: left,
    interfaces: ends.size,
    failureModes: left * programFailures + ends.size * interfaceFailures,
    together: together.map(({ name }) => name),
  }
}
