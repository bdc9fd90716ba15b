/** Asks a running platform over its socket. Invariant: what the platform refused with is thrown as it was said. */
import { request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { Incident, LogLine, RemoteStream } from '../protocol/index.ts'
import type { PersonSummary } from './access-routes.ts'
import type { LineFilter } from './audit-file.ts'
import type { Line, Verdict } from './audit.ts'
import { type BatchClient, batchClient } from './batch-client.ts'
import type { Checkup } from './checkup.ts'
import {
  type DashboardLogin,
  type Deployment,
  type JobStatus,
  type LogOptions,
  type MachineRuntimes,
  type OperatorBinding,
  type ObjectDeed,
  type PartOrderKind,
  type PlatformInfo,
  type RunEvent,
  type RuntimeName,
  type Status,
  type PartStreamOrder,
  type TraceOrder,
  wayOf,
} from './operations.ts'
import type { Grant } from './people.ts'
import type { QueueOperations } from './queues.ts'
import { queueClient } from './queue-client.ts'
import { type ReleaseClient, releaseClient } from './release-client.ts'
import type { SealedSecret, SecretOperations } from './secrets.ts'
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
  checkup(app: string): Promise<Checkup>
  logs(app: string, part: string | null, options: LogOptions): AsyncIterable<LogLine>
  order(app: string, part: string, kind: PartOrderKind): Promise<void>
  jobs(app: string, part: string | null): Promise<readonly JobStatus[]>
  run(app: string, part: string, signal: AbortSignal): AsyncIterable<RunEvent>
  /** Throws once the stream is read, when it is refused then. */
  open(app: string, part: string, order: PartStreamOrder): Promise<RemoteStream>
  /** As `open`, of a machine. */
  trace(order: TraceOrder): Promise<RemoteStream>
  bind(app: string, part: string, host: string, port: number): Promise<OperatorBinding | null>
  /** As `bind`, for one thing that is done with the objects of a bucket: the record says which. */
  bindFor(deed: ObjectDeed, app: string, part: string, host: string, port: number): Promise<OperatorBinding | null>
  incidents(app: string): Promise<readonly Incident[]>
  settle(app: string, incident: string, how: 'release' | 'end'): Promise<Incident>
  deploy(deployment: Deployment): Promise<{ release: number }>
  down(app: string): Promise<void>
  remove(app: string): Promise<void>
  dashboardLogin(): Promise<DashboardLogin>
  readonly secrets: Omit<SecretOperations, 'export' | 'exportAll'> & {
    exportAll(app: string, recipients: readonly string[]): Promise<readonly SealedSecret[]>
    export(app: string, name: string, recipients: readonly string[]): Promise<string>
  }
  readonly queues: QueueOperations
  readonly batch: BatchClient
  readonly releases: ReleaseClient
  /** What the machine of the platform runs bundles of an app with. */
  runtimes(app: string): Promise<MachineRuntimes>
  /** Those of the contents that are not there; at most `contentsMax` are asked about. */
  missing(app: string, contents: readonly string[]): Promise<readonly string[]>
  /** Sends contents. What has arrived stays when it is cut off. */
  sendContents(app: string, stream: AsyncIterable<Uint8Array>): Promise<void>
  missingBundles(app: string, digests: readonly string[]): Promise<readonly string[]>
  sendManifest(app: string, digest: string, manifest: Uint8Array): Promise<void>
  sendRuntime(app: string, runtime: RuntimeName, sizeBytes: number): Promise<void>
  people(): Promise<readonly PersonSummary[]>
  /** Adds a person or changes one. */
  grant(grant: Grant): Promise<void>
  removePerson(name: string): Promise<void>
  /** A new token of a person, told this once. */
  issueToken(name: string, expiresAtMs: number): Promise<{ readonly token: string; readonly id: string }>
  revokeTokens(name: string): Promise<void>
  audit(filter: LineFilter): AsyncIterable<Line>
  /** Whether the audit record hangs together, and holds the line with the digest `contains`. */
  verifyAudit(contains: string | null): Promise<Verdict>
}

/** Where a platform is asked, and by whom. */
interface Address {
  readonly socketPath: string
  readonly token: string | null
}

/**
 * The platform behind a socket; null when nobody answers there. `token`: for the socket that is open to all. Throws what
 * the platform refuses a caller with, and `operator.not-yours` when the socket is another user's.
 */
