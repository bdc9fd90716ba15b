/**
 * What has changed since those who wait were last tried, so that only what can have become possible is tried again: a
 * node that got room, a rule that may be met now, a job that is new, or everything.
 */
import { badInput, duplicateName, tooLarge, unknownName } from './errors.ts'
import type { Cluster, Expected, Uplink } from './cluster.ts'
import { dependsOnOthers, waitingOf, type Job } from './job.ts'
import { nodesMax, rulesMax } from './limits.ts'
import type { CordonReason, Event, ExpectedLoad, NodeSpec, Reservation } from './model.ts'
import { tolerates } from './kinds.ts'
import { cordoned, open } from './nodes.ts'
import type { Queue } from './queue.ts'
import { readLabels, readNode, readTaints, type NodeFacts } from './read.ts'
import { readBitsPerSecond, readBytes, readCpuMilli, readName, readNumber } from './units.ts'

/** What those who wait are tried against. */
export interface Round {
  readonly all: boolean
  /** Nodes that got room. */
  readonly freed: readonly number[]
  /** Whether room came sooner than time limits had promised. */
  readonly sooner: boolean
}

const none: readonly never[] = []

/** Times of a node for which something is expected. */
const expectedMax = 1000
/** Nodes of a reservation. */
const reservedMax = 100_000

export class Changes {
  readonly #freed = new Set<number>()
  #all = false
  #sooner = false
  #untried = false
  #moved = false

  /** A node got room; `sooner` than the time limit of what ran there said. */
  freed(node: number, sooner: boolean): void {
    this.#freed.add(node)
    if (sooner) this.#sooner = true
    this.#moved = true
  }

  /** A task came or a rule went: those who depend on others are tried again. */
  moved(): void {
    this.#moved = true
  }

  everything(): void {
    this.#all = true
  }

  /** A job has a task that was not tried yet. */
  retry(job: Job): void {
    job.blocked = false
    this.#untried = true
  }

