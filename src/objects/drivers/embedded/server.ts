/**
 * The embedded S3 server over HTTP; the front of a bucket that somebody else runs stands on the same. Limits everything that comes in: connections, requests at once, header bytes, idle time,
 * bodies. A failure is answered as S3 does, with its request's id; a bug is answered as InternalError and handed to `onBug`.
 */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { isSteadError, randomId, systemRandom } from '../../../base/index.ts'
import type { Account } from '../../s3/acl.ts'
import { authenticate } from '../../s3/authenticate.ts'
import type { Authenticated, Credential } from '../../s3/authenticate.ts'
import { corsHeaders } from '../../s3/cors.ts'
import type { CorsRule } from '../../s3/cors.ts'
import { S3Failure } from '../../s3/failure.ts'
import { decode, readRequest } from '../../s3/request.ts'
import type { S3Request } from '../../s3/request.ts'
import { writePlainXml } from '../../s3/xml.ts'
import { RequestBody } from './body.ts'
import type { Answer } from './call.ts'
import { dispatch } from './dispatch.ts'
import type { Engine } from './engine.ts'

export const connectionsMax = 1024
export const requestsMax = 512
const headerBytesMax = 32 * 1024
const idleMs = 60_000
const headersMs = 20_000
/** What is still read of a body after its request has failed, so that the client sees why. */
const drainBytesMax = 1024 * 1024

/** What any server of S3 is told. */
export interface ListenerOptions {
  /** Who may sign. Asked for every request, so that keys can be exchanged while it runs. */
  readonly credentials: (accessKeyId: string) => Credential | undefined
  /** Names under which `bucket.NAME` means a bucket. Defaults to `localhost`. */
  readonly hostNames?: readonly string[]
  /** Told of what should not happen. */
  readonly onBug?: (error: unknown) => void
  /** Told of every request once it has been answered, or has ended without. */
  readonly onAnswered?: (request: AnsweredRequest) => void
}

/** A request whose sender is known. */
export interface Asked extends Authenticated {
  readonly request: S3Request
  readonly body: RequestBody
  readonly address: string
}

/** What answers requests. */
export interface Answering {
  readonly nowMs: () => number
  /** Rules for pages of other origins. */
  readonly corsOf: (bucket: string) => readonly CorsRule[] | undefined
  readonly answer: (asked: Asked) => Answer | Promise<Answer>
}

export interface ServerOptions extends ListenerOptions {
  readonly engine: Engine
  /** Owners by what lists and listings show; an unknown one is shown by its id. */
  readonly accounts?: readonly Account[]
  /** What `GetBucketLocation` says; signatures of any region are taken. Defaults to `us-east-1`. */
  readonly region?: string
  /**
   * Who owns objects in new buckets. By default the bucket's owner owns everything and lists do not count, as S3 has it since
   * 2023.
   */
  readonly defaultOwnership?: 'BucketOwnerEnforced' | 'ObjectWriter'
}

/** A request, for those who count. */
export interface AnsweredRequest {
  readonly method: string
  readonly status: number
  /** Of bodies, as their headers announce them. */
  readonly bytesIn: number
  readonly bytesOut: number
}

/** Where a server listens. Port 0 takes a free one. */
export type ListenAt = { readonly port: number; readonly host: string } | { readonly path: string }

/** A server that listens. */
export interface ListeningServer extends AsyncDisposable {
  /** 0 where it listens on a path. */
  readonly port: number
  /** Cuts off what runs that this key has signed. */
  endFor(accessKeyId: string): void
  /** Connections that are open. */
  connections(): number
  /** Stops accepting, ends connections, and resolves when none is left. */
  close(): Promise<void>
}

