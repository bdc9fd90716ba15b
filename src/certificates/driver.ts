/**
 * The interface of certificate drivers: where certificates of hosts come from. Whoever serves TLS asks `find` at every
 * handshake.
 *
 * Invariants every driver keeps, and the conformance suite checks:
 * - `find` answers from memory, at once, and never a certificate that has expired or stands for another host.
 * - A new certificate is a new object; one that is served stays in use until there is a better one, whatever fails.
 * - Only wanted hosts get certificates made; asking for others costs nothing.
 * - Keys lie in files that only their owner can read, and stand in no message.
 */
import type { SteadError } from '../base/index.ts'
import type { Certificate } from './certificate.ts'

export interface CertificateCapabilities {
  /** found: those that somebody put there; made: one for each host that is wanted. */
  readonly hosts: 'found' | 'made'
  /** Whether `*.host` can be wanted. */
  readonly wildcards: boolean
  /** Who trusts them: everybody; those who were told to; or it depends on what was put there. */
  readonly trusted: 'everybody' | 'told' | 'depends'
}

/** How a wanted host stands. */
export interface HostState {
  readonly host: string
  /** Until when its certificate counts, milliseconds since 1970; null when it has none. */
  readonly untilMs: number | null
  /** What went wrong at the last attempt; null when nothing did. */
  readonly problem: SteadError | null
}

export interface CertificateDriver extends AsyncDisposable {
  readonly name: string
  readonly capabilities: CertificateCapabilities
  /** The certificate for a host; null when there is none now. */
  find(host: string): Certificate | null
  /** What answers an ACME HTTP-01 challenge; null where there is none of that token for that host. */
  challenge(host: string, token: string): string | null
  /** The hosts that are served from now on, lower case; replaces what was wanted before. Refuses none: see `list`. */
  want(hosts: readonly string[]): void
  /** Every wanted host, sorted. */
  list(): readonly HostState[]
  /** Calls `run` when a certificate or a problem is new. */
  onChange(run: () => void): Disposable
}
