/**
 * The core of submitted jobs: events in, records and messages out. No clock, no I/O; placement is the scheduler's.
 *
 *     waiting -- placed --> running -- ended --> succeeded | failed | (retry, requeue) waiting
 *        ^                    |  \-- limit, cancel --> stopping --> timed-out | cancelled
 *        \---- preempted, node lost ----/
 *
 * Invariants: a task runs at most once at a time, as far as its node is heard of: a place that a stopped task had is used
 * again only when the node says that it has ended. An event that is refused has changed nothing.
 */
import type { TaskEnd, TaskExit } from '../protocol/index.ts'
import { type Decision, Scheduler } from '../scheduler/index.ts'
import { Attendance } from './attendance.ts'
import type { BatchEvent, Unstamped } from './events.ts'
import { noNode, tooLong, tooMany, unknownNode, unknownQueue, unknownTask } from './errors.ts'
import { Deadlines, type Due } from './deadlines.ts'
import { dependenciesOf } from './dependencies.ts'
import { isWell, lost, notStarted } from './exits.ts'
import { Handovers } from './handovers.ts'
import { BatchJob, newRecord, readTaskId, schedulerSpec, taskId } from './job.ts'
import { Ledger, type Write } from './ledger.ts'
import { attemptsMax, graceMs, limitGraceMs, unendedJobsMax } from './limits.ts'
import { KnownNodes, nodeSpec } from './nodes.ts'
import type { Tell } from './outbox.ts'
import type { BatchRecords } from './records.ts'
import { restoredJob } from './restore.ts'
import { Rules } from './rules.ts'
import { requeueCode, type Submission } from './submission.ts'
import { Shares } from './shares.ts'
import type { Task, TaskPhase } from './task-table.ts'
import { withMoments } from './view.ts'
import { Teller } from './teller.ts'

/** Past use counts half after a week. */
const fairShareHalfLifeMs = 7 * 86_400_000

/** A place of a task that is still being ended where it was. */
interface NextPlace {
  readonly node: string
  readonly gpus: readonly number[]
  readonly core: number | null
}

type StopReason = Extract<Decision, { kind: 'stop' }>['reason']

export class BatchCore {
  readonly #scheduler = new Scheduler({ policy: 'best-fit', order: 'easy', fairShareHalfLifeMs, stopsAtLimit: false })
  readonly ledger: Ledger = new Ledger()
  readonly nodes: KnownNodes = new KnownNodes()
  readonly #teller = new Teller(this.nodes)
  readonly #handovers = new Handovers()
  readonly #attendance = new Attendance(
    { ledger: this.ledger, nodes: this.nodes, teller: this.#teller, handovers: this.#handovers },
    {
      decide: (event) => this.#decide(event),
      begin: (job, position) => this.#beginAnew(job, position),
      ended: (end) => this.#ended(end),
      never: (task, exit) => this.#ended({ task, endedMs: this.#nowMs, exit }),
      settle: (job, position, exit) => this.#settle(job, position, exit),
    },
  )
  readonly #rules = new Rules({ ledger: this.ledger, nodes: this.nodes }, (event) => this.#decide(event))
  readonly #deadlines = new Deadlines()
  readonly #shares = new Shares()
  readonly #next = new Map<string, NextPlace>()
  /** Tasks of gangs that have a place, and of which their node was not told yet. */
  readonly #unbegun = new Set<string>()
  /** Decisions that are to be followed, in order: what follows from one may bring more. */
  readonly #decisions: Decision[] = []
  #following = false
  #nowMs = 0

  /** Takes up what the store holds. Nodes take in nothing before they have come. */
  static restore(records: BatchRecords, nowMs: number): BatchCore {
    const core = new BatchCore()
    core.#restore(records, nowMs)
    return core
  }