/** Serves the engine on an address. */
export function serve(options: ServerOptions, at: ListenAt): Promise<ListeningServer> {
  const { engine, credentials, accounts = [] } = options
  const context = {
    engine,
    accounts: {
      byId: (id: string) => accounts.find((account) => account.id === id),
      byEmail: (email: string) => accounts.find((account) => account.email === email),
    },
    region: options.region ?? 'us-east-1',
    defaultOwnership: options.defaultOwnership ?? 'BucketOwnerEnforced',
  }
  const answering: Answering = {
    nowMs: engine.nowMs,
    corsOf: (bucket) => engine.buckets.find(bucket)?.settings.cors,
    answer(asked) {
      const { request, caller, body } = asked
      return dispatch({ ...context, request, caller, body, values: policyValues(asked) }, credentials)
    },
  }
  return listen(options, answering, at)
}

/** Listens on an address, and has requests answered whose sender is known. */
export async function listen(options: ListenerOptions, answering: Answering, at: ListenAt): Promise<ListeningServer> {
  const handler = new Handler(options, answering)
  const server = createServer({
    maxHeaderSize: headerBytesMax,
    requestTimeout: 0,
    headersTimeout: headersMs,
    keepAliveTimeout: idleMs,
  })
  server.maxConnections = connectionsMax
  server.maxRequestsPerSocket = 0
  server.setTimeout(idleMs)
  server.on('request', (message, response) => void handler.take(message, response, false))
  server.on('checkContinue', (message, response) => void handler.take(message, response, true))
  server.on('checkExpectation', (message, response) => void handler.take(message, response, false))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(at, () => resolve())
  })
  return listening(server, handler)
}

function listening(server: Server, handler: Handler): ListeningServer {
  const address = server.address()
  let connections = 0
  server.on('connection', (socket) => {
    connections += 1
    socket.once('close', () => (connections -= 1))
  })
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    endFor: (accessKeyId) => handler.endFor(accessKeyId),
    connections: () => connections,
    close,
    [Symbol.asyncDispose]: close,
  }
}

class Handler {
  readonly #options: ListenerOptions
  readonly #answering: Answering
  readonly #hosts: { readonly names: readonly string[] }
  #running = 0
  /** What runs, by the key that signed it. */
  readonly #signed = new Map<string, Set<ServerResponse>>()

  constructor(options: ListenerOptions, answering: Answering) {
    this.#options = options
    this.#answering = answering
    this.#hosts = { names: options.hostNames ?? ['localhost'] }
  }

