/**
 * The scheduler: events in, decisions out, nothing else. The same events give the same decisions.
 *
 *     submit -> held -- those before it ended well --> waiting <-> running -> ended
 *                 \-- one ended otherwise --> given up
 *
 * Kept: after `apply` returns, no waiting task that may go next (see `Order`) fits anywhere, with or without stopping less
 * important ones. No timer is involved: what becomes possible by an event is decided in that event. An event that is
 * refused (see errors.ts) has changed nothing.
 */
import { Accounts, readUse } from './accounts.ts'
import { JobBook } from './book.ts'
import { Changes } from './changes.ts'
import { Cluster } from './cluster.ts'
import { badInput, lateEvent, tooLarge, unknownName } from './errors.ts'
import { explainJob, type Explanation } from './explain.ts'
import { DueHeap } from './heap.ts'
import { makeJob, releaseJob, waitingOf, type Job } from './job.ts'
import { countMax, submittedMax, tasksMax } from './limits.ts'
import type { AccountUse, CordonReason, Decision, Event, JobSpec, Needs, Order, StopReason } from './model.ts'
import { Pass } from './pass.ts'
import { Placer } from './place.ts'
import { strategyOf, type PolicyName } from './policies.ts'
import { checkPossible } from './possible.ts'
import { Preemptor } from './preempt.ts'
import { proposeMoves, type Move } from './proposals.ts'
import { Queue } from './queue.ts'
import { readJob, readNeeds, readQuota, type JobFacts } from './read.ts'
import { Starter } from './starter.ts'
import { taskName } from './tasks.ts'
import { TimeLimits } from './time-limits.ts'
import { readNumber, readWhole } from './units.ts'

export interface SchedulerOptions {
  /** Where a task goes among the nodes that fit; 'best-fit' by default. */
  readonly policy?: PolicyName
  /** For `fgd` and `compact`: tasks like those that will come; without it they learn from what is submitted. */
  readonly usual?: readonly Needs[]
  /** 'greedy' by default. */
  readonly order?: Order
  /** Fair share between accounts: after this time past use counts half. Without it equally important jobs go by submission. */
  readonly fairShareHalfLifeMs?: number
  /** Whether tasks are stopped at their time limit; true by default. False: whoever runs them sees to it, and says when they have ended. */
  readonly stopsAtLimit?: boolean
}

/** A task that runs. */
export interface RunningTask {
  readonly task: string
  readonly job: string
  readonly node: string
  readonly startedMs: number
}

/** Cores of a node. */
const coresMax = 1_000_000

export class Scheduler {
  readonly #cluster: Cluster
  readonly #placer: Placer
  readonly #starter: Starter
  readonly #accounts: Accounts
  readonly #book = new JobBook()
  readonly #queue = new Queue()
  readonly #changes: Changes
  readonly #limits: TimeLimits
  readonly #boundaries = new DueHeap<null>()
  readonly #pass: Pass
  readonly #unusedJobs: number[] = []
  readonly #stopsAtLimit: boolean
  #sequence = 0
  /** Tasks of all jobs that have not ended. */
  #taskCount = 0
  /** What was decided in an event that was then refused. */
  #untold: Decision[] = []
  /** Jobs that have started or ended in this event, for those that wait for them. */
  #settled: string[] = []