  /**
   * `atMs`: milliseconds since 1970. Answers the number of the job for a submission, else null. Throws `batch.*` and
   * `scheduler.*`; nothing has changed then.
   */
  apply(event: BatchEvent, atMs: number): number | null {
    this.#nowMs = Math.max(this.#nowMs, atMs)
    // What fell due before may stop the very task that this is about.
    if (this.#scheduler.nextWakeMs <= this.#nowMs) this.#decide({ kind: 'time' })
    switch (event.kind) {
      case 'submit':
        return this.#submit(event.submission, event.by)
      case 'cancel':
        this.#cancel(this.ledger.need(event.job), event.index, event.by)
        break
      case 'set-queue':
        this.#rules.setQueue(event.queue)
        break
      case 'set-account':
        this.#rules.setAccount(event.account)
        break
      case 'reserve':
        this.#rules.reserve(event.reservation)
        break
      case 'release':
        this.#rules.release(event.reservation)
        break
      case 'set-node':
        if (this.nodes.get(event.node) === undefined) throw unknownNode(event.node, this.nodes.all())
        this.#attendance.set(event.node, event.state, event.by, this.#nowMs)
        break
      case 'node-came':
        this.#attendance.came(event)
        break
      case 'pool-came':
        this.#attendance.poolCame(event)
        break
      case 'node-changed':
        this.#attendance.changed(event.node, event.offer)
        break
      case 'node-load':
        if (event.record !== null) this.ledger.setLoad(event.node, event.record)
        for (const heard of this.nodes.expect(event.node, event.load)) this.#decide(heard)
        break
      case 'node-away':
        this.#attendance.away(event.node)
        break
      case 'node-lost':
        this.#attendance.lost(event.node)
        break
      case 'ended':
        for (const end of event.ended) this.#ended(end)
        break
      case 'time':
        this.#decide({ kind: 'time' })
        this.#rules.pass(this.#nowMs)
        for (const due of this.#deadlines.due(this.#nowMs)) this.#due(due)
    }
    return null
  }

  /** When something falls due by itself; Infinity: nothing does. */
  get nextWakeMs(): number {
    return Math.min(this.#scheduler.nextWakeMs, this.#deadlines.nextMs)
  }

  /** What is to be written now, and told once it is. */
  take(): { readonly writes: readonly Write[]; readonly tells: ReadonlyMap<string, Tell> } {
    this.#shares.keep(this.#nowMs, this.#scheduler, this.ledger)
    return { writes: [...this.nodes.take(), ...this.ledger.take()], tells: this.#teller.outbox.take() }
  }

  /** Why a task waits, and what would have to change. */
  explain(job: BatchJob, position: number): { readonly sentence: string; readonly remedies: readonly string[] } {
    return withMoments(this.#scheduler.explain(job.taskName(position)))
  }

  /** The file that takes the output of a task; null: the platform keeps it. */
  outputOf(job: BatchJob, position: number): string | null {
    return this.#teller.outputOf(job, position)
  }

  #submit(submission: Submission, by: string): number {
    const { unended, queues, jobs, nextId: id } = this.ledger
    if (unended.size >= unendedJobsMax) throw tooMany('jobs that have not ended', unendedJobsMax)
    const queue = queues.get(submission.queue)
    if (queue === undefined) throw unknownQueue(submission.queue, [...queues.keys()])
    if (queue.timeLimitMs !== null && (submission.timeLimitMs ?? 0) > queue.timeLimitMs) throw tooLong(queue)
    if (this.nodes.size === 0) throw noNode()
    const job = new BatchJob(newRecord(id, submission, by, this.#nowMs))
    const { open, never } = dependenciesOf(submission, (other) => jobs.get(other))
    // The scheduler must have taken it before anything counts: it may refuse.
    const spec = schedulerSpec(job, queue, open)
    const decisions = never === null ? this.#scheduler.apply({ atMs: this.#nowMs, kind: 'submit', jobs: [spec] }) : []
    this.ledger.add(job)
    if (never === null) job.scheduled = true
    else this.#giveUp(job, never)
    this.#follow(decisions)
    return id
  }

  #cancel(job: BatchJob, index: number | null, by: string): void {
    if (!this.ledger.unended.has(job.id)) return
    const position = index === null ? 0 : job.positionOf(index)
    if (position < 0) throw unknownTask(job.id, index ?? 0)
    // A gang lives and dies as one.
    if (index === null || job.record.submission.gang !== null) return this.#cancelAll(job, by, `was cancelled by ${by}`)
    const task = job.tasks.at(position)
    if (task.phase === 'waiting') {
      job.struck.add(position)
      this.#over(job, position, 'cancelled', notStarted(`was cancelled by ${by}`))
      this.#finish(job)
    } else if (task.phase === 'running') this.#stop(job, position, 'struck', graceMs)
    else if (task.phase === 'stopping' && task.stopping === 'waiting') {
      const placed = this.#next.delete(job.taskName(position))
      if (!placed) job.struck.add(position)
      this.ledger.change(job, position, { stopping: placed ? 'struck' : 'cancelled' })
    }
  }

  #cancelAll(job: BatchJob, by: string, sentence: string): void {
    this.ledger.save(job, { cancelledBy: by })
    for (let position = 0; position < job.tasks.count; position++) {
      const { phase } = job.tasks.at(position)
      if (phase === 'waiting') this.#over(job, position, 'cancelled', notStarted(sentence))
      else if (phase === 'stopping') this.ledger.change(job, position, { stopping: 'cancelled' })
    }
    // Those that run are stopped by what the scheduler decides.
    this.#unschedule(job)
    this.#finish(job)
  }

  /** The scheduler forgets a job; what runs of it is stopped. */
  #unschedule(job: BatchJob): void {
    if (!job.scheduled) return
    job.scheduled = false
    this.#decide({ kind: 'cancel', job: String(job.id) })
  }

  /** A task has ended on its node. An end of another attempt than the last changes nothing. */
  #ended({ task: id, endedMs, exit }: TaskEnd): void {
    const { job: number, position, attempt } = readTaskId(id)
    const job = this.ledger.jobs.get(number)
    const task = job?.tasks.at(position)
    if (job === undefined || task === undefined || task.attempt !== attempt) return
    const { phase, node } = task
    if (phase !== 'running' && phase !== 'stopping') return
    this.ledger.usage.add(job.record, task, Math.max(0, endedMs - task.startedMs), !isWell(exit))
    this.#shares.moved()
    this.#handovers.ended(node, id)
    this.ledger.change(job, position, { endedMs })
    if (phase === 'stopping') this.#settle(job, position, exit)
    else this.#endedByItself(job, position, attempt, exit)
    for (const { job: held, position: at } of this.#handovers.release(node)) this.#begin(held, at)
  }

  #endedByItself(job: BatchJob, position: number, attempt: number, exit: TaskExit): void {
    const { requeue, retries } = job.record.submission
    const well = isWell(exit)
    const asks = requeue && (exit.code === requeueCode || exit.cause === 'interrupted')
    const { failures } = job.tasks.at(position)
    if ((asks || (!well && failures < retries)) && attempt < attemptsMax) {
      this.ledger.change(job, position, { phase: 'waiting', failures: asks ? failures : failures + 1 })
      return this.#decide({ kind: 'requeue', task: job.taskName(position) })
    }
    this.#over(job, position, well ? 'succeeded' : 'failed', exit)
    if (!well) this.#endGang(job, position)
    this.#tellEnd(job, position, well)
    this.#finish(job)
  }

  /** The others of a gang would wait for it for ever. */
  #endGang(job: BatchJob, position: number): void {
    if (job.record.submission.gang !== null && job.record.cancelledBy === null)
      this.#cancelAll(job, 'its gang', `was ended with task ${position} of its gang`)
  }

  #tellEnd(job: BatchJob, position: number, well: boolean): void {
    if (!job.scheduled) return
    this.#decide({ kind: 'end', task: job.taskName(position), outcome: well ? 'success' : 'failure' })
  }

