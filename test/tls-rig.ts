/** What tests of TLS, HTTP/2 and gRPC share: a gateway with certificates of an authority of the test's own, and clients of it. */
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request as httpsRequest } from 'node:https'
import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Session, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { connect as connectTls } from 'node:tls'
import type { TLSSocket } from 'node:tls'
import { systemClock, systemRandom } from '../src/base/index.ts'
import { localCertificates } from '../src/certificates/index.ts'
import type { CertificateDriver } from '../src/certificates/index.ts'
import { createGateway } from '../src/gateway/index.ts'
import type { CertificateFinder, Gateway, GatewayLimits } from '../src/gateway/index.ts'
import type { Route, StreamRoute } from '../src/protocol/index.ts'
import { dial, waitMs } from './gateway-rig.ts'
import type { Answer, Ask } from './gateway-rig.ts'

export interface TlsRig {
  readonly gateway: Gateway
  readonly port: number
  readonly drained: string[]
  readonly notices: string[]
  /** PEM of the authority that clients trust. */
  readonly roots: string
  readonly certificates: CertificateDriver
}

export interface TlsRigOptions {
  readonly limits?: Partial<GatewayLimits>
  readonly streams?: readonly StreamRoute[]
  /** What the gateway asks instead of the test's own authority. */
  readonly finder?: (own: CertificateDriver) => CertificateFinder
}

/** A gateway with TLS and these routes, closed with the test. Their hosts have certificates. */
export async function tlsRig(t: TestContext, routes: readonly Route[], options: TlsRigOptions = {}): Promise<TlsRig> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-tls-'))
  t.after(() => rm(dir, { recursive: true }))
  const certificates = await localCertificates({ dir, clock: systemClock, random: systemRandom })
  certificates.want([...new Set(routes.map(({ host }) => host))])
  const drained: string[] = []
  const notices: string[] = []
  const gateway = createGateway({
    connect: dial,
    certificates: options.finder?.(certificates) ?? certificates,
    limits: { closeMs: 200, checkMs: 50, ...options.limits },
    onDrained: (instance) => drained.push(instance),
    onNotice: (text) => notices.push(text),
  })
  const { port } = await gateway.listen(0)
  t.after(() => gateway.close())
  gateway.apply({ revision: 1, routes, streams: options.streams ?? [] })
  const roots = await readFile(certificates.authorityFile, 'utf8')
  return { gateway, port, drained, notices, roots, certificates }
}

/** One request by HTTP/1.1 over TLS, on a connection of its own. */
export function askTls(
  { port, roots }: Pick<TlsRig, 'port' | 'roots'>,
  { path = '/', method = 'GET', headers = {}, body, host = 'shop.test' }: Ask & { readonly host?: string } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        port,
        host: '127.0.0.1',
        servername: host,
        ca: roots,
        path,
        method,
        agent: false,
        headers: { host, ...headers },
        signal: AbortSignal.timeout(waitMs),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const { statusCode, headers: given, rawHeaders, trailers } = response
          const text = Buffer.concat(chunks).toString()
          resolve({ status: statusCode ?? 0, headers: given, rawHeaders, trailers, body: text })
        })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

/** A connection of TLS that is open; rejects with the alert. */
export async function openTls(
  { port, roots }: Pick<TlsRig, 'port' | 'roots'>,
  servername: string | undefined,
  protocols: string[] = ['http/1.1'],
): Promise<TLSSocket> {
  const named = servername === undefined ? {} : { servername }
  const socket = connectTls({ port, host: '127.0.0.1', ca: roots, ALPNProtocols: protocols, ...named })
  socket.setTimeout(waitMs, () => socket.destroy(new Error('no answer in time')))
  await once(socket, 'secureConnect')
  return socket
}

/** A connection of HTTP/2, closed with the test. */
export async function openHttp2(
  t: TestContext,
  { port, roots }: Pick<TlsRig, 'port' | 'roots'>,
  host = 'shop.test',
): Promise<ClientHttp2Session> {
  const session = connectHttp2(`https://${host}:${port}`, {
    createConnection: () => connectTls({ port, host: '127.0.0.1', ca: roots, servername: host, ALPNProtocols: ['h2'] }),
  })
  t.after(() => session.destroy())
  session.on('error', () => undefined)
  await once(session, 'connect')
  return session
}

export interface Http2Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly trailers: IncomingHttpHeaders
  readonly body: string
  /** The stream's last code; 0 when it ended well. */
  readonly code: number
}

/** One request on a connection of HTTP/2. Rejects when the stream fails before an answer. */
export function askHttp2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(
      { ':authority': 'shop.test', ':path': '/', ...headers },
      { endStream: body === undefined },
    )
    const timer = setTimeout(() => stream.destroy(new Error('no answer in time')), waitMs)
    let given: IncomingHttpHeaders & { ':status'?: number } = {}
    let trailers: IncomingHttpHeaders = {}
    const chunks: Buffer[] = []
    stream.on('response', (response) => (given = response as typeof given))
    stream.on('trailers', (more) => (trailers = more))
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.on('error', reject)
    stream.on('close', () => {
      clearTimeout(timer)
      const status = given[':status'] ?? 0
      if (status === 0) return reject(new Error(`no answer; the stream ended with ${stream.rstCode}`))
      resolve({ status, headers: given, trailers, body: Buffer.concat(chunks).toString(), code: stream.rstCode ?? 0 })
    })
    if (body !== undefined) stream.end(body)
  })
}
