/** Asks a running platform over its socket. Invariant: what the platform refused with is thrown as it was said. */
import { request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { LogLine, RemoteStream } from '../protocol/index.ts'
import type {
  Deployment,
  JobStatus,
  LogOptions,
  OperatorBinding,
  PartOrderKind,
  PlatformInfo,
  RunEvent,
  Status,
  StreamOrder,
} from './operations.ts'
import type { SecretOperations } from './secrets.ts'
import { openStream } from './streams.ts'

/** One platform. Everything throws what it refused with, and `operator.not-running` when it is gone. */
export interface OperatorClient {
  readonly socketPath: string
  platform(): Promise<PlatformInfo>
  bundles(): Promise<readonly string[]>
  status(app: string): Promise<Status>
  /** The status now and after every change, until the signal aborts or the platform ends. */
  watch(app: string, signal: AbortSignal): AsyncIterable<Status>
  graph(app: string): Promise<Graph>
  logs(app: string, part: string | null, options: LogOptions): AsyncIterable<LogLine>
  order(app: string, part: string, kind: PartOrderKind): Promise<void>
  jobs(app: string, part: string | null): Promise<readonly JobStatus[]>
  run(app: string, part: string, signal: AbortSignal): AsyncIterable<RunEvent>
  /** Throws once the stream is read, when it is refused then. */
  open(app: string, part: string, order: StreamOrder): Promise<RemoteStream>
  bind(app: string, part: string, host: string, port: number): Promise<OperatorBinding | null>
  deploy(deployment: Deployment): Promise<{ release: number }>
  down(app: string): Promise<void>
  remove(app: string): Promise<void>
  readonly secrets: Omit<SecretOperations, 'export'> & {
    export(app: string, name: string, recipients: readonly string[]): Promise<string>
  }
}

/** The platform behind a socket; null when nobody answers there. */
export async function operatorClient(socketPath: string): Promise<OperatorClient | null> {
  try {
    await value(socketPath, 'GET', '/v1/platform')
  } catch (error) {
    if (error instanceof SteadError && error.code === 'operator.not-running') return null
    throw error
  }
  const app = (name: string, rest = ''): string => `/v1/apps/${encodeURIComponent(name)}${rest}`
  return {
    socketPath,
    platform: () => value<PlatformInfo>(socketPath, 'GET', '/v1/platform'),
    bundles: () => value<readonly string[]>(socketPath, 'GET', '/v1/bundles'),
    status: (name) => value<Status>(socketPath, 'GET', app(name, '/status')),
    watch: (name, signal) => lines<Status>(socketPath, app(name, '/watch'), signal),
    graph: (name) => value<Graph>(socketPath, 'GET', app(name, '/graph')),
    logs(name, part, { tail, follow, signal }) {
      const query = new URLSearchParams({ follow: String(follow) })
      if (tail !== null) query.set('tail', String(tail))
      if (part !== null) query.set('part', part)
      return lines<LogLine>(socketPath, app(name, `/logs?${query.toString()}`), signal)
    },
    async order(name, part, kind) {
      await value(socketPath, 'POST', app(name, `/parts/${encodeURIComponent(part)}/${kind}`))
    },
    jobs(name, part) {
      const query = part === null ? '' : `?${new URLSearchParams({ part }).toString()}`
      return value<readonly JobStatus[]>(socketPath, 'GET', app(name, `/jobs${query}`))
    },
    run: (name, part, signal) =>
      lines<RunEvent>(socketPath, app(name, `/parts/${encodeURIComponent(part)}/run`), signal, 'POST'),
    open: (name, part, order) =>
      openStream(socketPath, app(name, `/parts/${encodeURIComponent(part)}/stream`), order, (cause) =>
        failureOf(socketPath, cause),
      ),
    async bind(name, part, host, port) {
      const path = app(name, `/parts/${encodeURIComponent(part)}/bind`)
      return (await value<{ binding: OperatorBinding | null }>(socketPath, 'POST', path, { host, port })).binding
    },
    deploy: (deployment) => value<{ release: number }>(socketPath, 'PUT', app(deployment.graph.app), deployment),
    async down(name) {
      await value(socketPath, 'POST', app(name, '/down'))
    },
    async remove(name) {
      await value(socketPath, 'DELETE', app(name))
    },
    secrets: {
      list: (name) => value(socketPath, 'GET', app(name, '/secrets')),
      async set(name, secret, bytes, source) {
        const body = { value: Buffer.from(bytes).toString('base64'), source }
        return (await value<{ version: number }>(socketPath, 'PUT', app(name, secretPath(secret)), body)).version
      },
      async remove(name, secret) {
        await value(socketPath, 'DELETE', app(name, secretPath(secret)))
      },
      rotate: (name, secret) => value(socketPath, 'POST', app(name, `${secretPath(secret)}/rotate`)),
      async export(name, secret, recipients) {
        const path = app(name, `${secretPath(secret)}/export`)
        return (await value<{ text: string }>(socketPath, 'POST', path, { recipients })).text
      },
      async changeKey() {
        await value(socketPath, 'POST', '/v1/secrets/rekey')
      },
    },
  }
}

function secretPath(name: string): string {
  return `/secrets/${encodeURIComponent(name)}`
}

/** Asks for one JSON value. */
async function value<T>(socketPath: string, method: string, path: string, body?: unknown): Promise<T> {
  return JSON.parse(await text(await ask(socketPath, method, path, body))) as T
}

/** Asks for JSON values, one a line. */
async function* lines<T>(socketPath: string, path: string, signal: AbortSignal, method = 'GET'): AsyncIterable<T> {
  const answer = await ask(socketPath, method, path)
  const abort = (): void => void answer.destroy()
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  try {
    for await (const line of createInterface({ input: answer })) yield JSON.parse(line) as T
  } catch (error) {
    if (!answer.destroyed) throw error
  } finally {
    signal.removeEventListener('abort', abort)
    answer.destroy()
  }
}

async function ask(socketPath: string, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const content = body === undefined ? '' : JSON.stringify(body)
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const question = request({ socketPath, method, path, headers })
  question.on('response', resolve)
  question.on('error', (cause: NodeJS.ErrnoException) => reject(failureOf(socketPath, cause)))
  question.end(content)
  const answer = await promise
  if (answer.statusCode === 200) return answer
  const refusal = JSON.parse(await text(answer)) as { code: string; message: string; hint?: string }
  throw new SteadError(refusal)
}

function failureOf(socketPath: string, cause: NodeJS.ErrnoException): Error {
  const gone = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(cause.code ?? '')
  return gone ? notRunning(socketPath, cause) : cause
}

function notRunning(socketPath: string, cause: Error): SteadError {
  return new SteadError({
    code: 'operator.not-running',
    message: `no platform answers at ${socketPath}`,
    retry: 'later',
    cause,
  })
}
