/**
 * Serves the dashboard on this machine's own address: the browser half's files to anybody, everything else to sessions.
 * Invariants: a request that the guard refuses is not looked at; an operation runs only with the rights of the session
 * that asks; connections, streams and bodies have limits; what is secret stands in no address.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { type Clock, messageOf, type Random, SteadError, systemCodeOf } from '../base/index.ts'
import { answerOperation, type Caller, drained, type Gate, type Operations, owner } from '../operator/index.ts'
import { Access, loginMs, type Session, sessionMs } from './access.ts'
import { feed } from './feed.ts'
import { builtDirectory, type BuiltFile, readBuilt } from './files.ts'
import { fileKeeper } from './keeper.ts'
import { hostsOf, mayDeploy, refusalOf, safetyHeaders } from './guard.ts'
import { Observer } from './observer.ts'
import { releaseFeed } from './release-feed.ts'

/** The port that is taken when none is asked for, and how many after it are tried before any free one is taken. */
const usualPort = 8090
const portTriesMax = 10

const connectionsMax = 256
const bodyBytesMax = 64 * 1024
/** Streams of one session (a page holds two), and of all. */
const streamsMax = 24
const allStreamsMax = 120
/** How long a stream of a session that is over may take to end. */
const endMs = 1000
/** A page that has not read for so long is gone. */
const drainTimeoutMs = 30_000

export interface DashboardOptions {
  /** Null: 8090, or the next that is free. */
  readonly port: number | null
  readonly operations: Operations
  /** Who may what, and the record of what is done; null: the owner alone. */
  readonly gate: Gate | null
  readonly clock: Clock
  readonly random: Random
  /** File in which sessions outlive this process; null: they do not. */
  readonly sessionsPath: string | null
  /** Directory of the built browser half, when it is not the usual one. */
  readonly built?: string
}

export interface Dashboard extends AsyncDisposable {
  readonly port: number
  /** Where it is, without a way in. */
  readonly url: string
  /** An address that lets this caller in once, within `forMs`. */
  login(caller: Caller): { readonly url: string; readonly forMs: number }
}

