/** An authority for tests that signs requests as an ACME authority would, after asking its question. */
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { systemRandom } from '../../base/index.ts'
import { createAuthority, issueLeaf } from '../issue.ts'
import type { PlaceOrder } from './acme-order.ts'

/** Where one value of DER ends, and where its content begins. */
function span(der: Buffer, at: number): { readonly content: number; readonly end: number } {
  const first = der[at + 1] ?? 0
  const more = first < 0x80 ? 0 : first & 0x7f
  const length = more === 0 ? first : der.readUIntBE(at + 2, more)
  return { content: at + 2 + more, end: at + 2 + more + length }
}

/** The public key in a request: the third value of its body. */
function keyOf(csr: string): KeyObject {
  const der = Buffer.from(csr.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const version = span(der, span(der, 0).content).content
  const subject = span(der, version).end
  const key = span(der, subject).end
  return createPublicKey({ key: der.subarray(key, span(der, key).end), format: 'der', type: 'spki' })
}

export interface TestAuthority {
  readonly roots: string
  readonly order: PlaceOrder
  /** Hosts that were asked for, in order. */
  readonly asked: string[]
  /** Why it refuses; null while it does not. */
  refusal: string | null
  lifeMs: number
}

/** `answerOf` is where it asks its question: the driver's own `challenge`. */
export function testAuthority(
  nowMs: () => number,
  answerOf: (host: string, token: string) => string | null,
): TestAuthority {
  const made = createAuthority('test authority', { nowMs: nowMs(), lifeMs: 10 * 365 * 86_400_000 }, systemRandom)
  const authority: TestAuthority = {
    roots: made.certificate,
    asked: [],
    refusal: null,
    lifeMs: 90 * 86_400_000,
    order: async ({ host, csr }, { signal, onChallenge }) => {
      authority.asked.push(host)
      const token = `token-${authority.asked.length}`
      onChallenge(token, `${token}.proof`)
      await new Promise((resolve) => setImmediate(resolve))
      signal.throwIfAborted()
      if (authority.refusal !== null) throw new Error(authority.refusal)
      assert.equal(answerOf(host, token), `${token}.proof`)
      return issueLeaf(made, host, keyOf(csr), { nowMs: nowMs(), lifeMs: authority.lifeMs }, systemRandom)
    },
  }
  return authority
}
