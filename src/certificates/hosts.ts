/** Which wanted host an asked one belongs to, and which certificate of several is the best for it: pure. */
import { covers } from './certificate.ts'
import type { Certificate } from './certificate.ts'

/** Most hosts that a driver looks after. Further ones are not. */
export const hostsMax = 1000

/** The wanted host that covers `host`: itself, or the wildcard above it; null when none does. */
export function wantedFor(wanted: { has(host: string): boolean }, host: string): string | null {
  if (wanted.has(host)) return host
  const dot = host.indexOf('.')
  const wildcard = dot > 0 ? `*${host.slice(dot)}` : ''
  return wanted.has(wildcard) ? wildcard : null
}

/** Whether a certificate counts at a moment. */
export function counts({ fromMs, untilMs }: Certificate, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs < untilMs
}

/** The best of several for a host: one that names it before one with a wildcard, then the one that lasts longest. */
export function bestFor(certificates: Iterable<Certificate>, host: string, nowMs: number): Certificate | null {
  let best: Certificate | null = null
  const rank = (certificate: Certificate): number => (certificate.hosts.includes(host) ? 1 : 0)
  for (const certificate of certificates) {
    if (!covers(certificate, host) || !counts(certificate, nowMs)) continue
    const more = best === null ? 1 : rank(certificate) - rank(best) || certificate.untilMs - best.untilMs
    if (more > 0) best = certificate
  }
  return best
}
