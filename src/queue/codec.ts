/**
 * How values become bodies and back. With a schema (any validator that speaks Standard Schema) a value is checked when it is
 * sent, before any I/O, and again when it arrives; without one it is JSON. Bytes pass untouched.
 */
import { messageOf } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { Body } from './driver.ts'
import { failure } from './errors.ts'

/** The part of Standard Schema that is used: what zod, valibot, arktype and others implement. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    validate(value: unknown): StandardResult<Output> | Promise<StandardResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

type StandardResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }

/** A pair of conversions. Both throw `queue.bad-input` or `queue.invalid-message`. */
export interface Codec<In, Out> {
  encode(value: In): Body | Promise<Body>
  decode(body: Body): Out | Promise<Out>
}

/** Whether it has to be waited for. What need not be is not: a turn of the queue of promises for each message adds up. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}

/** Any JSON. */
export const jsonCodec: Codec<Json, Json> = {
  encode: (value) => textOf(value),
  decode: (body) => parsed(body),
}

/** Bytes as they are. */
export const bytesCodec: Codec<Uint8Array, Uint8Array> = {
  encode(value) {
    if (value instanceof Uint8Array) return value
    throw failure('bad-input', 'a queue of bytes was given something else', 'Send a Uint8Array.')
  },
  decode: (body) => (typeof body === 'string' ? Buffer.from(body) : body),
}

/** JSON that a schema accepts. What arrives is what the schema makes of it. */
export function schemaCodec<In, Out>(schema: StandardSchema<In, Out>): Codec<In, Out> {
  const check = async (value: unknown, kind: 'bad-input' | 'invalid-message'): Promise<Out> => {
    const result = await schema['~standard'].validate(value)
    if (result.issues === undefined) return result.value
    const said = result.issues
      .slice(0, 3)
      .map(({ message, path }) => `${(path ?? []).map(segmentOf).join('.')}: ${message}`)
    const hint = 'Change the value or the schema; consumers must accept what older senders have sent.'
    throw failure(kind, `the schema of the queue does not accept the message: ${said.join('; ')}`, hint)
  }
  return {
    async encode(value) {
      await check(value, 'bad-input')
      return textOf(value)
    },
    decode: (body) => check(parsed(body), 'invalid-message'),
  }
}

function segmentOf(segment: unknown): string {
  return typeof segment === 'object' && segment !== null && 'key' in segment ? String(segment.key) : String(segment)
}

/** The JSON text of a value that JSON can hold; nothing is dropped or changed on the way. */
function textOf(value: unknown): string {
  const found = foreignIn(value, 0)
  if (found === null) return JSON.stringify(value)
  throw failure('bad-input', `the message holds ${found}, which JSON cannot hold`, 'Send plain data, or bytes.')
}

/** Nesting of values; deeper ones are cyclic or nobody's friend. */
const depthMax = 100

/** What in a value JSON would drop, change or not end on; null if nothing. Members that are undefined are left out as usual. */
function foreignIn(value: unknown, depth: number): string | null {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return null
  if (typeof value === 'number') return Number.isFinite(value) ? null : String(value)
  if (typeof value !== 'object') return `a value of type ${typeof value}`
  if (depth >= depthMax) return `more than ${depthMax} levels`
  if (Array.isArray(value)) return firstOf(value, depth)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return `an object of class ${value.constructor.name}`
  return firstOf(
    Object.values(value).filter((item) => item !== undefined),
    depth,
  )
}

function firstOf(items: readonly unknown[], depth: number): string | null {
  for (const item of items) {
    const found = foreignIn(item, depth + 1)
    if (found !== null) return found
  }
  return null
}

function parsed(body: Body): Json {
  const text = typeof body === 'string' ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString()
  try {
    const value: Json = JSON.parse(text)
    return value
  } catch (cause) {
    const hint = 'Look at it with peek; declare the queue with `body: "bytes"` if its messages are not JSON.'
    throw failure('invalid-message', `a message is not JSON: ${messageOf(cause)}`, hint, cause)
  }
}
