/**
 * Serves the operations over HTTP on Unix sockets: one that only its owner may open, and, where there is a gate, one for
 * everybody who has a token. JSON in and out, streams as one JSON object a line. Invariant: an operation runs only for a
 * caller that has its right, goes on only while it has it, and never more than `bodyBytesMax` of a body is held.
 */
import { chmodSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError, messageOf, SteadError } from '../base/index.ts'
import { listenAsOwnerOnly } from '../transport/index.ts'
import { badRequest } from './bad-request.ts'
import { drained } from './drained.ts'
import { type Caller, includedIn, owner } from './caller.ts'
import type { Deed, Gate } from './gate.ts'
import type { Operations } from './operations.ts'
import type { Answer, Route } from './route.ts'
import { routeOf } from './routes.ts'
import { serveStream, streamProtocol } from './streams.ts'

const bodyBytesMax = 16 * 1024 * 1024
/** Connections at once on the socket that is open to all. */
const connectionsMax = 256
/** Whoever connects must have asked by then. How long an answer or a body takes is not limited: streams are long. */
const headersTimeoutMs = 20_000
/** How long the end waits for answers that are on their way. */
const lastAnswersMs = 1000
/** How long a right that has ended may still be used by what is under way. */
const recheckMs = 2000

/** What carries a question to the operations. */
export interface Carried {
  readonly operations: Operations
  /** Keeps the record; null: there is none. */
  readonly gate: Gate | null
  readonly caller: Caller
  /** Path and query of the operation, from `/v1` on. */
  readonly url: string
  readonly bodyBytesMax: number
  /** Aborts when the caller may ask no more. */
  readonly signal?: AbortSignal
}

/** Lets in people besides the owner. */
export interface Entrance {
  readonly gate: Gate
  /** The socket that everybody may open and that asks for a token. */
  readonly socketPath: string
}

interface Serving {
  readonly operations: Operations
  readonly gate: Gate | null
  /** Of connections that say who they are once. */
  readonly callers: WeakMap<Duplex, Caller>
  /** What is being answered with one value: a stream has no end of its own. */
  readonly answering: Set<ServerResponse>
  /** Connections that have become streams. */
  readonly upgraded: Set<Duplex>
}

/** Serves the operations until disposed. What stood at the paths is replaced. */
export async function serveOperator(
  socketPath: string,
  operations: Operations,
  entrance: Entrance | null = null,
): Promise<AsyncDisposable> {
  const serving: Serving = {
    operations,
    gate: entrance?.gate ?? null,
    callers: new WeakMap(),
    answering: new Set(),
    upgraded: new Set(),
  }
  await using stack = new AsyncDisposableStack()
  const own = serverFor(serving, (question) => Promise.resolve(serving.callers.get(question.socket) ?? owner()))
  onUpgrade(serving, own, (question, socket, head) => {
    if (question.headers.upgrade !== streamProtocol) return become(serving, own, question, socket, head)
    return carry(serving, serving.callers.get(socket) ?? owner(), question, socket, head)
  })
  await listen(own, socketPath)
  stack.defer(() => close(serving, own))
  if (entrance !== null) {
    const { gate } = entrance
    const open = serverFor(serving, (question) => gate.callerOf(question.headers.authorization))
    open.maxConnections = connectionsMax
    onUpgrade(serving, open, async (question, socket, head) =>
      carry(serving, await gate.callerOf(question.headers.authorization), question, socket, head),
    )
    await listen(open, entrance.socketPath)
    chmodSync(entrance.socketPath, 0o666)
    stack.defer(() => close(serving, open))
  }
  const running = stack.move()
  return { [Symbol.asyncDispose]: () => running.disposeAsync() }
}

function serverFor(serving: Serving, identify: (question: IncomingMessage) => Promise<Caller>): Server {
  return createServer({ headersTimeout: headersTimeoutMs, requestTimeout: 0 }, (question, answer) => {
    const { operations, gate, answering } = serving
    answering.add(answer)
    answer.once('close', () => answering.delete(answer))
    const work = async (): Promise<void> => {
      const carried = { operations, gate, caller: await identify(question), url: question.url ?? '/', bodyBytesMax }
      await handle(carried, question, answer, () => answering.delete(answer))
    }
    work().catch((error: unknown) => refuse(answer, error))
  })
}

/** What asks to become something else than HTTP. */
function onUpgrade(
  { upgraded }: Serving,
  server: Server,
  take: (question: IncomingMessage, socket: Duplex, head: Buffer) => Promise<void>,
): void {
  server.on('upgrade', (question: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgraded.add(socket)
    socket.once('close', () => upgraded.delete(socket))
    // Nobody else listens until it is a connection again, and a peer that goes away must end nothing but itself.
    socket.on('error', () => {})
    take(question, socket, head).catch((error: unknown) => refuseUpgrade(socket, error))
  })
}

