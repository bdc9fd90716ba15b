/**
 * Certificates by ACME (RFC 8555), proven by HTTP-01: whoever serves the hosts answers with `challenge`. One order at a time;
 * a host that failed waits longer each time, and the certificate it has stays in use. Keys are made here and leave the
 * process only into private files: the client that talks to the authority gets a request that is signed already.
 */
import { join } from 'node:path'
import { isSteadError, messageOf, SteadError } from '../../base/index.ts'
import type { Clock, Random } from '../../base/index.ts'
import type { Certificate } from '../certificate.ts'
import type { CertificateDriver, HostState } from '../driver.ts'
import { counts, hostsMax } from '../hosts.ts'
import { createRequest, keyToPem, newKey } from '../issue.ts'
import { renewAtMs, retryAfterMs } from '../renewal.ts'
import { Watchers } from '../watchers.ts'
import { placeOrder } from './acme-order.ts'
import type { PlaceOrder } from './acme-order.ts'
import { readPrivate, writePrivate, writePrivateOnce } from './private-files.ts'
import { readServable } from './servable.ts'

/** Let's Encrypt. */
const defaultDirectoryUrl = 'https://acme-v02.api.letsencrypt.org/directory'

/** Longest wait between two looks at what is due. */
const lookMs = 3_600_000

/** Characters that are repeated of what an authority said. */
const reasonMax = 500

export interface AcmeOptions {
  /** Holds the account's key (0600) and each host's certificate with its key (0600). */
  readonly dir: string
  /** The authority's directory; Let's Encrypt's by default. */
  readonly directoryUrl?: string
  /** Where the authority writes to when something is wrong; null: nowhere. */
  readonly email: string | null
  /** Certificates in PEM that the authority's own server is trusted by, beside the public ones. */
  readonly roots?: string
  readonly clock: Clock
  readonly random: Random
  /** How an order is carried out; the ACME client by default. */
  readonly order?: PlaceOrder
}

interface Host {
  certificate: Certificate | null
  renewAtMs: number
  failures: number
  retryAtMs: number
  problem: SteadError | null
}

/** Opens what is there. Orders begin with the first wanted host. Throws as private files do. */
export async function acmeCertificates(options: AcmeOptions): Promise<CertificateDriver> {
  const { dir, random } = options
  const key = await writePrivateOnce(join(dir, 'account.pem'), keyToPem(newKey()), random)
  return new Acme(options, key)
}

class Acme implements CertificateDriver {
  readonly name = 'acme'
  readonly capabilities = { hosts: 'made', wildcards: false, trusted: 'everybody' } as const
  readonly #options: AcmeOptions
  readonly #accountKey: string
  readonly #watchers = new Watchers()
  readonly #hosts = new Map<string, Host>()
  /** By host and token. */
  readonly #challenges = new Map<string, string>()
  readonly #stop = new AbortController()
  #wanted: ReadonlySet<string> = new Set()
  #working: Promise<void> | null = null
  #timer: Disposable | null = null

  constructor(options: AcmeOptions, accountKey: string) {
    this.#options = options
    this.#accountKey = accountKey
  }

