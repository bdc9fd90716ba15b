/**
 * Queues on Beanstalkd: a tube each, and one more for its dead letters. Messages belong to the connection that has reserved them, so
 * the leases are kept here (`Hands`), where the driver runs in a thread; the server's own limit is far behind them, for the
 * case that this thread hangs. A message is never deleted before its copy is where it must be.
 */
import { messageOf, sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
  Decision,
  Durability,
  Held,
  Outgoing,
  QueueDriver,
  Seen,
  SendOutcome,
  SettleOutcome,
  Settlement,
  Shelf,
  Want,
} from '../../driver.ts'
import { failure } from '../../errors.ts'
import { batchMax, delayMsMax, priorityMax } from '../../limits.ts'
import type { DriverLimits } from '../../limits.ts'
import { BeanstalkdConnection, jobOf, saidBy } from './client.ts'
import type { Command, Reply } from './client.ts'
import { companyOf, envelopeBytesMax, opened, sealedText } from '../envelope.ts'
import type { Opened } from '../envelope.ts'
import { Hands } from '../hands.ts'

const connectMs = 5000
/** The server's own limit for a reserved job, and how often we tell it that we are there. */
const ttrSeconds = 120
const touchMs = 30_000
/** How often a waiting consumer looks. What this process sends is heard of at once. */
const lookMs = 50
/** Reservations under way at once. */
const reserveMax = 500

interface Job {
  readonly jobId: string
  readonly connection: BeanstalkdConnection
  readonly tube: string
  readonly attempt: number
  readonly opened: Opened
}

/** A settlement that is one command: the one at `index` of those that came together. */
interface Order extends Settlement, Command {
  readonly index: number
}

export interface BeanstalkdOptions {
  readonly host: string
  readonly port: number
  readonly server: string
  readonly jobBytesMax: number
  readonly durability: Durability
  readonly messagesMax: number | null
  readonly capabilities: Capabilities
  readonly clock: Clock
}

export class BeanstalkdDriver implements QueueDriver {
  readonly name = 'beanstalkd'
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #options: BeanstalkdOptions
  readonly #place: string
  readonly #hands = new Hands<Job>()
  readonly #connections = new Map<string, Promise<BeanstalkdConnection>>()
  /** Tubes that last had as many jobs as were asked for: of others one is asked for first, for each is an answer. */
  readonly #plenty = new Set<string>()
  readonly #hints = new Map<string, { promise: Promise<void>; resolve: () => void }>()
  readonly #touching: NodeJS.Timeout
  #timer: Disposable | undefined

  constructor(options: BeanstalkdOptions) {
    this.server = options.server
    this.capabilities = options.capabilities
    this.limits = { bodyBytesMax: options.jobBytesMax - envelopeBytesMax, delayMsMax }
    this.#options = options
    this.#place = `Beanstalkd at ${options.host}:${options.port}`
    this.#touching = setInterval(() => this.#touch(), touchMs)
    this.#touching.unref()
  }