async function listen(server: Server, socketPath: string): Promise<void> {
  rmSync(socketPath, { force: true })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    listenAsOwnerOnly(server, socketPath, resolve)
  })
}

/** What is asked of a platform that ends is still answered: above all that it shall end. */
async function close({ answering, upgraded }: Serving, server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  const answered = [...answering].map((answer) => new Promise((resolve) => answer.once('close', resolve)))
  const enough = new AbortController()
  const late = pause(lastAnswersMs, undefined, { signal: enough.signal }).catch(() => {})
  await Promise.race([Promise.all(answered), late])
  enough.abort()
  server.closeAllConnections()
  // Who is not there to go away himself is not waited for.
  for (const socket of upgraded) socket.destroy()
  await closed
}

/**
 * From here on the connection is somebody else's: the entrance of SSH says whose. Only who may be anybody can ask for
 * that, and nobody gains by it.
 */
async function become(
  serving: Serving,
  server: Server,
  question: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const { gate, callers } = serving
  const person = /^\/v1\/as\/([a-z0-9._-]+)$/.exec(question.url ?? '')?.[1]
  if (person === undefined || question.headers.upgrade !== 'stead' || callers.has(socket))
    throw unknownOperation(question)
  const given = question.headers['stead-from']
  const from = typeof given === 'string' ? given.slice(0, 100) : 'socket'
  const caller = gate === null ? owner(from) : await gate.callerAs(person, from)
  callers.set(socket, caller)
  socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: stead\r\n\r\n')
  if (head.length > 0) socket.unshift(head)
  server.emit('connection', socket)
}

interface Admitted {
  readonly route: Route
  readonly path: Readonly<Record<string, string>>
  readonly url: URL
  readonly app: string | null
  readonly deed: Deed
}

/** The route of a request, which the caller may take. Throws `operator.unknown-operation`, `operator.forbidden`. */
async function admitted(
  { gate, caller, url: asked }: Pick<Carried, 'gate' | 'caller' | 'url'>,
  question: IncomingMessage,
): Promise<Admitted> {
  const url = new URL(asked, 'http://stead')
  const found = routeOf(question.method ?? '', url.pathname)
  if (found === null) throw unknownOperation(question)
  const { route, path } = found
  const app = path['app'] ?? null
  const part = path['part'] ?? path['name'] ?? path['person'] ?? url.searchParams.get('part')
  const deed: Deed = { caller, operation: `${route.method} ${route.path}`, app, part }
  if (route.filtered !== true && !may(caller, route, app)) {
    const refusal = forbidden(caller, route, app)
    await gate?.refused(deed, refusal)
    throw refusal
  }
  return { route, path, url, app, deed }
}

/** Whose socket is that of a program of this machine which carries what another one says: it goes with their line. */
function isFarAway({ from }: Caller): boolean {
  return from.startsWith('ssh ')
}

/** Carries a stream of a caller to its end. */
async function carry(
  { operations, gate }: Serving,
  caller: Caller,
  question: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const { route, path, url, app, deed } = await admitted({ gate, caller, url: question.url ?? '/' }, question)
  using _watch = gate === null ? null : whileAllowed(gate, caller, route, app, socket)
  const ended = await record(gate, route, deed)
  try {
    const { signal } = new AbortController()
    const body = (): Promise<null> => Promise.resolve(null)
    const asked = { path, query: url.searchParams, body, stream: question, signal, caller, gate }
    const answer = await route.answer(operations, asked)
    if (answer.kind !== 'stream') throw badRequest('this operation is no stream')
    // Who has lost the right is not waited for.
    await serveStream(socket, head, answer.open, () => isFarAway(caller) && may(caller, route, app))
    await ended(null)
  } catch (error) {
    await ended(error)
    throw error
  }
}

/** Answers one request of a caller, also with a refusal. Never rejects. */
export async function answerOperation(
  carried: Carried,
  question: IncomingMessage,
  answer: ServerResponse,
): Promise<void> {
  await handle(carried, question, answer, () => {}).catch((error: unknown) => refuse(answer, error))
}

