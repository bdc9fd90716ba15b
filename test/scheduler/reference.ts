/**
 * The rules of placement once more, as plainly as they can be written: no index, no counts, everything is looked at every
 * time. The scheduler is held against this. It knows the state only from events and decisions.
 */
import type { Affinity, ExpectedLoad, JobSpec, Level, NodeSpec, Quota, Subject } from '../../src/scheduler/index.ts'

export interface Running {
  readonly task: string
  readonly job: JobSpec
  readonly node: string
  readonly startedMs: number
  readonly gpus: readonly number[]
  readonly core: number
}

interface ReferenceNode {
  spec: NodeSpec
  open: boolean
}

type Amounts = Record<string, number>

/** Numbers only: cases are generated with plain numbers, cpu in cores. */
function amountsOf(from: NodeSpec['capacity'] | JobSpec['needs']): Amounts {
  // Reserved time counts as cores, rounded up.
  const reserved = 'cpuTime' in from && from.cpuTime !== undefined ? from.cpuTime.runtimeUs / from.cpuTime.periodUs : 0
  return {
    cpu: Math.max(Number(from.cpu ?? 0) * 1000, Math.ceil(1000 * reserved)),
    memory: Number(from.memory ?? 0),
    disk: Number(from.disk ?? 0),
    network: Number(from.network ?? 0),
    ...from.counted,
  }
}

export class Reference {
  readonly nodes: Map<string, ReferenceNode> = new Map()
  readonly running: Map<string, Running> = new Map()
  readonly quotas: Map<string, Quota> = new Map()
  readonly uplinks: Map<string, number> = new Map()
  readonly latencies: Map<string, number> = new Map()
  readonly reservations: { name: string; nodes: readonly string[]; fromMs: number; untilMs: number }[] = []
  readonly expected: Map<string, readonly ExpectedLoad[]> = new Map()
  nowMs = 0

  domain(node: string, level: Level): string {
    const spec = this.nodes.get(node)?.spec
    return level === 'node' ? node : level === 'rack' ? `${spec?.zone ?? ''}/${spec?.rack ?? ''}` : (spec?.zone ?? '')
  }

  /** Why a task of the job may not start on the node; null: it may. `without` are tasks that are thought away. */
  forbids(job: JobSpec, name: string, without: ReadonlySet<string> = new Set()): string | null {
    const node = this.nodes.get(name)
    if (node === undefined || !node.open) return 'closed'
    const running = [...this.running.values()].filter(({ task }) => !without.has(task))
    return (
      (this.accepts(job, node.spec) ? null : 'kind') ??
      this.#amounts(job, node.spec, running) ??
      this.#devices(job, node.spec, running) ??
      this.#neighbours(job, name, running) ??
      this.#spread(job, name, running) ??
      this.#reserved(job, name) ??
      this.#expected(job, node.spec, running) ??
      this.#quota(job)
    )
  }

  accepts(job: JobSpec, node: NodeSpec): boolean {
    const labels = node.labels ?? {}
    const selected = (job.selector ?? []).every((condition) => {
      const value = labels[condition.label]
      if (!('values' in condition)) return (condition.operator === 'exists') === (value !== undefined)
      const among = value !== undefined && condition.values.includes(value)
      return condition.operator === 'in' ? among : !among
    })
    const tolerated = (node.taints ?? []).every((taint) =>
      (job.tolerations ?? []).some(
        ({ key, value, effect }) =>
          key === taint.key &&
          (value === undefined || value === taint.value) &&
          (effect === undefined || effect === taint.effect),
      ),
    )
    const { gpu } = job.needs
    const model = node.capacity.gpus?.model
    const modelled = gpu === undefined || (model !== undefined && (gpu.models?.includes(model) ?? true))
    const clock = job.clockErrorNsMax === undefined || (node.clockErrorNs ?? Infinity) <= job.clockErrorNsMax
    const near = job.near === undefined || !job.near.required || job.near.nodes.includes(node.name)
    return selected && tolerated && modelled && clock && near
  }

