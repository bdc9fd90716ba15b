/**
 * Follows a scheduler by its events and decisions and holds it against the reference: every place is allowed when it is
 * made, nothing that could be placed waits, gangs are whole, victims are as few and as unimportant as can be.
 */
import assert from 'node:assert/strict'
import { isSteadError } from '../../src/base/index.ts'
import { Scheduler, type Decision, type Event, type JobSpec, type SchedulerOptions } from '../../src/scheduler/index.ts'
import { Reference, type Running } from './reference.ts'

interface Victims {
  readonly count: number
  /** From the most important down. */
  readonly priorities: readonly number[]
}

export class Follower {
  readonly scheduler: Scheduler
  readonly reference: Reference = new Reference()
  readonly log: string[] = []
  readonly #specs = new Map<string, JobSpec>()
  /** Names of tasks that wait, by job. */
  readonly #waiting = new Map<string, Set<string>>()
  readonly #order: string
  #pending: { before: Reference; stopped: Running[]; job: string } | null = null

  constructor(options: SchedulerOptions = {}) {
    this.scheduler = new Scheduler(options)
    this.#order = options.order ?? 'greedy'
  }

  get running(): string[] {
    return [...this.reference.running.keys()].sort()
  }

  /** Gives an event; refused ones change nothing, and are reported as false. */
  give(event: Event): boolean {
    // What falls due before the event is asked for by itself, so that its decisions are told apart.
    while (this.scheduler.nextWakeMs < event.atMs) this.give({ atMs: this.scheduler.nextWakeMs, kind: 'time' })
    this.log.push(JSON.stringify(event))
    let decisions: Decision[]
    try {
      decisions = this.scheduler.apply(event)
    } catch (error) {
      if (!isSteadError(error)) throw error
      this.log.push(`  refused: ${error.code}`)
      if (event.atMs > this.reference.nowMs) this.reference.nowMs = event.atMs
      return false
    }
    for (const decision of decisions) this.log.push(`  ${JSON.stringify(decision)}`)
    this.#learn(event)
    for (const decision of decisions) this.#follow(decision)
    this.#checkRest()
    return true
  }