/** `onStream` is called when the answer goes on for as long as it is followed. */
async function handle(
  carried: Carried,
  question: IncomingMessage,
  answer: ServerResponse,
  onStream: () => void,
): Promise<void> {
  const { operations, gate, caller } = carried
  const { route, path, url, app, deed } = await admitted(carried, question)
  const abort = new AbortController()
  answer.on('close', () => abort.abort())
  const signal = carried.signal === undefined ? abort.signal : AbortSignal.any([abort.signal, carried.signal])
  using _watch = gate === null || route.filtered === true ? null : whileAllowed(gate, caller, route, app, answer)
  const ended = await record(gate, route, deed)
  try {
    const result = await route.answer(operations, {
      path,
      query: url.searchParams,
      body: () => bodyOf(question, carried.bodyBytesMax),
      stream: question,
      signal,
      caller,
      gate,
    })
    await ended(null)
    if (result.kind === 'lines') onStream()
    await send(answer, result)
  } catch (error) {
    if (!answer.headersSent) await ended(error)
    throw error
  }
}

function may(caller: Caller, { right }: Route, app: string | null): boolean {
  const wider = includedIn[right]
  return caller.may(right, app) || (wider !== undefined && caller.may(wider, app))
}

/** Ends what is under way when the caller loses the right, by removal or by time. */
function whileAllowed(
  gate: Gate,
  caller: Caller,
  route: Route,
  app: string | null,
  carried: { destroy(): unknown },
): Disposable {
  const look = (): void => {
    if (!may(caller, route, app)) carried.destroy()
  }
  const listening = gate.onChange(look)
  const timer = setInterval(look, recheckMs)
  timer.unref()
  return {
    [Symbol.dispose]() {
      clearInterval(timer)
      listening[Symbol.dispose]()
    },
  }
}

/** Records what is about to happen as its kind asks for; answers what records its end, at most once. */
async function record(gate: Gate | null, route: Route, deed: Deed): Promise<(error: unknown) => Promise<void>> {
  const nothing = (): Promise<void> => Promise.resolve()
  if (gate === null || route.right === 'read' || route.recorded === 'none') return nothing
  if (route.method !== 'GET') {
    const end = await gate.begin(deed)
    let done = false
    return (error) => {
      if (done) return nothing()
      done = true
      return end(error)
    }
  }
  await gate.looked(deed)
  return nothing
}

function forbidden(caller: Caller, { right }: Route, app: string | null): SteadError {
  const onApp = app === null ? '' : ` on ${app}`
  return new SteadError({
    code: 'operator.forbidden',
    message: `${caller.name} may not do this: it needs the right ${right}${app === null ? ' on the platform itself' : onApp}`,
    hint: 'Ask whoever runs the platform for it.',
  })
}

function unknownOperation(question: IncomingMessage): SteadError {
  return new SteadError({
    code: 'operator.unknown-operation',
    message: `there is no operation ${question.method} ${new URL(question.url ?? '/', 'http://stead').pathname}`,
    hint: 'Is this command of another version than the platform?',
  })
}

async function send(answer: ServerResponse, result: Answer): Promise<void> {
  if (result.kind === 'value') {
    answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result.value))
    return
  }
  if (result.kind === 'stream') throw badRequest('this operation is a stream: ask for an upgrade')
  answer.writeHead(200, { 'content-type': 'application/x-ndjson' })
  answer.flushHeaders()
  for await (const line of result.lines) {
    if (answer.destroyed) return
    if (!answer.write(`${JSON.stringify(line)}\n`)) await drained(answer)
  }
  answer.end()
}

function refuse(answer: ServerResponse, error: unknown): void {
  if (answer.headersSent) return void answer.destroy()
  const { status, body } = refusalOf(error)
  answer.writeHead(status, { 'content-type': 'application/json' }).end(body)
}

function refuseUpgrade(socket: Duplex, error: unknown): void {
  const { status, body } = refusalOf(error)
  const length = Buffer.byteLength(body)
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${length}\r\nconnection: close`
  socket.end(`${head}\r\n\r\n${body}`)
}

const statuses: Readonly<Record<string, number>> = {
  'operator.forbidden': 403,
  'operator.unauthorized': 401,
  'operator.token-expired': 401,
  'operator.too-many-tries': 429,
}

function refusalOf(error: unknown): { status: number; body: string } {
  if (!isSteadError(error))
    return { status: 500, body: JSON.stringify({ code: 'operator.internal', message: messageOf(error) }) }
  const { code, message, hint, retry } = error
  const status = statuses[code] ?? (code.startsWith('operator.unknown-') ? 404 : 400)
  return { status, body: JSON.stringify({ code, message, hint, retry }) }
}

async function bodyOf(question: IncomingMessage, bytesMax: number): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of question as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bytesMax) throw badRequest(`the body is larger than ${bytesMax / 1024} KiB`)
    chunks.push(chunk)
  }
  if (bytes === 0) return null
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (cause) {
    throw badRequest('the body is not JSON', cause)
  }
}
