/** Randomness as a value that is passed in: the system's for keys and ids, a seeded one for tests and simulation. */
import { randomBytes } from 'node:crypto'

export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array
}

/** The operating system's randomness, fit for secrets. */
export const systemRandom: Random = { bytes: (length) => randomBytes(length) }

/** A repeatable sequence (xorshift32) for tests. Never for secrets. */
export function seededRandom(seed: number): Random {
  let state = seed | 0 || 1
  return {
    bytes(length) {
      return Uint8Array.from({ length }, () => {
        state ^= state << 13
        state ^= state >>> 17
        state ^= state << 5
        return state & 0xff
      })
    },
  }
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** A short lower-case id (Crockford base 32, five bits a character; 8 characters = 40 bits). */
export function randomId(random: Random, length = 8): string {
  return [...random.bytes(length)].map((byte) => ALPHABET[byte & 31]).join('')
}

/** A password of 32 URL-safe characters (192 bits). */
export function randomPassword(random: Random): string {
  return Buffer.from(random.bytes(24)).toString('base64url')
}
