/** Signed requests of every kind to an embedded server, for tests: what a client library sends, and what none would. */
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { getGlobalDispatcher } from 'undici'
import { systemClock } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import type { Credential } from '../s3/authenticate.ts'
import { credential } from './embedded-place.test-helper.ts'
import { signed } from './s3/presign.ts'

export interface Asked {
  readonly method: string
  readonly bucket: string
  readonly key?: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly payloadHash?: string
  readonly as?: Credential
}

export interface Answered {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** The code of an error, or an empty text. */
  readonly code: string
}

/** Asks a server at an endpoint. */
export function asker(endpoint: string, clock: Clock = systemClock): (asked: Asked) => Promise<Answered> {
  return async (asked) => {
    const { origin, target, headers } = signedOf(endpoint, asked, clock)
    const body = asked.body === undefined ? null : Buffer.from(asked.body)
    const sent = { origin, path: target, method: methodOf(asked.method), headers, body }
    const response = await getGlobalDispatcher().request(sent)
    const text = await response.body.text()
    const code = /<Code>([^<]*)<\/Code>/.exec(text)?.[1] ?? ''
    return { status: response.statusCode, headers: response.headers, text, code }
  }
}

function methodOf(method: string): 'GET' | 'PUT' | 'POST' | 'DELETE' | 'HEAD' | 'OPTIONS' {
  const known = (['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'OPTIONS'] as const).find((name) => name === method)
  if (known === undefined) throw new Error(`no method ${method}`)
  return known
}

/** The same request, signed and not sent. */
export function signedOf(endpoint: string, asked: Asked, clock: Clock): ReturnType<typeof signed> {
  const { method, bucket, key, query = {}, headers = {}, body, as = credential } = asked
  const length: Record<string, string> = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const payloadHash =
    asked.payloadHash ??
    createHash('sha256')
      .update(body ?? '')
      .digest('hex')
  const all = { ...length, ...headers }
  const request = { method, key, query: Object.entries(query), headers: all, payloadHash }
  return signed({ ...as, endpoint, region: 'us-east-1', bucket }, request, clock.nowMs())
}

/** Sends bytes as they are and gives back all that comes until the connection ends. */
export function rawly(port: number, bytes: string | Uint8Array, half = false): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.on('data', (piece) => (text += piece.toString('latin1')))
    socket.on('error', (error) => ('code' in error && error.code === 'ECONNRESET' ? resolve(text) : reject(error)))
    socket.on('close', () => resolve(text))
    if (half) socket.end(bytes)
    else socket.write(bytes)
  })
}

/** The head of a request as text, so that a test can send a body that does not fit it. */
export function headOf({ target, headers }: ReturnType<typeof signed>, method: string): string {
  const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`
}
