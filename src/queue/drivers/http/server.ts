/**
 * The server of queues: HTTP on a Unix socket or a port, over one driver. Limits stand before everything: connections, bodies
 * one by one and together, receivers that wait. What was delivered into a connection that is gone is given back at once,
 * uncounted; and whoever is shut out loses the connections that are open, whatever they are waiting for.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { ListenOptions, Socket } from 'node:net'
import { isSteadError, messageOf } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { problemOf } from './problem.ts'
import { needRight, queueRoutes, standingOf } from './routes.ts'
import type { QueueAnswer, QueueDesk } from './routes.ts'
import type { QueueUser, QueueUsers } from './users.ts'
import type { Wire } from './wire.ts'

/** Connections that may be open. */
const connectionsMax = 1000
/** Receivers that may wait at one time: the rest of the connections are for those who settle and send. */
const receiversMax = 500
/** Time for the head of a request, and for all of it. */
const headMs = 10_000
const requestMs = 60_000
/** How much of a request that is refused is still heard, in times of what one may have. */
const discardMax = 8
/** How long a connection stays open for the next request. */
const keepAliveMs = 65_000

export interface QueueServerOptions {
  readonly users: QueueUsers
  /** Answers what goes by the name of `/v1/queues/...`. */
  desk(): QueueDesk
  /** Answers everything else for the administrator; null where there is nothing of the kind. */
  admin(method: string, path: string, body: unknown): Promise<Wire | null>
  /** Bytes of one request. Twice as many may be under way together. */
  readonly requestBytesMax: number
  /** Told of failures that nobody foresaw; they are answered with status 500. */
  onFault(error: unknown): void
}

export class QueueServer implements AsyncDisposable {
  readonly #options: QueueServerOptions
  readonly #server: Server
  /** The open connections, each with whom it was last used by. */
  readonly #sockets = new Map<Socket, string | null>()
  #bodyBytes = 0
  #receivers = 0

