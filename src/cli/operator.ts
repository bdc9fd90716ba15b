/**
 * How commands talk to the running platform: HTTP on a Unix socket that only its owner may open. JSON in and out; logs
 * are one JSON object a line for as long as they are followed.
 */
import { rmSync } from 'node:fs'
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { isSteadError, messageOf, SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { LogLine, Phase } from '../protocol/index.ts'
import { listenAsOwnerOnly } from '../transport/index.ts'

/** What `stead status` shows. */
export interface Status {
  readonly app: string
  readonly release: number
  readonly urls: readonly string[]
  /** Process id of the platform. */
  readonly pid: number
  readonly parts: readonly PartStatus[]
  /** What is weaker than it could be on this machine, and how to mend it. */
  readonly weaker: readonly string[]
  readonly drivers: { readonly sandbox: string; readonly network: string; readonly domain: string }
}

export interface PartStatus {
  readonly part: string
  readonly kind: 'service' | 'job' | 'resource'
  /** Null when the part has no instance now (a job that is not due). */
  readonly instance: string | null
  readonly phase: Phase | 'scheduled'
  readonly reason: string | null
  readonly restarts: number
  /** Process id on this machine, for tools. */
  readonly pid: number | null
  readonly sinceMs: number | null
  readonly memoryBytes: number | null
}

/** What the platform answers with. */
export interface Operations {
  status(): Status
  graph(): Graph
  logs(
    part: string | null,
    options: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>
  down(): void
}

/** Serves the operations until disposed. */
export async function serveOperator(socketPath: string, operations: Operations): Promise<AsyncDisposable> {
  rmSync(socketPath, { force: true })
  const server = createServer((question, answer) => {
    handle(operations, question, answer).catch((error: unknown) => {
      if (answer.headersSent) return answer.destroy()
      const body = isSteadError(error)
        ? { code: error.code, message: error.message, hint: error.hint }
        : { code: 'cli.internal', message: messageOf(error) }
      answer
        .writeHead(isSteadError(error) ? 400 : 500, { 'content-type': 'application/json' })
        .end(JSON.stringify(body))
    })
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

async function handle(operations: Operations, question: IncomingMessage, answer: ServerResponse): Promise<void> {
  const url = new URL(question.url ?? '/', 'http://stead')
  const json = (value: unknown): void =>
    void answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  switch (`${question.method} ${url.pathname}`) {
    case 'GET /status':
      return json(operations.status())
    case 'GET /graph':
      return json(operations.graph())
    case 'POST /down':
      json({ stopping: true })
      return operations.down()
    case 'GET /logs': {
      const abort = new AbortController()
      answer.on('close', () => abort.abort())
      const tail = url.searchParams.get('tail')
      const options = {
        tail: tail === null ? null : Number(tail),
        follow: url.searchParams.get('follow') === 'true',
        signal: abort.signal,
      }
      const lines = operations.logs(url.searchParams.get('part'), options)
      answer.writeHead(200, { 'content-type': 'application/x-ndjson' })
      answer.flushHeaders()
      for await (const line of lines) {
        if (!answer.write(`${JSON.stringify(line)}\n`)) await drained(answer)
      }
      answer.end()
      return
    }
    default:
      answer
        .writeHead(404, { 'content-type': 'application/json' })
        .end(JSON.stringify({ code: 'cli.unknown-operation', message: 'there is no such operation' }))
  }
}

function drained(answer: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    answer.once('drain', resolve)
    answer.once('close', resolve)
  })
}

/** Asks the running platform. Null when none runs here. Throws what the platform refused with. */
export async function askOperator(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
): Promise<IncomingMessage | null> {
  const answer = await new Promise<IncomingMessage | null>((resolve, reject) => {
    const question = request({ socketPath, method, path })
    question.on('response', resolve)
    question.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') resolve(null)
      else reject(error)
    })
    question.end()
  })
  if (answer === null || answer.statusCode === 200) return answer
  const body = JSON.parse(await text(answer)) as { code: string; message: string; hint?: string }
  throw new SteadError({ ...body })
}

/** Asks for a JSON value. */
export async function askJson<T>(socketPath: string, method: 'GET' | 'POST', path: string): Promise<T | null> {
  const answer = await askOperator(socketPath, method, path)
  return answer === null ? null : (JSON.parse(await text(answer)) as T)
}