  #learn(event: Event): void {
    const { nodes, running } = this.reference
    this.reference.nowMs = event.atMs
    switch (event.kind) {
      case 'add-nodes':
        for (const spec of event.nodes) nodes.set(spec.name, { spec, open: spec.cordoned !== true })
        return
      case 'cordon':
      case 'uncordon':
      case 'drain':
      case 'remove-node': {
        const node = nodes.get(event.node)
        if (node !== undefined) node.open = event.kind === 'uncordon'
        if (event.kind === 'remove-node') this.reference.expected.delete(event.node)
        return
      }
      case 'change-node': {
        const node = nodes.get(event.node)
        const { labels, taints, clockErrorNs, capacity, bestEffortFactor } = event
        if (node !== undefined)
          node.spec = {
            ...node.spec,
            ...(labels === undefined ? {} : { labels }),
            ...(taints === undefined ? {} : { taints }),
            ...(clockErrorNs === undefined ? {} : { clockErrorNs }),
            ...(capacity === undefined ? {} : { capacity }),
            ...(bestEffortFactor === undefined ? {} : { bestEffortFactor }),
          }
        return
      }
      case 'expect':
        this.reference.expected.set(event.node, event.load)
        return
      case 'submit':
        for (const spec of event.jobs) {
          this.#specs.set(spec.name, spec)
          this.#waiting.set(
            spec.name,
            new Set(
              spec.count === undefined
                ? [spec.name]
                : Array.from({ length: spec.count }, (_, index) => `${spec.name}/${index}`),
            ),
          )
        }
        return
      case 'end':
        running.delete(event.task)
        return
      case 'cancel':
        this.#waiting.delete(event.job)
        return
      case 'set-account':
        this.reference.quotas.set(event.account, event.quota ?? {})
        return
      case 'set-uplink':
        this.reference.uplinks.set(`${event.by} ${event.name}`, Number(event.network))
        return
      case 'set-latency':
        for (const { from, to, us } of event.pairs) this.reference.latencies.set([from, to].sort().join(' '), us)
        return
      case 'reserve':
        this.reference.reservations.push(event.reservation)
        return
      case 'release': {
        const { reservations } = this.reference
        reservations.splice(
          reservations.findIndex(({ name }) => name === event.reservation),
          1,
        )
        return
      }
      case 'scale':
        return this.#scale(event.job, event.count)
      case 'requeue':
      case 'time':
        return
      // It has a test of its own.
      case 'restore':
        return assert.fail('no trace has this')
    }
  }

  /** More tasks wait, or the last ones go; those of them that run are stopped by what follows. */
  #scale(name: string, count: number): void {
    const spec = this.#jobOf(name)
    const waiting = this.#waiting.get(name)
    const before = spec.count ?? 1
    for (let position = before; position < count; position++) waiting?.add(`${name}/${position}`)
    for (let position = count; position < before; position++) waiting?.delete(`${name}/${position}`)
    const scaled = { ...spec, count }
    this.#specs.set(name, scaled)
    // It is the same job for those that run.
    for (const [task, running] of this.reference.running)
      if (running.job === spec) this.reference.running.set(task, { ...running, job: scaled })
  }

  /** Jobs of several tasks that can be scaled. */
  get arrays(): string[] {
    return [...this.#specs.values()]
      .filter(({ name, count, gang }) => count !== undefined && gang !== true && this.#waiting.has(name))
      .map(({ name }) => name)
  }

  #jobOf(task: string): JobSpec {
    const spec = this.#specs.get(task.split('/')[0] ?? '')
    assert.ok(spec, `a decision about ${task}, which nobody submitted`)
    return spec
  }

  #follow(decision: Decision): void {
    if (decision.kind === 'give-up') {
      this.#waiting.delete(decision.job)
      return
    }
    const job = this.#jobOf(decision.task)
    if (decision.kind === 'stop') {
      const running = this.reference.running.get(decision.task)
      assert.ok(running, `${decision.task} was stopped and does not run`)
      assert.equal(running.node, decision.node)
      if (decision.reason === 'preempted') {
        this.#pending ??= { before: this.#copy(), stopped: [], job: decision.for ?? '' }
        this.#pending.stopped.push(running)
      }
      this.reference.running.delete(decision.task)
      if (!['time-limit', 'cancelled', 'scaled-down'].includes(decision.reason))
        this.#waiting.get(job.name)?.add(decision.task)
      return
    }
    assert.ok(this.#waiting.get(job.name)?.delete(decision.task), `${decision.task} was placed and does not wait`)
    const pending = this.#pending
    this.#pending = null
    if (pending !== null) this.#checkVictims(pending, job)
    assert.equal(this.reference.forbids(job, decision.node), null, `${decision.task} on ${decision.node}`)
    this.reference.running.set(decision.task, {
      task: decision.task,
      job,
      node: decision.node,
      startedMs: this.reference.nowMs,
      gpus: decision.gpus ?? [],
      core: decision.core ?? -1,
    })
  }

  /** As the state was before somebody was stopped. */
  #copy(): Reference {
    const copy = new Reference()
    for (const [name, node] of this.reference.nodes) copy.nodes.set(name, { ...node })
    for (const [task, running] of this.reference.running) copy.running.set(task, running)
    for (const [name, quota] of this.reference.quotas) copy.quotas.set(name, quota)
    for (const [name, uplink] of this.reference.uplinks) copy.uplinks.set(name, uplink)
    for (const [pair, us] of this.reference.latencies) copy.latencies.set(pair, us)
    copy.reservations.push(...this.reference.reservations)
    for (const [node, load] of this.reference.expected) copy.expected.set(node, load)
    copy.nowMs = this.reference.nowMs
    return copy
  }

  #checkVictims(
    { before, stopped, job: wanted }: { before: Reference; stopped: Running[]; job: string },
    job: JobSpec,
  ): void {
    assert.equal(job.name, wanted, 'those for whom others stop start next')
    for (const { job: victim } of stopped)
      assert.ok((victim.priority ?? 0) < (job.priority ?? 0), 'only less important ones stop')
    if (job.gang === true) return
    for (const name of before.nodes.keys())
      assert.notEqual(before.forbids(job, name), null, `${job.name} fits ${name} without stopping anybody`)
    const best = bestVictims(before, job)
    assert.ok(best !== null)
    const found: Victims = {
      count: stopped.length,
      priorities: stopped.map(({ job: victim }) => victim.priority ?? 0).sort((a, b) => b - a),
    }
    assert.ok(
      !lessThan(best, found),
      `victims ${JSON.stringify(found)}, and ${JSON.stringify(best)} would have been enough`,
    )
  }

  #checkRest(): void {
    const gangs = new Map<string, number>()
    for (const { job } of this.reference.running.values())
      if (job.gang === true) gangs.set(job.name, (gangs.get(job.name) ?? 0) + 1)
    for (const name of gangs.keys()) assert.equal(this.#waiting.get(name)?.size ?? 0, 0, `gang ${name} is split`)
    if (this.#order !== 'greedy') return
    for (const [name, tasks] of this.#waiting) {
      const job = this.#specs.get(name)
      if (tasks.size === 0 || job === undefined || (job.after ?? []).length > 0) continue
      if (job.gang === true) {
        // With rules about where the others are (and with cores to choose) all ways to place a gang are not tried.
        const ruled = job.affinity ?? job.antiAffinity ?? job.spread ?? job.latency ?? job.needs.cpuTime
        if (ruled === undefined) assert.ok(!canPlaceAll(this.reference, job, [...tasks]), `gang ${name} waits and fits`)
        continue
      }
      for (const node of this.reference.nodes.keys())
        assert.notEqual(this.reference.forbids(job, node), null, `${name} waits and fits ${node}`)
      const { sentence } = this.scheduler.explain([...tasks][0] ?? '')
      assert.ok(!sentence.includes('waits its turn'), `${sentence} But nobody goes first.`)
      if (job.preempts !== false)
        assert.equal(bestVictims(this.reference, job), null, `${name} waits, and stopping others would help`)
    }
  }
}