  constructor(options: QueueServerOptions) {
    this.#options = options
    this.#server = createServer((request, response) => void this.#answer(request, response))
    Object.assign(this.#server, {
      maxConnections: connectionsMax,
      headersTimeout: headMs,
      requestTimeout: requestMs,
      keepAliveTimeout: keepAliveMs,
    })
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.set(socket, null)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  async listen(at: ListenOptions): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(at, () => resolve(void this.#server.off('error', reject)))
    })
  }

  get connections(): number {
    return [...this.#sockets.values()].filter((user) => user !== null && !user.startsWith('_')).length
  }

  get receivers(): number {
    return this.#receivers
  }

  /** Ends the connections of a login. */
  shutOut(user: string): void {
    for (const [socket, last] of this.#sockets) if (last === user) socket.destroy()
  }

  /** Takes nothing more; those who wait are sent away. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets.keys()) socket.destroy()
    await closed
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.once('close', () => gone.abort())
    try {
      const user = this.#options.users.find(request.headers.authorization)
      this.#sockets.set(request.socket, user.name)
      const answer = await this.#dispatch(request, user, gone.signal)
      // Between the answer of the driver and here nothing is awaited: who has gone by now has gone before.
      if (gone.signal.aborted || request.socket.destroyed) return await answer.undo?.()
      const text = JSON.stringify(answer.body)
      response.once('close', () => {
        if (!response.writableFinished) answer.undo?.().catch((error: unknown) => this.#options.onFault(error))
      })
      response
        .writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
        .end(text)
    } catch (error) {
      // Who is cut off while sending hears no reason: the rest is heard out first, as far as that is bearable.
      if (!request.complete && !request.destroyed) await heardOut(request, discardMax * this.#options.requestBytesMax)
      this.#refuse(request, response, error)
    }
  }

  async #dispatch(request: IncomingMessage, user: QueueUser, signal: AbortSignal): Promise<QueueAnswer> {
    const { method = 'GET', url = '/' } = request
    const asked = URL.parse(url, 'http://queues')
    if (asked === null) throw unknownPath(method, url)
    const { pathname, searchParams: query } = asked
    const [, version, collection, queue = '', action = '', ...more] = pathname.split('/').map(decoded)
    if (version !== 'v1' || collection !== 'queues' || more.length > 0) {
      const body = await this.#bodyOf(request)
      const own = user.name.startsWith('_') ? await this.#options.admin(method, pathname, body) : null
      return { body: own ?? (await this.#welcome(method, pathname)) }
    }
    const desk = this.#options.desk()
    if (queue === '' && method === 'GET')
      return { body: { queues: await Promise.all(desk.queues().map((name) => standingOf(desk, name))) } }
    const route = queueRoutes.find((item) => item.method === method && item.path === action)
    if (route === undefined) throw unknownPath(method, pathname)
    if (route.right !== null) needRight(user, route.right)
    const waits = action === 'receive'
    if (waits && this.#receivers >= receiversMax)
      throw failure(
        'overloaded',
        `${receiversMax} receivers wait already`,
        'Receive more messages with fewer receivers.',
      )
    this.#receivers += waits ? 1 : 0
    try {
      return await route.answer(desk, { queue, user, query, signal, body: await this.#bodyOf(request) })
    } finally {
      this.#receivers -= waits ? 1 : 0
    }
  }

  /** What the server is: what a client asks first. */
  async #welcome(method: string, path: string): Promise<Wire> {
    if (method !== 'GET' || path !== '/v1') throw unknownPath(method, path)
    const { driver, bodyBytesMax, leaseMs, retry } = this.#options.desk()
    const limits = {
      bodyBytesMax,
      requestBytesMax: this.#options.requestBytesMax,
      delayMsMax: driver.limits.delayMsMax,
    }
    return { server: driver.server, limits, leaseMs, retry }
  }

  /** The body of a request as JSON; undefined where there is none. */
  async #bodyOf(request: IncomingMessage): Promise<unknown> {
    const { requestBytesMax } = this.#options
    const pieces: Buffer[] = []
    let bytes = 0
    let kept = 0
    let refusal: Error | null = null
    try {
      for await (const piece of request as AsyncIterable<Buffer>) {
        bytes += piece.length
        if (bytes > requestBytesMax)
          refusal ??= failure(
            'too-large',
            `the request has more than ${requestBytesMax} bytes`,
            'Send fewer messages at once.',
          )
        else if (this.#bodyBytes + piece.length > 2 * requestBytesMax)
          refusal ??= failure('overloaded', 'too many large requests are under way', 'Send again a little later.')
        if (refusal === null) {
          pieces.push(piece)
          kept += piece.length
          this.#bodyBytes += piece.length
        } else {
          // The rest is heard out and let go, as far as that is bearable: who is cut off while sending hears no reason.
          pieces.length = 0
          if (bytes > discardMax * requestBytesMax) break
        }
      }
    } finally {
      this.#bodyBytes -= kept
    }
    if (refusal !== null) throw refusal
    if (bytes === 0) return undefined
    try {
      return JSON.parse(Buffer.concat(pieces).toString('utf8'))
    } catch (error) {
      throw failure('bad-input', `the body is not JSON: ${messageOf(error)}`, 'Send JSON in UTF-8.')
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    if (!isSteadError(error)) {
      // Whoever hangs up in the middle of a request is no fault of ours.
      if (request.destroyed && !request.complete) return
      this.#options.onFault(error)
    }
    const told = isSteadError(error) ? error : failure('unavailable', 'the server has failed', 'See its log.')
    const problem = problemOf(told)
    const text = JSON.stringify(problem)
    if (response.headersSent || response.destroyed) return
    // What is left of a body that was not read would be taken for the next request.
    if (!request.complete) response.setHeader('connection', 'close')
    if (problem.status === 401) response.setHeader('www-authenticate', 'Bearer')
    const headers = { 'content-type': 'application/problem+json', 'content-length': Buffer.byteLength(text) }
    response.writeHead(isSteadError(error) ? problem.status : 500, headers).end(text)
  }
}

/** Reads what is left of a request and lets it go; one that has more than that is ended. Never throws. */
async function heardOut(request: IncomingMessage, bytesMax: number): Promise<void> {
  let bytes = 0
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      bytes += piece.length
      if (bytes > bytesMax) return
    }
  } catch {
    // It went away meanwhile, and hears nothing.
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function unknownPath(method: string, path: string): Error {
  return failure(
    'bad-input',
    `there is nothing at ${method} ${path.slice(0, 200)}`,
    'There are GET, GET and POST /messages, and POST /receive, /settle, /redrive, /purge, /pause and /resume below the URL of a queue.',
  )
}
