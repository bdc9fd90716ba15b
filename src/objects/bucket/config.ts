/** The config of a bucket resource, as the app file's builder writes it and a plan carries it. */
import { SteadError } from '../../base/index.ts'
import type { Json } from '../../base/index.ts'

export interface BucketConfig {
  /** Whether what is overwritten or deleted is kept. */
  readonly versions: boolean
  /** Days after which objects go, and older versions after they were replaced; null: never. */
  readonly expiryDays: number | null
  /** Most bytes that it may hold; null: as many as the app has room for. */
  readonly quotaBytes: number | null
  /** Origins whose pages may ask by script. */
  readonly corsOrigins: readonly string[]
  /** Memory of its server. */
  readonly memoryBytes: number
}

/** Unfinished uploads are given up after so many days. */
export const abortUploadDays = 7

/** The origins of a config, of which a plan of a release before has none; undefined for what are none. */
export function corsOriginsOf(value: Json | undefined): readonly string[] | undefined {
  const origins = value ?? []
  if (!Array.isArray(origins)) return undefined
  const texts = origins.filter((origin) => typeof origin === 'string')
  return texts.length === origins.length ? texts : undefined
}

/** Reads a config. Throws `objects.bad-config`. */
export function readBucketConfig(name: string, config: Json): BucketConfig {
  const { versions, expiryDays, quotaBytes, corsOrigins, memoryBytes } = (config ?? {}) as Partial<Record<string, Json>>
  const number = (value: Json | undefined): number | null | undefined =>
    value === null || (typeof value === 'number' && Number.isInteger(value) && value > 0) ? value : undefined
  const [days, quota, memory] = [number(expiryDays), number(quotaBytes), number(memoryBytes)]
  const origins = corsOriginsOf(corsOrigins)
  if (
    typeof versions === 'boolean' &&
    days !== undefined &&
    quota !== undefined &&
    origins &&
    typeof memory === 'number'
  )
    return { versions, expiryDays: days, quotaBytes: quota, corsOrigins: origins, memoryBytes: memory }
  throw new SteadError({
    code: 'objects.bad-config',
    message: `bucket ${name}: versions, expiryDays, quotaBytes, corsOrigins or memoryBytes is missing or wrong`,
    hint: "Declare it with bucket('invoices').",
  })
}
