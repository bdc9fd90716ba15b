/** What callers hand over, checked before anything is sent or written. */
import { failure } from './errors.ts'
import { keyBytesMax, metadataBytesMax, pageMax, presignSecondsMax } from './store.ts'
import type { Content, GetOptions, ObjectCapabilities, PresignOptions, PutOptions } from './store.ts'

/** Throws `objects.bad-input`. */
export function checkKey(key: string): void {
  const bytes = Buffer.byteLength(key)
  if (bytes === 0 || bytes > keyBytesMax || key.includes('\0') || !key.isWellFormed()) {
    throw failure(
      'bad-input',
      `a key has from 1 to ${keyBytesMax} bytes of UTF-8 and no character 0`,
      'Shorten or encode it.',
    )
  }
}

/** Throws `objects.bad-input`. */
export function checkPut(key: string, { metadata = {}, contentType = '' }: PutOptions): void {
  checkKey(key)
  const entries = Object.entries(metadata)
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  const printable = entries.every(
    ([name, value]) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) && /^[\x20-\x7e]*$/.test(value),
  )
  if (bytes > metadataBytesMax || !printable || !/^[\x20-\x7e]*$/.test(contentType)) {
    const message = `metadata has names in lower case, values of printable ASCII, and at most ${metadataBytesMax} bytes`
    throw failure('bad-input', message, 'Encode the values, or keep them in the object.')
  }
}

/** Throws `objects.bad-input`. */
export function checkRange({ start = 0, end = Number.MAX_SAFE_INTEGER }: GetOptions): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end > start) return
  throw failure('bad-input', 'a range goes from a byte to before a later one', 'Leave it out to read all.')
}

/** The size of a page. Throws `objects.bad-input`. */
export function checkedLimit(limit: number = pageMax): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= pageMax) return limit
  throw failure('bad-input', `a page has from 1 to ${pageMax} objects`, 'Ask for several pages.')
}

/** Throws `objects.bad-input`. */
export function checkPresign({ key, expiresSeconds }: PresignOptions): void {
  checkKey(key)
  if (Number.isInteger(expiresSeconds) && expiresSeconds >= 1 && expiresSeconds <= presignSecondsMax) return
  throw failure(
    'bad-input',
    `a signed URL is valid from 1 to ${presignSecondsMax} seconds`,
    'Sign a new one when it is needed.',
  )
}

/** Throws `objects.unsupported` where a probe has found that the store does not do this. */
export function requireCapability(
  store: string,
  capabilities: ObjectCapabilities,
  what: 'putIfAbsent' | 'putIfMatch' | 'presign',
): void {
  if (capabilities[what]) return
  const hint = 'Use a store that can, such as the embedded one; it is never imitated, because that would lose writes.'
  throw failure('unsupported', `${store} does not do ${what} as it should`, hint)
}

/** Content as bytes that come. */
export async function* piecesOf(content: Content): AsyncGenerator<Uint8Array> {
  if (typeof content === 'string') yield Buffer.from(content)
  else if (content instanceof Uint8Array) yield content
  else yield* content
}