/** Serves the dashboard until disposed. Throws `dashboard.port-taken`. */
export async function serveDashboard(options: DashboardOptions): Promise<Dashboard> {
  const { operations, gate, clock, random, sessionsPath } = options
  const callerOf = (name: string, from: string): Caller | null =>
    gate === null ? (name === 'owner' ? owner(from) : null) : gate.known(name, from)
  const observer = new Observer(operations, clock)
  const access = new Access(clock, random, sessionsPath === null ? null : fileKeeper(sessionsPath, callerOf))
  const files = readBuilt(options.built ?? builtDirectory())
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 30_000, maxHeaderSize: 16 * 1024 })
  server.maxConnections = connectionsMax
  try {
    const port = await listen(server, options.port)
    const site = new Site({ operations, gate, clock, access, observer, files, port })
    server.on('request', (question, answer) => site.answer(question, answer))
    const url = `http://127.0.0.1:${port}`
    return {
      port,
      url,
      login: (caller) => ({ url: `${url}/#login=${access.issue(caller)}`, forMs: loginMs }),
      async [Symbol.asyncDispose]() {
        observer[Symbol.dispose]()
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  } catch (error) {
    observer[Symbol.dispose]()
    throw error
  }
}

interface SiteParts {
  readonly operations: Operations
  readonly gate: Gate | null
  readonly clock: Clock
  readonly access: Access
  readonly observer: Observer
  readonly files: ReadonlyMap<string, BuiltFile> | null
  readonly port: number
}

class Site {
  readonly #parts: SiteParts
  readonly #hosts: readonly string[]
  /** The cookie carries the port in its name: two dashboards on one machine do not take each other's place. */
  readonly #cookieName: string
  #streams = 0

  constructor(parts: SiteParts) {
    this.#parts = parts
    this.#hosts = hostsOf(parts.port)
    this.#cookieName = `stead-${parts.port}`
  }

  answer(question: IncomingMessage, answer: ServerResponse): void {
    this.#route(question, answer).catch((error: unknown) => {
      if (answer.headersSent) return answer.destroy()
      refuse(answer, 500, 'dashboard.internal', messageOf(error))
    })
  }

  async #route(question: IncomingMessage, answer: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(safetyHeaders)) answer.setHeader(name, value)
    const method = question.method ?? ''
    const [pathname = '', query = ''] = (question.url ?? '').split('?', 2)
    const refused = refusalOf({ method, pathname, headers: question.headers }, this.#hosts)
    if (refused !== null) return refuse(answer, refused.status, refused.code, refused.message)
    if (!pathname.startsWith('/api/')) return this.#file(method, pathname, question, answer)
    // What is looked at here is what the operations will see: no dots, no backslashes that they would resolve.
    if (URL.parse(question.url ?? '/', 'http://stead')?.pathname !== pathname)
      return refuse(answer, 400, 'dashboard.bad-path', 'the path is not written plainly')
    answer.setHeader('cache-control', 'no-store')
    if (method === 'POST' && pathname === '/api/login') return this.#login(question, answer)
    const cookie = this.#cookieOf(question)
    const key = question.headers['x-stead-key']
    const session = this.#parts.access.session(cookie, typeof key === 'string' ? key : '')
    if (session === null) {
      return refuse(answer, 401, 'dashboard.no-session', 'nobody is logged in here, or no more')
    }
    if (method === 'POST' && pathname === '/api/logout') {
      this.#parts.access.end(cookie)
      answer.setHeader('set-cookie', this.#setCookie('', 0))
      return void answer.writeHead(204).end()
    }
    if (method === 'GET' && pathname === '/api/feed')
      return this.#stream(session, answer, () => this.#feed(session, new URLSearchParams(query), answer))
    if (method === 'GET' && pathname === '/api/releases')
      return this.#stream(session, answer, () => this.#releases(session, new URLSearchParams(query), answer))
    // A session opens no other: one that was stolen ends with itself.
    if (pathname.startsWith('/api/v1/dashboard/'))
      return refuse(answer, 403, 'dashboard.not-by-a-page', 'only a command may ask for this')
    const operate = (): Promise<void> => {
      const { operations, gate } = this.#parts
      const url = (question.url ?? '').slice('/api'.length)
      const caller = mayDeploy(method, pathname.slice('/api'.length)) ? session.caller : withoutCode(session.caller)
      const carried = { operations, gate, caller, url, bodyBytesMax, signal: session.over.signal }
      return answerOperation(carried, question, answer)
    }
    // Any answer may go on for as long as it is followed.
    return this.#stream(session, answer, operate)
  }

  #file(method: string, pathname: string, question: IncomingMessage, answer: ServerResponse): void {
    if (method !== 'GET' && method !== 'HEAD')
      return refuse(answer, 405, 'dashboard.bad-method', `${method} is not answered here`)
    const { files } = this.#parts
    if (files === null) {
      answer.writeHead(503, { 'content-type': 'text/plain; charset=utf-8' })
      return void answer.end('The pages of the dashboard are not built yet. `npm run setup` builds them, in seconds.\n')
    }
    const file = files.get(pathname)
    if (file === undefined) return refuse(answer, 404, 'dashboard.no-page', 'there is no such page')
    answer.setHeader('cache-control', file.immutable ? 'public, max-age=31536000, immutable' : 'no-cache')
    answer.setHeader('etag', file.etag)
    if (question.headers['if-none-match'] === file.etag) return void answer.writeHead(304).end()
    answer.writeHead(200, { 'content-type': file.type, 'content-length': file.bytes.length })
    answer.end(method === 'HEAD' ? undefined : file.bytes)
  }

  async #login(question: IncomingMessage, answer: ServerResponse): Promise<void> {
    const token = await bodyOf(question, 1024)
    const opened = token === null ? null : this.#parts.access.redeem(token)
    if (opened === 'wait') {
      answer.setHeader('retry-after', '60')
      return refuse(answer, 429, 'dashboard.too-many-logins', 'too many wrong tokens: wait a minute')
    }
    if (opened === null) {
      const message = 'this link has been used, or is too old'
      return refuse(answer, 403, 'dashboard.bad-login', message)
    }
    answer.setHeader('set-cookie', this.#setCookie(opened.cookie, sessionMs / 1000))
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ key: opened.key }))
  }

  #setCookie(value: string, maxAgeS: number): string {
    return `${this.#cookieName}=${value}; Path=/api; Max-Age=${maxAgeS}; HttpOnly; SameSite=Strict`
  }

  #cookieOf(question: IncomingMessage): string {
    const pairs = (question.headers.cookie ?? '').split(';').map((pair) => pair.trim())
    const own = pairs.find((pair) => pair.startsWith(`${this.#cookieName}=`))
    return own?.slice(this.#cookieName.length + 1) ?? ''
  }

  /** Counts an answer that may go on, and ends it with its session. */
  async #stream(session: Session, answer: ServerResponse, work: () => Promise<void>): Promise<void> {
    if (session.streams >= streamsMax || this.#streams >= allStreamsMax) {
      answer.setHeader('retry-after', '5')
      return refuse(answer, 429, 'dashboard.too-many-streams', 'too many pages are open: close some')
    }
    session.streams += 1
    this.#streams += 1
    // What is told ends by the session's signal; whoever does not read it is cut off.
    const end = (): void => void this.#parts.clock.after(endMs, () => answer.destroy())
    session.over.signal.addEventListener('abort', end)
    try {
      await work()
    } finally {
      session.over.signal.removeEventListener('abort', end)
      session.streams -= 1
      this.#streams -= 1
    }
  }

  #feed(session: Session, query: URLSearchParams, answer: ServerResponse): Promise<void> {
    const { observer, clock } = this.#parts
    return this.#tell(session, answer, (signal) =>
      feed({ observer, clock, caller: session.caller, app: query.get('app'), signal }),
    )
  }

  #releases(session: Session, query: URLSearchParams, answer: ServerResponse): Promise<void> {
    const { observer, operations, clock } = this.#parts
    const app = query.get('app') ?? ''
    return this.#tell(session, answer, (signal) =>
      releaseFeed({ observer, operations, clock, caller: session.caller, app, signal }),
    )
  }

  /** Writes messages, one a line, for as long as the page reads and the session lasts. */
  async #tell(
    session: Session,
    answer: ServerResponse,
    messagesUntil: (signal: AbortSignal) => AsyncIterable<unknown>,
  ): Promise<void> {
    const abort = new AbortController()
    answer.on('close', () => abort.abort())
    answer.writeHead(200, { 'content-type': 'application/x-ndjson' })
    for await (const message of messagesUntil(AbortSignal.any([abort.signal, session.over.signal]))) {
      if (!answer.write(`${JSON.stringify(message)}\n`)) await drainedInTime(answer, this.#parts.clock)
    }
    answer.end()
  }
}