  /** A tube is there when it is used. */
  async declare(_queue: string): Promise<void> {
    await this.#connection('send', null)
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const room = await this.#room(queue)
    const nowMs = this.#options.clock.nowMs()
    const connection = await this.#connection('send', null)
    const puts = messages.slice(0, room).map((message) => {
      const body = sealedText(companyOf(message, nowMs), message.body)
      return { line: putLine(message.priority, message.delayMs, body), body }
    })
    const [, ...replies] = await connection.all([{ line: `use ${queue}` }, ...puts])
    this.#hint(queue)
    return messages.map((message, index) => {
      const reply = replies[index]
      return reply === undefined ? { ok: false, error: this.#full(queue) } : this.#sent(queue, message, reply)
    })
  }

  #sent(queue: string, { id }: Outgoing, reply: Reply | Error): SendOutcome {
    if (reply instanceof Error) {
      const message = `${this.#place} did not answer: ${messageOf(reply)}`
      return { ok: false, error: failure('outcome-unknown', message, 'The message may be there.', reply) }
    }
    const said = saidBy(reply)
    if (said === 'INSERTED') return { ok: true, id, duplicate: false, durability: this.#options.durability }
    if (said === 'OUT_OF_MEMORY' || said === 'DRAINING' || said === 'BURIED')
      return { ok: false, error: this.#full(queue) }
    const message = `${this.#place} does not take the message: ${said}`
    return { ok: false, error: failure('rejected', message, 'Look at the limits of the server.') }
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    const { clock } = this.#options
    const untilMs = clock.monotonicMs() + want.waitMs
    for (;;) {
      if (signal.aborted) return []
      const hinted = this.#hinted(queue)
      const jobs = await this.#reserve(queue, want.max)
      const nowMs = clock.monotonicMs()
      if (jobs.length > 0 || untilMs <= nowMs) return this.#held(queue, jobs, want, nowMs)
      const waiting = new AbortController()
      const either = AbortSignal.any([signal, waiting.signal])
      await Promise.race([hinted, sleep(clock, Math.min(lookMs, untilMs - nowMs), either).catch(() => {})])
      waiting.abort()
    }
  }

  #held(queue: string, jobs: readonly Job[], want: Want, nowMs: number): readonly Held[] {
    const held = jobs.map((job) => {
      const { id, body, headers, priority, sentAtMs } = job.opened
      const receipt = this.#hands.hold(queue, job, want.leaseMs, want.keepMs, nowMs)
      return { receipt, id, body, headers, key: null, priority, attempt: job.attempt, sentAtMs }
    })
    this.#plan()
    return held
  }

  /** Up to `max` jobs that are ready, with how often each was reserved. */
  async #reserve(tube: string, max: number): Promise<readonly Job[]> {
    const connection = await this.#connection(tube, tube)
    const count = Math.min(max, reserveMax)
    const reserved = await this.#reserved(connection, this.#plenty.has(tube) ? count : 1)
    if (reserved.length === 1 && count > 1) reserved.push(...(await this.#reserved(connection, count - 1)))
    if (reserved.length === count && count > 1) this.#plenty.add(tube)
    else this.#plenty.delete(tube)
    const stats = await this.#all(
      connection,
      reserved.map((reply) => ({ line: `stats-job ${jobOf(reply)}` })),
    )
    return reserved.flatMap((reply, index) => {
      const jobId = jobOf(reply)
      const reserves = numberOf(stats[index], 'reserves')
      // A job whose figures are gone was taken from us in between.
      if (reply.body === null || reserves === null) return []
      const company = opened(reply.body, `job-${jobId}`)
      return [{ jobId, connection, tube, attempt: reserves + company.counted, opened: company }]
    })
  }

  async #reserved(connection: BeanstalkdConnection, count: number): Promise<Reply[]> {
    const asked = Array.from({ length: count }, () => ({ line: 'reserve-with-timeout 0' }))
    return (await this.#all(connection, asked)).filter((reply) => saidBy(reply) === 'RESERVED')
  }

  /** What is one command each is told together; a copy has to be there before its original is deleted. */
  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const outcomes: SettleOutcome[] = settlements.map(() => 'lost')
    const nowMs = this.#options.clock.monotonicMs()
    const together = new Map<BeanstalkdConnection, Order[]>()
    const copying: Promise<void>[] = []
    for (const [index, { receipt, decision }] of settlements.entries()) {
      const job = this.#hands.get(queue, receipt, nowMs)
      if (job === null) continue
      const line = lineOf(job, decision)
      if (line === null) {
        const settling = this.#settleByCopy(queue, receipt, job, decision)
        copying.push(settling.then((outcome) => void (outcomes[index] = outcome)))
        continue
      }
      const orders = together.get(job.connection) ?? []
      if (orders.length === 0) together.set(job.connection, orders)
      orders.push({ index, receipt, decision, line })
    }
    await Promise.all([
      ...copying,
      ...[...together].map(async ([connection, orders]) => {
        for (const [at, reply] of (await connection.all(orders)).entries()) {
          const order = orders[at]
          if (order !== undefined) outcomes[order.index] = this.#settled(order, reply, nowMs)
        }
      }),
    ])
    this.#plan()
    this.#hint(queue)
    return outcomes
  }

