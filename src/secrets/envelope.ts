/**
 * Envelope encryption. Each value is sealed with a data key of its own (AES-256-GCM), and the data key with the vault's
 * key. Pure but for the randomness that is passed in.
 *
 * Invariants: what is sealed opens only as what it was sealed as (app, name, version stand in the associated data), so a
 * ciphertext that is moved to another record is refused; a new vault key costs a new wrapping of each data key, and no
 * value is opened for it; a nonce is never used twice with one key (a data key seals one value, wrappings are 96-bit random).
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import type { Random } from '../base/index.ts'
import { failure } from './errors.ts'

const algorithm = 'aes-256-gcm'
const keyBytes = 32
const nonceBytes = 12
const tagBytes = 16

/** A key of the vault: 256 bits, and the name that sealed records call it by. */
export interface WrappingKey {
  /** Follows from the key and says nothing about it. */
  readonly id: string
  readonly bytes: Uint8Array
}

/** What a value is bound to. */
export interface Binding {
  readonly app: string
  readonly name: string
  readonly version: number
}

/** A value as it may lie anywhere. Texts are base64url. */
export interface Sealed {
  /** Id of the vault key. */
  readonly key: string
  /** Nonce, encrypted data key, tag. */
  readonly wrapped: string
  /** Nonce, encrypted value, tag. */
  readonly value: string
}

/** A fresh key. */
export function newKey(random: Random): WrappingKey {
  return keyOf(random.bytes(keyBytes))
}

/** The key of these 32 bytes. */
export function keyOf(bytes: Uint8Array): WrappingKey {
  const id = createHmac('sha256', bytes).update('stead vault key').digest().subarray(0, 9).toString('base64url')
  return { id, bytes }
}

/** Whether bytes have the length of a key. */
export function isKeyLength(bytes: Uint8Array): boolean {
  return bytes.length === keyBytes
}

/** Seals a value. */
export function seal(value: Uint8Array, binding: Binding, key: WrappingKey, random: Random): Sealed {
  const dataKey = random.bytes(keyBytes)
  return {
    key: key.id,
    wrapped: encrypt(dataKey, key.bytes, contextOf('key', binding), random),
    value: encrypt(value, dataKey, contextOf('value', binding), random),
  }
}

/**
 * Opens a value. Throws `secrets.wrong-key` when its key is not among `keys`, `secrets.damaged` when it was changed, cut,
 * or sealed as something else.
 */
export function open(sealed: Sealed, binding: Binding, keys: readonly WrappingKey[]): Buffer {
  return decrypt(sealed.value, dataKeyOf(sealed, binding, keys), contextOf('value', binding), binding)
}

/** The same value under another vault key. The value stays sealed. Throws as `open` does. */
export function rewrap(
  sealed: Sealed,
  binding: Binding,
  keys: readonly WrappingKey[],
  to: WrappingKey,
  random: Random,
): Sealed {
  if (sealed.key === to.id) return sealed
  const dataKey = dataKeyOf(sealed, binding, keys)
  return { ...sealed, key: to.id, wrapped: encrypt(dataKey, to.bytes, contextOf('key', binding), random) }
}

function dataKeyOf(sealed: Sealed, binding: Binding, keys: readonly WrappingKey[]): Buffer {
  const key = keys.find(({ id }) => id === sealed.key)
  if (key === undefined) {
    throw failure(
      'wrong-key',
      `${binding.name} of ${binding.app} was sealed with the key ${sealed.key}, which the key file does not hold`,
      'Put the right key file in its place. Nothing was changed.',
    )
  }
  const dataKey = decrypt(sealed.wrapped, key.bytes, contextOf('key', binding), binding)
  if (!isKeyLength(dataKey)) throw damaged(binding)
  return dataKey
}

/** Associated data: unambiguous, because it is JSON of a list. */
function contextOf(what: 'key' | 'value', { app, name, version }: Binding): Buffer {
  return Buffer.from(JSON.stringify(['stead secret 1', what, app, name, version]))
}

function encrypt(plain: Uint8Array, key: Uint8Array, context: Buffer, random: Random): string {
  const nonce = random.bytes(nonceBytes)
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagBytes }).setAAD(context)
  const text = [nonce, cipher.update(plain), cipher.final()]
  return Buffer.concat([...text, cipher.getAuthTag()]).toString('base64url')
}

function decrypt(text: string, key: Uint8Array, context: Buffer, binding: Binding): Buffer {
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.length < nonceBytes + tagBytes) throw damaged(binding)
  const decipher = createDecipheriv(algorithm, key, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(context).setAuthTag(bytes.subarray(-tagBytes))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()])
  } catch (cause) {
    throw damaged(binding, cause)
  }
}

function damaged({ app, name, version }: Binding, cause?: unknown): Error {
  return failure(
    'damaged',
    `version ${version} of ${name} of ${app} cannot be opened: its record was changed, cut or moved`,
    'Put the record back from a copy of the store, or set the secret anew. Nothing was changed.',
    { cause },
  )
}
