/**
 * Asks registries which versions there are: the one place of the version checker that uses the network, and only when the
 * operator says so. Invariants: every answer is bounded in time and size; one that does not come leaves what was known.
 */
import type { Clock } from '../../base/index.ts'
import { messageOf } from '../../base/index.ts'
import type { KnownVersions, UsedVersion, VersionsFile } from '../../check/index.ts'

const timeoutMs = 30_000
const bodyBytesMax = 64 * 1024 * 1024
const pagesMax = 20
const atOnceMax = 4

export interface AskOptions {
  /** Address of npm's registry. */
  readonly npmRegistry: string
  readonly clock: Clock
  /** Told of what did not answer. */
  readonly onFailure: (key: string, why: string) => void
}

/** The file with fresh answers for everything that is used. */
export async function askRegistries(
  used: readonly UsedVersion[],
  before: VersionsFile,
  options: AskOptions,
): Promise<VersionsFile> {
  const known = new Map(before.known)
  const waiting = [...new Map(used.map((found) => [found.key, found])).values()]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { key, kind } = next
      try {
        const versions =
          kind === 'package'
            ? await npmVersions(key.slice('npm:'.length), options)
            : await imageTags(key.slice('image:'.length))
        known.set(key, { askedMs: options.clock.nowMs(), versions } satisfies KnownVersions)
      } catch (error) {
        options.onFailure(key, messageOf(error))
      }
    }
  }
  await Promise.all(Array.from({ length: atOnceMax }, work))
  return { known }
}

/** Each version with its day, from the registry's full record. */
async function npmVersions(name: string, { npmRegistry }: AskOptions): Promise<ReadonlyMap<string, number | null>> {
  const body = await json(`${npmRegistry.replace(/\/$/, '')}/${name.replace('/', '%2f')}`, {})
  const times = field(body, 'time')
  const versions = field(body, 'versions')
  if (typeof versions !== 'object' || versions === null) throw new Error('the answer lists no versions')
  return new Map(
    Object.keys(versions).map((version) => {
      const found = field(times, version)
      return [version, typeof found === 'string' ? Date.parse(found) : null]
    }),
  )
}

/** The tags of an image. Registries do not say when they were made. */
async function imageTags(place: string): Promise<ReadonlyMap<string, number | null>> {
  const slash = place.indexOf('/')
  const [host, repository] = [place.slice(0, slash), place.slice(slash + 1)]
  const local = /^(?:localhost|127\.0\.0\.1)(?::|$)/.test(host)
  const base = host === 'docker.io' ? 'https://registry-1.docker.io' : `${local ? 'http' : 'https'}://${host}`
  const tags = new Map<string, number | null>()
  let address: string | null = `${base}/v2/${repository}/tags/list?n=1000`
  let headers: Record<string, string> = {}
  for (let page = 0; address !== null && page < pagesMax; page++) {
    let response = await ask(address, headers)
    if (response.status === 401) {
      headers = { authorization: `Bearer ${await token(response.headers.get('www-authenticate') ?? '')}` }
      response = await ask(address, headers)
    }
    const list = field(await body(response), 'tags')
    if (!Array.isArray(list)) throw new Error('the answer lists no tags')
    for (const tag of list) if (typeof tag === 'string') tags.set(tag, null)
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1]
    address = next === undefined ? null : new URL(next, base).href
  }
  return tags
}

/** A token for reading, from where the registry says that tokens are. */
async function token(challenge: string): Promise<string> {
  const part = (name: string): string | undefined => new RegExp(`${name}="([^"]*)"`).exec(challenge)?.[1]
  const realm = part('realm')
  if (realm === undefined) throw new Error('the registry asks for a sign-in that is not known')
  const address = new URL(realm)
  for (const name of ['service', 'scope']) {
    const value = part(name)
    if (value !== undefined) address.searchParams.set(name, value)
  }
  const answer = await json(address.href, {})
  const found = field(answer, 'token') ?? field(answer, 'access_token')
  if (typeof found !== 'string') throw new Error('the registry gave no token')
  return found
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined
}

function ask(address: string, headers: Record<string, string>): Promise<Response> {
  return fetch(address, { headers, signal: AbortSignal.timeout(timeoutMs) })
}

async function json(address: string, headers: Record<string, string>): Promise<unknown> {
  return body(await ask(address, headers))
}

async function body(response: Response): Promise<unknown> {
  if (!response.ok) throw new Error(`the registry answered ${response.status}`)
  const chunks: Uint8Array[] = []
  let bytes = 0
  if (response.body !== null)
    for await (const chunk of response.body) {
      bytes += chunk.length
      if (bytes > bodyBytesMax) throw new Error(`the answer has more than ${bodyBytesMax} bytes`)
      chunks.push(chunk)
    }
  const found: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'))
  return found
}