  /** What a connection had that broke, the server gives to others. */
  #settled({ receipt, decision }: Order, reply: Reply | Error, nowMs: number): SettleOutcome {
    const said = reply instanceof Error ? '' : saidBy(reply)
    if (decision.kind === 'extend') {
      if (said !== 'TOUCHED') return 'lost'
      this.#hands.extend(receipt, nowMs + decision.leaseMs)
      return 'done'
    }
    this.#hands.forget(receipt)
    return said === 'RELEASED' || said === 'DELETED' ? 'done' : 'lost'
  }

  async #settleByCopy(queue: string, receipt: string, job: Job, decision: Decision): Promise<SettleOutcome> {
    if (decision.kind === 'reject')
      await this.#copy(job, `${queue}.dead`, 0, { cause: decision.cause, attempts: job.attempt })
    if (decision.kind === 'retry') {
      // What the server counts cannot be turned back: a copy begins anew, and says what was counted before.
      await this.#copy(job, queue, decision.delayMs, { counted: job.attempt - 1 })
    }
    const said = saidBy(await this.#ask(job.connection, `delete ${job.jobId}`))
    this.#hands.forget(receipt)
    return said === 'DELETED' ? 'done' : 'lost'
  }

  /** Puts a copy with some of its company changed. Throws when it is not there for sure. */
  async #copy(job: Job, tube: string, delayMs: number, changed: Partial<Opened>): Promise<void> {
    const { body, ...company } = { ...job.opened, ...changed }
    const connection = await this.#connection('send', null)
    const copy = sealedText(company, body)
    const put = { line: putLine(company.priority, delayMs, copy), body: copy }
    const [, answer] = await this.#all(connection, [{ line: `use ${tube}` }, put])
    const said = answer === undefined ? '' : saidBy(answer)
    if (said !== 'INSERTED') throw failure('unavailable', `${this.#place} took no copy: ${said}`, 'Try again.')
  }

  async counts(queue: string): Promise<Counts> {
    const [stats, dead] = await Promise.all([this.#tube(queue), this.#tube(`${queue}.dead`)])
    return { ready: stats.ready, delayed: stats.delayed, held: stats.held, dead: dead.ready + dead.held }
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    if (shelf === 'ready') throw failure('unsupported', 'Beanstalkd shows the first message only', 'Use counts.')
    const jobs = await this.#take(`${queue}.dead`, max)
    await this.#releaseAll(jobs)
    return jobs.map(({ opened: { id, body, headers, priority, sentAtMs, cause, attempts } }) => {
      return { id, body, headers, key: null, priority, sentAtMs, attempt: attempts, cause }
    })
  }

  async redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    const jobs = await this.#take(`${queue}.dead`, batchMax)
    const chosen = jobs.filter(({ opened: { id } }) => ids === null || ids.includes(id)).slice(0, max)
    for (const job of chosen) {
      await this.#copy(job, queue, 0, { cause: null, attempts: 0, counted: 0 })
      await this.#ask(job.connection, `delete ${job.jobId}`)
    }
    await this.#releaseAll(jobs.filter((job) => !chosen.includes(job)))
    this.#hint(queue)
    return chosen.length
  }

  async purge(queue: string, shelf: Shelf): Promise<number> {
    const tube = shelf === 'dead' ? `${queue}.dead` : queue
    const connection = await this.#connection('send', null)
    let count = 0
    for (const kind of ['ready', 'delayed']) {
      for (;;) {
        const [, first] = await this.#all(connection, [{ line: `use ${tube}` }, { line: `peek-${kind}` }])
        if (first === undefined || saidBy(first) !== 'FOUND') break
        if (saidBy(await this.#ask(connection, `delete ${jobOf(first)}`)) === 'DELETED') count += 1
      }
    }
    return count
  }

  async remove(queue: string): Promise<void> {
    for (const job of this.#hands.all().filter(({ tube }) => tube === queue)) {
      await this.#ask(job.connection, `delete ${job.jobId}`)
    }
    this.#hands.drop(({ tube }) => tube === queue)
    for (const shelf of ['ready', 'dead'] as const) await this.purge(queue, shelf)
  }

  async close(): Promise<void> {
    clearInterval(this.#touching)
    this.#timer?.[Symbol.dispose]()
    for (const connection of this.#connections.values()) {
      await connection.then(
        (opened) => opened.close(),
        () => {},
      )
    }
  }

  async #take(tube: string, max: number): Promise<readonly Job[]> {
    const jobs: Job[] = []
    for (;;) {
      const more = await this.#reserve(tube, max - jobs.length)
      jobs.push(...more)
      if (more.length === 0 || jobs.length >= max) return jobs
    }
  }

  #release(job: Job): Promise<Reply> {
    return this.#ask(job.connection, releaseLine(job, 0))
  }

  async #releaseAll(jobs: readonly Job[]): Promise<void> {
    await Promise.all(
      [...Map.groupBy(jobs, ({ connection }) => connection)].map(([connection, own]) =>
        this.#all(
          connection,
          own.map((job) => ({ line: releaseLine(job, 0) })),
        ),
      ),
    )
  }

  async #tube(tube: string): Promise<{ readonly ready: number; readonly delayed: number; readonly held: number }> {
    const reply = await this.#ask(await this.#connection('send', null), `stats-tube ${tube}`)
    const of = (name: string): number => numberOf(reply, `current-jobs-${name}`) ?? 0
    return { ready: of('ready'), delayed: of('delayed'), held: of('reserved') }
  }

  async #room(queue: string): Promise<number> {
    const { messagesMax } = this.#options
    if (messagesMax === null) return Number.POSITIVE_INFINITY
    const { ready, delayed, held } = await this.#tube(queue)
    return Math.max(0, messagesMax - ready - delayed - held)
  }

  #full(queue: string): ReturnType<typeof failure> {
    return failure('full', `${this.#place} takes no more messages into ${queue} now`, 'Send again later.')
  }

  #hint(queue: string): void {
    this.#hints.get(queue)?.resolve()
    this.#hints.delete(queue)
  }

  #hinted(queue: string): Promise<void> {
    const hint = this.#hints.get(queue) ?? Promise.withResolvers<void>()
    this.#hints.set(queue, hint)
    return hint.promise
  }

  /** Gives back what is held too long, at the right time. */
  #plan(): void {
    this.#timer?.[Symbol.dispose]()
    const nextMs = this.#hands.nextMs()
    if (nextMs === null) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(1, nextMs - clock.monotonicMs()), () => {
      for (const job of this.#hands.overdue(clock.monotonicMs())) {
        this.#release(job).then(
          () => this.#hint(job.tube),
          () => {},
        )
      }
      this.#plan()
    })
  }

  #touch(): void {
    for (const [connection, jobs] of Map.groupBy(this.#hands.all(), (job) => job.connection)) {
      void connection.all(jobs.map(({ jobId }) => ({ line: `touch ${jobId}` })))
    }
  }

  /** The connection for a use: opened when needed, and again after it broke. What it held is lost with it. */
  async #connection(use: string, watch: string | null): Promise<BeanstalkdConnection> {
    const known = await this.#connections.get(use)?.catch(() => null)
    if (known !== undefined && known !== null && !known.broken) return known
    if (known?.broken === true) this.#hands.drop(({ connection }) => connection === known)
    const opening = this.#open(watch)
    this.#connections.set(use, opening)
    return opening
  }

  async #open(watch: string | null): Promise<BeanstalkdConnection> {
    const { host, port } = this.#options
    try {
      const connection = await BeanstalkdConnection.open(host, port, connectMs)
      if (watch !== null)
        await Promise.all([connection.command(`watch ${watch}`), connection.command('ignore default')])
      return connection
    } catch (error) {
      throw this.#away(error)
    }
  }

  async #ask(connection: BeanstalkdConnection, line: string): Promise<Reply> {
    try {
      return await connection.command(line)
    } catch (error) {
      throw this.#away(error)
    }
  }

  /** All answers, or the first failure once all have ended. */
  async #all(connection: BeanstalkdConnection, commands: readonly Command[]): Promise<readonly Reply[]> {
    return (await connection.all(commands)).map((reply) => {
      if (reply instanceof Error) throw this.#away(reply)
      return reply
    })
  }

  #away(error: unknown): Error {
    return failure('unavailable', `${this.#place} does not answer: ${messageOf(error)}`, 'See whether it runs.', error)
  }
}

