/**
 * Images from a registry, over the distribution protocol: by tag or digest, with a token or a password where it asks for one,
 * from mirrors first where there are any.
 *
 * Invariants: a credential goes to the host it is for, over TLS or to this machine itself, and never along a redirect; every
 * answer has a bound; contents are not trusted here but checked by whoever reads them.
 */
import { SteadError, messageOf } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { acceptedTypes, type Descriptor } from '../documents.ts'
import { holdLimit, imageLimits } from '../limits.ts'
import { showReference, type RegistryReference } from '../reference.ts'
import type { ImageSource } from '../source.ts'

export interface RegistryCredential {
  readonly username: string
  readonly password: string
}

export interface RegistryOptions {
  readonly clock: Clock
  /** What to show a host (with its port) that asks; null: nothing. */
  readonly credentialFor: (host: string) => RegistryCredential | null
  /** Hosts that are asked before the registry itself, by its host; each is given only what is its own. */
  readonly mirrorsOf?: (host: string) => readonly string[]
  /** Hosts that are spoken to without TLS, beside this machine itself. */
  readonly plainHosts?: readonly string[]
  readonly signal?: AbortSignal
}

/** From question to first bytes of the answer. */
const answerTimeoutMs = 30_000
const userAgent = 'stead'

export function registrySource(reference: RegistryReference, options: RegistryOptions): ImageSource {
  const hosts = [...(options.mirrorsOf?.(reference.host) ?? []), reference.host]
  const places = hosts.map((host) => new Registry(host, reference.repository, options))
  const name = showReference(reference)
  const top = reference.digest ?? reference.tag ?? 'latest'
  return {
    name,
    async top() {
      const answer = await first(places, (place) => place.get(`manifests/${top}`, acceptedTypes.join(', '), name))
      const mediaType = answer.headers.get('content-type')?.split(';')[0]?.trim() ?? null
      return { bytes: await whole(answer, name), mediaType }
    },
    async document({ digest }) {
      return whole(
        await first(places, (place) => place.get(`manifests/${digest}`, acceptedTypes.join(', '), name)),
        name,
      )
    },
    async *blob({ digest }: Descriptor) {
      const answer = await first(places, (place) => place.get(`blobs/${digest}`, '*/*', name))
      if (answer.body !== null) yield* bytesOf(answer.body, name)
    },
  }
}

/** The first that has it; of several failures, that of the registry itself. */
async function first<T>(places: readonly Registry[], ask: (place: Registry) => Promise<T>): Promise<T> {
  let last: unknown = null
  for (const place of places) {
    try {
      return await ask(place)
    } catch (error) {
      last = error
    }
  }
  throw last
}

/** One repository on one host, and what it has let us in with. */
class Registry {
  readonly #base: URL
  readonly #host: string
  readonly #options: RegistryOptions
  #authorization: string | null = null

  constructor(host: string, repository: string, options: RegistryOptions) {
    const scheme = isLocal(host) || options.plainHosts?.includes(host) === true ? 'http' : 'https'
    this.#host = host
    this.#options = options
    this.#base = new URL(`${scheme}://${host}/v2/${repository}/`)
  }

  /** Throws `image.not-found`, `image.unauthorized`, `image.registry-failed`. */
  async get(path: string, accept: string, name: string): Promise<Response> {
    const url = new URL(path, this.#base)
    const answer = await this.#follow(url, accept, name)
    if (answer.status !== 401) return this.#checked(answer, name)
    await answer.body?.cancel()
    this.#authorization = await this.#letIn(answer.headers.get('www-authenticate') ?? '', name)
    return this.#checked(await this.#follow(url, accept, name), name)
  }

  async #checked(answer: Response, name: string): Promise<Response> {
    if (answer.ok) return answer
    await answer.body?.cancel()
    if (answer.status === 404) {
      throw new SteadError({
        code: 'image.not-found',
        message: `${this.#host} has no ${name}.`,
        hint: 'See the name and the tag; some registries answer so as well when a login is missing.',
      })
    }
    if (answer.status === 401 || answer.status === 403) throw this.#unauthorized(name, `it answered ${answer.status}`)
    throw this.#failed(name, `it answered ${answer.status}`, answer.status === 429 || answer.status >= 500)
  }

