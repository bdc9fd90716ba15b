/** Signature Version 4 against the examples that AWS publishes, and against our own other side. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { presignUrl, signed } from '../drivers/s3/presign.ts'
import { authenticate } from './authenticate.ts'
import type { Credential } from './authenticate.ts'
import { S3Failure } from './failure.ts'
import { readRequest } from './request.ts'
import type { S3Request } from './request.ts'
import { emptyHash, signChunk, signRequest, signingKey } from './signature.ts'

const secret = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const scope = { date: '20130524', region: 'us-east-1', service: 's3' }
const amzDate = '20130524T000000Z'
const credential: Credential = { accessKeyId: 'KEY', secretAccessKey: 'secret', account: 'me' }
const nowMs = Date.UTC(2026, 10, 29, 12)
const signer = {
  endpoint: 'http://127.0.0.1:9000',
  region: 'eu-1',
  bucket: 'b',
  accessKeyId: 'KEY',
  secretAccessKey: 'secret',
}

function find(accessKeyId: string): Credential | undefined {
  return accessKeyId === 'KEY' ? credential : undefined
}

function codeOf(work: () => unknown): string {
  try {
    work()
    return 'nothing thrown'
  } catch (error) {
    assert.ok(error instanceof S3Failure, String(error))
    return error.code
  }
}

function received(method: string, target: string, headers: Readonly<Record<string, string>>): S3Request {
  return readRequest(method, target, headers, { names: ['localhost'] })
}

suite('signatures', () => {
  test('a GET of a range, as published', () => {
    const headers = {
      host: 'examplebucket.s3.amazonaws.com',
      range: 'bytes=0-9',
      'x-amz-content-sha256': emptyHash,
      'x-amz-date': amzDate,
    }
    const request = {
      method: 'GET',
      path: '/test.txt',
      query: [],
      signedHeaders: Object.keys(headers).sort(),
      headers,
      payloadHash: emptyHash,
    }
    const expected = 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'
    assert.equal(signRequest(signingKey(secret, scope), amzDate, scope, request), expected)
  })

  test('the chunks of a body, as published', () => {
    const key = signingKey(secret, scope)
    const seed = '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9'
    const hash = 'bf718b6f653bebc184e1479f1935b8da974d701b893afcf49e701f3e2f9f9c5a'
    const first = signChunk(key, amzDate, scope, seed, hash)
    assert.equal(first, 'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648')
  })

  const keys = ['plain', 'a b/c+d', 'ünïcödé/%2F', '../..', "~!*'()", '😀']

  test('what the driver signs the server takes, whatever the key', () => {
    for (const key of keys) {
      const query: readonly (readonly [string, string])[] = [['prefix', 'x y&z=+']]
      const request = {
        method: 'PUT',
        key,
        query,
        headers: { 'x-amz-meta-a': ' two  spaces ' },
        payloadHash: emptyHash,
      }
      const { target, headers } = signed(signer, request, nowMs)
      const seen = received('PUT', target, headers)
      assert.equal(seen.key, key)
      assert.equal(authenticate(seen, find, nowMs).caller.account, 'me')
      assert.equal(
        codeOf(() => authenticate({ ...seen, method: 'GET' }, find, nowMs)),
        'SignatureDoesNotMatch',
      )
      assert.equal(
        codeOf(() => authenticate(seen, find, nowMs + 16 * 60_000)),
        'RequestTimeTooSkewed',
      )
      const more = { ...seen, headers: { ...seen.headers, 'x-amz-tagging': 'a=b' } }
      assert.equal(
        codeOf(() => authenticate(more, find, nowMs)),
        'AccessDenied',
        'a header that matters is signed',
      )
    }
  })

  test('a signed URL is taken until it ends, and not after', () => {
    for (const key of keys.filter((name) => !name.includes('..'))) {
      const url = new URL(presignUrl(signer, { method: 'GET', key, expiresSeconds: 60 }, nowMs))
      const seen = received('GET', `${url.pathname}${url.search}`, { host: url.host })
      assert.equal(seen.key, key)
      assert.equal(authenticate(seen, find, nowMs + 59_000).authType, 'REST-QUERY-STRING')
      assert.equal(
        codeOf(() => authenticate(seen, find, nowMs + 61_000)),
        'AccessDenied',
      )
      assert.equal(
        codeOf(() => authenticate(seen, find, nowMs - 16 * 60_000)),
        'AccessDenied',
      )
      assert.equal(
        codeOf(() => authenticate({ ...seen, method: 'PUT' }, find, nowMs)),
        'SignatureDoesNotMatch',
      )
    }
  })

  test('keys that are unknown, and claims that cannot be read', () => {
    const request = { method: 'GET', key: 'a', query: [], headers: {}, payloadHash: emptyHash }
    const { target, headers } = signed({ ...signer, accessKeyId: 'OTHER' }, request, nowMs)
    assert.equal(
      codeOf(() => authenticate(received('GET', target, headers), find, nowMs)),
      'InvalidAccessKeyId',
    )
    const own = signed(signer, request, nowMs)
    const claims: readonly (readonly [string, string])[] = [
      ['AWS KEY:abc', 'InvalidRequest'],
      ['Bearer abc', 'InvalidArgument'],
      ['AWS4-HMAC-SHA256', 'AuthorizationHeaderMalformed'],
      ['AWS4-HMAC-SHA256 Credential=KEY/1/2/3, SignedHeaders=host, Signature=0', 'AuthorizationHeaderMalformed'],
    ]
    for (const [authorization, code] of claims) {
      const sent = received('GET', '/b/a', { ...own.headers, authorization })
      assert.equal(
        codeOf(() => authenticate(sent, find, nowMs)),
        code,
        authorization,
      )
    }
  })

  test('without a signature a request comes from nobody in particular', () => {
    const { caller } = authenticate(received('GET', '/b/a', { host: 'localhost' }), find, nowMs)
    assert.deepEqual(caller, { account: '' })
  })
})