/** The one command of a decision; null for one that needs a copy first. */
function lineOf(job: Job, decision: Decision): string | null {
  if (decision.kind === 'extend') return `touch ${job.jobId}`
  if (decision.kind === 'ack') return `delete ${job.jobId}`
  return decision.kind === 'retry' && decision.countAsFailure ? releaseLine(job, decision.delayMs) : null
}

function releaseLine({ jobId, opened: { priority } }: Job, delayMs: number): string {
  return `release ${jobId} ${urgency(priority)} ${seconds(delayMs)}`
}

/** The server's priorities begin with the most urgent. */
function urgency(priority: number): number {
  return priorityMax - priority
}

/** Whole seconds, never sooner. */
function seconds(delayMs: number): number {
  return Math.ceil(delayMs / 1000)
}

function putLine(priority: number, delayMs: number, job: string | Buffer): string {
  return `put ${urgency(priority)} ${seconds(delayMs)} ${ttrSeconds} ${Buffer.byteLength(job)}`
}

/** A figure of the server's statistics, which are lines of `name: value`. */
export function numberOf(reply: Reply | undefined, name: string): number | null {
  const text = reply?.body?.toString('latin1') ?? ''
  const before = `\n${name}: `
  const at = text.indexOf(before)
  return at === -1 ? null : Number.parseInt(text.slice(at + before.length), 10)
}
