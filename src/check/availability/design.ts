/**
 * From an inventory to what must work for each way in: the program, what it uses, the nodes and zones they stand on, and what
 * leads to them. Pessimistic where the input is silent: copies that are not told to stand apart are taken to stand together.
 */
import { reachedBy, runningContainers, waysTo } from '../inventory.ts'
import type { Inventory, WayIn, Workload } from '../inventory.ts'
import { instancesOf } from '../rules/availability.ts'
import { parseImage } from '../versions/image.ts'
import type { Assumptions, PartKind } from './assumptions.ts'
import { all, atLeast, part } from './structure.ts'
import type { Part, Structure } from './structure.ts'

/** A change that is tried out: one more of something. */
export interface Change {
  /** Copies added, by workload. */
  readonly copies?: ReadonlyMap<Workload, number>
  /** All copies stand on different nodes, or in different zones. */
  readonly apart?: 'node' | 'zone'
  /** A second provider and name service. */
  readonly providers?: number
}

export interface Entry {
  /** `Service shop/web`, `port 8080 of web`. */
  readonly name: string
  readonly workload: Workload
}

export interface DesignEdge {
  readonly from: Workload
  readonly to: Workload
}

/** Where people or programs come in: workloads that are reached from outside; without one, all that serve. */
export function entriesOf(inventory: Inventory): readonly Entry[] {
  const served = inventory.workloads.filter(({ role }) => role === 'service')
  const outside = served.filter((workload) =>
    waysTo(inventory, workload).some(
      (way) => way.exposure !== 'inside' || isRouted(inventory, way.name, way.namespace),
    ),
  )
  const chosen =
    outside.length > 0 ? outside : served.filter((workload) => edgesOf(inventory).every(({ to }) => to !== workload))
  return chosen.map((workload) => ({
    workload,
    name:
      workload.namespace === '' || workload.namespace === 'default'
        ? workload.name
        : `${workload.namespace}/${workload.name}`,
  }))
}

function isRouted(inventory: Inventory, service: string, namespace: string): boolean {
  return inventory.routes.some((route) => route.namespace === namespace && route.services.includes(service))
}

const edgesKnown = new WeakMap<Inventory, readonly DesignEdge[]>()

/** Who uses whom: what is said, and names of services in addresses of the environment and the command line. */
export function edgesOf(inventory: Inventory): readonly DesignEdge[] {
  const known = edgesKnown.get(inventory)
  if (known !== undefined) return known
  const named = Map.groupBy(inventory.workloads, (workload) => nameKey(workload, workload.name))
  const kubernetes = inventory.waysIn.filter((way) => way.platform === 'kubernetes')
  const services = Map.groupBy(kubernetes, (way) => `${way.namespace}\0${way.name}`)
  const edges = inventory.workloads.flatMap((from) =>
    usesOf(from, inventory, named, services).map((to) => ({ from, to })),
  )
  edgesKnown.set(inventory, edges)
  return edges
}

const usesKnown = new WeakMap<Inventory, ReadonlyMap<Workload, readonly Workload[]>>()

/** What a workload uses, looked up. */
export function usedBy(workload: Workload, inventory: Inventory): readonly Workload[] {
  let index = usesKnown.get(inventory)
  if (index === undefined) {
    const lists = new Map<Workload, Workload[]>()
    for (const { from, to } of edgesOf(inventory)) {
      const list = lists.get(from)
      if (list === undefined) lists.set(from, [to])
      else list.push(to)
    }
    usesKnown.set(inventory, lists)
    index = lists
  }
  return index.get(workload) ?? []
}

/** Workloads by name, within platform, namespace and, where names are those of one file, the file. */
type Named = ReadonlyMap<string, readonly Workload[]>

function nameKey(workload: Workload, name: string): string {
  const file = workload.platform === 'compose' || workload.platform === 'stead' ? workload.source.path : ''
  return [workload.platform, workload.namespace, file, name].join('\0')
}

function usesOf(
  from: Workload,
  inventory: Inventory,
  named: Named,
  services: ReadonlyMap<string, readonly WayIn[]>,
): readonly Workload[] {
  const hosts = new Set(
    from.pod.containers
      .filter(({ role }) => role !== 'init')
      .flatMap((container) => [...container.environment.map(({ value }) => value ?? ''), ...container.command])
      .flatMap(hostsIn),
  )
  const names =
    from.platform === 'compose'
      ? [...from.dependsOn.map(({ name }) => name), ...hosts]
      : from.dependsOn.map(({ name }) => name)
  const found =
    from.platform === 'kubernetes'
      ? [...hosts]
          .flatMap((host) => services.get(`${from.namespace}\0${host}`) ?? [])
          .flatMap((way) => reachedBy(inventory, way))
      : names.flatMap((name) => named.get(nameKey(from, name)) ?? [])
  return [...new Set(found)].filter((to) => to !== from && to.role !== 'job')
}

