/** What the gateway answers by itself, pure: ACME's questions about a host, and the way from plain HTTP to https. */
import type { Route } from '../protocol/index.ts'
import type { RenderedProblem } from './problem.ts'
import type { CertificateFinder } from './secure.ts'

const challengePath = '/.well-known/acme-challenge/'
const tokenPattern = /^[A-Za-z0-9_-]{1,256}$/

/** A request as far as these answers depend on it. */
export interface Asked {
  readonly host: string
  readonly path: string
  /** Path and query. */
  readonly target: string
  readonly secure: boolean
  readonly requestId: string
}

/** The answer to an ACME HTTP-01 challenge that is ours; null for everything else, so that apps can have their own. */
export function challengeAnswer(
  { host, path, requestId }: Asked,
  finder: CertificateFinder | null,
): RenderedProblem | null {
  if (finder === null || !path.startsWith(challengePath)) return null
  const token = path.slice(challengePath.length)
  const text = tokenPattern.test(token) ? finder.challenge(host, token) : null
  return text === null ? null : whole(200, 'OK', ['content-type', 'application/octet-stream'], text, requestId)
}

/**
 * The way to https, for a request in plain HTTP whose route wants it; null when it is to be served. Questions of ACME are never
 * sent on: whoever asks them may have no reason yet to trust a certificate.
 */
export function redirectAnswer(asked: Asked, route: Route, tlsPort: number | null): RenderedProblem | null {
  const { host, path, target, secure, requestId } = asked
  if (secure || tlsPort === null || route.plain === 'serve' || path.startsWith(challengePath)) return null
  const location = `https://${host}${tlsPort === 443 ? '' : `:${tlsPort}`}${target}`
  const text = `This address is served over https: ${location}\n`
  const headers = ['location', location, 'content-type', 'text/plain; charset=utf-8']
  return whole(308, 'Permanent Redirect', headers, text, requestId)
}

function whole(status: number, reason: string, headers: string[], body: string, requestId: string): RenderedProblem {
  headers.push(
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    'no-store',
    'x-request-id',
    requestId,
  )
  return { status, reason, headers, body }
}

/** The header that keeps browsers on https; nothing where it was not asked for, or would not be believed. */
export function hstsHeaders({ hstsS }: Route, secure: boolean): readonly string[] {
  return secure && hstsS !== undefined ? ['strict-transport-security', `max-age=${hstsS}`] : []
}
