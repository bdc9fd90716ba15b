/**
 * Which requests are looked at at all, pure. Invariants: only one that names this server by its own address (a foreign
 * name that resolves to 127.0.0.1 is refused), and only from the dashboard's own pages or typed in by a person; a page of
 * another origin, another port of this machine included, can neither read nor do anything.
 */
import type { IncomingHttpHeaders } from 'node:http'

export interface Asked {
  readonly method: string
  readonly pathname: string
  readonly headers: IncomingHttpHeaders
}

/** Why a request is refused; null when it is looked at. */
export interface Refused {
  readonly status: number
  readonly code: string
  readonly message: string
}

/** The names by which a browser on this machine may reach a port. */
export function hostsOf(port: number): readonly string[] {
  return [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]
}

export function refusalOf({ method, pathname, headers }: Asked, hosts: readonly string[]): Refused | null {
  const host = headers.host
  if (host === undefined || !hosts.includes(host)) {
    return {
      status: 421,
      code: 'dashboard.other-host',
      message: `this is the dashboard of ${hosts[0]}, not of the name that was asked for`,
    }
  }
  if (!['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].includes(method))
    return { status: 405, code: 'dashboard.bad-method', message: `${method} is not answered here` }
  // A browser says where a request comes from; `none` is one that a person typed or followed from outside a page.
  const site = headers['sec-fetch-site']
  const api = pathname.startsWith('/api/')
  const ownSite = site === undefined || site === 'same-origin' || (!api && site !== 'same-site')
  const origin = headers.origin
  const ownOrigin = origin === undefined || origin === `http://${host}`
  const page = !api && headers['sec-fetch-mode'] === 'navigate'
  if (!(ownOrigin && (ownSite || page)))
    return { status: 403, code: 'dashboard.other-origin', message: 'only pages of this dashboard may ask here' }
  // What changes something comes from a page, and a page always says its origin.
  if (api && method !== 'GET' && method !== 'HEAD' && origin === undefined)
    return { status: 403, code: 'dashboard.other-origin', message: 'the request does not say which page it comes from' }
  return null
}

/** What pages have of the right to deploy: releases that are there already, and copies of data. */
const deployments = [
  /^POST \/v1\/apps\/[^/]+\/(?:rollback|rollout\/cancel|copies\/delete|branches|replay|restore)$/,
  /^PUT \/v1\/apps\/[^/]+\/checkpoints\/[^/]+$/,
  /^DELETE \/v1\/apps\/[^/]+\/branches\/[^/]+$/,
]

/** Whether the right to deploy counts for a request: new code comes from commands alone, whatever becomes of a session. */
export function mayDeploy(method: string, pathname: string): boolean {
  return deployments.some((pattern) => pattern.test(`${method} ${pathname}`))
}

/**
 * What every answer carries. Nothing foreign is loaded or run, no inline script or style, no text is taken for HTML by a
 * script, nobody may frame a page, and no address leaves it.
 */
export const safetyHeaders: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}
