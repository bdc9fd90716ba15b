/**
 * Sharing a secret with people, in the format of age: what is exported opens with `age -d`, and what `age -r` made can be
 * imported. The text is the value itself, armored.
 *
 * Invariant: an export holds the one value that was chosen, and only for the recipients that were named.
 */
import { isSteadError, messageOf } from '../base/index.ts'
import { bech32 } from './bech32.ts'
import { failure } from './errors.ts'
import { valueBytesMax } from './vault.ts'

const recipientsMax = 64
/** An armored file of the largest value for the most recipients stays below this. */
const textBytesMax = 512 * 1024

/** The library is loaded when somebody shares something: nobody else pays for it. */
const age = async (): Promise<typeof import('age-encryption')> => await import('age-encryption')

/** A value as armored text for recipients (`age1...`). Throws `secrets.bad-recipient`. */
export async function encryptFor(value: Uint8Array, recipients: readonly string[]): Promise<string> {
  if (recipients.length === 0 || recipients.length > recipientsMax) {
    const what = `an export is for 1 to ${recipientsMax} recipients, not ${recipients.length}`
    throw failure('bad-recipient', what, 'Name them by their public keys, as in --to age1...')
  }
  const { armor, Encrypter } = await age()
  const encrypter = new Encrypter()
  for (const recipient of recipients) {
    try {
      if (recipient.startsWith('AGE-SECRET-KEY-')) throw new Error('an identity')
      encrypter.addRecipient(recipient)
    } catch (cause) {
      const isIdentity = recipient.startsWith('AGE-SECRET-KEY-')
      // A secret key is not shown again.
      const what = isIdentity
        ? 'a secret key was given as recipient'
        : `${JSON.stringify(recipient.slice(0, 80))} is no recipient of age`
      throw failure(
        'bad-recipient',
        what,
        'A recipient is the public half of a key: age1... (`age-keygen -y` prints it).',
        { cause },
      )
    }
  }
  return armor.encode(await encrypter.encrypt(value))
}

/**
 * A new identity, and who it is: for whoever asks for a value and opens it himself. Of a `seed` of 32 bytes it is always the same,
 * and as secret as that.
 */
export async function makeIdentity(
  seed?: Uint8Array,
): Promise<{ readonly identity: string; readonly recipient: string }> {
  const { generateX25519Identity, identityToRecipient } = await age()
  const identity = seed === undefined ? await generateX25519Identity() : bech32('age-secret-key-', seed).toUpperCase()
  return { identity, recipient: await identityToRecipient(identity) }
}

/** The value in a text for one of these identities (`AGE-SECRET-KEY-1...`, one a line). Throws `secrets.bad-identity`, `secrets.cannot-import`. */
export async function decryptWith(text: string, identities: string): Promise<Buffer> {
  const { armor, Decrypter } = await age()
  const decrypter = new Decrypter()
  const lines = identities.split('\n').map((line) => line.trim())
  const own = lines.filter((line) => line !== '' && !line.startsWith('#'))
  try {
    for (const identity of own) decrypter.addIdentity(identity)
  } catch (cause) {
    throw badIdentity(cause)
  }
  if (own.length === 0) throw badIdentity(undefined)
  try {
    if (Buffer.byteLength(text) > textBytesMax) throw new Error(`it is longer than ${textBytesMax} bytes`)
    const value = Buffer.from(await decrypter.decrypt(armor.decode(text.trim())))
    if (value.length > valueBytesMax)
      throw failure(
        'bad-value',
        `it holds ${value.length} bytes; a secret can have 1 to ${valueBytesMax}`,
        'Nothing was imported.',
      )
    return value
  } catch (cause) {
    if (isSteadError(cause)) throw cause
    throw failure(
      'cannot-import',
      `the text cannot be opened with this identity: ${messageOf(cause)}`,
      'See that it was exported for the public half of this identity, and is whole.',
      { cause },
    )
  }
}

function badIdentity(cause: unknown): Error {
  const hint = 'It is a file with a line AGE-SECRET-KEY-1..., as `age-keygen` makes it.'
  return failure('bad-identity', 'there is no identity of age in what was given', hint, { cause })
}
