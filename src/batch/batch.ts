/**
 * The keeper of submitted jobs: turns around the core. A turn takes everything that has come, applies it, writes what has
 * changed, and only then tells nodes and answers.
 *
 * Invariant: nobody is told what is not durable. When the store refuses for want of room, nothing is told until it has room;
 * with any other failure what is in memory is not to be trusted, and `onFatal` hears of it.
 */
import { type Clock, isSteadError, type Json, sleep, SteadError } from '../base/index.ts'
import {
  type NodeOffer,
  type PoolUpward,
  type TaskEnd,
  type TasksDownward,
  tasksInMessageMax,
  type TasksUpward,
} from '../protocol/index.ts'
import { type Operation, operationsMax, type Store } from '../store/index.ts'
import { BatchCore } from './core.ts'
import { unknownTask } from './errors.ts'
import type { BatchEvent, NodeState } from './events.ts'
import { nodeLostMs, waitingMax } from './limits.ts'
import { LoadBook, type Used } from './load.ts'
import type { Tell } from './outbox.ts'
import { Pools } from './pools.ts'
import { readRecords } from './read.ts'
import type { AccountRecord, BatchRecords, QueueRecord, ReservationRecord, UsageRecord } from './records.ts'
import type { Submission } from './submission.ts'
import { jobView, type JobView, type NodeView, taskViews, type TaskView } from './view.ts'

/** How long a submission waits for the first node to speak. */
const firstNodeMs = 10_000
/** How often it is tried again whether the store has room. */
const fullPauseMs = 1000
/** Records in one transaction, which has a limit in bytes too. */
const writtenMax = operationsMax / 2
/** Events of one turn: nobody is kept waiting by those of a hundred thousand nodes that come at once. */
const turnEventsMax = 2000
/** How often it is looked which nodes of pools have fallen silent. */
const poolLookMs = 5000
/** A timer further away than this is looked at again. */
const timerMaxMs = 86_400_000

export interface BatchOptions {
  readonly store: Store
  readonly clock: Clock
  /** Applies operations as one, if this control still is the control. */
  readonly write: (operations: readonly Operation[]) => Promise<void>
  readonly epoch: () => number
  /** Sends to the node's agent, if it is connected. */
  readonly send: (node: string, message: TasksDownward) => void
  readonly onFatal: (error: unknown) => void
}

interface Waiting {
  readonly event: BatchEvent
  readonly resolve: (id: number | null) => void
  readonly reject: (error: unknown) => void
}

interface Coming {
  readonly offer: NodeOffer
  readonly running: string[]
  readonly ended: TaskEnd[]
  readonly jobs: number[]
}

/** Reads the records. */
export async function openBatch(options: BatchOptions): Promise<Batch> {
  return new Batch(options, await readRecords(options.store))
}

export class Batch {
  readonly #options: BatchOptions
  readonly #core: BatchCore
  readonly #waiting: Waiting[] = []
  #running = false
  #stopped = false
  #turns: Promise<void> = Promise.resolve()
  #timer: Disposable | null = null
  readonly #listeners = new Set<() => void>()
  readonly #loads = new LoadBook()
  readonly #coming = new Map<string, Coming>()
  readonly #away = new Map<string, Disposable>()
  readonly #pools = new Pools()
  #poolTimer: Disposable | null = null

