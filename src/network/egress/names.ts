/**
 * Asks the host's name servers for the addresses of allowed names. One for all instances of a node.
 *
 * Invariants: only IPv4 addresses are asked for; an answer is kept for as long as it lives, within bounds; the same
 * question is under way once; no more than `underWayMax` are.
 */
import { Resolver } from 'node:dns/promises'
import { type Clock, systemCodeOf } from '../../base/index.ts'

const timeoutMs = 2000
const tries = 2
const underWayMax = 64
const keptMax = 1000
/** How long it is remembered that there is no such name, or that the servers failed. */
const absentMs = 5000
const failedMs = 1000
/** Less than a second is as good as nothing, and every lookup would reach the servers. */
const ttlMinSeconds = 1
const ttlMaxSeconds = 3600
const addressesMax = 12

export type Found =
  | {
      readonly kind: 'addresses'
      readonly addresses: readonly { readonly address: string; readonly ttlSeconds: number }[]
    }
  /** `no-name`: there is no such name; `no-address`: it has no IPv4 address. */
  | { readonly kind: 'no-name' }
  | { readonly kind: 'no-address' }
  | { readonly kind: 'failed'; readonly why: string }

interface Kept {
  readonly found: Found
  readonly atMs: number
  readonly untilMs: number
}

export interface NameLookupOptions {
  readonly clock: Clock
  /** Name servers as `address` or `address:port`; the host's own when left out. */
  readonly servers?: readonly string[]
}

export class NameLookup {
  readonly #options: NameLookupOptions
  readonly #kept = new Map<string, Kept>()
  readonly #underWay = new Map<string, Promise<Found>>()

  constructor(options: NameLookupOptions) {
    this.#options = options
  }

  /** The addresses of a name, with what is left of their life. Never rejects; takes at most some seconds. */
  async find(name: string): Promise<Found> {
    const nowMs = this.#options.clock.monotonicMs()
    const kept = this.#kept.get(name)
    if (kept !== undefined && nowMs < kept.untilMs) return aged(kept, nowMs)
    const before = this.#underWay.get(name)
    if (before !== undefined) return before
    if (this.#underWay.size >= underWayMax) return { kind: 'failed', why: 'too many names are being looked up' }
    const asking = this.#ask(name).finally(() => this.#underWay.delete(name))
    this.#underWay.set(name, asking)
    return asking
  }

  async #ask(name: string): Promise<Found> {
    // Made anew each time: it reads the host's settings when it is made, and those of a laptop change.
    const resolver = new Resolver({ timeout: timeoutMs, tries })
    if (this.#options.servers !== undefined) resolver.setServers(this.#options.servers)
    const found = await resolver.resolve4(name, { ttl: true }).then(
      (records): Found => ({
        kind: 'addresses',
        addresses: records
          .slice(0, addressesMax)
          .map(({ address, ttl }) => ({ address, ttlSeconds: Math.min(Math.max(ttl, ttlMinSeconds), ttlMaxSeconds) })),
      }),
      failure,
    )
    this.#keep(name, found)
    return found
  }

  #keep(name: string, found: Found): void {
    const atMs = this.#options.clock.monotonicMs()
    this.#kept.delete(name)
    this.#kept.set(name, { found, atMs, untilMs: atMs + lifeOf(found) })
    const [oldest] = this.#kept.keys()
    if (this.#kept.size > keptMax && oldest !== undefined) this.#kept.delete(oldest)
  }
}

function failure(error: unknown): Found {
  const code = systemCodeOf(error)
  if (code === 'ENOTFOUND') return { kind: 'no-name' }
  if (code === 'ENODATA') return { kind: 'no-address' }
  return { kind: 'failed', why: `the name servers of the host did not answer (${code ?? 'unknown'})` }
}

function lifeOf(found: Found): number {
  if (found.kind === 'failed') return failedMs
  return found.kind === 'addresses' ? Math.min(...found.addresses.map((one) => one.ttlSeconds)) * 1000 : absentMs
}

function aged({ found, atMs }: Kept, nowMs: number): Found {
  if (found.kind !== 'addresses') return found
  const age = Math.floor((nowMs - atMs) / 1000)
  return {
    kind: 'addresses',
    addresses: found.addresses.map((one) => ({ ...one, ttlSeconds: Math.max(0, one.ttlSeconds - age) })),
  }
}
