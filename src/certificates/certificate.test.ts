/** Bad certificates and keys: one sentence each, with the file and what to do. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { isSteadError, seededRandom, systemRandom } from '../base/index.ts'
import { readCertificate } from './certificate.ts'
import { createAuthority, issueLeaf, keyToPem, newKey } from './issue.ts'
import { renewAtMs, retryAfterMs } from './renewal.ts'

const nowMs = Date.UTC(2030, 0, 1)
const dayMs = 86_400_000
const life = { nowMs, lifeMs: 90 * dayMs }
const authority = createAuthority('one', life, systemRandom)
const other = createAuthority('other', life, systemRandom)
const key = newKey()
const chain = issueLeaf(authority, 'shop.test', key, life, systemRandom)

function read(files: { chain?: string; key?: string }, atMs = nowMs): ReturnType<typeof readCertificate> {
  const given = { chain, key: keyToPem(key), ...files }
  return readCertificate({ ...given, chainFile: '/etc/shop.crt', keyFile: '/etc/shop.key' }, atMs)
}

test('a good one is read: hosts, life, the chain in order', () => {
  const certificate = read({ chain: `a comment\n${chain}\n${authority.certificate}` })
  assert.deepEqual(certificate.hosts, ['shop.test'])
  assert.equal(certificate.untilMs, nowMs + 90 * dayMs)
  assert.equal(certificate.chain.match(/BEGIN/g)?.length, 2)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  assert.ok(read({ key: keyToPem(rsa), chain: issueLeaf(authority, '10.0.0.1', rsa, life, systemRandom) }))
})

const locked = key.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
const cases: readonly [string, Parameters<typeof read>, RegExp][] = [
  ['bad-certificate', [{ chain: '' }], /\/etc\/shop\.crt holds no certificate\./],
  ['bad-certificate', [{ chain: keyToPem(key) }], /\/etc\/shop\.crt holds no certificate\./],
  [
    'bad-certificate',
    [{ chain: chain.replace(/\nM.{20}/, '\nMAAA') }],
    /shop\.crt holds a damaged certificate \(number 1\)/,
  ],
  ['bad-certificate', [{ chain: chain.repeat(21) }], /more than 20/],
  ['bad-certificate', [{ chain: 'x'.repeat(300_000) }], /is larger than/],
  ['bad-key', [{ key: 'nothing' }], /\/etc\/shop\.key holds no private key/],
  ['bad-key', [{ key: locked }], /\/etc\/shop\.key is locked with a passphrase/],
  ['key-mismatch', [{ key: keyToPem(newKey()) }], /shop\.key is not that of the certificate in \/etc\/shop\.crt/],
  ['chain-order', [{ chain: authority.certificate + chain }], /shop\.crt does not begin with the one of its key/],
  ['chain-order', [{ chain: chain + other.certificate }], /\(number 2\) that did not sign/],
  ['no-host', [{ chain: authority.certificate, key: keyToPem(authority.key) }], /shop\.crt names no host/],
  ['expired', [{}, nowMs + 91 * dayMs], /shop\.crt expired on 2030-04-01/],
  ['not-yet-valid', [{}, nowMs - dayMs], /shop\.crt counts from 2029-12-31/],
]
for (const [code, given, message] of cases) {
  test(`${code}: ${message.source}`, () => {
    assert.throws(
      () => read(...given),
      (error) => {
        assert.ok(isSteadError(error))
        assert.equal(error.code, `certificates.${code}`)
        assert.match(error.message, message)
        assert.match(error.message, /^[^\n]+\.$/)
        assert.ok(error.hint !== undefined && error.hint.length > 0)
        assert.ok(!error.message.includes('PRIVATE') && !error.hint.includes('-----'))
        return true
      },
    )
  })
}

test('it is renewed a little before two thirds of its life, not always at the same moment', () => {
  const random = seededRandom(7)
  const shares = Array.from({ length: 200 }, () => renewAtMs({ fromMs: 1000, untilMs: 2000 }, random) / 1000 - 1)
  assert.ok(Math.min(...shares) > 0.61 && Math.max(...shares) <= 2 / 3)
  assert.ok(Math.max(...shares) - Math.min(...shares) > 0.04)
})

test('failures wait longer and longer, within what authorities allow in an hour', () => {
  const random = seededRandom(7)
  const waits = [1, 2, 3, 4, 5, 6, 50].map((failures) => retryAfterMs(failures, random))
  for (const [i, wait] of waits.entries()) if (i > 0 && i < 5) assert.ok(wait > (waits[i - 1] ?? 0))
  assert.ok((waits[0] ?? 0) >= 60_000 && (waits.at(-1) ?? 0) <= 6 * 3_600_000 * 1.2)
  let atMs = 0
  let inFirstHour = 1
  for (const wait of waits) if ((atMs += wait) < 3_600_000) inFirstHour += 1
  assert.ok(inFirstHour <= 5, 'Let us Encrypt allows five failures an hour')
})