/** The same person, who brings no code here. */
function withoutCode(caller: Caller): Caller {
  const { name, from } = caller
  return { name, from, may: (right, app) => right !== 'deploy' && caller.may(right, app) }
}

/** Takes the port; when none is asked for, the usual one, one after it, or any. Throws `dashboard.port-taken`. */
async function listen(server: Server, port: number | null): Promise<number> {
  const usual = Array.from({ length: portTriesMax }, (_, index) => usualPort + index)
  const candidates = port === null ? [...usual, 0] : [port]
  for (const candidate of candidates) {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen({ host: '127.0.0.1', port: candidate }, resolve)
    try {
      await promise
      const address = server.address()
      return typeof address === 'object' && address !== null ? address.port : candidate
    } catch (error) {
      if (systemCodeOf(error) !== 'EADDRINUSE') throw error
    } finally {
      server.off('error', reject)
    }
  }
  throw new SteadError({
    code: 'dashboard.port-taken',
    message: `port ${port} of this machine is taken, so the dashboard cannot be served there`,
    hint: 'Name another with --dashboard-port, or leave it out to get one that is free.',
  })
}

function refuse(answer: ServerResponse, status: number, code: string, message: string): void {
  answer.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  answer.end(JSON.stringify({ code, message }))
}

/** The body as text; null when it is too long. */
async function bodyOf(question: IncomingMessage, bytesMax: number): Promise<string | null> {
  const length = Number(question.headers['content-length'] ?? Number.NaN)
  return Number.isInteger(length) && length <= bytesMax ? text(question) : null
}

/** Resolves when the page has read what was written, or is gone; one that does not read is let go. */
async function drainedInTime(answer: ServerResponse, clock: Clock): Promise<void> {
  using _timer = clock.after(drainTimeoutMs, () => answer.destroy())
  await drained(answer)
}