  constructor(options: BatchOptions, records: BatchRecords) {
    this.#options = options
    this.#core = BatchCore.restore(records, options.clock.nowMs())
    this.#loads.restore(records.load)
    // A node that does not come back after a restart is lost like any other.
    for (const { node } of this.#core.nodes.all()) this.#awaitNode(node)
    // What restoring has decided is written with the first turn.
    this.#note({ kind: 'time' })
  }

  /** The number of the job, once it is durable. Throws `batch.*`, `scheduler.*`, and as the store does. */
  async submit(submission: Submission, by: string): Promise<number> {
    if (this.#core.nodes.size === 0) await this.#firstNode()
    return (await this.#ask({ kind: 'submit', submission, by })) ?? 0
  }

  /** `index`: one task; null: the whole job. Resolves when it is durable; what runs may take a while to end. */
  async cancel(job: number, index: number | null, by: string): Promise<void> {
    await this.#ask({ kind: 'cancel', job, index, by })
  }

  async setQueue(queue: QueueRecord): Promise<void> {
    await this.#ask({ kind: 'set-queue', queue })
  }

  /** Throws `batch.too-many`. */
  async setAccount(account: AccountRecord): Promise<void> {
    await this.#ask({ kind: 'set-account', account })
  }

  /** Throws `batch.too-many`, `batch.unknown-node`, `scheduler.duplicate-name`. */
  async reserve(reservation: ReservationRecord): Promise<void> {
    await this.#ask({ kind: 'reserve', reservation })
  }

  /** Throws `scheduler.unknown-name`. */
  async release(reservation: string): Promise<void> {
    await this.#ask({ kind: 'release', reservation })
  }

  /** Throws `batch.unknown-node`. */
  async setNode(node: string, state: NodeState, by: string): Promise<void> {
    await this.#ask({ kind: 'set-node', node, state, by })
  }

  /** Throws `batch.unknown-job`. */
  job(id: number): JobView {
    return jobView(this.#core.ledger.need(id))
  }

  /** The newest first, at most so many; only those that have not ended unless `ended`. */
  jobs({ ended, max }: { readonly ended: boolean; readonly max: number }): readonly JobView[] {
    const { jobs, unended } = this.#core.ledger
    const ids = ended ? [...jobs.keys()] : [...unended]
    return ids
      .slice(-max)
      .toReversed()
      .map((id) => this.job(id))
  }

  /** The tasks of a job from a position on. */
  tasks(id: number, from: number, max: number): readonly TaskView[] {
    const job = this.#core.ledger.need(id)
    return taskViews(job, from, max, (position) => this.#core.outputOf(job, position))
  }

  /** One task. Throws `batch.unknown-job`, `batch.unknown-task`. */
  task(id: number, index: number | null): TaskView & { readonly id: string } {
    const job = this.#core.ledger.need(id)
    const position = index === null ? 0 : job.positionOf(index)
    const [task] = position < 0 ? [] : this.tasks(id, position, 1)
    if (task === undefined) throw unknownTask(id, index ?? 0)
    return { ...task, id: `${id}-${position}-${task.attempt}` }
  }

  /** Why a task waits, and what would have to change; of one that does not wait, where it stands. */
  why(id: number, index: number | null): { readonly sentence: string; readonly remedies: readonly string[] } {
    const job = this.#core.ledger.need(id)
    const { phase, position, sentence, node } = this.#whyTask(id, index)
    if (phase === 'running') return { sentence: `it runs on ${node}`, remedies: [] }
    if (phase !== 'waiting') return { sentence: sentence ?? `it is ${phase}`, remedies: [] }
    return this.#core.explain(job, position)
  }

  /** Without a number: the first that waits, else the first. */
  #whyTask(id: number, index: number | null): TaskView {
    if (index !== null) return this.task(id, index)
    const job = this.#core.ledger.need(id)
    let position = 0
    while (position < job.tasks.count && job.tasks.at(position).phase !== 'waiting') position++
    return this.task(id, job.indexOf(position === job.tasks.count ? 0 : position))
  }

  queues(): readonly QueueRecord[] {
    return [...this.#core.ledger.queues.values()]
  }

  accounts(): readonly AccountRecord[] {
    return [...this.#core.ledger.accounts.values()]
  }

  reservations(): readonly ReservationRecord[] {
    return [...this.#core.ledger.reservations.values()]
  }

  usage(): readonly UsageRecord[] {
    return this.#core.ledger.usage.all()
  }

  nodes(): readonly NodeView[] {
    return this.#core.nodes.all().map(({ node, offer, present }) => {
      const { cpu, memoryBytes, gpus, labels, realtimeCores = 0, counted = {}, usesForecast = false } = offer
      const { reason } = this.#loads.expected(node, this.#options.clock.nowMs())
      const forecast = usesForecast ? reason : null
      const cordonedBy = this.#core.nodes.cordonOf(node)?.by ?? null
      return { node, cpu, memoryBytes, gpus, labels, realtimeCores, counted, forecast, present, cordonedBy }
    })
  }

  /** How many nodes there are. */
  get nodeCount(): number {
    return this.#core.nodes.size
  }

  /** Calls `run` after every turn. */
  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => void this.#listeners.delete(run) }
  }

  /** What a node says. It turns by itself: thousands a second must not make control look at everything. */
  hear(node: string, message: TasksUpward): void {
    if (message.type === 'tasks-ended') return this.#note({ kind: 'ended', ended: message.ended })
    if (message.type === 'tasks-offer') return this.#note({ kind: 'node-changed', node, offer: message.offer })
    const coming = this.#coming.get(node) ?? { offer: message.offer, running: [], ended: [], jobs: [] }
    coming.running.push(...message.running)
    coming.ended.push(...message.ended)
    coming.jobs.push(...message.jobs)
    this.#coming.set(node, coming)
    if (!message.last) return
    this.#coming.delete(node)
    this.#isHere(node)
    this.#note({ kind: 'node-came', node, ...coming })
    const { load } = this.#loads.expected(node, this.#options.clock.nowMs())
    if (load.length > 0) this.#note({ kind: 'node-load', node, record: null, load })
  }

  /** What runs on a node for apps uses so much; `full`: there is nothing else. */
  hearLoad(node: string, said: { readonly full: boolean; readonly statuses: readonly Used[] }): void {
    const nowMs = this.#options.clock.nowMs()
    const record = this.#loads.take(node, { full: said.full, used: said.statuses }, nowMs)
    if (record !== null) this.#note({ kind: 'node-load', node, record, load: this.#loads.expected(node, nowMs).load })
  }

  /** What a pool says. */
  hearPool(pool: string, message: PoolUpward): void {
    const { clock } = this.#options
    for (const event of this.#pools.hear(pool, message, clock.monotonicMs())) {
      if (event.kind === 'pool-came') for (const { name } of event.nodes) this.#isHere(name)
      this.#note(event)
    }
    this.#poolTimer ??= clock.after(poolLookMs, () => this.#lookAtPools())
  }

  /** The connection to a pool has ended. */
  poolGone(pool: string): void {
    this.#areAway(this.#pools.gone(pool))
  }

  /** The connection to a node has ended. */
  nodeGone(node: string): void {
    this.#coming.delete(node)
    this.#loads.away(node)
    if (this.#core.nodes.get(node) === undefined) return
    this.#note({ kind: 'node-away', node })
    this.#awaitNode(node)
  }

  async close(): Promise<void> {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    this.#poolTimer?.[Symbol.dispose]()
    for (const timer of this.#away.values()) timer[Symbol.dispose]()
    await this.#turns
  }

  /** Right after the first start no node has spoken yet: whoever submits in that moment waits a little. */
  async #firstNode(): Promise<void> {
    const come = Promise.withResolvers<void>()
    using _listening = this.onChange(() => {
      if (this.#core.nodes.size > 0) come.resolve()
    })
    using _timer = this.#options.clock.after(firstNodeMs, () => come.resolve())
    await come.promise
  }

  #lookAtPools(): void {
    const { clock } = this.#options
    this.#poolTimer = this.#pools.size === 0 ? null : clock.after(poolLookMs, () => this.#lookAtPools())
    this.#areAway(this.#pools.silent(clock.monotonicMs()))
  }

  #areAway(events: readonly BatchEvent[]): void {
    for (const event of events) {
      this.#note(event)
      if (event.kind === 'node-away') this.#awaitNode(event.node)
    }
  }

  #isHere(node: string): void {
    this.#away.get(node)?.[Symbol.dispose]()
    this.#away.delete(node)
  }

  #awaitNode(node: string): void {
    this.#away.get(node)?.[Symbol.dispose]()
    this.#away.set(
      node,
      this.#options.clock.after(nodeLostMs, () => {
        this.#loads.forget(node)
        this.#note({ kind: 'node-lost', node })
      }),
    )
  }

  #ask(event: BatchEvent): Promise<number | null> {
    if (this.#stopped || this.#waiting.length >= waitingMax) {
      throw new SteadError({
        code: this.#stopped ? 'batch.stopped' : 'batch.overloaded',
        message: this.#stopped ? 'the platform is stopping' : `${waitingMax} requests wait already`,
        retry: 'later',
      })
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject })
      this.#wake()
    })
  }

  /** An event that nobody waits for, and that is never refused. */
  #note(event: BatchEvent): void {
    if (this.#stopped) return
    this.#waiting.push({ event, resolve() {}, reject: (error) => this.#fail(error) })
    this.#wake()
  }

  #fail(error: unknown): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#options.onFatal(error)
  }

  #wake(): void {
    if (this.#running || this.#stopped) return
    this.#running = true
    this.#turns = this.#run()
  }

  async #run(): Promise<void> {
    try {
      // What comes in the same moment is one turn.
      await Promise.resolve()
      while (this.#waiting.length > 0 && !this.#stopped) await this.#turn()
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#running = false
      this.#setTimer()
    }
  }

  async #turn(): Promise<void> {
    let taken = 0
    for (let events = 0; taken < this.#waiting.length && events < turnEventsMax; taken++)
      events += weightOf(this.#waiting[taken]?.event)
    const answers: (() => void)[] = []
    for (const { event, resolve, reject } of this.#waiting.splice(0, taken)) {
      try {
        const id = this.#core.apply(event, this.#options.clock.nowMs())
        answers.push(() => resolve(id))
      } catch (error) {
        if (!isSteadError(error)) throw error
        answers.push(() => reject(error))
      }
    }
    const { writes, tells } = this.#core.take()
    await this.#write(writes.map(([key, value]) => operationOf(key, value)))
    const epoch = this.#options.epoch()
    for (const [node, tell] of tells) this.#tell(node, epoch, tell)
    for (const answer of answers) answer()
    for (const listener of this.#listeners) listener()
  }

  /** `node`: or a pool. */
  #tell(node: string, epoch: number, tell: Tell): void {
    if (this.#core.nodes.get(node)?.present !== true && !this.#pools.has(node)) return
    const { send } = this.#options
    const [first, ...rest] = pieces(tell.start, tasksInMessageMax)
    send(node, { type: 'tasks', epoch, ...tell, start: first ?? [] })
    const nothing = { jobs: [], stop: [], over: [], forget: [] }
    for (const start of rest) send(node, { type: 'tasks', epoch, ...nothing, start })
  }

  /** In order, so that a job is there before its tasks. */
  async #write(operations: readonly Operation[]): Promise<void> {
    for (let from = 0; from < operations.length;) {
      try {
        await this.#options.write(operations.slice(from, from + writtenMax))
        from += writtenMax
      } catch (error) {
        if (!isSteadError(error) || error.code !== 'store.disk-full' || this.#stopped) throw error
        await sleep(this.#options.clock, fullPauseMs)
      }
    }
  }

  #setTimer(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
    const atMs = this.#core.nextWakeMs
    if (this.#stopped || atMs === Infinity) return
    const afterMs = Math.min(Math.max(0, atMs - this.#options.clock.nowMs()), timerMaxMs)
    this.#timer = this.#options.clock.after(afterMs, () => this.#note({ kind: 'time' }))
  }
}

function pieces<T>(all: readonly T[], size: number): (readonly T[])[] {
  const count = Math.ceil(all.length / size)
  return Array.from({ length: count }, (_, index) => all.slice(index * size, (index + 1) * size))
}

/** What comes for many nodes at once counts like as many events. */
function weightOf(event: BatchEvent | undefined): number {
  return event?.kind === 'pool-came' ? event.nodes.length : 1
}

function operationOf(key: string, value: unknown): Operation {
  return value === null ? { kind: 'delete', key } : { kind: 'put', key, value: value as Json }
}