  /** Redirects are followed without what lets us in here: they lead to stores of others. */
  async #follow(from: URL, accept: string, name: string): Promise<Response> {
    let url = from
    for (let redirects = 0; redirects <= imageLimits.redirectsMax; redirects++) {
      const own = url.origin === this.#base.origin && this.#authorization !== null
      const answer = await this.#ask(url, name, {
        accept,
        ...(own ? { authorization: this.#authorization ?? '' } : {}),
      })
      const target = answer.status >= 300 && answer.status < 400 ? answer.headers.get('location') : null
      if (target === null) return answer
      await answer.body?.cancel()
      const next = URL.parse(target, url)
      if (next === null || (next.protocol !== 'https:' && next.origin !== this.#base.origin && !isLocal(this.#host)))
        throw this.#failed(name, 'it redirects to a place without TLS', false)
      url = next
    }
    throw this.#failed(name, `it redirects more than ${imageLimits.redirectsMax} times`, false)
  }

  async #ask(url: URL, name: string, headers: Record<string, string>): Promise<Response> {
    const stop = new AbortController()
    const signal =
      this.#options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, this.#options.signal])
    // Of the answer's beginning alone: a large layer may take its time.
    using _timer = this.#options.clock.after(answerTimeoutMs, () =>
      stop.abort(new Error(`no answer within ${answerTimeoutMs / 1000} s`)),
    )
    try {
      return await fetch(url, { headers: { 'user-agent': userAgent, ...headers }, redirect: 'manual', signal })
    } catch (error) {
      const why = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error)
      throw this.#failed(name, why, true)
    }
  }

  /** What to be let in with, as the challenge asks. */
  async #letIn(challenge: string, name: string): Promise<string> {
    const credential = this.#options.credentialFor(this.#host)
    const basic =
      credential === null
        ? null
        : `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`
    const isSafe = this.#base.protocol === 'https:' || isLocal(this.#host)
    if (basic !== null && !isSafe)
      throw this.#unauthorized(name, 'it is spoken to without TLS, where no password is shown')
    if (/^basic\b/i.test(challenge)) {
      if (basic !== null) return basic
      throw this.#unauthorized(name, 'it asks for a name and a password')
    }
    const fields = new Map(
      [...challenge.matchAll(/([a-z]+)="([^"]*)"/gi)].map(([, key = '', value = '']) => [key.toLowerCase(), value]),
    )
    const realm = URL.parse(fields.get('realm') ?? '')
    if (!/^bearer\b/i.test(challenge) || realm === null)
      throw this.#unauthorized(name, 'it does not say how to be let in')
    if (realm.protocol !== 'https:' && !(isLocal(realm.host) && isLocal(this.#host)))
      throw this.#unauthorized(name, 'it sends us to a place without TLS for a token')
    for (const field of ['service', 'scope']) {
      const value = fields.get(field)
      if (value !== undefined) realm.searchParams.set(field, value)
    }
    const answer = await this.#ask(realm, name, basic === null ? {} : { authorization: basic })
    const text = answer.ok ? await limited(answer, imageLimits.tokenBytesMax) : null
    const token = tokenOf(text)
    if (token === null) throw this.#unauthorized(name, `its token server answered ${answer.status}`)
    return `Bearer ${token}`
  }

  #unauthorized(name: string, why: string): SteadError {
    return new SteadError({
      code: 'image.unauthorized',
      message: `${this.#host} does not give ${name}: ${why}.`,
      hint: 'Credentials are read from ~/.docker/config.json, as `docker login`, `podman login` and `skopeo login` write it.',
    })
  }

  #failed(name: string, why: string, later: boolean): SteadError {
    return new SteadError({
      code: 'image.registry-failed',
      message: `${name} cannot be had from ${this.#host}: ${why}.`,
      hint: 'See that the registry can be reached from this machine.',
      retry: later ? 'later' : 'never',
    })
  }
}

/** Whether a host is this machine. */
function isLocal(host: string): boolean {
  return /^(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?$/.test(host)
}

function tokenOf(text: string | null): string | null {
  try {
    const value: unknown = JSON.parse(text ?? '')
    if (typeof value !== 'object' || value === null) return null
    const token = 'token' in value ? value.token : 'access_token' in value ? value.access_token : null
    return typeof token === 'string' && /^[\x21-\x7e]+$/.test(token) ? token : null
  } catch {
    return null
  }
}

async function whole(answer: Response, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  if (answer.body !== null) {
    for await (const chunk of bytesOf(answer.body, name)) {
      bytes += chunk.length
      holdLimit('documentBytesMax', bytes, `A document of ${name}`)
      chunks.push(chunk)
    }
  }
  return Buffer.concat(chunks)
}

async function limited(answer: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  if (answer.body !== null) {
    for await (const chunk of answer.body) {
      bytes += chunk.length
      if (bytes > bytesMax) break
      chunks.push(chunk)
    }
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** A body; a connection that breaks is an error of ours. */
async function* bytesOf(body: ReadableStream<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* body
  } catch (error) {
    throw new SteadError({
      code: 'image.truncated',
      message: `${name} broke off: ${error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error)}.`,
      hint: 'Nothing of what was under way is kept; what is whole is: try again.',
      retry: 'later',
    })
  }
}