/** All ways to place a gang are tried. */
function canPlaceAll(reference: Reference, job: JobSpec, tasks: readonly string[]): boolean {
  const [task, ...others] = tasks
  if (task === undefined) return true
  for (const [node, { spec }] of reference.nodes) {
    if (reference.forbids(job, node) !== null) continue
    const free = Array.from({ length: spec.capacity.gpus?.count ?? 0 }, () => 1000)
    for (const other of reference.running.values())
      if (other.node === node)
        for (const gpu of other.gpus) free[gpu] = (free[gpu] ?? 0) - (other.job.needs.gpu?.milli ?? 1000)
    const wanted = job.needs.gpu?.milli ?? 1000
    const gpus = free
      .map((left, gpu) => ({ left, gpu }))
      .filter(({ left }) => left >= wanted)
      .sort((a, b) => a.left - b.left)
      .slice(0, job.needs.gpu?.count ?? (job.needs.gpu === undefined ? 0 : 1))
      .map(({ gpu }) => gpu)
    reference.running.set(task, { task, job, node, startedMs: reference.nowMs, gpus, core: 0 })
    const placed = canPlaceAll(reference, job, others)
    reference.running.delete(task)
    if (placed) return true
  }
  return false
}

/** Every set of less important tasks of every node is tried. */
function bestVictims(reference: Reference, job: JobSpec): Victims | null {
  let best: Victims | null = null
  for (const node of reference.nodes.keys()) {
    const units = new Map<string, Running[]>()
    for (const running of reference.running.values()) {
      if (running.node !== node || (running.job.priority ?? 0) >= (job.priority ?? 0)) continue
      const gang = running.job.gang === true
      const all = gang ? [...reference.running.values()].filter((other) => other.job === running.job) : [running]
      units.set(gang ? running.job.name : running.task, all)
    }
    const list = [...units.values()]
    for (let bits = 1; bits < 1 << list.length; bits++) {
      const victims = list.filter((_, index) => (bits & (1 << index)) !== 0).flat()
      const candidate: Victims = {
        count: victims.length,
        priorities: victims.map((victim) => victim.job.priority ?? 0).sort((a, b) => b - a),
      }
      if (best !== null && !lessThan(candidate, best)) continue
      if (reference.forbids(job, node, new Set(victims.map(({ task }) => task))) === null) best = candidate
    }
  }
  return best
}

function lessThan(a: Victims, b: Victims): boolean {
  if (a.count !== b.count) return a.count < b.count
  const different = a.priorities.findIndex((priority, index) => priority !== b.priorities[index])
  return different >= 0 && (a.priorities[different] ?? 0) < (b.priorities[different] ?? 0)
}
