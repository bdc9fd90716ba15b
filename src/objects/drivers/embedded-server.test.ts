/** The embedded server as clients meet it: what works beyond the suite of the library, and what is refused, and how. */
import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { ManualClock, systemClock } from '../../base/index.ts'
import { signChunk, signingKey } from '../s3/signature.ts'
import { credential, servedStore } from './embedded-place.test-helper.ts'
import { openEmbeddedObjects } from './embedded/embedded.ts'
import type { ServedStore } from './embedded-place.test-helper.ts'
import { asker, headOf, rawly, signedOf } from './s3-client.test-helper.ts'
import type { Answered, Asked } from './s3-client.test-helper.ts'

const reader = { accessKeyId: 'READER', secretAccessKey: 'r', account: 'local', rights: { shop: ['read'] } } as const
const writer = {
  accessKeyId: 'WRITER',
  secretAccessKey: 'w',
  account: 'local',
  rights: { shop: ['write', 'list'] },
} as const
const signerOnly = {
  accessKeyId: 'SIGNER',
  secretAccessKey: 's',
  account: 'local',
  rights: { shop: [] },
  presigned: { shop: ['read'] },
} as const
const stranger = { accessKeyId: 'STRANGER', secretAccessKey: 'x', account: 'somebody' } as const
const fiveMiB = 5 * 1024 * 1024

/** Files that hold bytes of objects, and those that are being written. */
function filesOf(dir: string): number {
  const shards = readdirSync(join(dir, 'blobs'))
  const incoming = readdirSync(join(dir, 'incoming')).length
  return incoming + shards.reduce((sum, shard) => sum + readdirSync(join(dir, 'blobs', shard)).length, 0)
}

