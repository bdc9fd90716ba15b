/**
 * Serves the operations over HTTP on a Unix socket that only its owner may open: JSON in and out, streams as one JSON
 * object a line. Invariant: an operation runs only for a caller that has its right, and never more than `bodyBytesMax` of
 * a body is held.
 */
import { rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { isSteadError, messageOf, SteadError } from '../base/index.ts'
import { listenAsOwnerOnly } from '../transport/index.ts'
import { type Caller, owner } from './caller.ts'
import type { Operations } from './operations.ts'
import { badRequest } from './bad-request.ts'
import type { Answer, Route } from './route.ts'
import { routeOf } from './routes.ts'
import { serveStream, streamProtocol } from './streams.ts'

const bodyBytesMax = 16 * 1024 * 1024

/** Serves the operations until disposed. What stood at the path is replaced. */
export async function serveOperator(socketPath: string, operations: Operations): Promise<AsyncDisposable> {
  rmSync(socketPath, { force: true })
  const server = createServer((question, answer) => {
    handle(operations, owner, question, answer).catch((error: unknown) => refuse(answer, error))
  })
  server.on('upgrade', (question: IncomingMessage, socket: Socket, head: Buffer) => {
    upgrade(operations, owner, question, socket, head).catch((error: unknown) => refuseUpgrade(socket, error))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    listenAsOwnerOnly(server, socketPath, resolve)
  })
  return {
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** The route of a request that the caller may take. Throws `operator.unknown-operation`, `operator.forbidden`. */
function allowed(caller: Caller, question: IncomingMessage): { route: Route; path: Record<string, string>; url: URL } {
  const url = new URL(question.url ?? '/', 'http://stead')
  const found = routeOf(question.method ?? '', url.pathname)
  if (found === null) {
    throw new SteadError({
      code: 'operator.unknown-operation',
      message: `there is no operation ${question.method} ${url.pathname}`,
      hint: 'Is this command of another version than the platform?',
    })
  }
  if (!caller.rights.has(found.route.right)) {
    throw new SteadError({
      code: 'operator.forbidden',
      message: `${caller.name} may not do this: it needs the right ${found.route.right}`,
      hint: 'Ask whoever runs the platform for it.',
    })
  }
  return { ...found, url }
}

/** Carries a stream of a caller to its end. */
async function upgrade(
  operations: Operations,
  caller: Caller,
  question: IncomingMessage,
  socket: Socket,
  head: Buffer,
): Promise<void> {
  const { route, path, url } = allowed(caller, question)
  const body = (): Promise<null> => Promise.resolve(null)
  const { signal } = new AbortController()
  const answer = await route.answer(operations, { path, caller: caller.name, query: url.searchParams, body, signal })
  if (answer.kind !== 'stream' || question.headers.upgrade !== streamProtocol)
    throw badRequest('this operation is no stream')
  await serveStream(socket, head, answer.open)
}

function refuseUpgrade(socket: Socket, error: unknown): void {
  const { status, body } = refusalOf(error)
  const text = JSON.stringify(body)
  const head = `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\nconnection: close\r\n`
  socket.end(`${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
}

/** Answers one request of a caller. */
async function handle(
  operations: Operations,
  caller: Caller,
  question: IncomingMessage,
  answer: ServerResponse,
): Promise<void> {
  const { route, path, url } = allowed(caller, question)
  const abort = new AbortController()
  answer.on('close', () => abort.abort())
  const result = await route.answer(operations, {
    path,
    query: url.searchParams,
    body: () => bodyOf(question),
    signal: abort.signal,
    caller: caller.name,
  })
  await send(answer, result)
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
    if (!answer.write(`${JSON.stringify(line)}\n`)) await drained(answer)
  }
  answer.end()
}

function refuse(answer: ServerResponse, error: unknown): void {
  if (answer.headersSent) return void answer.destroy()
  const { status, body } = refusalOf(error)
  answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function refusalOf(error: unknown): { status: number; body: object } {
  if (!isSteadError(error)) return { status: 500, body: { code: 'operator.internal', message: messageOf(error) } }
  const { code, message, hint, retry } = error
  const status = code === 'operator.forbidden' ? 403 : code.startsWith('operator.unknown-') ? 404 : 400
  return { status, body: { code, message, hint, retry } }
}

async function bodyOf(question: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of question as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > bodyBytesMax) throw badRequest(`the body is larger than ${bodyBytesMax / 1024 ** 2} MiB`)
    chunks.push(chunk)
  }
  if (bytes === 0) return null
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch (cause) {
    throw badRequest('the body is not JSON', cause)
  }
}

function drained(answer: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    answer.once('drain', resolve)
    answer.once('close', resolve)
  })
}