  /** Throws `scheduler.bad-input`. */
  constructor(options: SchedulerOptions = {}) {
    const { policy = 'best-fit', order = 'greedy', fairShareHalfLifeMs } = options
    if (!['greedy', 'fcfs', 'easy', 'conservative'].includes(order))
      throw badInput('order', 'greedy, fcfs, easy or conservative', order)
    this.#stopsAtLimit = options.stopsAtLimit ?? true
    if (fairShareHalfLifeMs !== undefined) readNumber('fairShareHalfLifeMs', fairShareHalfLifeMs, 1, 1e15)
    this.#cluster = new Cluster(policy === 'cost')
    this.#placer = new Placer(
      this.#cluster,
      strategyOf(
        policy,
        this.#cluster,
        (options.usual ?? []).map((needs) => readNeeds('usual', needs)),
      ),
    )
    this.#accounts = new Accounts(this.#cluster.nodes, fairShareHalfLifeMs ?? Infinity)
    this.#changes = new Changes()
    this.#limits = new TimeLimits(this.#cluster.tasks)
    const preemptor = new Preemptor(this.#cluster, this.#placer.fit)
    this.#starter = new Starter(this.#cluster, this.#placer, preemptor, this.#accounts, {
      moved: (job, node, direction) => this.#pass.moved(job, node, direction),
      started: (job, position) => this.#started(job, position),
      returned: (job, node) => {
        this.#changes.freed(node, true)
        this.#queue.add(job)
        // Where others of the job wait already, and were tried, this one fits only where room has come.
        if (!job.blocked) this.#changes.retry(job)
      },
    })
    this.#pass = new Pass({
      cluster: this.#cluster,
      queue: this.#queue,
      accounts: this.#accounts,
      starter: this.#starter,
      order,
      fair: fairShareHalfLifeMs !== undefined,
    })
  }

  /**
   * Takes in what happened and says what follows. Time limits and reservations that fell due before come first.
   * Throws `scheduler.bad-input`, `late-event`, `duplicate-name`, `unknown-name`, `cycle`, `impossible`, `too-large`; nothing
   * has changed then, but what fell due, and that is told with the next event.
   */
  apply(event: Event): Decision[] {
    readNumber('atMs of an event', event.atMs, -1e15, 1e15)
    if (event.atMs < this.#cluster.nowMs) throw lateEvent(event.atMs, this.#cluster.nowMs)
    const decisions = this.#untold
    this.#passTime(event.atMs, event.kind === 'time', decisions)
    this.#cluster.nowMs = event.atMs
    this.#passBoundaries(event.atMs)
    this.#take(event, decisions)
    this.#settle(decisions)
    this.#untold = []
    return decisions
  }

  /** When something falls due by itself; Infinity when nothing does. Give a `time` event then at the latest. */
  get nextWakeMs(): number {
    return Math.min(this.#limits.nextMs, this.#boundaries.nextMs)
  }

  /** How many tasks run, and wait. */
  get counts(): { readonly running: number; readonly waiting: number } {
    let waiting = 0
    for (const job of this.#queue.waiting()) waiting += waitingOf(job)
    return { running: this.#cluster.tasks.running, waiting }
  }

  /** The tasks that run, by job and position. */
  *running(): Generator<RunningTask> {
    const { tasks, nodes } = this.#cluster
    for (const job of this.#book.all())
      for (const task of job.tasks)
        if (task >= 0)
          yield {
            task: taskName(job, tasks.position[task] ?? 0),
            job: job.facts.name,
            node: nodes.nameOf(tasks.node[task] ?? -1),
            startedMs: tasks.startedMs[task] ?? 0,
          }
  }

  /** When a waiting job will start at the latest, as long as nothing more important comes and no node is lost; null: no promise. */
  promisedMs(job: string): number | null {
    return this.#pass.promisedMs(this.#book.need(job))
  }

  /** Why a task waits, and what would have to change. Throws `scheduler.unknown-name`. */
  explain(task: string): Explanation {
    const { job, position } = this.#book.taskOf(task)
    const running = job.tasks[position] ?? -1
    const node = this.#cluster.nodes.nameOf(this.#cluster.tasks.node[running] ?? -1)
    if (running >= 0) return { sentence: `${task} runs on ${node}.`, reasons: [], nearest: [], remedies: [] }
    return explainJob(this.#cluster, this.#accounts, job, this.#pass.promises())
  }

  /** What accounts have used of the past, the largest first; for `restore`. */
  used(): readonly AccountUse[] {
    return this.#accounts.used(this.#cluster.nowMs)
  }

  /** At most so many moves that would make things better; nothing is moved. See proposals.ts. Throws `scheduler.bad-input`. */
  proposals(movesMax: number): Move[] {
    return proposeMoves(this.#cluster, this.#placer, readWhole('movesMax', movesMax, 0, 100_000))
  }

  #take(event: Event, decisions: Decision[]): void {
    switch (event.kind) {
      case 'add-nodes':
        this.#changes.addNodes(this.#cluster, event.nodes)
        return
      case 'remove-node':
        return this.#removeNode(this.#node(event.node), decisions)
      case 'drain':
        return this.#empty(this.#node(event.node), 'drained', decisions, event.why)
      case 'cordon':
        return this.#changes.cordon(this.#cluster, this.#node(event.node), event.why)
      case 'uncordon':
        return this.#changes.open(this.#cluster, this.#node(event.node))
      case 'change-node': {
        const node = this.#node(event.node)
        for (const task of this.#changes.changeNode(this.#cluster, node, event))
          this.#stop(task, 'not-tolerated', decisions)
        return
      }
      case 'expect': {
        const node = this.#node(event.node)
        for (const atMs of this.#changes.expect(this.#cluster, node, event.load)) this.#boundaries.push(atMs, null)
        return
      }
      case 'submit':
        return this.#submit(event.jobs, decisions)
      case 'scale':
        return this.#scale(event.job, event.count, decisions)
      case 'end':
        return this.#endTask(event.task, event.outcome)
      case 'cancel':
        return this.#cancel(this.#book.need(event.job), decisions)
      case 'requeue': {
        const { job, position } = this.#book.taskOf(event.task)
        const task = job.tasks[position] ?? -1
        if (task < 0) throw unknownName('running task', event.task)
        return this.#stop(task, 'requeued', decisions)
      }
      case 'restore':
        return this.#restore(event, decisions)
      case 'time':
        return
      case 'set-account': {
        const account = this.#accounts.get(event.account)
        if (event.weight !== undefined) readNumber('weight of an account', event.weight, 1e-9, 1e9)
        account.quota = event.quota === undefined ? null : readQuota(`the quota of '${event.account}'`, event.quota)
        account.weight = event.weight ?? 1
        return this.#changes.everything()
      }
      case 'reserve':
        for (const atMs of this.#changes.reserve(this.#cluster, event.reservation)) this.#boundaries.push(atMs, null)
        return
      case 'release':
        return this.#changes.release(this.#cluster, event.reservation)
      case 'set-uplink':
        return this.#changes.setUplink(this.#cluster, event)
      case 'set-latency':
        return this.#changes.setLatency(this.#cluster, event.pairs)
    }
  }

  /** Everything that fell due before `untilMs` (or then, where that is what the event says). */
  #passTime(untilMs: number, inclusive: boolean, decisions: Decision[]): void {
    for (;;) {
      const dueMs = this.nextWakeMs
      if (!(inclusive ? dueMs <= untilMs : dueMs < untilMs)) return
      this.#cluster.nowMs = Math.max(this.#cluster.nowMs, dueMs)
      this.#passBoundaries(dueMs)
      for (let due = this.#limits.take(dueMs); due !== null; due = this.#limits.take(dueMs)) {
        this.#stopForGood(due.job, due.position, 'time-limit', decisions)
        this.#finish(due.job)
      }
      this.#settle(decisions)
    }
  }

  /** Reservations that begin or end change what is possible. */
  #passBoundaries(untilMs: number): void {
    while (this.#boundaries.nextMs <= untilMs) {
      this.#boundaries.pop()
      this.#changes.everything()
    }
  }

  #submit(specs: readonly JobSpec[], decisions: Decision[]): void {
    if (specs.length > submittedMax) throw tooLarge('jobs in one submission', submittedMax)
    const facts = specs.map(readJob)
    this.#book.check(facts)
    this.#checkTaskCount(facts.reduce((sum, { count }) => sum + count, 0))
    for (const one of facts) {
      checkPossible(this.#cluster, this.#accounts, one)
      for (const [resource] of one.needs.amounts) this.#cluster.nodes.resources.column(resource)
    }
    const jobs = facts.map((one) => this.#add(one))
    for (const job of jobs) {
      this.#book.hold(job)
      if (job.state === 'active') this.#enqueue(job)
      else if (job.state === 'given-up') this.#giveUp(job, decisions)
    }
  }

  #restore({ jobs, used = [], atMs }: Extract<Event, { kind: 'restore' }>, decisions: Decision[]): void {
    const uses = used.map(readUse)
    const all = jobs.map((one) => ({ one, facts: readJob(one.spec) }))
    this.#book.check(all.map(({ facts }) => facts))
    this.#checkTaskCount(all.reduce((sum, { facts }) => sum + facts.count, 0))
    for (const { one, facts } of all) {
      for (const { position, node, core } of one.running) {
        this.#node(node)
        if (facts.needs.cpuTime !== null) readWhole(`the core of a task of '${facts.name}'`, core ?? -1, 0, coresMax)
        readWhole(`a position of '${facts.name}'`, position, 0, facts.count - 1)
      }
      for (const [resource] of facts.needs.amounts) this.#cluster.nodes.resources.column(resource)
    }
    for (const { facts } of all) this.#add(facts)
    for (const { one, facts } of all) {
      const job = this.#book.need(facts.name)
      job.fresh = one.fresh
      job.returned.push(...one.waiting)
      while (job.tasks.length < one.fresh) job.tasks.push(-1)
      for (const { position, node, startedMs, gpus, core } of one.running) {
        const bits = gpus?.reduce((sum, gpu) => sum | (1 << gpu), 0)
        this.#starter.resume(job, position, this.#node(node), startedMs, { gpus: bits, core })
        this.#started(job, position, startedMs)
      }
      job.failed = one.failed
      job.succeeded = one.fresh - one.waiting.length - one.running.length - one.failed
    }
    for (const { facts } of all) {
      const job = this.#book.need(facts.name)
      this.#book.hold(job)
      if (job.state === 'given-up') this.#giveUp(job, decisions)
      else if (job.state === 'active' && waitingOf(job) > 0) this.#enqueue(job)
      this.#finish(job)
    }
    for (const use of uses) this.#accounts.restore(use, atMs)
  }

  #checkTaskCount(more: number): void {
    if (this.#taskCount + more > tasksMax) throw tooLarge('tasks that wait or run', tasksMax)
  }

  #add(facts: JobFacts): Job {
    this.#taskCount += facts.count
    const number = this.#unusedJobs.pop() ?? this.#cluster.jobs.length
    const place = { number, sequence: this.#sequence++, nowMs: this.#cluster.nowMs }
    const job = makeJob(facts, place, this.#cluster)
    this.#cluster.jobs[number] = job
    this.#cluster.others.add(job)
    this.#book.add(job)
    this.#placer.learn(job)
    if (this.#cluster.importance.know(facts.priority))
      for (let task = 0; task < this.#cluster.tasks.size; task++) {
        const node = this.#cluster.tasks.node[task] ?? -1
        const owner = this.#cluster.jobOf(task)
        if (node >= 0 && owner !== undefined) this.#cluster.importance.move(owner.facts.priority, node, 1)
      }
    return job
  }

  #scale(name: string, count: number, decisions: Decision[]): void {
    const job = this.#book.need(name)
    readWhole(`count of job '${name}'`, count, 1, countMax)
    if (job.single) throw badInput(`job '${name}'`, 'submitted with a count to be scaled', 'one without')
    this.#checkTaskCount(count - job.count)
    this.#taskCount += count - job.count
    job.blocked = false
    for (let position = job.tasks.length - 1; position >= count; position--)
      if ((job.tasks[position] ?? -1) >= 0) this.#stopForGood(job, position, 'scaled-down', decisions)
    if (count < job.count) {
      job.tasks.length = Math.min(job.tasks.length, count)
      job.returned.splice(0, job.returned.length, ...job.returned.filter((position) => position < count))
      job.fresh = Math.min(job.fresh, count)
      // Ended tasks are not known one by one; of those that are left, failures are remembered first.
      const ended = job.fresh - job.returned.length - job.running
      job.failed = Math.min(job.failed, ended)
      job.succeeded = ended - job.failed
    }
    job.count = count
    if (waitingOf(job) > 0) this.#enqueue(job)
    else if (this.#pass.forget(job)) this.#changes.everything()
    this.#finish(job)
  }

  #endTask(name: string, outcome: 'success' | 'failure'): void {
    if (outcome !== 'success' && outcome !== 'failure') throw badInput('outcome', 'success or failure', outcome)
    const { job, position } = this.#book.taskOf(name)
    const task = job.tasks[position] ?? -1
    if (task < 0) throw unknownName('running task', name)
    this.#release(job, task)
    if (outcome === 'success') job.succeeded++
    else job.failed++
    this.#finish(job)
  }

  #cancel(job: Job, decisions: Decision[]): void {
    for (let position = 0; position < job.tasks.length; position++)
      if ((job.tasks[position] ?? -1) >= 0) this.#stopForGood(job, position, 'cancelled', decisions)
    job.failed = Math.max(job.failed, 1)
    this.#end(job)
  }

  #giveUp(job: Job, decisions: Decision[]): void {
    decisions.push({ kind: 'give-up', job: job.facts.name, because: job.because })
    job.failed = job.count
    this.#end(job)
  }

  /** Takes all tasks off a node, which then takes nothing new. */
  #empty(node: number, reason: StopReason, decisions: Decision[], why?: CordonReason): void {
    this.#changes.cordon(this.#cluster, node, why)
    for (const task of this.#cluster.tasks.on(this.#cluster.nodes, node)) this.#stop(task, reason, decisions)
  }

  #removeNode(node: number, decisions: Decision[]): void {
    this.#empty(node, 'node-lost', decisions)
    this.#changes.removeNode(this.#cluster, node)
  }

  /** Stops a task that waits again; with it its gang, so it may have stopped already. */
  #stop(task: number, reason: StopReason, decisions: Decision[]): void {
    const job = this.#cluster.jobOf(task)
    if (job === undefined) return
    this.#starter.stop(job, task, reason, decisions)
  }

  #enqueue(job: Job): void {
    this.#queue.add(job)
    this.#changes.retry(job)
  }

  #stopForGood(job: Job, position: number, reason: StopReason, decisions: Decision[]): void {
    const task = job.tasks[position] ?? -1
    const node = this.#cluster.nodes.nameOf(this.#cluster.tasks.node[task] ?? -1)
    this.#release(job, task)
    if (reason !== 'scaled-down') job.failed++
    decisions.push({ kind: 'stop', task: taskName(job, position), node, reason })
  }

  #release(job: Job, task: number): void {
    const dueMs = (this.#cluster.tasks.startedMs[task] ?? 0) + job.facts.timeLimitMs
    // Where nothing is stopped at its limit, promises were made on ends that are only guessed.
    this.#changes.freed(this.#cluster.tasks.node[task] ?? -1, !this.#stopsAtLimit || this.#cluster.nowMs < dueMs)
    this.#cluster.take(job, task)
    this.#accounts.move(job, -1, this.#cluster.nowMs)
  }

  #started(job: Job, position: number, startedMs = this.#cluster.nowMs): void {
    this.#changes.moved()
    if (this.#book.isAwaited(job.facts.name)) this.#settled.push(job.facts.name)
    if (this.#stopsAtLimit && job.facts.timeLimitMs < Infinity) this.#limits.add(job, position, startedMs)
  }

  /** Ends a job of which every task has ended. */
  #finish(job: Job): void {
    if (job.running === 0 && waitingOf(job) === 0 && job.state === 'active' && job.succeeded + job.failed >= job.count)
      this.#end(job)
  }

  #end(job: Job): void {
    this.#taskCount -= job.count
    job.state = job.state === 'given-up' ? 'given-up' : 'ended'
    this.#book.end(job, job.failed === 0 ? 'success' : 'failure')
    this.#settled.push(job.facts.name)
    if (this.#pass.forget(job)) this.#changes.everything()
    this.#cluster.others.remove(job)
    releaseJob(job, this.#cluster.groups)
    this.#cluster.jobs[job.number] = undefined
    this.#unusedJobs.push(job.number)
    this.#changes.moved()
  }

  /** Decides until nothing more follows. */
  #settle(decisions: Decision[]): void {
    for (let isFirst = true; ;) {
      this.#wakeDependents(decisions)
      const round = this.#changes.nextRound(this.#queue)
      if (round === null && this.#settled.length === 0) return
      if (round === null || !this.#pass.run(round, decisions) || !isFirst) continue
      isFirst = false
      this.#changes.everything()
    }
  }

  #wakeDependents(decisions: Decision[]): void {
    while (this.#settled.length > 0) {
      const names = new Set(this.#settled)
      this.#settled = []
      for (const name of names) {
        for (const job of this.#book.settled(name))
          if (job.state === 'active') this.#enqueue(job)
          else this.#giveUp(job, decisions)
        if (this.#book.get(name) === undefined) this.#book.forgetDependents(name)
      }
    }
  }

  #node(name: string): number {
    const node = this.#cluster.nodes.number(name)
    if (node === undefined) throw unknownName('node', name)
    return node
  }
}