  /** What was being stopped has ended. */
  #settle(job: BatchJob, position: number, exit: TaskExit): void {
    const { stopping } = job.tasks.at(position)
    if (stopping === 'waiting' || stopping === null) {
      this.ledger.change(job, position, { phase: 'waiting', stopping: null })
      const name = job.taskName(position)
      const next = this.#next.get(name)
      if (next === undefined) return
      this.#next.delete(name)
      this.#run(job, position, next)
      return this.#begin(job, position)
    }
    this.#over(job, position, stopping === 'struck' ? 'cancelled' : stopping, exit)
    if (stopping !== 'cancelled') {
      this.#endGang(job, position)
      this.#tellEnd(job, position, false)
    }
    this.#finish(job)
  }

  #decide(event: Unstamped): void {
    this.#follow(this.#scheduler.apply({ atMs: this.#nowMs, ...event }))
  }

  #follow(decisions: readonly Decision[]): void {
    for (const decision of decisions) this.#decisions.push(decision)
    if (this.#following) return
    this.#following = true
    const gangs = new Set<BatchJob>()
    // What follows from one may add more behind it.
    for (let at = 0; at < this.#decisions.length; at++) {
      const next = this.#decisions[at]
      if (next === undefined) continue
      if (next.kind === 'give-up') {
        const job = this.ledger.need(Number(next.job))
        job.scheduled = false
        this.#giveUp(job, next.because)
        continue
      }
      const [id = 0, position = 0] = next.task.split('/').map(Number)
      const job = this.ledger.need(id)
      if (next.kind === 'stop') this.#stopped(job, position, next.reason)
      else if (this.#placed(job, position, { node: next.node, gpus: next.gpus ?? [], core: next.core ?? null }))
        gangs.add(job)
    }
    this.#decisions.length = 0
    this.#following = false
    for (const gang of gangs) this.#beginGang(gang)
  }

  /** Answers whether a gang may begin by this. */
  #placed(job: BatchJob, position: number, place: NextPlace): boolean {
    const isStopping = job.tasks.at(position).phase === 'stopping'
    if (job.struck.delete(position)) {
      // Until it has ended where it was, it counts: an array has a bound.
      if (isStopping) this.ledger.change(job, position, { stopping: 'struck' })
      else this.#tellEnd(job, position, false)
      return false
    }
    if (isStopping) {
      this.#next.set(job.taskName(position), place)
      return false
    }
    this.#run(job, position, place)
    if (job.record.submission.gang !== null) return true
    this.#begin(job, position)
    return false
  }

  #run(job: BatchJob, position: number, place: NextPlace): void {
    const attempt = job.tasks.at(position).attempt + 1
    if (job.record.submission.gang !== null) this.#unbegun.add(taskId(job.id, position, attempt))
    const begun = { attempt, ...place, startedMs: this.#nowMs, endedMs: 0, exit: null, stopping: null }
    this.ledger.change(job, position, { phase: 'running', ...begun })
    this.#shares.moved()
    this.#deadlines.watch(job, position, this.ledger.queueOf(job))
  }

  /** Its node was told and does not know it. */
  #beginAnew(job: BatchJob, position: number): void {
    if (job.record.submission.gang !== null) this.#unbegun.add(taskId(job.id, position, job.tasks.at(position).attempt))
    this.#begin(job, position)
  }

  #begin(job: BatchJob, position: number): void {
    if (job.record.submission.gang !== null) return this.#beginGang(job)
    const { phase, node: name } = job.tasks.at(position)
    if (phase !== 'running' || this.nodes.get(name) === undefined) return
    if (this.#handovers.isBusy(name)) this.#handovers.hold(name, job, position)
    else this.#teller.start(job, position)
  }

  /** A gang begins when each of its tasks, but those that are over, has its place for itself. */
  #beginGang(job: BatchJob): void {
    const { tasks } = job
    if (tasks.in('waiting') + tasks.in('stopping') > 0) return
    const idOf = (rank: number): string => taskId(job.id, rank, tasks.at(rank).attempt)
    const ranks = [...tasks.touched()].filter((rank) => this.#unbegun.has(idOf(rank)))
    const busy = ranks.map((rank) => tasks.at(rank).node).find((node) => this.#handovers.isBusy(node))
    if (busy !== undefined) return this.#handovers.hold(busy, job, 0)
    for (const rank of ranks) {
      this.#unbegun.delete(idOf(rank))
      this.#teller.start(job, rank)
    }
  }

  #stopped(job: BatchJob, position: number, reason: StopReason): void {
    const { phase } = job.tasks.at(position)
    const becomes = reason === 'cancelled' ? 'cancelled' : 'waiting'
    if (phase === 'stopping') {
      // It had a new place already.
      this.#next.delete(job.taskName(position))
      this.ledger.change(job, position, { stopping: becomes })
    }
    // What waits has ended, and asked for this.
    if (phase !== 'running') return
    // The others of a gang run on nodes that are there.
    const isLost = reason === 'node-lost' && this.nodes.get(job.tasks.at(position).node) === undefined
    if (isLost) {
      this.#unbegun.delete(taskId(job.id, position, job.tasks.at(position).attempt))
      this.ledger.change(job, position, { phase: 'waiting' })
    } else this.#stop(job, position, becomes, graceMs)
  }

  #stop(job: BatchJob, position: number, becomes: NonNullable<Task['stopping']>, afterMs: number): void {
    const { node, attempt } = job.tasks.at(position)
    this.ledger.change(job, position, { phase: 'stopping', stopping: becomes })
    const id = taskId(job.id, position, attempt)
    const isUnbegun = this.#unbegun.delete(id)
    if (this.#handovers.unhold(node, job, position) || isUnbegun)
      return this.#settle(job, position, notStarted('was ended before it began'))
    if (this.nodes.get(node) !== undefined) this.#handovers.ending(node, id)
    this.#teller.stop(job, position, afterMs)
  }

  #due({ task: id, what }: Due): void {
    const { job: number, position, attempt } = readTaskId(id)
    const job = this.ledger.jobs.get(number)
    const task = job?.tasks.at(position)
    if (job === undefined || task?.phase !== 'running' || task.attempt !== attempt) return
    const { warn } = job.record.submission
    if (what === 'limit') this.#stop(job, position, 'timed-out', limitGraceMs)
    else if (warn !== null) this.#teller.outbox.stop(task.node, { task: id, signal: warn.signal, graceMs: null })
  }

  #giveUp(job: BatchJob, because: string): void {
    for (let position = 0; position < job.tasks.count; position++)
      if (job.tasks.at(position).phase === 'waiting')
        this.#over(job, position, 'gave-up', notStarted(`can never start: ${because}`))
    this.#finish(job)
  }

  #over(job: BatchJob, position: number, phase: TaskPhase, exit: TaskExit): void {
    const { endedMs } = job.tasks.at(position)
    const at = endedMs === 0 || phase === 'gave-up' || exit.cause === 'not-started' ? this.#nowMs : endedMs
    this.ledger.change(job, position, { phase, stopping: null, exit, endedMs: at })
  }

  /** Ends a job of which every task is over. */
  #finish(job: BatchJob): void {
    if (job.tasks.over < job.tasks.count || !this.ledger.unended.has(job.id)) return
    const oldest = this.ledger.end(job, this.#nowMs)
    // Those that were cancelled one by one may still wait in the scheduler.
    if (job.struck.size > 0) this.#unschedule(job)
    job.struck.clear()
    this.#teller.outbox.overEverywhere(job.id)
    if (oldest === null) return
    this.ledger.forget(oldest)
    this.#teller.outbox.forgetEverywhere(oldest.id)
  }

  #restore(records: BatchRecords, nowMs: number): void {
    this.#nowMs = nowMs
    this.nodes.restore(records)
    this.#decide({ kind: 'add-nodes', nodes: this.nodes.all().map(({ node, offer }) => nodeSpec(node, offer)) })
    for (const node of records.nodes.keys()) this.#decide(this.nodes.openness(node))
    this.ledger.restore(records, (record) => new BatchJob(record))
    this.#rules.restore(nowMs)
    for (const id of this.ledger.unended) this.#restoreJob(this.ledger.need(id))
    // What runs counts from then on too, so it comes after that.
    this.#decide({ kind: 'restore', jobs: [], used: records.used })
  }

  #restoreJob(job: BatchJob): void {
    if (job.tasks.over === job.tasks.count) return this.#finish(job)
    const { open, never } = dependenciesOf(job.record.submission, (other) => this.ledger.jobs.get(other))
    if (never !== null && job.tasks.in('running') === 0) return this.#giveUp(job, never)
    const { restored, lost: gone } = restoredJob(job, (node) => this.nodes.get(node) !== undefined)
    for (const position of gone) {
      const isStruck = job.tasks.at(position).stopping === 'cancelled'
      this.ledger.change(job, position, { phase: 'waiting', stopping: null })
      if (!isStruck) continue
      job.struck.add(position)
      this.#over(job, position, 'cancelled', lost('that it ran on'))
    }
    const spec = schedulerSpec(job, this.ledger.queueOf(job), open)
    job.scheduled = true
    for (const position of job.tasks.touched()) {
      const { phase, stopping, node, attempt } = job.tasks.at(position)
      if (phase === 'running') this.#deadlines.watch(job, position, this.ledger.queueOf(job))
      if (phase !== 'stopping') continue
      if (stopping === 'cancelled') job.struck.add(position)
      if (this.nodes.get(node) !== undefined) this.#handovers.ending(node, taskId(job.id, position, attempt))
    }
    this.#decide({ kind: 'restore', jobs: [{ spec, ...restored }] })
    const { cancelledBy } = job.record
    if (cancelledBy !== null) this.#cancelAll(job, cancelledBy, `was cancelled by ${cancelledBy}`)
  }
}