  find(host: string): Certificate | null {
    const certificate = this.#hosts.get(host)?.certificate ?? null
    if (certificate === null || !this.#wanted.has(host)) return null
    return counts(certificate, this.#options.clock.nowMs()) ? certificate : null
  }

  challenge(host: string, token: string): string | null {
    return this.#challenges.get(`${host} ${token}`) ?? null
  }

  want(hosts: readonly string[]): void {
    this.#wanted = new Set(hosts.slice(0, hostsMax))
    this.#work()
  }

  list(): HostState[] {
    return [...this.#wanted].sort().map((host) => ({
      host,
      untilMs: this.find(host)?.untilMs ?? null,
      problem: host.startsWith('*.') ? wildcard(host) : (this.#hosts.get(host)?.problem ?? null),
    }))
  }

  onChange(run: () => void): Disposable {
    return this.#watchers.add(run)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    this.#timer?.[Symbol.dispose]()
    await this.#working
  }

  /** Does what is due, one host after another, and comes back when more is. */
  #work(): void {
    if (this.#working !== null || this.#stop.signal.aborted) return
    this.#timer?.[Symbol.dispose]()
    this.#working = this.#workOn().finally(() => {
      this.#working = null
      if (this.#stop.signal.aborted) return
      const { clock } = this.#options
      const dueMs = [...this.#wanted].flatMap((name) => this.#dueMs(name) ?? [])
      const delayMs = Math.min(lookMs, ...dueMs.map((atMs) => atMs - clock.nowMs()))
      // A host may have come while others were looked after.
      if (delayMs <= 0) this.#work()
      else this.#timer = clock.after(delayMs, () => this.#work())
    })
  }

  async #workOn(): Promise<void> {
    const { clock } = this.#options
    for (const name of this.#wanted) {
      if (this.#stop.signal.aborted) return
      if (name.startsWith('*.')) continue
      const host = this.#hosts.get(name) ?? (await this.#load(name))
      this.#hosts.set(name, host)
      if ((this.#dueMs(name) ?? Infinity) <= clock.nowMs()) await this.#obtain(name, host)
    }
  }

  /** When something is to be done for a host next, milliseconds since 1970; null for one that nothing can be done for. */
  #dueMs(name: string): number | null {
    if (name.startsWith('*.')) return null
    const host = this.#hosts.get(name)
    if (host === undefined) return 0
    return Math.max(host.certificate === null ? 0 : host.renewAtMs, host.retryAtMs)
  }

  async #load(name: string): Promise<Host> {
    const { clock, random } = this.#options
    const host: Host = { certificate: null, renewAtMs: 0, failures: 0, retryAtMs: 0, problem: null }
    const path = this.#pathOf(name)
    try {
      const text = await readPrivate(path)
      if (text === null) return host
      host.certificate = readServable({ chain: text, chainFile: path, key: text, keyFile: path }, clock.nowMs())
      host.renewAtMs = renewAtMs(host.certificate, random)
      this.#watchers.tell()
    } catch (error) {
      // A new one will take its place; until then this is why there is none.
      host.problem = asProblem(name, error)
    }
    return host
  }

  async #obtain(name: string, host: Host): Promise<void> {
    const { clock, random } = this.#options
    try {
      host.certificate = await this.#order(name)
      host.renewAtMs = renewAtMs(host.certificate, random)
      host.failures = 0
      host.retryAtMs = 0
      host.problem = null
    } catch (error) {
      if (this.#stop.signal.aborted) return
      host.failures += 1
      host.retryAtMs = clock.nowMs() + retryAfterMs(host.failures, random)
      host.problem = asProblem(name, error)
    }
    this.#watchers.tell()
  }

  async #order(name: string): Promise<Certificate> {
    const { directoryUrl = defaultDirectoryUrl, email, roots, clock, random, order = placeOrder } = this.#options
    const key = newKey()
    const request = { directoryUrl, accountKey: this.#accountKey, email, host: name, csr: createRequest(name, key) }
    const tokens = new Set<string>()
    try {
      const chain = await order(
        { ...request, roots: roots ?? null },
        {
          clock,
          signal: this.#stop.signal,
          onChallenge: (token, answer) => {
            tokens.add(token)
            this.#challenges.set(`${name} ${token}`, answer)
          },
        },
      )
      const path = this.#pathOf(name)
      const files = { chain, chainFile: `the answer of ${directoryUrl}`, key: keyToPem(key), keyFile: path }
      const certificate = readServable(files, clock.nowMs())
      await writePrivate(path, certificate.chain + certificate.key, random)
      return certificate
    } finally {
      for (const token of tokens) this.#challenges.delete(`${name} ${token}`)
    }
  }

  #pathOf(host: string): string {
    return join(this.#options.dir, 'hosts', `${host}.pem`)
  }
}

function asProblem(host: string, error: unknown): SteadError {
  if (isSteadError(error)) return error
  // The authority's own words, on one line.
  const reason = messageOf(error).replace(/\s+/g, ' ').slice(0, reasonMax).replace(/\.$/, '')
  return new SteadError({
    code: 'certificates.order-failed',
    message: `The authority gave no certificate for ${host}: ${reason}.`,
    hint: 'It must reach http://HOST/ on port 80 from outside: check the name in DNS and the firewall. It is tried again by itself.',
    retry: 'later',
    cause: error,
  })
}

function wildcard(host: string): SteadError {
  return new SteadError({
    code: 'certificates.wildcard-refused',
    message: `ACME's HTTP challenge cannot prove ${host}.`,
    hint: 'Name the hosts one by one, or put a certificate for it among the files.',
  })
}
