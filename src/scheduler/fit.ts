/**
 * Whether a task fits a node: every rule, in the order from cheap to dear. The zone rules are judged once for a search
 * (`zonesOf`), all others node by node. `obstacles.ts` says the same with reasons; a test holds the two together.
 */
import type { Judge } from './buckets.ts'
import type { Cluster, Expected } from './cluster.ts'
import { chooseGpus } from './gpus.ts'
import type { GroupRule, Job } from './job.ts'
import type { Reservation } from './model.ts'
import { open } from './nodes.ts'
import { cpuColumn, freeFor, memoryColumn, networkColumn } from './resources.ts'

/** What others were promised: says whether a job may take room on a node without breaking it. */
export interface Promised {
  allows(job: Job, node: number): boolean
}

/** The domain of a node at a level. */
export function domainOf({ nodes }: Cluster, level: GroupRule['level'], node: number): number {
  return level === 'node' ? node : ((level === 'rack' ? nodes.rack[node] : nodes.zone[node]) ?? 0)
}

/** Whether a zone meets the rules about zones. */
export function zoneAllowed(cluster: Cluster, job: Job, zone: number): boolean {
  const { groups, nodes } = cluster
  for (const { group, level, own } of job.together)
    if (level === 'zone' && groups.count(group, level, zone) === 0 && !(own && group.total === 0)) return false
  for (const { group, level } of job.apart) if (level === 'zone' && groups.count(group, level, zone) > 0) return false
  for (const { group, level } of job.repelledBy)
    if (level === 'zone' && groups.count(group, level, zone) > 0) return false
  for (const skew of job.skews) if (skew.level === 'zone' && !skew.allows(nodes, zone)) return false
  for (const bounds of [job.latency, job.latencyFor])
    for (const { group, usMax } of bounds)
      for (let other = 0; other < group.zones.length; other++)
        if ((group.zones[other] ?? 0) > 0 && cluster.latencyUs(zone, other) > usMax) return false
  return true
}

/** The first reservation of others that keeps the job off a node; undefined: none. */
export function reservationAgainst(cluster: Cluster, job: Job, node: number): Reservation | undefined {
  return cluster.reserved
    .get(cluster.nodes.nameOf(node))
    ?.find(
      ({ name, fromMs, untilMs }) =>
        name !== job.facts.spec.reservation &&
        cluster.nowMs < untilMs &&
        cluster.nowMs + job.facts.timeLimitMs > fromMs,
    )
}

/** Whether a job that asks for a reservation may use a node: it is one of it, and its time is now. */
export function insideReservation(cluster: Cluster, job: Job, node: number): boolean {
  const wanted = job.facts.spec.reservation
  if (wanted === undefined) return true
  const reservation = cluster.reservations.get(wanted)
  return (
    reservation !== undefined &&
    reservation.fromMs <= cluster.nowMs &&
    cluster.nowMs < reservation.untilMs &&
    reservation.nodes.includes(cluster.nodes.nameOf(node))
  )
}

/** The first of what is expected of a node while the task may run that leaves too little for what it is guaranteed; null: none. */
export function expectedAgainst({ expected, nodes, nowMs }: Cluster, job: Job, node: number): Expected | null {
  const endMs = nowMs + job.facts.timeLimitMs
  const found = expected.get(node)?.find((load) => {
    if (nowMs >= load.untilMs || endMs <= load.fromMs) return false
    const lacks = (column: number, needed: number, taken: number): boolean =>
      needed > 0 && nodes.freeOf(column, node) - taken < needed
    return (
      lacks(cpuColumn, job.takes.cpu, load.cpu) ||
      lacks(memoryColumn, job.takes.memory, load.memory) ||
      lacks(networkColumn, job.takes.network, load.network)
    )
  })
  return found ?? null
}

export class Fit implements Judge {
  readonly #cluster: Cluster
  #job: Job | null = null
  /** Only the cells of the search are known to be of accepted kinds. */
  #checksKind = false
  #plain = false
  promised: Promised | null = null

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  /** Chooses the job that is judged. `checksKind`: the nodes do not come from cells of accepted kinds. */
  judge(job: Job, checksKind: boolean): void {
    this.#job = job
    this.#checksKind = checksKind || this.#cluster.nodes.kinds.all.length > this.#cluster.nodes.kinds.zoneOfCell.length
    this.#plain =
      !this.#checksKind &&
      job.takes.checkedColumns.length === 0 &&
      !job.ruledNodes &&
      job.facts.needs.gpuCount === 0 &&
      job.facts.needs.cpuTime === null &&
      job.facts.spec.reservation === undefined &&
      this.#cluster.reserved.size === 0 &&
      this.#cluster.expected.size === 0 &&
      this.promised === null &&
      job.takes.network === 0
  }

