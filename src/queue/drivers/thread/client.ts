/**
 * A driver that runs in a thread of its own, seen from the program: the same interface, so that a busy program delays neither
 * commits nor the extension of leases. The thread keeps the process alive exactly while somebody waits for it.
 */
import { extname, join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { assert } from '../../../base/index.ts'
import type { Capabilities } from '../../capability.ts'
import type {
  Counts,
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
import type { DriverLimits } from '../../limits.ts'
import { errorOf, packOutgoing, packSettlements, sentOf, settledOf, unpackHeld } from './protocol.ts'
import type { Answer, Call, FromThread, ToThread } from './protocol.ts'
import type { ThreadJob } from './job.ts'

type Opened = Extract<FromThread, { readonly kind: 'open' }>
type Unnumbered<T> = T extends { readonly id: number } ? Omit<T, 'id'> : never

/**
 * What is new in the memory of a thread. A batch of messages that does not fit is copied as often as it is filled: with 8 MB that was half
 * of what a driver's thread did. SQLite keeps its own, so for embedded queues those are enough, and they keep the program small.
 */
const youngMb = 32
const youngMbSmall = 8

/** Opens a driver in a thread. Throws what its opening throws. */
export async function openInThread(job: ThreadJob): Promise<QueueDriver> {
  const file = join(import.meta.dirname, `main${extname(import.meta.filename)}`)
  // Not the flags of the program: some of them, as `--input-type`, no thread can have.
  const worker = new Worker(file, {
    workerData: job,
    resourceLimits: { maxYoungGenerationSizeMb: job.driver === 'embedded' ? youngMbSmall : youngMb },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const { promise, resolve, reject } = Promise.withResolvers<Opened>()
  const onMessage = (message: FromThread): void => {
    if (message.kind === 'open') resolve(message)
    if (message.kind === 'cannot-open') reject(errorOf(message.plain))
  }
  const onExit = (): void => reject(new Error('the thread of the queues ended at once'))
  worker.once('message', onMessage).once('error', reject).once('exit', onExit)
  const opened = await promise
  worker.off('error', reject).off('exit', onExit)
  return new ThreadDriver(worker, opened)
}

class ThreadDriver implements QueueDriver {
  readonly name: string
  readonly server: string
  readonly capabilities: Capabilities
  readonly limits: DriverLimits
  readonly #worker: Worker
  readonly #pending = new Map<number, { resolve(answer: Answer): void; reject(error: unknown): void }>()
  #lastId = 0
  #broken: unknown

  constructor(worker: Worker, opened: Opened) {
    this.name = opened.name
    this.server = opened.server
    this.capabilities = opened.capabilities
    this.limits = opened.limits
    this.#worker = worker
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'answer') this.#answered(message.id, message.answer)
    })
    worker.on('error', (error) => this.#break(error))
    worker.on('exit', () => this.#break(failure('closed', 'the thread of the queues has ended', 'Open them again.')))
    worker.unref()
  }

  async declare(queue: string): Promise<void> {
    await this.#call({ method: 'declare', queue })
  }

  async send(queue: string, messages: readonly Outgoing[]): Promise<readonly SendOutcome[]> {
    const answer = await this.#call({ method: 'send', queue, messages: packOutgoing(messages) })
    assert(answer.kind === 'sent', `an answer of kind ${answer.kind}`)
    return sentOf(answer.outcomes, messages)
  }

  async receive(queue: string, want: Want, signal: AbortSignal): Promise<readonly Held[]> {
    if (signal.aborted) return []
    const calling = this.#call({ method: 'receive', queue, want })
    const stop: ToThread = { method: 'stop-waiting', id: this.#lastId }
    const onAbort = (): void => this.#worker.postMessage(stop, [])
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const answer = await calling
      assert(answer.kind === 'held', `an answer of kind ${answer.kind}`)
      return unpackHeld(answer.held)
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async settle(queue: string, settlements: readonly Settlement[]): Promise<readonly SettleOutcome[]> {
    const answer = await this.#call({ method: 'settle', queue, settlements: packSettlements(settlements) })
    assert(answer.kind === 'settled', `an answer of kind ${answer.kind}`)
    return settledOf(answer.outcomes, settlements)
  }

  async counts(queue: string): Promise<Counts> {
    const answer = await this.#call({ method: 'counts', queue })
    assert(answer.kind === 'counts', `an answer of kind ${answer.kind}`)
    return answer.counts
  }

  async peek(queue: string, shelf: Shelf, max: number): Promise<readonly Seen[]> {
    const answer = await this.#call({ method: 'peek', queue, shelf, max })
    assert(answer.kind === 'seen', `an answer of kind ${answer.kind}`)
    return answer.seen
  }

  redrive(queue: string, max: number, ids: readonly string[] | null): Promise<number> {
    return this.#number({ method: 'redrive', queue, max, ids })
  }

  purge(queue: string, shelf: Shelf): Promise<number> {
    return this.#number({ method: 'purge', queue, shelf })
  }

  async remove(queue: string): Promise<void> {
    await this.#call({ method: 'remove', queue })
  }

  async close(): Promise<void> {
    try {
      await this.#call({ method: 'close' })
    } finally {
      await this.#worker.terminate()
    }
  }

  async #number(call: Unnumbered<Call>): Promise<number> {
    const answer = await this.#call(call)
    assert(answer.kind === 'number', `an answer of kind ${answer.kind}`)
    return answer.count
  }

  #call(call: Unnumbered<Call>): Promise<Answer> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken)
    const id = (this.#lastId += 1)
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    if (this.#pending.size === 0) this.#worker.ref()
    this.#pending.set(id, { resolve, reject })
    this.#worker.postMessage({ ...call, id }, [])
    return promise
  }

  #answered(id: number, answer: Answer): void {
    const waiting = this.#pending.get(id)
    this.#pending.delete(id)
    if (this.#pending.size === 0) this.#worker.unref()
    if (answer.kind === 'failed') waiting?.reject(errorOf(answer.plain))
    else waiting?.resolve(answer)
  }

  #break(error: unknown): void {
    this.#broken ??= error
    for (const waiting of this.#pending.values()) waiting.reject(this.#broken)
    this.#pending.clear()
  }
}
