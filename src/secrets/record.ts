/** The record of one secret in the store: its sealed versions and where its rotation stands. Pure. */
import { z } from 'zod'
import type { Json } from '../base/index.ts'
import type { Binding, Sealed } from './envelope.ts'
import { failure } from './errors.ts'
import { type Rotation, steady } from './rotation.ts'

export const recordFormat = 1 as const

/** Who a value comes from. */
export type Source = 'generated' | 'operator' | 'imported'

export interface VersionRecord {
  readonly version: number
  /** Milliseconds since 1970. */
  readonly createdMs: number
  readonly source: Source
  readonly sealed: Sealed
}

/** All of one secret. Written whole: a reader never sees a state that the versions do not belong to. */
export interface SecretRecord {
  readonly format: typeof recordFormat
  /** 0: it has no value. */
  readonly current: number
  /** The last version number given out; none is given out twice, also after a removal. */
  readonly last: number
  readonly rotation: Rotation
  /** Oldest first. */
  readonly versions: readonly VersionRecord[]
}

export const emptyRecord: SecretRecord = { format: recordFormat, current: 0, last: 0, rotation: steady, versions: [] }

const count = z.int().min(0)
const sealed = z.object({ key: z.string(), wrapped: z.string(), value: z.string() })
const again = z.boolean()
const schema: z.ZodType<SecretRecord> = z.object({
  format: z.literal(recordFormat),
  current: count,
  last: count,
  rotation: z.discriminatedUnion('at', [
    z.object({ at: z.literal('steady') }),
    z.object({ at: z.literal('created'), to: count, again }),
    z.object({ at: z.literal('overlap'), from: count, again }),
    z.object({ at: z.literal('revoking'), from: count, again }),
  ]),
  versions: z.array(
    z.object({
      version: z.int().min(1),
      createdMs: z.number(),
      source: z.enum(['generated', 'operator', 'imported']),
      sealed,
    }),
  ),
})

/** Checks a record that was read. Throws `secrets.damaged`, `secrets.newer-format`. */
export function parseRecord({ app, name }: Pick<Binding, 'app' | 'name'>, value: Json): SecretRecord {
  const format = typeof value === 'object' && value !== null && 'format' in value ? value.format : undefined
  if (typeof format === 'number' && format > recordFormat) {
    const what = `${name} of ${app} was written by a newer release (format ${format}; this one knows ${recordFormat})`
    throw failure('newer-format', what, 'Run the newer release again. Nothing was changed.')
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  throw failure(
    'damaged',
    `the record of ${name} of ${app} is not one that this program wrote`,
    'Put it back from a copy of the store, or remove it and set the secret anew.',
  )
}