  /** Everything but guaranteed cpu, memory and the rules about zones. */
  fits(node: number): boolean {
    if (this.#plain) return true
    const job = this.#job
    if (job === null) return false
    const cluster = this.#cluster
    const { nodes } = cluster
    if (this.#checksKind && !nodes.kinds.accepts(job.filter, nodes.kind[node] ?? -1)) return false
    return (
      hasColumns(cluster, job, node) &&
      hasUplinks(cluster, job, node) &&
      meetsRules(cluster, job, node) &&
      (cluster.reserved.size === 0 || reservationAgainst(cluster, job, node) === undefined) &&
      insideReservation(cluster, job, node) &&
      (cluster.expected.size === 0 || expectedAgainst(cluster, job, node) === null) &&
      hasDevices(cluster, job, node) &&
      (this.promised === null || this.promised.allows(job, node))
    )
  }

  /** What nobody on the node can change by stopping: its state, its kind, who has reserved it, where the data is. */
  admits(node: number): boolean {
    const job = this.#job
    const { nodes, reserved } = this.#cluster
    return (
      job !== null &&
      nodes.state[node] === open &&
      nodes.kinds.accepts(job.filter, nodes.kind[node] ?? -1) &&
      (reserved.size === 0 || reservationAgainst(this.#cluster, job, node) === undefined) &&
      insideReservation(this.#cluster, job, node) &&
      isNear(this.#cluster, job, node)
    )
  }

  /** Whether a node that admits the job and has its amounts fits in every other way, too. */
  get byAmountsAlone(): boolean {
    const job = this.#job
    const { expected, rackUplinks, zoneUplinks } = this.#cluster
    return (
      job !== null &&
      !job.ruledNodes &&
      !job.ruledZones &&
      job.facts.needs.gpuCount === 0 &&
      job.facts.needs.cpuTime === null &&
      expected.size === 0 &&
      rackUplinks.size === 0 &&
      zoneUplinks.size === 0 &&
      this.promised === null
    )
  }

  /** Everything, for a node that comes from nowhere in particular. Call `judge` with `checksKind` before. */
  fitsWhole(node: number): boolean {
    const job = this.#job
    const { nodes } = this.#cluster
    if (job === null || nodes.state[node] !== open) return false
    return (
      (nodes.free[0]?.[node] ?? 0) >= freeFor(job.takes.cpu) &&
      (nodes.free[1]?.[node] ?? 0) >= freeFor(job.takes.memory) &&
      this.fits(node) &&
      (!job.ruledZones || zoneAllowed(this.#cluster, job, nodes.zone[node] ?? 0))
    )
  }
}

/** Every checked amount but guaranteed cpu and memory. */
function hasColumns({ nodes }: Cluster, job: Job, node: number): boolean {
  const { checkedColumns, checkedAmounts } = job.takes
  for (let index = 0; index < checkedColumns.length; index++)
    if ((nodes.free[checkedColumns[index] ?? 0]?.[node] ?? 0) < (checkedAmounts[index] ?? 0)) return false
  return true
}

/** The floor on the uplinks of the node's rack and zone. */
export function hasUplinks(cluster: Cluster, job: Job, node: number): boolean {
  if (job.takes.network === 0) return true
  const rack = cluster.rackUplinks.get(cluster.nodes.rack[node] ?? -1)
  const zone = cluster.zoneUplinks.get(cluster.nodes.zone[node] ?? -1)
  return (
    (rack === undefined || rack.free >= job.takes.network) && (zone === undefined || zone.free >= job.takes.network)
  )
}

/** Rules about racks and nodes. */
function meetsRules(cluster: Cluster, job: Job, node: number): boolean {
  const { groups, nodes } = cluster
  for (const { group, level } of job.apart)
    if (level !== 'zone' && groups.count(group, level, domainOf(cluster, level, node)) > 0) return false
  for (const { group, level } of job.repelledBy)
    if (level !== 'zone' && groups.count(group, level, domainOf(cluster, level, node)) > 0) return false
  for (const { group, level, own } of job.together)
    if (
      level !== 'zone' &&
      groups.count(group, level, domainOf(cluster, level, node)) === 0 &&
      !(own && group.total === 0)
    )
      return false
  for (const skew of job.skews)
    if (skew.level !== 'zone' && !skew.allows(nodes, domainOf(cluster, skew.level, node))) return false
  return isNear(cluster, job, node)
}

/** Whether the node has the job's data, where it must. */
function isNear({ nodes }: Cluster, job: Job, node: number): boolean {
  const { near } = job.facts.spec
  return near === undefined || !near.required || near.nodes.includes(nodes.nameOf(node))
}

/** GPUs, and a core with time. */
function hasDevices(cluster: Cluster, job: Job, node: number): boolean {
  const { gpuCount, gpuMilli, cpuTime } = job.facts.needs
  if (gpuCount > 0) {
    const gpus = cluster.nodes.gpus.get(node)
    if (gpus === undefined || chooseGpus(gpus.free, gpuCount, gpuMilli) === 0) return false
  }
  return cpuTime === null || cluster.coreFor(node, cpuTime) >= 0
}