  #amounts(job: JobSpec, node: NodeSpec, running: readonly Running[]): string | null {
    const capacity = amountsOf(node.capacity)
    const here = running.filter((other) => other.node === node.name).map((other) => other.job)
    for (const [resource, amount] of Object.entries(amountsOf(job.needs))) {
      if (amount === 0) continue
      const squeezed = (other: JobSpec): boolean => other.needs.bestEffort?.some((name) => name === resource) ?? false
      const sum = (jobs: readonly JobSpec[]): number =>
        jobs.reduce((total, other) => total + (amountsOf(other.needs)[resource] ?? 0), 0)
      const total = capacity[resource] ?? 0
      const fits = squeezed(job)
        ? sum(here) + amount <= Math.floor(total * (node.bestEffortFactor ?? 1))
        : sum(here.filter((other) => !squeezed(other))) + amount <= total
      if (!fits) return resource
      if (resource !== 'network' || squeezed(job)) continue
      for (const level of ['rack', 'zone'] as const) {
        const behind = this.domain(node.name, level)
        const uplink = this.uplinks.get(`${level} ${behind}`)
        const floors = running.filter((other) => this.domain(other.node, level) === behind).map((other) => other.job)
        if (uplink !== undefined && sum(floors.filter((other) => !squeezed(other))) + amount > uplink) return 'uplink'
      }
    }
    return null
  }

  #devices(job: JobSpec, node: NodeSpec, running: readonly Running[]): string | null {
    const { gpu, cpuTime } = job.needs
    const here = running.filter((other) => other.node === node.name)
    if (gpu !== undefined && gpu.count !== 0) {
      const free = Array.from({ length: node.capacity.gpus?.count ?? 0 }, () => 1000)
      for (const other of here)
        for (const index of other.gpus) free[index] = (free[index] ?? 0) - (other.job.needs.gpu?.milli ?? 1000)
      const fitting = free.filter((left) => left >= (gpu.milli ?? 1000)).length
      if (fitting < (gpu.count ?? 1)) return 'gpu'
    }
    if (cpuTime !== undefined) {
      const cores = Array.from({ length: node.capacity.realtimeCores ?? 0 }, (_, core) =>
        here.filter((other) => other.core === core).flatMap((other) => other.job.needs.cpuTime ?? []),
      )
      if (!cores.some((core) => meetsDeadlines([...core, cpuTime]))) return 'cpu time'
    }
    return null
  }

  #matching(to: Subject, running: readonly Running[]): Running[] {
    return running.filter(({ job }) => job.app === to.app && (to.part === undefined || job.part === to.part))
  }

  #neighbours(job: JobSpec, node: string, running: readonly Running[]): string | null {
    const beside = (others: readonly Running[], level: Level): boolean =>
      others.some((other) => this.domain(other.node, level) === this.domain(node, level))
    const about = ({ to }: Pick<Affinity, 'to'>): boolean =>
      job.app === to.app && (to.part === undefined || job.part === to.part)
    for (const affinity of job.affinity ?? []) {
      const others = this.#matching(affinity.to, running)
      if (!beside(others, affinity.by) && !(about(affinity) && others.length === 0)) return 'affinity'
    }
    for (const affinity of job.antiAffinity ?? [])
      if (beside(this.#matching(affinity.to, running), affinity.by)) return 'anti-affinity'
    for (const other of running)
      for (const affinity of other.job.antiAffinity ?? [])
        if (about(affinity) && beside([other], affinity.by)) return 'anti-affinity of another'
    if (job.onePerNode === true && running.some((other) => other.job === job && other.node === node))
      return 'one per node'
    const far = (other: Running, usMax: number): boolean => this.#latency(node, other.node) > usMax
    for (const { to, usMax } of job.latency ?? [])
      if (this.#matching(to, running).some((other) => far(other, usMax))) return 'latency'
    for (const other of running)
      for (const { to, usMax } of other.job.latency ?? [])
        if (about({ to }) && far(other, usMax)) return 'latency of another'
    return null
  }

  #latency(a: string, b: string): number {
    const [from = '', to = ''] = [this.domain(a, 'zone'), this.domain(b, 'zone')].sort()
    return this.latencies.get(`${from} ${to}`) ?? (from === to ? 0 : Infinity)
  }

  #spread(job: JobSpec, node: string, running: readonly Running[]): string | null {
    const counted = running.filter((other) =>
      job.app !== undefined && job.part !== undefined
        ? other.job.app === job.app && other.job.part === job.part
        : other.job === job,
    )
    const { near: _near, ...anywhere } = job
    const usable = [...this.nodes.values()].filter(({ spec, open }) => open && this.accepts(anywhere, spec))
    for (const { by, skewMax } of job.spread ?? []) {
      const count = (domain: string): number => counted.filter((other) => this.domain(other.node, by) === domain).length
      const least = Math.min(...usable.map(({ spec }) => count(this.domain(spec.name, by))))
      if (count(this.domain(node, by)) + 1 - least > skewMax) return 'spread'
    }
    return null
  }

  #reserved(job: JobSpec, node: string): string | null {
    const inside = (name: string): boolean =>
      this.reservations.some(
        (one) => one.name === name && one.nodes.includes(node) && one.fromMs <= this.nowMs && this.nowMs < one.untilMs,
      )
    if (job.reservation !== undefined && !inside(job.reservation)) return 'outside its reservation'
    const endMs = this.nowMs + (job.timeLimitMs ?? Infinity)
    return this.reservations.some(
      (one) =>
        one.name !== job.reservation && one.nodes.includes(node) && this.nowMs < one.untilMs && endMs > one.fromMs,
    )
      ? 'reserved'
      : null
  }

  /** Whether what the node is expected to need for other things leaves room for what is guaranteed. */
  #expected(job: JobSpec, node: NodeSpec, running: readonly Running[]): string | null {
    const endMs = this.nowMs + (job.timeLimitMs ?? Infinity)
    const capacity = amountsOf(node.capacity)
    const here = running.filter((other) => other.node === node.name).map((other) => other.job)
    for (const load of this.expected.get(node.name) ?? []) {
      if (load.untilMs <= this.nowMs || load.fromMs >= endMs) continue
      const taken: Amounts = {
        cpu: Number(load.cpu ?? 0) * 1000,
        memory: Number(load.memory ?? 0),
        network: Number(load.network ?? 0),
      }
      for (const [resource, amount] of Object.entries(amountsOf(job.needs))) {
        const squeezed = (other: JobSpec): boolean => other.needs.bestEffort?.some((name) => name === resource) ?? false
        if (amount === 0 || squeezed(job)) continue
        const used = here
          .filter((other) => !squeezed(other))
          .reduce((sum, other) => sum + (amountsOf(other.needs)[resource] ?? 0), 0)
        if (used + (taken[resource] ?? 0) + amount > (capacity[resource] ?? 0)) return 'forecast'
      }
    }
    return null
  }

  /** Nobody is stopped to make room in a quota, so those thought away count. */
  #quota(job: JobSpec): string | null {
    const quota = this.quotas.get(job.account ?? 'default')
    if (quota === undefined) return null
    const own = [...this.running.values()].filter(
      (other) => (other.job.account ?? 'default') === (job.account ?? 'default'),
    )
    const cpu = [...own.map((other) => other.job), job].reduce(
      (sum, { needs }) => sum + (amountsOf(needs)['cpu'] ?? 0),
      0,
    )
    const needed = amountsOf(job.needs)['cpu'] ?? 0
    if (quota.cpu !== undefined && needed > 0 && cpu > Number(quota.cpu) * 1000) return 'quota'
    return quota.tasks !== undefined && own.length + 1 > quota.tasks ? 'quota' : null
  }
}

/** Earliest deadline first on one core, step by step over the hyperperiod: whether no deadline is missed. */
export function meetsDeadlines(
  set: readonly { readonly runtimeUs: number; readonly periodUs: number; readonly deadlineUs?: number }[],
): boolean {
  const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
  const end = set.reduce((all, { periodUs }) => (all / gcd(all, periodUs)) * periodUs, 1)
  const left = set.map(() => 0)
  const due = set.map(() => Infinity)
  for (let atUs = 0; atUs < end; atUs++) {
    for (const [index, { runtimeUs, periodUs, deadlineUs = periodUs }] of set.entries())
      if (atUs % periodUs === 0) {
        if ((left[index] ?? 0) > 0) return false
        left[index] = runtimeUs
        due[index] = atUs + deadlineUs
      }
    let first = -1
    for (let index = 0; index < set.length; index++) {
      if ((left[index] ?? 0) === 0) continue
      if ((due[index] ?? 0) <= atUs) return false
      if (first < 0 || (due[index] ?? 0) < (due[first] ?? 0)) first = index
    }
    if (first >= 0) left[first] = (left[first] ?? 0) - 1
  }
  return left.every((work) => work === 0)
}