/** First labels of everything in a text that could be a host: `redis://cache.shop:6379` gives `cache`. */
function hostsIn(text: string): readonly string[] {
  if (text.length > 4096) return []
  return [...text.matchAll(/(?:^|[@/=,\s"'])([a-z0-9][a-z0-9-]*)(?:\.[a-z0-9.-]+)?(?=$|[:/,\s"'])/gi)].map(
    (match) => match[1] ?? '',
  )
}

/** A workload and all that it uses, directly or not, each once: a cycle of uses ends by itself. */
export function reachedFrom(workload: Workload, inventory: Inventory): readonly Workload[] {
  const found = new Set([workload])
  for (const one of found) for (const used of usedBy(one, inventory)) found.add(used)
  return [...found]
}

/** What must work for an entry to answer. */
export function structureOf(entry: Entry, inventory: Inventory, figures: Assumptions, change: Change = {}): Structure {
  const context: Context = { inventory, figures, change }
  const front = frontOf(entry.workload, context)
  return all(...front, ...reachedFrom(entry.workload, inventory).map((workload) => copiesOf(workload, context)))
}

interface Context {
  readonly inventory: Inventory
  readonly figures: Assumptions
  readonly change: Change
}

function fact(context: Context, kind: PartKind, id: string, label: string): Structure {
  const found: Part = { id: `${kind}:${id}`, label, kind, availability: context.figures[kind] }
  return part(found)
}

/** What leads to the program: name resolution, certificate, balancer or gateway, and the provider under all of it. */
function frontOf(workload: Workload, context: Context): readonly Structure[] {
  const { inventory, change } = context
  const count = change.providers ?? 1
  const several = (kind: PartKind, label: string): Structure =>
    count === 1
      ? fact(context, kind, '1', label)
      : atLeast(
          1,
          ...Array.from({ length: count }, (_, index) =>
            fact(context, kind, String(index + 1), `${label} ${index + 1}`),
          ),
        )
  const tls = inventory.routes.some((route) => route.tls)
  const kubernetes = workload.platform === 'kubernetes'
  return [
    several('dns', 'name resolution'),
    several('provider', 'the provider'),
    ...(tls || workload.platform === 'stead' ? [fact(context, 'certificate', '1', 'the certificate')] : []),
    ...(kubernetes ? [fact(context, 'balancer', '1', 'the load balancer')] : []),
    ...(workload.platform === 'stead' ? [fact(context, 'gateway', '1', "Stead's gateway")] : []),
  ]
}

/** One copy is enough; each needs its node, its zone and itself. */
function copiesOf(workload: Workload, context: Context): Structure {
  const { inventory, change } = context
  const count = Math.max(1, instancesOf(workload, inventory) ?? 1) + (change.copies?.get(workload) ?? 0)
  const copies = Array.from({ length: count }, (_, index) => {
    const { node, zone } = placesOf(workload, index, count, change)
    const label = count === 1 ? workload.name : `${workload.name} ${index + 1}`
    return all(
      fact(context, 'zone', zone, zone === '1' ? 'the zone' : `zone ${zone}`),
      fact(context, 'node', node, isOneMachine(workload) && node === 'machine' ? 'the machine' : `the node of ${node}`),
      fact(context, 'instance', `${workload.platform}/${workload.namespace}/${workload.name}/${index}`, label),
    )
  })
  return copies.length === 1 ? (copies[0] ?? all()) : atLeast(1, ...copies)
}

function isOneMachine(workload: Workload): boolean {
  return workload.platform !== 'kubernetes'
}

/** Which node and zone a copy stands in. */
function placesOf(
  workload: Workload,
  index: number,
  count: number,
  change: Change,
): { readonly node: string; readonly zone: string } {
  const spread = change.apart ?? workload.pod.spread
  const apart = spread !== 'none' && count > 1
  const base = isOneMachine(workload) ? 'machine' : `${workload.namespace}/${workload.name}`
  return {
    node: apart && index > 0 ? `${base} ${index + 1}` : base,
    zone: spread === 'zone' && index > 0 ? String((index % 3) + 1) : '1',
  }
}

/** A part that no request passes, and that is missed all the same: when something must start again, or be noticed. */
export interface Beside {
  readonly kind: PartKind
  readonly label: string
  readonly neededTo: 'start' | 'notice'
  /** Null when there is none. */
  readonly availability: number | null
}

const watchers = /prometheus|alertmanager|grafana|otel|opentelemetry|datadog|newrelic|zabbix|monitor/

/** Registries, stores of secrets and monitoring. Without monitoring every repair starts when somebody calls. */
export function besideOf(inventory: Inventory, figures: Assumptions): readonly Beside[] {
  const running = inventory.workloads.flatMap(({ pod }) => runningContainers(pod))
  const images = running.flatMap(({ image }) => (image === null ? [] : [image]))
  const registries = new Set(images.map((image) => parseImage(image).registry ?? 'docker.io'))
  const secrets =
    inventory.workloads.some(({ kind }) => kind === 'secret') || inventory.configs.some(({ secret }) => secret)
  const own = inventory.workloads.some(({ platform }) => platform === 'stead')
  const watched =
    own || inventory.workloads.some(({ name }) => watchers.test(name)) || images.some((image) => watchers.test(image))
  return [
    ...[...registries].sort().map((registry): Beside => ({
      kind: 'registry',
      label: registry,
      neededTo: 'start',
      availability: figures.registry,
    })),
    ...(secrets
      ? [
          {
            kind: 'secret',
            label: 'the store of secrets',
            neededTo: 'start',
            availability: figures.secret,
          } satisfies Beside,
        ]
      : []),
    {
      kind: 'monitoring',
      label: watched ? 'the monitoring that is part of it' : 'nothing that is part of it',
      neededTo: 'notice',
      availability: watched ? figures.monitoring : null,
    },
  ]
}
