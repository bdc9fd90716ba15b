/** What tests of the gateway share: backends, a gateway that is closed with the test, and clients that see raw bytes. */
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingHttpHeaders, RequestListener, Server } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { systemClock } from '../src/base/index.ts'
import type { Clock } from '../src/base/index.ts'
import { createGateway } from '../src/gateway/index.ts'
import type { Gateway, GatewayLimits } from '../src/gateway/index.ts'
import type { Endpoint } from '../src/network/index.ts'
import type { Route, RouteTarget } from '../src/protocol/index.ts'

/** Every wait of a test ends within this. */
export const waitMs = 20_000

/** Opens TCP and Unix endpoints. */
export function dial(endpoint: Endpoint): Socket {
  if (endpoint.kind === 'tcp') return connect(endpoint.port, endpoint.host)
  if (endpoint.kind === 'unix') return connect(endpoint.path)
  throw new Error('the rig has no places')
}

export interface Backend {
  readonly server: Server
  readonly port: number
  target(instance: string): RouteTarget
  stop(): Promise<void>
}

/** A server of the test's own on a free port, stopped with the test. */
export async function backend(t: TestContext, listener: RequestListener): Promise<Backend> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  t.after(stop)
  return {
    server,
    port,
    target: (instance) => ({ instance, endpoint: { kind: 'tcp', host: '127.0.0.1', port } }),
    stop,
  }
}

/** A port where nothing listens. */
export async function deadPort(t: TestContext): Promise<number> {
  const gone = await backend(t, () => undefined)
  await gone.stop()
  return gone.port
}

export function route(targets: readonly RouteTarget[], more: Partial<Route> = {}): Route {
  return { id: 'web', host: 'shop.test', path: '/', app: 'shop', part: 'web', targets, ...more }
}

export interface Rig {
  readonly gateway: Gateway
  readonly port: number
  readonly drained: string[]
}

/** A gateway with these routes, closed with the test. */
export async function rig(
  t: TestContext,
  routes: readonly Route[],
  limits: Partial<GatewayLimits> = {},
  clock: Clock = systemClock,
): Promise<Rig> {
  const drained: string[] = []
  const gateway = createGateway({
    connect: dial,
    clock,
    limits: { closeMs: 200, checkMs: 50, ...limits },
    onDrained: (instance) => drained.push(instance),
  })
  const { port } = await gateway.listen(0)
  t.after(() => gateway.close())
  gateway.apply({ revision: 1, routes })
  return { gateway, port, drained }
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly trailers: NodeJS.Dict<string>
  readonly body: string
}

export interface Ask {
  readonly path?: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string | Buffer
}

/** One request on a connection of its own. Rejects when the answer is not whole. */
export function ask(port: number, { path = '/', method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        port,
        host: '127.0.0.1',
        path,
        method,
        agent: false,
        headers: { host: 'shop.test', ...headers },
        signal: AbortSignal.timeout(waitMs),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            rawHeaders: response.rawHeaders,
            trailers: response.trailers,
            body: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

/** Sends bytes as they are and gives back all that comes until the other side closes. */
export function rawExchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    let text = ''
    socket.setTimeout(waitMs, () => socket.destroy(new Error(`no end within ${waitMs} ms; so far: ${text}`)))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(text))
    socket.on('end', () => socket.end())
  })
}

/** Resolves when `condition` holds; fails naming `what` when it does not in time. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + waitMs
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited ${waitMs} ms in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