  /** What to try now; null: nothing. */
  nextRound(queue: Queue): Round | null {
    const due =
      this.#all ||
      this.#untried ||
      this.#freed.size > 0 ||
      (this.#moved && queue.waiting().some((job) => waitingOf(job) > 0 && dependsOnOthers(job)))
    const freed = this.#freed.size === 0 ? none : [...this.#freed].sort((a, b) => a - b)
    const round: Round | null = due ? { all: this.#all, freed, sooner: this.#sooner } : null
    this.#sooner = false
    this.#all = false
    this.#untried = false
    this.#moved = false
    if (freed.length > 0) this.#freed.clear()
    return round
  }

  addNodes(cluster: Cluster, specs: readonly NodeSpec[]): void {
    const { nodes } = cluster
    if (nodes.count + specs.length > nodesMax) throw tooLarge('nodes', nodesMax)
    const facts = specs.map(readNode)
    const names = new Set<string>()
    for (const one of facts) {
      if (names.has(one.name) || nodes.number(one.name) !== undefined) throw duplicateName('node', one.name)
      names.add(one.name)
      for (const [resource] of one.amounts) nodes.resources.column(resource)
    }
    for (const one of facts) nodes.add(one)
    this.#all = true
  }

  removeNode(cluster: Cluster, node: number): void {
    cluster.nodes.remove(node)
    cluster.expected.delete(node)
    cluster.cordons.delete(node)
    this.#all = true
  }

  open(cluster: Cluster, node: number): void {
    cluster.nodes.setState(node, open)
    cluster.cordons.delete(node)
    this.#all = true
  }

  cordon(cluster: Cluster, node: number, why?: CordonReason): void {
    cluster.nodes.setState(node, cordoned)
    if (why === undefined) cluster.cordons.delete(node)
    else cluster.cordons.set(node, why)
    this.#all = true
  }

  /** Replaces labels, taints, clock or capacity. Returns the tasks that the node no longer tolerates. */
  changeNode(cluster: Cluster, node: number, change: Extract<Event, { kind: 'change-node' }>): number[] {
    const what = `node '${change.node}'`
    const old = kindFacts(cluster, node)
    const resized = resizedFacts(cluster, node, change)
    const facts: NodeFacts = {
      ...(resized ?? old),
      labels: change.labels === undefined ? old.labels : readLabels(what, change.labels),
      taints: change.taints === undefined ? old.taints : readTaints(what, change.taints),
      clockErrorNs:
        change.clockErrorNs === undefined
          ? old.clockErrorNs
          : readNumber(`clockErrorNs of ${what}`, change.clockErrorNs, 0, 1e18),
    }
    cluster.nodes.reclassify(node, facts, resized !== null)
    if (resized !== null) cluster.takeGpus(node)
    this.#all = true
    const executing = facts.taints.filter(({ effect }) => effect === 'no-execute')
    return cluster.tasks.on(cluster.nodes, node).filter((task) => {
      const tolerations = cluster.jobOf(task)?.facts.spec.tolerations ?? []
      return executing.some((taint) => !tolerates(tolerations, taint))
    })
  }

  /** Returns the times at which what is expected of a node comes to an end. */
  expect(cluster: Cluster, node: number, load: readonly ExpectedLoad[]): number[] {
    const what = `what is expected of node '${cluster.nodes.nameOf(node)}'`
    if (load.length > expectedMax) throw tooLarge(what, expectedMax)
    const read = load.map(({ fromMs, untilMs, cpu, memory, network }): Expected => {
      readNumber(`fromMs of ${what}`, fromMs, -1e15, 1e15)
      readNumber(`untilMs of ${what}`, untilMs, -1e15, 1e15)
      if (untilMs <= fromMs) throw badInput(`untilMs of ${what}`, 'after fromMs', untilMs)
      return {
        fromMs,
        untilMs,
        cpu: cpu === undefined ? 0 : readCpuMilli(`cpu of ${what}`, cpu),
        memory: memory === undefined ? 0 : readBytes(`memory of ${what}`, memory),
        network: network === undefined ? 0 : readBitsPerSecond(`network of ${what}`, network),
      }
    })
    if (read.length === 0) cluster.expected.delete(node)
    else cluster.expected.set(node, read)
    this.#all = true
    return read.map(({ untilMs }) => untilMs).filter((atMs) => atMs > cluster.nowMs)
  }

  /** Returns the times at which the reservation changes what is possible. */
  reserve(cluster: Cluster, reservation: Reservation): number[] {
    const { name, nodes, fromMs, untilMs } = reservation
    readName('the name of a reservation', name)
    if (cluster.reservations.has(name)) throw duplicateName('reservation', name)
    if (cluster.reservations.size >= rulesMax * rulesMax) throw tooLarge('reservations', rulesMax * rulesMax)
    if (nodes.length > reservedMax) throw tooLarge('nodes of a reservation', reservedMax)
    readNumber(`fromMs of reservation '${name}'`, fromMs, -1e15, 1e15)
    readNumber(`untilMs of reservation '${name}'`, untilMs, -1e15, 1e15)
    if (untilMs <= fromMs) throw badInput(`untilMs of reservation '${name}'`, 'after fromMs', untilMs)
    for (const node of nodes) if (cluster.nodes.number(node) === undefined) throw unknownName('node', node)
    cluster.reservations.set(name, reservation)
    for (const node of new Set(nodes)) {
      const known = cluster.reserved.get(node)
      if (known === undefined) cluster.reserved.set(node, [reservation])
      else known.push(reservation)
    }
    this.#all = true
    return [fromMs, untilMs].filter((atMs) => atMs > cluster.nowMs)
  }

  release(cluster: Cluster, name: string): void {
    const reservation = cluster.reservations.get(name)
    if (reservation === undefined) throw unknownName('reservation', name)
    cluster.reservations.delete(name)
    for (const node of new Set(reservation.nodes)) {
      const left = (cluster.reserved.get(node) ?? []).filter((other) => other !== reservation)
      if (left.length === 0) cluster.reserved.delete(node)
      else cluster.reserved.set(node, left)
    }
    this.#all = true
  }

  setUplink(cluster: Cluster, { by, name, network }: Extract<Event, { kind: 'set-uplink' }>): void {
    if (by !== 'rack' && by !== 'zone') throw badInput('by of an uplink', 'rack or zone', by)
    const domains = by === 'rack' ? cluster.nodes.racks : cluster.nodes.zones
    const uplinks: Map<number, Uplink> = by === 'rack' ? cluster.rackUplinks : cluster.zoneUplinks
    const total = readBitsPerSecond(`network of the uplink of ${by} '${name}'`, network)
    const domain = domains.number(name)
    let used = 0
    for (let task = 0; task < cluster.tasks.size; task++) {
      const node = cluster.tasks.node[task] ?? -1
      const at = by === 'rack' ? cluster.nodes.rack[node] : cluster.nodes.zone[node]
      if (node >= 0 && at === domain) used += cluster.jobOf(task)?.takes.network ?? 0
    }
    uplinks.set(domain, { total, free: total - used })
    this.#all = true
  }

  setLatency(cluster: Cluster, pairs: Extract<Event, { kind: 'set-latency' }>['pairs']): void {
    for (const { from, to, us } of pairs) readNumber(`us of the latency from '${from}' to '${to}'`, us, 0, 1e12)
    for (const { from, to, us } of pairs)
      cluster.setLatency(cluster.nodes.zones.number(from), cluster.nodes.zones.number(to), us)
    this.#all = true
  }
}

/** All facts of a node that has another capacity now; null: it has not. Throws `scheduler.bad-input`, `scheduler.too-large`. */
function resizedFacts(
  cluster: Cluster,
  node: number,
  { node: name, capacity, bestEffortFactor }: Extract<Event, { kind: 'change-node' }>,
): NodeFacts | null {
  if (capacity === undefined) {
    if (bestEffortFactor === undefined) return null
    throw badInput(`bestEffortFactor of node '${name}'`, 'changed together with its capacity', bestEffortFactor)
  }
  const factor = bestEffortFactor ?? cluster.nodes.factorOf(node)
  const facts = readNode({ name, capacity, bestEffortFactor: factor })
  for (const [resource] of facts.amounts) cluster.nodes.resources.column(resource)
  const { labels, taints, pricePerHour, clockErrorNs } = kindFacts(cluster, node)
  return { ...facts, labels, taints, pricePerHour, clockErrorNs }
}

/** What a kind of nodes knows of each of its nodes. */
function kindFacts({ nodes }: Cluster, node: number): NodeFacts {
  const kind = nodes.kindOf(node)
  return {
    name: nodes.nameOf(node),
    zone: nodes.zones.names[nodes.zone[node] ?? 0] ?? '',
    rack: '',
    labels: kind?.labels ?? {},
    taints: kind?.taints ?? [],
    amounts: [],
    gpuModel: kind?.gpuModel ?? '',
    gpuCount: 0,
    realtimeCores: 0,
    pricePerHour: kind?.pricePerHour ?? 0,
    clockErrorNs: kind?.clockErrorNs ?? Infinity,
    cordoned: false,
    bestEffortFactor: 1,
  }
}
