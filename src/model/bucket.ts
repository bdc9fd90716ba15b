/** `bucket`: the builder of object storage. What its provider reads is written in `objects/bucket/config.ts`. */
import { badOption, checkName, checkOptions, readBytes, readDuration } from './check.ts'
import { resource } from './resource.ts'
import { narrowable } from './rights.ts'
import type { Narrowable } from './rights.ts'
import type { Bytes, Duration } from './units.ts'

const dayMs = 86_400_000
const originsMax = 100
/** A scheme, a host and perhaps a port, with at most one star: nothing behind them, for a browser sends nothing behind them. */
const originPattern = /^(?:\*|https?:\/\/(?=[^*]*\*?[^*]*$)[a-z0-9.*[\]:-]{1,260})$/

function isOrigin(value: unknown): boolean {
  return typeof value === 'string' && originPattern.test(value)
}

/** Object storage that speaks S3, in the app's own data. */
export interface BucketOptions {
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
  checkOptions(owner, options, ['versions', 'expiry', 'quota', 'cors', 'memory'])
  if (name.length < 3) throw badOption(owner, 'its name', 'at least 3 characters', name, 'S3 has it so for buckets.')
  const { versions = false, expiry, quota, cors = [], memory = '256MB' } = options
  if (typeof versions !== 'boolean')
    throw badOption(owner, 'versions', 'true or false', versions, 'As in versions: true.')
  const expiryMs = expiry === undefined ? null : readDuration(owner, 'expiry', expiry, dayMs, 3650 * dayMs)
  if (expiryMs !== null && expiryMs % dayMs !== 0)
    throw badOption(owner, 'expiry', 'in whole days', expiry, "As in expiry: '30d'.")
  const origins: readonly unknown[] = Array.isArray(cors) ? cors : [cors]
  if (!Array.isArray(cors) || cors.length > originsMax || origins.some((origin) => !isOrigin(origin))) {
    const wrong = origins.find((origin) => !isOrigin(origin)) ?? cors
    throw badOption(
      owner,
      'cors',
      `a list of at most ${originsMax} origins`,
      wrong,
      "As in cors: ['https://shop.example'].",
    )
  }
  return narrowable(
    resource('bucket', name, {
      versions,
      expiryDays: expiryMs === null ? null : expiryMs / dayMs,
      quotaBytes: quota === undefined ? null : readBytes(owner, 'quota', quota, 1_000_000, 16_000_000_000_000),
      corsOrigins: [...cors],
      memoryBytes: readBytes(owner, 'memory', memory, 128_000_000, 4_000_000_000_000),
    }),
  )
}
