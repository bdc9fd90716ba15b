/**
 * The gateway's own cookie, pure: a random key that says nothing about the client, the app or the instances. It is read
 * and taken out before a request goes on, and given to clients that have none on routes that are to be sticky.
 */
import type { RouteSticky } from '../protocol/index.ts'

/** What the cookie is called. */
export const stickyCookie = 'stead-sticky'

/** Hex digits of a key. */
export const stickyKeyLength = 16

const keyPattern = /^[0-9a-f]{16}$/

/** The key in a client's flat headers, taken out of them; null when there is no well-formed one. */
export function takeStickyKey(headers: string[]): string | null {
  let key: string | null = null
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    const value = headers[i + 1] ?? ''
    if (headers[i]?.toLowerCase() !== 'cookie' || !value.includes(stickyCookie)) continue
    const rest: string[] = []
    for (const pair of value.split(';').map((part) => part.trim())) {
      const equals = pair.indexOf('=')
      if (equals === -1 || pair.slice(0, equals).trim() !== stickyCookie) rest.push(pair)
      else if (keyPattern.test(pair.slice(equals + 1))) key = pair.slice(equals + 1)
    }
    if (rest.length === 0) headers.splice(i, 2)
    else headers[i + 1] = rest.join('; ')
  }
  return key
}

/** The Set-Cookie header for a new key. It goes with every path of the host: routes rank it each by their own names. */
export function stickySetCookie(key: string, { ttlS }: RouteSticky, secure: boolean): string {
  const age = ttlS === undefined ? '' : `; Max-Age=${ttlS}`
  return `${stickyCookie}=${key}; Path=/${age}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
}

/** Whether an answer may carry a new cookie: one that shared caches keep would hand one client's key to many. */
export function mayCarryCookie(headers: readonly string[]): boolean {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === 'cache-control' && /\bpublic\b|\bs-maxage\b/i.test(headers[i + 1] ?? ''))
      return false
  }
  return true
}