export async function operatorClient(socketPath: string, token: string | null = null): Promise<OperatorClient | null> {
  const at = { socketPath, token }
  try {
    await value(at, 'GET', '/v1/platform')
  } catch (error) {
    if (error instanceof SteadError && error.code === 'operator.not-running') return null
    throw error
  }
  const app = (name: string, rest = ''): string => `/v1/apps/${encodeURIComponent(name)}${rest}`
  const person = (name: string, rest = ''): string => `/v1/people/${encodeURIComponent(name)}${rest}`
  return {
    socketPath,
    platform: () => value<PlatformInfo>(at, 'GET', '/v1/platform'),
    bundles: () => value<readonly string[]>(at, 'GET', '/v1/bundles'),
    status: (name) => value<Status>(at, 'GET', app(name, '/status')),
    watch: (name, signal) => lines<Status>(at, app(name, '/watch'), signal),
    graph: (name) => value<Graph>(at, 'GET', app(name, '/graph')),
    checkup: (name) => value<Checkup>(at, 'GET', app(name, '/checkup')),
    logs(name, part, { tail, follow, signal }) {
      const query = new URLSearchParams({ follow: String(follow) })
      if (tail !== null) query.set('tail', String(tail))
      if (part !== null) query.set('part', part)
      return lines<LogLine>(at, app(name, `/logs?${query.toString()}`), signal)
    },
    async order(name, part, kind) {
      await value(at, 'POST', app(name, `/parts/${encodeURIComponent(part)}/${kind}`))
    },
    jobs(name, part) {
      const query = part === null ? '' : `?${new URLSearchParams({ part }).toString()}`
      return value<readonly JobStatus[]>(at, 'GET', app(name, `/jobs${query}`))
    },
    run: (name, part, signal) =>
      lines<RunEvent>(at, app(name, `/parts/${encodeURIComponent(part)}/run`), signal, 'POST'),
    trace: (order) => openStream(at, `/v1/${wayOf(order)}`, order, (cause) => failureOf(at.socketPath, cause)),
    open: (name, part, order) =>
      openStream(at, app(name, `/parts/${encodeURIComponent(part)}/${wayOf(order)}`), order, (cause) =>
        failureOf(at.socketPath, cause),
      ),
    async bind(name, part, host, port) {
      const path = app(name, `/parts/${encodeURIComponent(part)}/bind`)
      return (await value<{ binding: OperatorBinding | null }>(at, 'POST', path, { host, port })).binding
    },
    async bindFor(deed, name, part, host, port) {
      const path = app(name, `/parts/${encodeURIComponent(part)}/objects/${deed}`)
      return (await value<{ binding: OperatorBinding | null }>(at, 'POST', path, { host, port })).binding
    },
    incidents: (name) => value<readonly Incident[]>(at, 'GET', app(name, '/incidents')),
    settle: (name, incident, how) =>
      value<Incident>(at, 'POST', app(name, `/incidents/${encodeURIComponent(incident)}/${how}`)),
    deploy: (deployment) => value<{ release: number }>(at, 'PUT', app(deployment.graph.app), deployment),
    async down(name) {
      await value(at, 'POST', app(name, '/down'))
    },
    async remove(name) {
      await value(at, 'DELETE', app(name))
    },
    dashboardLogin: () => value<DashboardLogin>(at, 'POST', '/v1/dashboard/login'),
    secrets: {
      list: (name) => value(at, 'GET', app(name, '/secrets')),
      async set(name, secret, bytes, source) {
        const body = { value: Buffer.from(bytes).toString('base64'), source }
        return (await value<{ version: number }>(at, 'PUT', app(name, secretPath(secret)), body)).version
      },
      async remove(name, secret) {
        await value(at, 'DELETE', app(name, secretPath(secret)))
      },
      rotate: (name, secret) => value(at, 'POST', app(name, `${secretPath(secret)}/rotate`)),
      async export(name, secret, recipients) {
        const path = app(name, `${secretPath(secret)}/export`)
        return (await value<{ text: string }>(at, 'POST', path, { recipients })).text
      },
      exportAll: (name, recipients) => value(at, 'POST', app(name, '/secrets/export'), { recipients }),
      async restoreAll(name, secrets) {
        const body = secrets.map((one) => ({ ...one, value: Buffer.from(one.value).toString('base64') }))
        await value(at, 'POST', app(name, '/secrets/restore'), { secrets: body })
      },
      async changeKey() {
        await value(at, 'POST', '/v1/secrets/rekey')
      },
    },
    queues: queueClient((method, path, body) => value(at, method, path, body)),
    batch: batchClient({
      value: (method, path, body) => value(at, method, path, body),
      lines: (path, signal) => lines(at, path, signal),
    }),
    releases: releaseClient({
      value: (method, path, body) => value(at, method, path, body),
      lines: (path, signal) => lines(at, path, signal),
    }),
    runtimes: (name) => value<MachineRuntimes>(at, 'GET', app(name, '/runtimes')),
    async missing(name, contents) {
      const answer = await value<{ missing: string[] }>(at, 'POST', app(name, '/contents/missing'), { contents })
      return answer.missing
    },
    async sendContents(name, stream) {
      await text(await ask(at, 'PUT', app(name, '/contents'), Readable.from(stream)))
    },
    async missingBundles(name, bundles) {
      return (await value<{ missing: string[] }>(at, 'POST', app(name, '/bundles/missing'), { bundles })).missing
    },
    async sendManifest(name, digest, manifest) {
      await text(await ask(at, 'PUT', app(name, `/bundles/${digest}`), Readable.from([manifest])))
    },
    async sendRuntime(name, runtime, sizeBytes) {
      await value(at, 'POST', app(name, '/runtimes'), { ...runtime, sizeBytes })
    },
    people: () => value<PersonSummary[]>(at, 'GET', '/v1/people'),
    async grant({ name, ...grant }) {
      await value(at, 'PUT', person(name), grant)
    },
    async removePerson(name) {
      await value(at, 'DELETE', person(name))
    },
    issueToken: (name, expiresAtMs) => value(at, 'POST', person(name, '/tokens'), { expiresAtMs }),
    async revokeTokens(name) {
      await value(at, 'DELETE', person(name, '/tokens'))
    },
    audit({ app: ofApp, who, sinceMs }) {
      const query = new URLSearchParams()
      if (ofApp !== null) query.set('app', ofApp)
      if (who !== null) query.set('who', who)
      if (sinceMs !== null) query.set('since', String(sinceMs))
      return lines<Line>(at, `/v1/audit?${query.toString()}`, new AbortController().signal)
    },
    verifyAudit(contains) {
      const query = contains === null ? '' : `?contains=${encodeURIComponent(contains)}`
      return value<Verdict>(at, 'GET', `/v1/audit/verdict${query}`)
    },
  }
}

