/**
 * Whatever comes in, the parsers of the protocol answer with a value or a failure of the protocol, and in bounded time. The
 * inputs are mutations of good ones, from a seed that is printed when one fails.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../../base/index.ts'
import type { Random } from '../../base/index.ts'
import { authenticate } from './authenticate.ts'
import { ChunkDecoder } from './chunks.ts'
import { readCors } from './cors.ts'
import { S3Failure } from './failure.ts'
import { readForm } from './form.ts'
import { readLifecycle } from './lifecycle.ts'
import { operationOf } from './operations.ts'
import { readPolicy } from './policy.ts'
import { checkPostPolicy } from './post-policy.ts'
import { readCopySource, readRequest } from './request.ts'
import { readTagHeader, readTags } from './tags.ts'
import { readXml } from './xml.ts'

const rounds = 3000
const credential = { accessKeyId: 'KEY', secretAccessKey: 'secret', account: 'me' }
const nowMs = Date.UTC(2026, 10, 29)

/** A number below `limit`. */
function below(random: Random, limit: number): number {
  return new DataView(random.bytes(4).buffer).getUint32(0) % Math.max(limit, 1)
}

const spice = [
  '%',
  '%00',
  '%ff',
  '&',
  '=',
  '<',
  '>',
  '"',
  '\0',
  '\r\n',
  ';',
  '/',
  '..',
  '+',
  '?',
  '{',
  '}',
  '[',
  '-1',
  '9'.repeat(30),
  '\u{1f600}',
]

/** Changes a few places: something removed, doubled, or put in. */
function mutated(random: Random, text: string): string {
  let changed = text
  for (let count = 1 + below(random, 4); count > 0; count -= 1) {
    const at = below(random, changed.length + 1)
    const bytes = below(random, 12)
    const put = [
      () => '',
      () => changed.slice(at, at + bytes).repeat(2),
      () => spice[below(random, spice.length)] ?? '',
      () => Buffer.from(random.bytes(bytes)).toString('latin1'),
    ][below(random, 4)]
    changed = changed.slice(0, at) + (put?.() ?? '') + changed.slice(at + bytes)
  }
  return changed
}

/** Runs the work on mutations; anything thrown that is no failure of the protocol fails the test with its input. */
async function fuzz(seed: number, goods: readonly string[], work: (text: string) => unknown): Promise<void> {
  const random = seededRandom(seed)
  for (let round = 0; round < rounds; round += 1) {
    const text = mutated(random, goods[round % goods.length] ?? '')
    try {
      await work(text)
    } catch (error) {
      if (error instanceof S3Failure) continue
      assert.fail(`seed ${seed}, round ${round}, input ${JSON.stringify(text)}: ${String(error)}`)
    }
  }
}

const authorization =
  'AWS4-HMAC-SHA256 Credential=KEY/20261129/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff'

suite('anything may come in', () => {
  test('request lines and headers', () =>
    fuzz(
      1,
      [
        `/bucket/some/key?versionId=3&partNumber=2\n${authorization}\nlocalhost`,
        `/bucket?list-type=2&prefix=a%20b&delimiter=%2F\n${authorization}\nbucket.localhost:80`,
        `/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20261129%2Fr%2Fs3%2Faws4_request&X-Amz-Date=20261129T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00\n\nlocalhost`,
      ],
      (text) => {
        const [target = '', header = '', host = ''] = text.split('\n')
        const headers = { host, authorization: header, 'x-amz-date': '20261129T000000Z', 'x-amz-content-sha256': host }
        for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'HEAD', 'PATCH']) {
          const request = readRequest(method, target, headers, { names: ['localhost'] })
          try {
            operationOf(request)
          } finally {
            authenticate(request, () => credential, nowMs)
          }
        }
      },
    ))

  test('documents', () =>
    fuzz(
      2,
      [
        '<?xml version="1.0"?><CORSConfiguration xmlns="http://x/"><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule></CORSConfiguration>',
        '<LifecycleConfiguration><Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix>x</Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>',
        '<Tagging><TagSet><Tag><Key>a</Key><Value>b &amp; &#x41;<![CDATA[c]]></Value></Tag></TagSet></Tagging>',
      ],
      (text) => {
        for (const [root, read] of [
          ['CORSConfiguration', readCors],
          ['LifecycleConfiguration', (element) => readLifecycle(element, () => 'id')],
          ['Tagging', (element) => readTags(element, 10)],
        ] as const satisfies readonly (readonly [string, (element: ReturnType<typeof readXml>) => unknown])[]) {
          if (text.includes(root)) read(readXml(text, root))
        }
      },
    ))

  test('policies', () =>
    fuzz(
      3,
      [
        JSON.stringify({
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Principal: { AWS: ['arn:aws:iam::1:root', '*'] },
              Action: ['s3:Get*'],
              Resource: 'arn:aws:s3:::bucket/*',
              Condition: { IpAddress: { 'aws:SourceIp': ['10.0.0.0/8'] } },
            },
          ],
        }),
      ],
      (text) => readPolicy(text, 'bucket'),
    ))

  test('headers of copies and tags', () =>
    fuzz(4, ['bucket/key%20x?versionId=null', 'a=b&c=d%20e', '/b/k'], (text) => {
      try {
        readCopySource(text)
      } finally {
        readTagHeader(text)
      }
    }))

  test('chunked bodies', () =>
    fuzz(
      5,
      [
        '5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
        `3;chunk-signature=${'0'.repeat(64)}\r\nabc\r\n0\r\n\r\n`,
      ],
      (text) => {
        const decoder = new ChunkDecoder(undefined, true)
        const bytes = Buffer.from(text, 'latin1')
        let decoded = 0
        for (const piece of [bytes.subarray(0, 7), bytes.subarray(7)])
          for (const payload of decoder.push(piece)) decoded += payload.length
        decoder.end()
        assert.ok(decoded <= bytes.length)
      },
    ))

  test('forms, and what they are signed with', () => {
    const policy = Buffer.from(
      JSON.stringify({
        expiration: '2027-01-01T00:00:00Z',
        conditions: [{ bucket: 'b' }, ['starts-with', '$key', 'a'], ['content-length-range', 0, 10]],
      }),
    ).toString('base64')
    const field = (name: string, value: string): string =>
      `--x\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    const file =
      '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\nContent-Type: text/plain\r\n\r\nbytes\r\n--x--\r\n'
    return fuzz(
      6,
      [
        field('key', 'a/${filename}') +
          field('policy', policy) +
          field('signature', 'AA==') +
          field('AWSAccessKeyId', 'KEY') +
          file,
        field('key', 'a') + file,
      ],
      async (text) => {
        const source = async function* (): AsyncGenerator<Uint8Array> {
          const bytes = Buffer.from(text, 'latin1')
          yield bytes.subarray(0, 100)
          yield bytes.subarray(100)
        }
        const form = await readForm('multipart/form-data; boundary=x', source())
        let bytes = 0
        for await (const piece of form.file) bytes += piece.length
        assert.ok(bytes <= text.length)
        checkPostPolicy(form.fields, 'b', () => credential, nowMs)
      },
    )
  })
})
