/**
 * A server of queues as a whole: the file, its driver, who may use it, and the administration of it. Invariant: the file is
 * opened, and locked, before the address is taken, so that at most one server answers for it; and a generation of the data
 * only grows, ending everything that was held under an earlier one.
 */
import { rm } from 'node:fs/promises'
import type { ListenOptions } from 'node:net'
import { randomId } from '../../../base/index.ts'
import type { Clock, Random } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { checkKey, checkNumber } from '../../limits.ts'
import { patiently } from '../../patience.ts'
import type { RetryPolicy } from '../../retry.ts'
import { openEmbeddedHost } from '../embedded/host.ts'
import type { EmbeddedFileOptions } from '../embedded/host.ts'
import { emptyQueueTally } from './routes.ts'
import type { QueueDesk } from './routes.ts'
import { QueueServer } from './server.ts'
import { queueRights, QueueUsers } from './users.ts'
import { isRecord } from './wire.ts'
import type { Wire } from './wire.ts'
import type { LedgerHost } from '../ledger/host.ts'

/** How a server of queues is to be; plain data, as it comes from whoever starts it. */
export interface QueueServiceOptions {
  /** The file of the queues; made when it is not there. */
  readonly path: string
  /** Where it answers: a Unix socket, which is made anew. */
  readonly socketPath: string
  /** The queue that is there from the start, and that nobody can delete. */
  readonly queue: string
  /** SHA-256 of the administrator's password, in hex. */
  readonly adminDigest: string
  readonly retry: RetryPolicy
  readonly leaseMs: number
  readonly bodyBytesMax: number
  readonly messagesMax: number
  readonly bytesMax: number
}

/** How long it waits for a predecessor on the same file to end. */
const predecessorMs = 10_000
/** Queues in one file: the one it is for, and what its users make beside it. */
const queuesMax = 1000
/** JSON around the bodies of a request, and base64 that makes bytes longer by a third. */
const requestBytesOf = (bodyBytesMax: number): number => Math.max(4 * 2 ** 20, Math.ceil(bodyBytesMax * 1.4) + 65_536)

/** The last part of a path of the administration, or null. */
function lastOf(path: string, before: string): string | null {
  return path.startsWith(before) ? decodeURIComponent(path.slice(before.length)) : null
}

export class QueueService implements AsyncDisposable {
  readonly #options: QueueServiceOptions
  readonly #users: QueueUsers
  readonly #server: QueueServer
  readonly #desk: Omit<QueueDesk, 'driver'>
  readonly #sinceMs: number
  #host: LedgerHost

  private constructor(options: QueueServiceOptions, host: LedgerHost, clock: Clock, random: Random) {
    this.#options = options
    this.#host = host
    this.#sinceMs = clock.nowMs()
    this.#users = new QueueUsers(options.adminDigest)
    const prefix = randomId(random, 12)
    let count = 0
    this.#desk = {
      clock,
      chance: () => (random.bytes(1)[0] ?? 0) / 256,
      nextId: () => `${prefix}-${(count += 1).toString(36)}`,
      retry: options.retry,
      leaseMs: options.leaseMs,
      bodyBytesMax: options.bodyBytesMax,
      ownQueue: options.queue,
      queuesMax,
      queues: () => this.#host.names(),
      oldestMs: (queue) => this.#host.oldest(queue),
      pause: (queue, paused) => this.#host.pause(queue, paused),
      isPaused: (queue) => this.#host.isPaused(queue),
      tally: emptyQueueTally(),
      waits: new Map(),
    }
    this.#server = new QueueServer({
      users: this.#users,
      desk: () => ({ ...this.#desk, driver: this.#host }),
      admin: (method, path, body) => this.#administer(method, path, body),
      requestBytesMax: requestBytesOf(options.bodyBytesMax),
      onFault: (error) => console.error(error),
    })
  }

  /** Opens the file and answers at the socket. Throws what opening the file throws. */
  static async start(options: QueueServiceOptions, clock: Clock, random: Random): Promise<QueueService> {
    const file = fileOf(options, null)
    const isBusy = (error: unknown): boolean =>
      error instanceof Error && 'code' in error && error.code === 'queue.in-use'
    const host = await patiently(clock, clock.monotonicMs() + predecessorMs, isBusy, () => openEmbeddedHost(file))
    await host.declare(options.queue)
    const service = new QueueService(options, host, clock, random)
    await rm(options.socketPath, { force: true })
    await service.#listen({ path: options.socketPath })
    return service
  }

  #listen(at: ListenOptions): Promise<void> {
    return this.#server.listen(at)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]()
    await this.#host.close()
  }

  async #administer(method: string, path: string, body: unknown): Promise<Wire | null> {
    const user = lastOf(path, '/admin/users/')
    if (user !== null && method === 'PUT') return this.#letIn(user, body)
    if (user !== null && method === 'DELETE') {
      this.#users.remove(user)
      this.#server.shutOut(user)
      return { removed: true }
    }
    switch (`${method} ${path}`) {
      case 'GET /admin/state':
        return { generation: this.#host.generation, queues: this.#host.names() }
      case 'GET /admin/metrics':
        return {
          ...this.#desk.tally,
          connections: this.#server.connections,
          receivers: this.#server.receivers,
          fileBytes: this.#host.usedBytes(),
          position: this.#host.position,
          sinceMs: this.#sinceMs,
        }
      case 'PUT /admin/generation':
        return { generation: await this.#goTo(isRecord(body) ? Number(body['generation']) : Number.NaN) }
      default:
        return null
    }
  }

  #letIn(name: string, body: unknown): Wire {
    const { digest, rights } = isRecord(body) ? body : {}
    checkKey('name of the login', name)
    if (name.startsWith('_') || typeof digest !== 'string' || !/^[0-9a-f]{64}$/.test(digest) || !Array.isArray(rights))
      throw failure(
        'bad-input',
        'this cannot be let in',
        'It has a digest and rights, and no underscore before its name.',
      )
    this.#users.put({ name, rights: queueRights.filter((right) => rights.includes(right)) }, digest)
    return { name }
  }

  /** Opens the file for a later generation of the data: receipts of an earlier one are void. */
  async #goTo(generation: number): Promise<number> {
    checkNumber('generation', generation, 1, 2 ** 31)
    if (generation <= this.#host.generation) return this.#host.generation
    await this.#host.close()
    this.#host = await openEmbeddedHost(fileOf(this.#options, generation))
    await this.#host.declare(this.#options.queue)
    return generation
  }
}

function fileOf({ path, messagesMax, bytesMax }: QueueServiceOptions, generation: number | null): EmbeddedFileOptions {
  return { path, generation, messagesMax, bytesMax }
}