suite('the embedded server', () => {
  let served: ServedStore
  let ask: (asked: Asked) => Promise<Answered>

  before(async () => {
    served = await servedStore({ credentials: [reader, writer, signerOnly, stranger] })
    ask = asker(served.endpoint)
    for (const bucket of ['shop', 'other']) assert.equal((await ask({ method: 'PUT', bucket })).status, 200)
  })
  after(() => served[Symbol.asyncDispose]())

  async function put(
    key: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Answered> {
    return ask({ method: 'PUT', bucket: 'shop', key, body, headers })
  }

  test('a key with rights may do what they say, in its bucket', async () => {
    await put('rights', 'x')
    const status = async (
      as: NonNullable<Asked['as']>,
      method: string,
      bucket = 'shop',
      key?: string,
    ): Promise<number> => (await ask({ method, bucket, ...(key === undefined ? {} : { key }), as })).status
    assert.equal(await status(reader, 'GET', 'shop', 'rights'), 200)
    assert.equal(await status(reader, 'PUT', 'shop', 'rights'), 403)
    assert.equal(await status(reader, 'GET'), 403)
    assert.equal(await status(reader, 'GET', 'shop', 'missing'), 403, 'who may not list is not told what is missing')
    assert.equal(await status(writer, 'PUT', 'shop', 'written'), 200)
    assert.equal(await status(writer, 'GET'), 200)
    assert.equal(await status(writer, 'GET', 'shop', 'written'), 403)
    assert.equal(await status(writer, 'PUT', 'other', 'written'), 403)
    assert.equal(await status(writer, 'DELETE'), 403)
    assert.equal(await status(signerOnly, 'GET', 'shop', 'rights'), 403)
    assert.equal(await status(stranger, 'GET', 'shop', 'rights'), 403)
    assert.equal((await fetch(`${served.endpoint}/shop/rights`)).status, 403)
    const page = await ask({ method: 'GET', bucket: 'shop', query: { versions: '' }, as: stranger })
    assert.equal(page.code, 'AccessDenied')
  })

  test('what is not done is said, and changes nothing', async () => {
    const asked: readonly Asked[] = [
      { method: 'PUT', bucket: 'shop', key: 'sse', body: 'x', headers: { 'x-amz-server-side-encryption': 'AES256' } },
      { method: 'PUT', bucket: 'shop', query: { replication: '' }, body: 'x' },
      { method: 'PUT', bucket: 'shop', query: { encryption: '' }, body: 'x' },
      { method: 'GET', bucket: 'shop', query: { notification: '' } },
      { method: 'POST', bucket: 'shop', key: 'a', query: { restore: '' } },
      { method: 'PUT', bucket: 'shop', key: 'a', query: { append: '' }, body: 'x' },
    ]
    for (const question of asked) {
      const answer = await ask(question)
      assert.equal(answer.status, 501, JSON.stringify(question))
      assert.match(answer.text, /<Code>NotImplemented<\/Code><Message>This server does not do [^<]+\.<\/Message>/)
    }
    const cold = await put('cold', 'x', { 'x-amz-storage-class': 'GLACIER' })
    assert.equal(cold.code, 'InvalidStorageClass')
    assert.equal((await ask({ method: 'GET', bucket: 'shop', key: 'sse' })).status, 404)
  })

  test('bytes that are not what was announced are refused, and nothing is written', async () => {
    const cases: readonly (readonly [Readonly<Record<string, string>>, string])[] = [
      [{ 'content-md5': 'not a digest' }, 'InvalidDigest'],
      [{ 'content-md5': createHash('md5').update('other').digest('base64') }, 'BadDigest'],
      [{ 'x-amz-checksum-crc32': 'AAAAAA==' }, 'BadDigest'],
      [{ 'x-amz-checksum-crc32c': 'AAAAAA==' }, 'BadDigest'],
      [{ 'x-amz-checksum-crc64nvme': 'AAAAAAAAAAA=' }, 'BadDigest'],
      [{ 'x-amz-checksum-sha1': Buffer.alloc(20).toString('base64') }, 'BadDigest'],
      [{ 'x-amz-checksum-sha256': 'short' }, 'BadDigest'],
      [{ 'x-amz-checksum-crc32': 'AAAAAA==', 'x-amz-checksum-sha1': 'x' }, 'InvalidRequest'],
      [{ 'x-amz-sdk-checksum-algorithm': 'MD4' }, 'InvalidRequest'],
    ]
    for (const [headers, code] of cases)
      assert.equal((await put('sums', 'content', headers)).code, code, JSON.stringify(headers))
    const wrongHash = await ask({ method: 'PUT', bucket: 'shop', key: 'sums', body: 'x', payloadHash: 'a'.repeat(64) })
    assert.equal(wrongHash.code, 'XAmzContentSHA256Mismatch')
    assert.equal((await ask({ method: 'HEAD', bucket: 'shop', key: 'sums' })).status, 404)
  })

  test('a checksum that is right is stored and shown', async () => {
    const sum = createHash('sha256').update('content').digest('base64')
    const written = await put('summed', 'content', { 'x-amz-checksum-sha256': sum })
    assert.equal(written.headers['x-amz-checksum-sha256'], sum)
    const read = await ask({
      method: 'HEAD',
      bucket: 'shop',
      key: 'summed',
      headers: { 'x-amz-checksum-mode': 'ENABLED' },
    })
    assert.equal(read.headers['x-amz-checksum-sha256'], sum)
    assert.equal(read.headers['x-amz-checksum-type'], 'FULL_OBJECT')
  })

  /** A body in signed chunks; `spoil` changes it after it was signed. */
  async function chunked(key: string, spoil: (body: string) => string): Promise<Answered> {
    const payloadHash = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD'
    const headers = { 'x-amz-decoded-content-length': '11', 'content-encoding': 'aws-chunked' }
    const head = signedOf(served.endpoint, { method: 'PUT', bucket: 'shop', key, headers, payloadHash }, systemClock)
    const amzDate = head.headers['x-amz-date'] ?? ''
    const scope = { date: amzDate.slice(0, 8), region: 'us-east-1', service: 's3' }
    const signing = signingKey(credential.secretAccessKey, scope)
    let previous = /Signature=(\w+)/.exec(head.headers['authorization'] ?? '')?.[1] ?? ''
    const body = ['hello ', 'world', '']
      .map((chunk) => {
        previous = signChunk(signing, amzDate, scope, previous, createHash('sha256').update(chunk).digest('hex'))
        return `${chunk.length.toString(16)};chunk-signature=${previous}\r\n${chunk}\r\n`
      })
      .join('')
    const sent = spoil(body)
    const answer = await rawly(
      served.port,
      headOf({ ...head, headers: { ...head.headers, 'content-length': String(sent.length) } }, 'PUT') + sent,
    )
    const status = Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1])
    return { status, headers: {}, text: answer, code: /<Code>([^<]*)/.exec(answer)?.[1] ?? '' }
  }

  test('a body in signed chunks is taken, and not when a byte of it was changed', async () => {
    assert.equal((await chunked('chunks', (body) => body)).status, 200)
    const read = await ask({ method: 'GET', bucket: 'shop', key: 'chunks' })
    assert.equal(read.text, 'hello world')
    assert.equal(read.headers['content-encoding'], undefined)
    assert.equal((await chunked('bad', (body) => body.replace('world', 'w0rld'))).code, 'SignatureDoesNotMatch')
    assert.equal((await chunked('bad', (body) => body.replace('world\r\n', 'worl\r\n'))).status >= 400, true)
    assert.equal((await chunked('bad', (body) => body.slice(0, body.indexOf('0;chunk')))).code, 'IncompleteBody')
    assert.equal((await ask({ method: 'GET', bucket: 'shop', key: 'bad' })).status, 404)
  })

  test('a body that breaks off leaves the object that was there', async () => {
    await put('torn', 'old')
    const head = signedOf(
      served.endpoint,
      { method: 'PUT', bucket: 'shop', key: 'torn', payloadHash: 'UNSIGNED-PAYLOAD' },
      systemClock,
    )
    for (const sent of ['', 'half', 'x'.repeat(200_000)]) {
      const headers = { ...head.headers, 'content-length': '300000' }
      await rawly(served.port, headOf({ ...head, headers }, 'PUT') + sent, true)
    }
    assert.equal((await ask({ method: 'GET', bucket: 'shop', key: 'torn' })).text, 'old')
    assert.equal(readdirSync(join(served.dir, 'incoming')).length, 0)
  })

  test('a download that is broken off is no bug of the server', async () => {
    await put('download', Buffer.alloc(24_000_000, 'x'))
    const asked = signedOf(served.endpoint, { method: 'GET', bucket: 'shop', key: 'download' }, systemClock)
    for (let round = 0; round < 4; round += 1) {
      const socket = connect(served.port, '127.0.0.1')
      socket.write(headOf(asked, 'GET'))
      await once(socket, 'data')
      socket.resetAndDestroy()
    }
    // Whatever the server takes for a bug fails this suite at its end.
    assert.equal((await ask({ method: 'DELETE', bucket: 'shop', key: 'download' })).status, 204)
  })

  test('a client that is refused sees why, while it is still sending', async () => {
    const body = Buffer.alloc(900_000)
    for (let round = 0; round < 5; round += 1) {
      assert.equal((await ask({ method: 'PUT', bucket: 'shop', key: 'a', body, as: reader })).code, 'AccessDenied')
    }
    const head = signedOf(served.endpoint, { method: 'PUT', bucket: 'shop', key: 'a', as: reader }, systemClock)
    const waiting = { ...head, headers: { ...head.headers, 'content-length': '10', expect: '100-continue' } }
    assert.match(await rawly(served.port, headOf(waiting, 'PUT')), /^HTTP\/1.1 403/, 'without a byte of the body')
  })

  test('what no client sends is answered with what a client understands', async () => {
    const xml = { 'content-type': 'application/xml' }
    const asked: readonly (readonly [Asked, string])[] = [
      [{ method: 'PUT', bucket: 'UPPER' }, 'InvalidBucketName'],
      [{ method: 'GET', bucket: 'missing' }, 'NoSuchBucket'],
      [{ method: 'PUT', bucket: 'shop', query: { tagging: '' }, body: '<Tagging>', headers: xml }, 'MalformedXML'],
      [
        { method: 'PUT', bucket: 'shop', query: { versioning: '' }, body: '<VersioningConfiguration/>' },
        'MalformedXML',
      ],
      [{ method: 'PUT', bucket: 'shop', query: { policy: '' }, body: '{' }, 'MalformedPolicy'],
      [{ method: 'POST', bucket: 'shop', query: { delete: '' }, body: '<Delete/>' }, 'MalformedXML'],
      [{ method: 'GET', bucket: 'shop', query: { 'max-keys': 'many' } }, 'InvalidArgument'],
      [{ method: 'GET', bucket: 'shop', query: { 'list-type': '2', 'continuation-token': 'zzz' } }, 'InvalidArgument'],
      [{ method: 'GET', bucket: 'shop', query: { 'encoding-type': 'rot13' } }, 'InvalidArgument'],
      [
        { method: 'PUT', bucket: 'shop', key: 'a', query: { partNumber: '0', uploadId: 'x' }, body: 'x' },
        'NoSuchUpload',
      ],
      [
        { method: 'POST', bucket: 'shop', key: 'a', query: { uploadId: 'x' }, body: '<CompleteMultipartUpload/>' },
        'NoSuchUpload',
      ],
      [{ method: 'PUT', bucket: 'shop', key: 'a', headers: { 'x-amz-copy-source': 'nothing' } }, 'InvalidArgument'],
      [{ method: 'PUT', bucket: 'shop', key: 'a', headers: { 'x-amz-copy-source': 'shop/%ff' } }, 'InvalidURI'],
      [
        { method: 'PUT', bucket: 'shop', key: 'a', body: 'x', headers: { 'x-amz-meta-a': 'x'.repeat(2049) } },
        'MetadataTooLarge',
      ],
      [{ method: 'PUT', bucket: 'shop', key: 'a', body: 'x', headers: { 'x-amz-tagging': 'a=1&a=2' } }, 'InvalidTag'],
      [
        { method: 'PUT', bucket: 'shop', key: 'a', body: 'x', headers: { 'x-amz-acl': 'public-read' } },
        'AccessControlListNotSupported',
      ],
      [
        { method: 'PUT', bucket: 'shop', key: 'a', body: 'x', headers: { 'x-amz-object-lock-legal-hold': 'ON' } },
        'InvalidRequest',
      ],
      [
        { method: 'POST', bucket: 'shop', body: 'x', headers: { 'content-type': 'multipart/form-data' } },
        'MalformedPOSTRequest',
      ],
      [{ method: 'DELETE', bucket: 'shop', headers: { 'x-amz-expected-bucket-owner': 'other' } }, 'AccessDenied'],
    ]
    for (const [question, code] of asked)
      assert.equal((await ask(question)).code, code, JSON.stringify(question).slice(0, 150))
    assert.match(await rawly(served.port, 'nonsense\r\n\r\n'), /^HTTP\/1.1 400/)
    const long = await rawly(
      served.port,
      `GET /shop/a HTTP/1.1\r\nhost: x\r\nx-amz-meta-a: ${'x'.repeat(40_000)}\r\n\r\n`,
    )
    assert.match(long, /^HTTP\/1.1 431/)
  })

  test('an upload in parts: order, size, what is sent again, and what an answer that was lost is worth', async () => {
    const at = { bucket: 'shop', key: 'parts' }
    const begun = await ask({ method: 'POST', ...at, query: { uploads: '' } })
    const uploadId = /<UploadId>([^<]*)/.exec(begun.text)?.[1] ?? ''
    const part = async (partNumber: number, body: Uint8Array): Promise<string> =>
      String(
        (await ask({ method: 'PUT', ...at, query: { partNumber: String(partNumber), uploadId }, body })).headers[
          'etag'
        ],
      )
    const complete = (parts: readonly (readonly [number, string])[]): Promise<Answered> => {
      const list = parts.map(([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`)
      return ask({
        method: 'POST',
        ...at,
        query: { uploadId },
        body: `<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`,
      })
    }
    const replaced = await part(1, Buffer.alloc(fiveMiB, 'x'))
    const first = await part(1, Buffer.alloc(fiveMiB, 'a'))
    const second = await part(2, Buffer.from('bb'))
    const third = await part(3, Buffer.from('c'))
    assert.equal(
      (
        await complete([
          [2, second],
          [1, first],
        ])
      ).code,
      'InvalidPartOrder',
    )
    assert.equal((await complete([[1, replaced]])).code, 'InvalidPart')
    assert.equal(
      (
        await complete([
          [1, first],
          [4, third],
        ])
      ).code,
      'InvalidPart',
    )
    assert.equal(
      (
        await complete([
          [2, second],
          [3, third],
        ])
      ).code,
      'EntityTooSmall',
    )
    const done = await complete([
      [1, first],
      [3, third],
    ])
    assert.equal(done.status, 200)
    assert.equal(
      (
        await complete([
          [1, first],
          [3, third],
        ])
      ).text,
      done.text,
      'completed again it is answered the same',
    )
    const range = await ask({ method: 'GET', ...at, headers: { range: `bytes=${fiveMiB - 2}-` } })
    assert.equal(range.text, 'aac')
    const one = await ask({ method: 'GET', ...at, query: { partNumber: '2' } })
    assert.equal(one.text, 'c')
    assert.equal(one.headers['x-amz-mp-parts-count'], '2')
    await ask({ method: 'DELETE', ...at })
    assert.equal(filesOf(served.dir), 0, 'nothing is left of any part')
  })

  test('copies share bytes, and these stay as long as one of them', async () => {
    const bytes = Buffer.alloc(100_000, 'copy')
    await put('original', bytes)
    const before = filesOf(served.dir)
    const headers = { 'x-amz-copy-source': 'shop/original' }
    assert.equal((await ask({ method: 'PUT', bucket: 'other', key: 'copy', headers })).status, 200)
    await put('same', bytes)
    assert.equal(filesOf(served.dir), before)
    await ask({ method: 'DELETE', bucket: 'shop', key: 'original' })
    await put('same', 'something else')
    assert.equal((await ask({ method: 'GET', bucket: 'other', key: 'copy' })).text, bytes.toString())
    await ask({ method: 'DELETE', bucket: 'other', key: 'copy' })
    assert.equal(filesOf(served.dir), before - 1)
  })

  test('a form that was signed puts what it allows', async () => {
    const policy = (max: number): string =>
      Buffer.from(
        JSON.stringify({
          expiration: new Date(systemClock.nowMs() + 60_000).toISOString(),
          conditions: [{ bucket: 'shop' }, ['starts-with', '$key', 'form/'], ['content-length-range', 1, max]],
        }),
      ).toString('base64')
    const send = async (max: number, key: string): Promise<Response> => {
      const amzDate = new Date(systemClock.nowMs()).toISOString().slice(0, 10).replaceAll('-', '')
      const scope = { date: amzDate, region: 'us-east-1', service: 's3' }
      const form = new FormData()
      form.set('key', key)
      form.set('x-amz-algorithm', 'AWS4-HMAC-SHA256')
      form.set('x-amz-credential', `${credential.accessKeyId}/${amzDate}/us-east-1/s3/aws4_request`)
      const text = policy(max)
      form.set('policy', text)
      form.set(
        'x-amz-signature',
        createHmac('sha256', signingKey(credential.secretAccessKey, scope)).update(text).digest('hex'),
      )
      form.set('file', new Blob(['the file']), 'a.txt')
      return fetch(`${served.endpoint}/shop`, { method: 'POST', body: form })
    }
    assert.equal((await send(100, 'form/${filename}')).status, 204)
    assert.equal((await ask({ method: 'GET', bucket: 'shop', key: 'form/a.txt' })).text, 'the file')
    assert.match(await (await send(100, 'elsewhere')).text(), /<Code>AccessDenied/)
    assert.match(await (await send(3, 'form/b')).text(), /<Code>EntityTooLarge/)
  })
})

suite('time on the embedded server', () => {
  test('expiry, and locks that hold against it', async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 29))
    await using served = await servedStore({ clock })
    const ask = asker(served.endpoint, clock)
    const days = (count: number): void => clock.advance(count * 86_400_000)
    await ask({ method: 'PUT', bucket: 'kept', headers: { 'x-amz-bucket-object-lock-enabled': 'true' } })
    const rule =
      '<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter><Expiration><Days>2</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>'
    assert.equal((await ask({ method: 'PUT', bucket: 'kept', query: { lifecycle: '' }, body: rule })).status, 200)
    const held = {
      'x-amz-object-lock-mode': 'COMPLIANCE',
      'x-amz-object-lock-retain-until-date': new Date(clock.nowMs() + 10 * 86_400_000).toISOString(),
    }
    await ask({ method: 'PUT', bucket: 'kept', key: 'tmp/free', body: 'x' })
    const locked = await ask({ method: 'PUT', bucket: 'kept', key: 'tmp/held', body: 'y', headers: held })
    const versionId = String(locked.headers['x-amz-version-id'])
    await ask({ method: 'PUT', bucket: 'kept', key: 'stays', body: 'z' })
    await ask({ method: 'POST', bucket: 'kept', key: 'tmp/upload', query: { uploads: '' } })
    assert.equal(await served.objects.expire(), 0)
    days(3)
    assert.equal(await served.objects.expire(), 3, 'two objects are hidden, one upload is given up')
    assert.equal((await ask({ method: 'GET', bucket: 'kept', key: 'tmp/free' })).status, 404)
    days(2)
    assert.equal(await served.objects.expire(), 1, 'the version that is not locked')
    const remove = { method: 'DELETE', bucket: 'kept', key: 'tmp/held', query: { versionId } }
    assert.equal((await ask(remove)).code, 'AccessDenied')
    assert.equal(
      (await ask({ ...remove, headers: { 'x-amz-bypass-governance-retention': 'true' } })).code,
      'AccessDenied',
    )
    days(6)
    assert.equal((await ask(remove)).status, 204)
    assert.equal((await ask({ method: 'GET', bucket: 'kept', key: 'stays' })).text, 'z')
  })

  test('ids and cursors carry the generation, and those of another mean nothing', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'stead-objects-'))
    try {
      const tokens: string[] = []
      for (const generation of [1, 2]) {
        await using objects = await openEmbeddedObjects({ dir, generation })
        const known = (): typeof credential => credential
        await using server = await objects.listen({ port: 0, credentials: known })
        const ask = asker(`http://127.0.0.1:${server.port}`)
        const store = await objects.bucket('versions', { versions: true })
        const { version } = await store.put(`a${generation}`, 'x')
        await store.put('b', 'x')
        assert.ok(version?.startsWith(`${generation}.`))
        const query = { 'list-type': '2', 'max-keys': '1' }
        const page = await ask({ method: 'GET', bucket: 'versions', query })
        tokens.push(/<NextContinuationToken>([^<]*)/.exec(page.text)?.[1] ?? '')
        const asked = { method: 'GET', bucket: 'versions', query: { ...query, 'continuation-token': tokens[0] ?? '' } }
        assert.equal((await ask(asked)).code, generation === 1 ? '' : 'InvalidArgument')
      }
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