  endFor(accessKeyId: string): void {
    for (const response of this.#signed.get(accessKeyId) ?? []) response.destroy()
  }

  /** Answers one request, whatever happens. */
  async take(message: IncomingMessage, response: ServerResponse, waits: boolean): Promise<void> {
    const id = randomId(systemRandom, 16).toUpperCase()
    response.on('error', () => {})
    message.once('end', () => message.socket.setTimeout(0))
    this.#running += 1
    let request: S3Request | undefined
    let cors: Record<string, string> = {}
    try {
      if (this.#running > requestsMax) throw new S3Failure('SlowDown')
      request = readRequest(message.method ?? '', message.url ?? '', headersOf(message), this.#hosts)
      cors = this.#corsOf(request)
      const answer =
        request.method === 'OPTIONS' ? preflight(request, cors) : await this.#answer(request, message, response, waits)
      await send(message, response, { ...answer, headers: { ...answer.headers, ...cors } }, id)
    } catch (error) {
      await this.#fail(message, response, { id, request, cors, waits }, error)
    } finally {
      this.#running -= 1
      this.#options.onAnswered?.({
        method: message.method ?? '',
        status: response.headersSent ? response.statusCode : 0,
        bytesIn: Number(message.headers['x-amz-decoded-content-length'] ?? message.headers['content-length'] ?? 0) || 0,
        bytesOut: message.method === 'HEAD' ? 0 : Number(response.getHeader('content-length') ?? 0) || 0,
      })
    }
  }

  /** Keeps in mind whose request this is, for as long as it runs. */
  #note(accessKeyId: string | undefined, response: ServerResponse): void {
    if (accessKeyId === undefined) return
    const running = this.#signed.get(accessKeyId) ?? new Set()
    this.#signed.set(accessKeyId, running.add(response))
    response.once('close', () => {
      running.delete(response)
      if (running.size === 0 && this.#signed.get(accessKeyId) === running) this.#signed.delete(accessKeyId)
    })
  }

  async #answer(
    request: S3Request,
    message: IncomingMessage,
    response: ServerResponse,
    waits: boolean,
  ): Promise<Answer> {
    const { nowMs, answer } = this.#answering
    const authenticated = authenticate(request, this.#options.credentials, nowMs())
    this.#note(authenticated.accessKeyId, response)
    const begin = (): void => {
      if (waits && !response.headersSent) response.writeContinue()
    }
    const body = new RequestBody(message, request.headers, authenticated.payload, begin)
    return answer({ ...authenticated, request, body, address: message.socket.remoteAddress ?? '' })
  }

  /** Headers for a browser from elsewhere, where the bucket has a rule for it. */
  #corsOf(request: S3Request): Record<string, string> {
    const origin = request.headers['origin']
    if (origin === undefined || request.bucket === undefined) return {}
    const rules = this.#answering.corsOf(request.bucket)
    const asked = (request.headers['access-control-request-headers'] ?? '').split(',').map((name) => name.trim())
    const method = request.headers['access-control-request-method'] ?? request.method
    return (
      (rules &&
        corsHeaders(
          rules,
          origin,
          method,
          asked.filter((name) => name !== ''),
        )) ??
      {}
    )
  }

  async #fail(
    message: IncomingMessage,
    response: ServerResponse,
    about: {
      readonly id: string
      readonly request: S3Request | undefined
      readonly cors: Record<string, string>
      readonly waits: boolean
    },
    error: unknown,
  ): Promise<void> {
    const failure = failureOf(error)
    if (failure.code === 'InternalError' && !isAborted(error)) this.#options.onBug?.(error)
    if (response.headersSent || response.destroyed) {
      // The status is out already; an answer that is cut off is the only way to say that it is not whole.
      response.destroy()
      return
    }
    const unread = !message.complete
    const tree = {
      Code: failure.code,
      Message: failure.message,
      Resource: about.request?.rawPath,
      RequestId: about.id,
      HostId: 'stead',
    }
    const silent = message.method === 'HEAD' || failure.status === 304
    const answer: Answer = {
      status: failure.status,
      headers: {
        ...(silent ? {} : { 'content-type': 'application/xml' }),
        ...failure.headers,
        ...about.cors,
        ...(unread ? { connection: 'close' } : {}),
      },
      ...(silent ? {} : { body: writePlainXml('Error', tree) }),
    }
    try {
      if (unread && !about.waits) await drained(message)
      await send(message, response, answer, about.id)
    } catch {
      response.destroy()
    }
  }
}

function preflight(request: S3Request, cors: Record<string, string>): Answer {
  const { origin, 'access-control-request-method': method } = request.headers
  if (origin === undefined || method === undefined) {
    throw new S3Failure('InvalidRequest', 'The question of a browser needs Origin and Access-Control-Request-Method.')
  }
  if (Object.keys(cors).length === 0)
    throw new S3Failure('AccessDenied', 'No rule of the bucket allows this origin and method.')
  return { status: 200 }
}

/** Anything thrown as an error of S3. */
function failureOf(error: unknown): S3Failure {
  if (error instanceof S3Failure) return error
  if (isAborted(error)) return new S3Failure('RequestTimeout')
  if (isSteadError(error) && error.retry === 'later') return new S3Failure('SlowDown', `${error.message}.`)
  return new S3Failure('InternalError')
}

function isAborted(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ECONNRESET' || error.code === 'ERR_STREAM_PREMATURE_CLOSE')
  )
}

