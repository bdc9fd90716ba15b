/**
 * The provider of a `bucket` that somebody else runs: same type, same bindings, same rights; the bytes are elsewhere. Its server is a
 * front in the sandbox of the resource: parts have keys of their own there, and the store's key, out of an operator's secret,
 * nobody but the front.
 *
 * Invariants: what the app needs of the store is probed before anybody is let in, and refused with what was found; what only the
 * keeper of the data can do (checkpoints, what differs between two) is refused, never imitated.
 */
import { isSteadError, messageOf, SteadError } from '../../base/index.ts'
import type { Json } from '../../base/index.ts'
import type { Provider, ProviderContext } from '../../provider/index.ts'
import { askServer } from '../drivers/bucket/admin.ts'
import type { Upstream } from '../drivers/bucket/upstream.ts'
import { probeS3, refuseUnless } from '../drivers/s3/probe.ts'
import type { Probe } from '../drivers/s3/probe.ts'
import { isBucketName } from '../s3/request.ts'
import { corsOriginsOf } from './config.ts'

/** What an app can need of a store, as the builder takes it. */
const needsKnown = ['putIfAbsent', 'putIfMatch', 'checksums', 'presign', 'paging', 'versions'] as const
type Need = (typeof needsKnown)[number]

/** What an app file says of a bucket that is hosted elsewhere. */
export interface HostedBucketConfig {
  /** The secret with the URL. */
  readonly hosted: string
  readonly needs: readonly Need[]
  readonly corsOrigins: readonly string[]
}

/** Memory of a front: bytes pass through it. */
export const frontMemoryBytes = 256_000_000

/** Whether a config is of a bucket that is hosted elsewhere. */
export function isHosted(config: Json): boolean {
  return typeof config === 'object' && config !== null && 'hosted' in config
}

/** Reads a config. Throws `objects.bad-config`. */
export function readHostedConfig(name: string, config: Json): HostedBucketConfig {
  const { hosted, needs, corsOrigins } = (config ?? {}) as Partial<Record<string, Json>>
  const list = Array.isArray(needs) ? needsKnown.filter((need) => needs.includes(need)) : undefined
  const origins = corsOriginsOf(corsOrigins)
  if (
    typeof hosted === 'string' &&
    list?.length === (Array.isArray(needs) ? needs.length : -1) &&
    origins !== undefined
  )
    return { hosted, needs: list, corsOrigins: origins }
  throw new SteadError({
    code: 'objects.bad-config',
    message: `bucket ${name}: hosted, needs or corsOrigins is missing or wrong`,
    hint: "As in bucket('files', { hosted: secret('files-url', { from: 'operator' }) }).",
  })
}

/** Where the store is, and who we are there. Throws `objects.hosted-url`. */
export function upstreamOf({ name, config, adminPassword: text }: ProviderContext): Upstream {
  const { hosted } = readHostedConfig(name, config)
  const refuse = (problem: string, retry: 'never' | 'later'): SteadError =>
    new SteadError({
      code: 'objects.hosted-url',
      message: `bucket ${name}: the secret ${hosted} ${problem}`,
      hint: `It is the URL of the bucket: https://KEY-ID:SECRET@HOST/BUCKET?region=REGION. Set it with \`stead secret set ${hosted}\`.`,
      retry,
    })
  if (text === '') throw refuse('has no value yet', 'later')
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.hostname === '')
    throw refuse('is no URL of a bucket', 'never')
  const [accessKeyId, secretAccessKey, bucket] = [url.username, url.password, url.pathname.slice(1)].map(decoded)
  if (accessKeyId === undefined || accessKeyId === '' || secretAccessKey === undefined || secretAccessKey === '')
    throw refuse('has no key in it', 'never')
  if (bucket === undefined || !isBucketName(bucket)) throw refuse('does not end with the name of a bucket', 'never')
  const region = url.searchParams.get('region') ?? 'us-east-1'
  return { endpoint: url.origin, bucket, region, accessKeyId, secretAccessKey }
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

/** What of the provider is different for a bucket that is hosted elsewhere; the rest is as for an own one. */
export type HostedParts = Pick<Provider, 'prepare' | 'quiesce' | 'recover' | 'diff'> &
  Required<Pick<Provider, 'endpoint' | 'position' | 'carry' | 'replay' | 'verify'>>

/** Those parts, where it is hosted elsewhere. */
export function hostedBucket(): HostedParts {
  /** What was found in each store, by all that it was asked with: it is looked at once, and again when the secret changes. */
  const found = new Map<string, Promise<Probe>>()
  return {
    endpoint(context) {
      const { protocol, hostname, port } = new URL(upstreamOf(context).endpoint)
      const standard = protocol === 'https:' ? 443 : 80
      return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? standard : Number(port) }
    },

    async prepare(context) {
      const upstream = upstreamOf(context)
      const { needs } = readHostedConfig(context.name, context.config)
      refuseUnless(
        `bucket ${context.name}`,
        await probed(upstream),
        Object.fromEntries(needs.map((need) => [need, true])),
      )
      await askServer(context, 'attach', upstream)
      return { schema: null }
    },

    carry: ({ name }) => Promise.resolve([`bucket ${name} is hosted elsewhere and has not gone back`]),
    position: () =>
      Promise.resolve({ position: 'hosted elsewhere: it does not go back', countedSinceMs: 0, counts: [] }),
    replay: (context) => Promise.reject(notOurs(context.name, 'filled from a copy')),
    verify: (context) => Promise.reject(notOurs(context.name, 'copied and verified')),
    // There is nothing here that has to come to rest.
    quiesce: () => Promise.resolve({ [Symbol.asyncDispose]: async () => {} }),
    recover: () => Promise.resolve(),
    diff: (context) => Promise.reject(notOurs(context.name, 'compared with a checkpoint')),
  }

  function probed(upstream: Upstream): Promise<Probe> {
    const key = JSON.stringify(upstream)
    const probe = found.get(key) ?? probeS3(upstream)
    found.clear()
    found.set(key, probe)
    probe.catch(() => found.delete(key))
    return probe.catch((error: unknown) => {
      throw unreachable(upstream, error)
    })
  }
}

/** The key is said to nobody. */
function unreachable({ endpoint, bucket }: Upstream, error: unknown): SteadError {
  const refused = isSteadError(error) && (error.code === 'objects.denied' || error.code === 'objects.no-bucket')
  return new SteadError({
    code: refused ? 'objects.hosted-denied' : 'objects.hosted-unreachable',
    message: `bucket ${bucket} at ${endpoint}: ${messageOf(error)}`,
    hint: 'It is hosted elsewhere: see there whether it runs, has this bucket, and takes this key.',
    retry: 'later',
    cause: error,
  })
}

function notOurs(name: string, what: string): SteadError {
  return new SteadError({
    code: 'objects.hosted-refused',
    message: `bucket ${name} is hosted elsewhere and cannot be ${what} from here`,
    hint: 'Whoever hosts it has versions and copies of his own.',
  })
}
