/**
 * The state of a cluster: nodes, running tasks, who runs where, uplinks, reservations, latencies; and the two moves that
 * change what runs. Kept: `put` followed by `take` leaves everything as it was, to the last unit.
 */
import { fitsCore } from './edf.ts'
import { chooseGpus, moveGpus } from './gpus.ts'
import { Groups } from './groups.ts'
import { Importance } from './importance.ts'
import type { Job } from './job.ts'
import type { CordonReason, Reservation } from './model.ts'
import { Nodes } from './nodes.ts'
import { Others } from './others.ts'
import type { CpuTime } from './read.ts'
import { Tasks } from './tasks.ts'

export interface Uplink {
  total: number
  free: number
}

/** Taken off a node's capacity during a time: thousandths of cores, bytes, bits per second. */
export interface Expected {
  readonly fromMs: number
  readonly untilMs: number
  readonly cpu: number
  readonly memory: number
  readonly network: number
}

/** GPUs as bits, and the core, of a task that has them. */
export interface Devices {
  readonly gpus: number | undefined
  readonly core: number | undefined
}

export class Cluster {
  readonly nodes: Nodes
  readonly tasks: Tasks = new Tasks()
  readonly groups: Groups
  readonly others: Others
  readonly jobs: (Job | undefined)[] = []
  readonly rackUplinks: Map<number, Uplink> = new Map()
  readonly zoneUplinks: Map<number, Uplink> = new Map()
  readonly reservations: Map<string, Reservation> = new Map()
  /** Reservations by the name of the node. */
  readonly reserved: Map<string, Reservation[]> = new Map()
  /** What nodes will need for other things. */
  readonly expected: Map<number, readonly Expected[]> = new Map()
  /** Of nodes that were cordoned with a word. */
  readonly cordons: Map<number, CordonReason> = new Map()
  nowMs: number = -Infinity
  /** How GPUs of a node are chosen; a policy may have its own way. */
  pickGpus: (job: Job, node: number, free: Int16Array) => number = ({ facts: { needs } }, _node, free) =>
    chooseGpus(free, needs.gpuCount, needs.gpuMilli)
  readonly importance: Importance = new Importance()
  /** Latency by pair of zones. */
  readonly #latencyUs = new Map<string, number>()
  /** Reservations of CPU time by node and core. */
  readonly #cores = new Map<number, CpuTime[][]>()
  #racks: { readonly version: number; readonly nodes: Map<number, number[]> } = { version: 0, nodes: new Map() }

  /** `splitsEmpty`: nodes without tasks are told apart in the index. */
  constructor(splitsEmpty: boolean) {
    this.nodes = new Nodes(splitsEmpty)
    this.groups = new Groups(this.nodes, this.tasks)
    this.others = new Others(this.groups)
  }

  jobOf(task: number): Job | undefined {
    return this.jobs[this.tasks.job[task] ?? -1]
  }

  /** Starts a task of the job on a node that fits; `devices` are those it had, for one that is put back. Returns its number. */
  put(job: Job, position: number, node: number, startedMs: number, devices?: Devices): number {
    const task = this.tasks.add(job.number, position)
    const { gpuCount, gpuMilli, cpuTime } = job.facts.needs
    if (gpuCount > 0) {
      const gpus = this.nodes.gpus.get(node)
      const bits = devices?.gpus ?? (gpus === undefined ? 0 : this.pickGpus(job, node, gpus.free))
      if (gpus !== undefined) moveGpus(gpus.free, bits, gpuMilli, 1)
      this.tasks.gpus.set(task, bits)
    }
    if (cpuTime !== null) {
      const core = devices?.core ?? this.coreFor(node, cpuTime)
      const cores = this.#cores.get(node) ?? []
      this.#cores.set(node, cores)
      while (cores.length <= core) cores.push([])
      cores[core]?.push(cpuTime)
      this.tasks.core.set(task, core)
    }
    this.tasks.start(this.nodes, task, node, startedMs)
    this.#account(job, node, 1)
    job.tasks[position] = task
    return task
  }

  /** Stops a task. */
  take(job: Job, task: number): void {
    const node = this.tasks.node[task] ?? -1
    const bits = this.tasks.gpus.get(task)
    if (bits !== undefined) {
      const gpus = this.nodes.gpus.get(node)
      if (gpus !== undefined) moveGpus(gpus.free, bits, job.facts.needs.gpuMilli, -1)
      this.tasks.gpus.delete(task)
    }
    const core = this.tasks.core.get(task)
    if (core !== undefined) {
      const { cpuTime } = job.facts.needs
      const reservations = this.#cores.get(node)?.[core]
      if (cpuTime !== null) reservations?.splice(reservations.indexOf(cpuTime), 1)
      this.tasks.core.delete(task)
    }
    this.#account(job, node, -1)
    this.tasks.stop(this.nodes, task)
    job.tasks[this.tasks.position[task] ?? 0] = -1
    this.tasks.remove(task)
  }

  /** Counts anew what running tasks have of a node's GPUs, which are others now. */
  takeGpus(node: number): void {
    const gpus = this.nodes.gpus.get(node)
    if (gpus === undefined) return
    for (const task of this.tasks.on(this.nodes, node)) {
      const milli = this.jobOf(task)?.facts.needs.gpuMilli ?? 0
      moveGpus(gpus.free, this.tasks.gpus.get(task) ?? 0, milli, 1)
    }
  }

  /** The first core of the node on which the reservation meets its deadlines beside the others; -1: none. */
  coreFor(node: number, cpuTime: CpuTime): number {
    const cores = this.#cores.get(node)
    const count = this.nodes.realtimeCoresOf(node)
    for (let core = 0; core < count; core++) if (fitsCore([...(cores?.[core] ?? []), cpuTime])) return core
    return -1
  }

  /** The latency between two zones in microseconds; Infinity when nobody measured it. */
  latencyUs(from: number, to: number): number {
    const measured = this.#latencyUs.get(`${Math.min(from, to)} ${Math.max(from, to)}`)
    return measured ?? (from === to ? 0 : Infinity)
  }

  setLatency(from: number, to: number, us: number): void {
    this.#latencyUs.set(`${Math.min(from, to)} ${Math.max(from, to)}`, us)
  }

  /** The nodes of a rack. */
  nodesOfRack(rack: number): readonly number[] {
    if (this.#racks.version !== this.nodes.version) {
      const nodes = new Map<number, number[]>()
      for (let node = 0; node < this.nodes.size; node++) {
        const number = this.nodes.rack[node] ?? 0
        const list = nodes.get(number)
        if (list === undefined) nodes.set(number, [node])
        else list.push(node)
      }
      this.#racks = { version: this.nodes.version, nodes }
    }
    return this.#racks.nodes.get(rack) ?? []
  }

  #account(job: Job, node: number, direction: 1 | -1): void {
    this.nodes.move(node, job.takes.columns, job.takes.amounts, direction)
    this.groups.move(job.member, node, direction)
    this.importance.move(job.facts.priority, node, direction)
    job.running += direction
    if (job.takes.network === 0) return
    for (const uplink of [
      this.rackUplinks.get(this.nodes.rack[node] ?? -1),
      this.zoneUplinks.get(this.nodes.zone[node] ?? -1),
    ])
      if (uplink !== undefined) uplink.free -= direction * job.takes.network
  }
}