/** Headers by lower-case name; those that came twice are joined, as they are signed. */
function headersOf(message: IncomingMessage): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    if (values !== undefined) found[name] = values.join(',')
  }
  return found
}

function policyValues({ request, authType, ageMs, caller, address }: Asked): ReadonlyMap<string, string> {
  const { headers, query } = request
  const known: readonly (readonly [string, string | undefined])[] = [
    ['aws:sourceip', address.replace(/^::ffff:/, '')],
    ['aws:referer', headers['referer']],
    ['aws:useragent', headers['user-agent']],
    ['aws:securetransport', 'false'],
    ['aws:principalaccount', caller.account === '' ? undefined : caller.account],
    ['aws:username', caller.account === '' ? undefined : caller.account],
    ['s3:prefix', query.get('prefix')],
    ['s3:delimiter', query.get('delimiter')],
    ['s3:max-keys', query.get('max-keys')],
    ['s3:versionid', query.get('versionId')],
    ['s3:authtype', authType],
    ['s3:signatureage', authType === undefined ? undefined : String(ageMs)],
  ]
  const values = new Map<string, string>()
  for (const [name, value] of known) if (value !== undefined) values.set(name, value)
  for (const [name, value] of Object.entries(headers)) if (name.startsWith('x-amz-')) values.set(`s3:${name}`, value)
  const source = headers['x-amz-copy-source']
  if (source !== undefined) values.set('s3:x-amz-copy-source', decode(source.replace(/^\//, ''), false))
  return values
}

async function send(message: IncomingMessage, response: ServerResponse, answer: Answer, id: string): Promise<void> {
  const { body } = answer
  // While an answer was made, however long that took, the client had nothing to send; now it has to take it.
  message.socket.setTimeout(idleMs)
  response.statusCode = answer.status
  for (const [name, value] of Object.entries(answer.headers ?? {})) {
    response.setHeader(name, wireText(value))
  }
  response.setHeader('x-amz-request-id', id)
  response.setHeader('server', 'Stead')
  if (body === undefined || typeof body === 'string') {
    if (message.method !== 'HEAD') response.setHeader('content-length', Buffer.byteLength(body ?? ''))
    await new Promise<void>((resolve) => {
      response.once('close', resolve)
      response.end(message.method === 'HEAD' ? undefined : body, () => resolve())
    })
    return
  }
  for await (const piece of body) await written(response, piece)
  await new Promise<void>((resolve) => {
    response.once('close', resolve)
    response.end(() => resolve())
  })
}

/** Resolves when the bytes have left this process, so that their buffer can be used again. */
function written(response: ServerResponse, piece: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new S3Failure('RequestTimeout', 'The client has gone.'))
    if (response.destroyed) return gone()
    response.once('close', gone)
    response.write(piece, (error) => {
      response.off('close', gone)
      // A download that is broken off is no fault of ours: whatever the system calls it, nobody reads any more.
      if (error) gone()
      else resolve()
    })
  })
}

/**
 * What came in a header goes out as the same bytes; other text as its UTF-8. A header cannot hold line breaks, whatever was
 * stored.
 */
function wireText(value: string): string {
  const bytes = /[\u0100-\uffff]/.test(value) ? Buffer.from(value, 'utf8').toString('latin1') : value
  return bytes.replace(/[\r\n\0]/g, ' ')
}

/** Reads on a little of a body nobody wants: a client that is still sending would not see the answer. */
function drained(message: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    const done = (): void => {
      message.off('data', take)
      resolve()
    }
    const take = (piece: Uint8Array): void => {
      bytes += piece.length
      if (bytes > drainBytesMax) done()
    }
    message.on('error', done)
    message.once('end', done)
    message.once('close', done)
    // Whoever was reading has failed, and would hold the bytes back.
    message.removeAllListeners('readable')
    message.on('data', take)
    message.resume()
    if (message.destroyed || message.readableEnded) done()
  })
}
