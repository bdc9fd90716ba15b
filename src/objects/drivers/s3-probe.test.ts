/** What the probe finds in a server that keeps its promises, and in one that answers 200 to everything. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { suite, test } from 'node:test'
import { isSteadError } from '../../base/index.ts'
import { credential, servedStore } from './embedded-place.test-helper.ts'
import { makeS3Bucket } from './s3/bucket.ts'
import { nativeClientConfig } from './s3/native.ts'
import { probeS3, refuseUnless } from './s3/probe.ts'
import { openS3Store } from './s3/s3.ts'

/** Takes every write, checks nothing, lists three keys and says that this is all. */
async function careless(
  message: IncomingMessage,
  response: ServerResponse,
  objects: Map<string, Buffer>,
): Promise<void> {
  const { pathname, searchParams } = new URL(message.url ?? '', 'http://localhost')
  const pieces: Buffer[] = []
  for await (const piece of message) pieces.push(Buffer.from(piece))
  response.setHeader('etag', '"always"')
  if (message.method === 'PUT') objects.set(pathname, Buffer.concat(pieces))
  else if (searchParams.has('versioning')) response.statusCode = 501
  else if (searchParams.has('list-type')) {
    const keys = [...objects.keys()].filter((key) => key.includes('/page/')).slice(0, 3)
    const contents = keys.map((key) => `<Contents><Key>${key.replace('/bucket/', '')}</Key></Contents>`)
    return void response.end(
      `<ListBucketResult>${contents.join('')}<IsTruncated>false</IsTruncated></ListBucketResult>`,
    )
  } else if (message.method === 'GET') return void response.end(objects.get(pathname))
  response.end()
}

suite('the probe', () => {
  test('finds that the embedded server keeps what it says, and leaves nothing there', async () => {
    await using served = await servedStore()
    const options = { endpoint: served.endpoint, bucket: 'probed', ...credential }
    await makeS3Bucket(options, { versions: true })
    await makeS3Bucket(options)
    const probe = await probeS3({ ...options, durability: 'fsync' })
    assert.deepEqual(probe.findings, [])
    assert.ok(Object.values(probe.capabilities).every((held) => held === true || held === 'fsync'))
    refuseUnless('the bucket', probe, {
      putIfAbsent: true,
      putIfMatch: true,
      checksums: true,
      presign: true,
      paging: true,
      versions: true,
      durable: true,
    })
    await using store = openS3Store({ ...options, capabilities: probe.capabilities })
    assert.deepEqual((await store.list()).objects, [])
  })

  test('finds what a careless server does, and an app that needs more is refused with every reason', async () => {
    const objects = new Map<string, Buffer>()
    const server = createServer((message, response) => void careless(message, response, objects))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const address = server.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      const options = { endpoint: `http://127.0.0.1:${port}`, bucket: 'bucket', ...credential }
      const probe = await probeS3(options)
      assert.deepEqual(probe.capabilities, {
        putIfAbsent: false,
        putIfMatch: false,
        checksums: false,
        presign: false,
        paging: false,
        versions: false,
        durability: 'unknown',
      })
      assert.throws(
        () => refuseUnless('the bucket', probe, { putIfAbsent: true, paging: true, snapshots: true, durable: true }),
        (error) => {
          assert.ok(isSteadError(error) && error.code === 'objects.unsupported')
          assert.match(
            error.message,
            /20 of 20 racing creators won.*3 of 7 keys.*not known to be on a disk.*snapshots: .*paging/,
          )
          return true
        },
      )
      await using store = openS3Store({ ...options, capabilities: probe.capabilities })
      await assert.rejects(store.putIfAbsent('a', 'x'), /does not do putIfAbsent/)
      await store.put('a', 'what it can do it may')
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})

test('the native client is told what a store was opened with, and to send no checksums that were found not to be verified', () => {
  const where = { endpoint: 'http://127.0.0.1:9000', bucket: 'bucket', accessKeyId: 'KEY', secretAccessKey: 'secret' }
  const credentials = { accessKeyId: 'KEY', secretAccessKey: 'secret' }
  const plain = { endpoint: where.endpoint, region: 'us-east-1', forcePathStyle: true, credentials }
  assert.deepEqual(nativeClientConfig(where), plain)
  assert.deepEqual(nativeClientConfig({ ...where, virtualHost: true, region: 'garage' }), {
    ...plain,
    region: 'garage',
    forcePathStyle: false,
  })
  const capabilities = {
    putIfAbsent: false,
    putIfMatch: false,
    checksums: false,
    presign: true,
    paging: true,
    versions: false,
    durability: 'unknown',
  } as const
  assert.equal(nativeClientConfig({ ...where, capabilities }).requestChecksumCalculation, 'WHEN_REQUIRED')
})