function secretPath(name: string): string {
  return `/secrets/${encodeURIComponent(name)}`
}

/** Asks for one JSON value. */
async function value<T>(at: Address, method: string, path: string, body?: unknown): Promise<T> {
  return JSON.parse(await text(await ask(at, method, path, body))) as T
}

/** Asks for JSON values, one a line. */
async function* lines<T>(at: Address, path: string, signal: AbortSignal, method = 'GET'): AsyncIterable<T> {
  const answer = await ask(at, method, path)
  // A reader that was closed before it is read from never ends.
  if (signal.aborted) return void answer.destroy()
  const reader = createInterface({ input: answer })
  // The reader does not end by itself with a stream that is cut off.
  const abort = (): void => {
    answer.destroy()
    reader.close()
  }
  answer.once('close', () => reader.close())
  signal.addEventListener('abort', abort, { once: true })
  try {
    for await (const line of reader) yield JSON.parse(line) as T
  } catch (error) {
    if (!answer.destroyed) throw error
  } finally {
    signal.removeEventListener('abort', abort)
    answer.destroy()
  }
}

async function ask(at: Address, method: string, path: string, body?: unknown): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const { socketPath, token } = at
  const headers = {
    ...(body === undefined || body instanceof Readable ? {} : { 'content-type': 'application/json' }),
    ...(token === null ? {} : { authorization: `bearer ${token}` }),
  }
  const question = request({ socketPath, method, path, headers })
  question.on('response', resolve)
  question.on('error', (cause: NodeJS.ErrnoException) => reject(failureOf(socketPath, cause)))
  if (body instanceof Readable) {
    // A refusal may come before all was sent, and says more than that the pipe broke.
    body.on('error', (error) => question.destroy(error))
    body.pipe(question)
  } else question.end(body === undefined ? '' : JSON.stringify(body))
  const answer = await promise
  // Answered before all was sent: nobody wants the rest.
  answer.once('end', () => {
    if (question.writableFinished) return
    if (body instanceof Readable) body.destroy()
    question.destroy()
  })
  if (answer.statusCode === 200) return answer
  const refusal = JSON.parse(await text(answer)) as { code: string; message: string; hint?: string }
  throw new SteadError(refusal)
}

function failureOf(socketPath: string, cause: NodeJS.ErrnoException): Error {
  if (cause.code?.startsWith('HPE_') === true) return strangeAnswer(socketPath, cause)
  const gone = ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(cause.code ?? '')
  return gone ? notRunning(socketPath, cause) : cause.code === 'EACCES' ? notYours(socketPath, cause) : cause
}

function notRunning(socketPath: string, cause: Error): SteadError {
  return new SteadError({
    code: 'operator.not-running',
    message: `no platform answers at ${socketPath}`,
    retry: 'later',
    cause,
  })
}

function notYours(socketPath: string, cause: Error): SteadError {
  return new SteadError({
    code: 'operator.not-yours',
    message: `the platform at ${socketPath} belongs to another user`,
    hint: 'Ask whoever runs it for a token (`stead access token NAME`), and set STEAD_TOKEN to it.',
    cause,
  })
}

function strangeAnswer(socketPath: string, cause: Error): SteadError {
  return new SteadError({
    code: 'operator.strange-answer',
    message: `what answers at ${socketPath} does not speak as a platform does: ${cause.message}`,
    hint: 'On a server, a shell that prints a greeting also to programs may stand in the way: see `ssh HOST true`.',
    cause,
  })
}
