/**
 * The key of backups as text that a person can write down: 160 random bits and 20 bits that tell a slip of the pen, in nine
 * groups of four. Letters that look alike are read alike.
 *
 * Invariant: a text that is taken for a key is one that was made here; whether it is the right one, only the target knows.
 */
import { createHash } from 'node:crypto'
import { type Random, SteadError, randomId } from '../base/index.ts'

const secretLength = 32
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** A new key. */
export function makeKeyText(random: Random): string {
  const secret = randomId(random, secretLength)
  return inGroups(secret + checkOf(secret))
}

/** The key in its one form. Throws `backup.bad-key` for what is none, naming `where` it stands and never what. */
export function parseKeyText(text: string, where: string): string {
  const plain = text.toLowerCase().replaceAll(/[\s-]/g, '').replaceAll('o', '0').replaceAll(/[il]/g, '1')
  const secret = plain.slice(0, secretLength)
  if (!/^[0-9a-hjkmnp-tv-z]{36}$/.test(plain) || plain.slice(secretLength) !== checkOf(secret)) {
    throw new SteadError({
      code: 'backup.bad-key',
      message: `What ${where} holds is not a key of backups, or is mistyped.`,
      hint: 'A key is nine groups of four letters and digits; compare them with what was written down.',
    })
  }
  return inGroups(plain)
}

function inGroups(plain: string): string {
  return (plain.match(/.{4}/g) ?? []).join('-')
}

/** Four characters that depend on all others. */
function checkOf(secret: string): string {
  const digest = createHash('sha256').update(`stead backup key ${secret}`).digest()
  return [...digest.subarray(0, 4)].map((byte) => alphabet[byte & 31]).join('')
}
