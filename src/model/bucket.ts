/** `bucket`: the builder of object storage. What its provider reads is written in `objects/bucket/config.ts`. */
import { badOption, checkName, checkOptions, readBytes, readDuration } from './check.ts'
import { resource } from './resource.ts'
import { narrowable } from './rights.ts'
import type { Narrowable } from './rights.ts'
import type { Bytes, Duration } from './units.ts'
import { isPart } from './values.ts'
import type { Resource } from './values.ts'

const dayMs = 86_400_000
const originsMax = 100
/** A scheme, a host and perhaps a port, with at most one star: nothing behind them, for a browser sends nothing behind them. */
const originPattern = /^(?:\*|https?:\/\/(?=[^*]*\*?[^*]*$)[a-z0-9.*[\]:-]{1,260})$/

function isOrigin(value: unknown): value is string {
  return typeof value === 'string' && originPattern.test(value)
}

/** Object storage that speaks S3: in the app's own data, or a bucket that somebody else runs. */
export type BucketOptions = OwnBucketOptions | HostedBucketOptions

/** What an app can need of a store that somebody else runs: it is tried there, and the app is refused where it does not hold. */
export type BucketNeed = (typeof needs)[number]
const needs = ['putIfAbsent', 'putIfMatch', 'checksums', 'presign', 'paging', 'versions'] as const

/** A bucket that somebody else runs. Rights hold as for an own one; it is in no checkpoint and goes back with no release. */
export interface HostedBucketOptions extends Pick<OwnBucketOptions, 'cors'> {
  /** The URL, with a key to it: https://KEY-ID:SECRET@HOST/BUCKET?region=REGION. */
  readonly hosted: Resource<'secret'>
  /** What it has to do as S3 has it, also among those who race. Default: nothing in particular. */
  readonly needs?: readonly BucketNeed[]
}

/** Object storage in the app's own data. */
export interface OwnBucketOptions {
  readonly hosted?: never
  /** Whether what is overwritten or deleted is kept. Default false. */
  readonly versions?: boolean
  /** Objects go by themselves after so long, in whole days, as in `30d`: 1d to 3650d. Default: never. */
  readonly expiry?: Duration
  /** The most that it may hold, all versions together, 1MB to 16TB. Default: as much as the app has room for. */
  readonly quota?: Bytes
  /**
   * Origins whose pages may ask for objects by script, as in `https://shop.example`; `*` in one stands for anything. What a page
   * may do is said by the URLs that it is handed. Default: none; links, forms and downloads need none.
   */
  readonly cors?: readonly string[]
  /** Memory of the server, 128MB to 4TB. Default 256MB. */
  readonly memory?: Bytes
}

/**
 * A bucket of objects. Users get `AWS_ENDPOINT_URL_S3`, the `AWS_*` variables of a key of their own, and `BUCKET_NAME`; with
 * `only` they may do less than everything. Throws `model.*` as `resource` does.
 */
export function bucket(name: string, options: BucketOptions = {}): Narrowable<'bucket'> {
  checkName('bucket', name)
  const owner = `bucket '${name}'`
  if (name.length < 3) throw badOption(owner, 'its name', 'at least 3 characters', name, 'S3 has it so for buckets.')
  if (options.hosted !== undefined) return hostedBucket(name, owner, options)
  checkOptions(owner, options, ['versions', 'expiry', 'quota', 'cors', 'memory', 'hosted'])
  const { versions = false, expiry, quota, cors, memory = '256MB' } = options
  if (typeof versions !== 'boolean')
    throw badOption(owner, 'versions', 'true or false', versions, 'As in versions: true.')
  const expiryMs = expiry === undefined ? null : readDuration(owner, 'expiry', expiry, dayMs, 3650 * dayMs)
  if (expiryMs !== null && expiryMs % dayMs !== 0)
    throw badOption(owner, 'expiry', 'in whole days', expiry, "As in expiry: '30d'.")
  return narrowable(
    resource('bucket', name, {
      versions,
      expiryDays: expiryMs === null ? null : expiryMs / dayMs,
      quotaBytes: quota === undefined ? null : readBytes(owner, 'quota', quota, 1_000_000, 16_000_000_000_000),
      corsOrigins: readOrigins(owner, cors),
      memoryBytes: readBytes(owner, 'memory', memory, 128_000_000, 4_000_000_000_000),
    }),
  )
}

function hostedBucket(name: string, owner: string, options: HostedBucketOptions): Narrowable<'bucket'> {
  checkOptions(owner, options, ['hosted', 'needs', 'cors'])
  const { hosted, needs: asked = [], cors } = options
  if (!isPart(hosted) || hosted.part.kind !== 'resource' || hosted.part.type !== 'secret')
    throw badOption(
      owner,
      'hosted',
      'a secret with the URL',
      hosted,
      "As in secret('files-url', { from: 'operator' }).",
    )
  const known: readonly unknown[] = needs
  const all: readonly unknown[] = Array.isArray(asked) ? asked : [asked]
  const wrong = Array.isArray(asked) ? all.find((need) => !known.includes(need)) : asked
  if (wrong !== undefined)
    throw badOption(owner, 'needs', `a list of ${needs.join(', ')}`, wrong, "As in needs: ['putIfAbsent'].")
  const config = {
    hosted: hosted.name,
    needs: [...new Set<string>(asked)].sort(),
    corsOrigins: readOrigins(owner, cors),
  }
  return narrowable(Object.freeze({ ...resource('bucket', name, config), hosted }))
}

function readOrigins(owner: string, cors: unknown = []): readonly string[] {
  const origins: readonly unknown[] = Array.isArray(cors) ? cors : [cors]
  const texts = origins.filter((origin) => isOrigin(origin))
  if (Array.isArray(cors) && texts.length === origins.length && texts.length <= originsMax) return texts
  const wrong = origins.find((origin) => !isOrigin(origin)) ?? cors
  throw badOption(
    owner,
    'cors',
    `a list of at most ${originsMax} origins`,
    wrong,
    "As in cors: ['https://shop.example'].",
  )
}
