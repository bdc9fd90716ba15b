/** Fetching from a registry, played by a server that can do everything wrong: tokens, passwords, mirrors, redirects, lies. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { systemClock } from '../base/index.ts'
import { tarOf, zipped } from './archives.test-helper.ts'
import { digestOf, type Digest } from './digest.ts'
import { mediaTypes, platformOf } from './documents.ts'
import type { RegistryCredential } from './sources/registry.ts'
import { ImageStore } from './store.ts'

const platform = platformOf(process.arch)
const tar = tarOf({ path: 'x', body: 'x' })
const layer = zipped(tar)
const config = Buffer.from(
  JSON.stringify({ ...platform, rootfs: { type: 'layers', diff_ids: [digestOf(tar)] }, config: { Cmd: ['/x'] } }),
)
const describe = (mediaType: string, bytes: Uint8Array) => ({ mediaType, digest: digestOf(bytes), size: bytes.length })
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(mediaTypes.config, config),
    layers: [describe(mediaTypes.layerGzip, layer)],
  }),
)
const index = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: [
      { ...describe(mediaTypes.manifest, config), platform: { os: 'linux', architecture: 's390x' } },
      { ...describe(mediaTypes.manifest, manifest), platform },
    ],
  }),
)
const blobs = new Map<string, Buffer>([layer, config].map((bytes) => [digestOf(bytes), bytes]))

type Answer = (request: IncomingMessage, response: ServerResponse, host: string) => boolean

/** A registry that has `team/web:1` (an index) and `team/web:old` (a manifest); `first` may answer otherwise. */
async function registry(context: TestContext, first: Answer = () => false): Promise<{ host: string; asked: string[] }> {
  const asked: string[] = []
  const server = createServer((request, response) => {
    const { port } = server.address() as AddressInfo
    asked.push(
      `${request.url}${request.headers.authorization === undefined ? '' : ` ${request.headers.authorization.split(' ')[0]}`}`,
    )
    if (first(request, response, `127.0.0.1:${port}`)) return
    const [, kind, what = ''] = /^\/v2\/team\/web\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? []
    const document =
      what === '1' || what === digestOf(index) ? index : what === 'old' || what === digestOf(manifest) ? manifest : null
    const found = kind === 'manifests' ? document : kind === 'blobs' ? (blobs.get(what) ?? null) : null
    if (found === null) return void response.writeHead(404).end()
    const type = document === index ? mediaTypes.index : mediaTypes.manifest
    response.writeHead(200, { 'content-type': kind === 'manifests' ? type : 'application/octet-stream' }).end(found)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked }
}

interface Fetching {
  readonly credential?: RegistryCredential
  readonly mirrors?: readonly string[]
}

function store(
  context: TestContext,
  { credential, mirrors = [] }: Fetching = {},
): { images: ImageStore; left: () => string[] } {
  const root = mkdtempSync(join(tmpdir(), 'stead-registry-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  const images = new ImageStore({
    directory: root,
    clock: systemClock,
    registry: { credentialFor: () => credential ?? null, mirrorsOf: () => mirrors },
  })
  const left = (): string[] =>
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ name }) => name)
  return { images, left }
}

const need = { directory: '/', onProgress: (): void => undefined }

test('an image by its tag, through an index; again by its digest without asking', async (context) => {
  const { host, asked } = await registry(context)
  const { images } = store(context)
  const image = await images.need(`oci:${host}/team/web:1`, need)
  assert.equal(image.digest, digestOf(manifest))
  assert.equal(image.name, `${host}/team/web:1@${digestOf(manifest)}`)
  const kinds = asked.map((url) => url.replace('/v2/team/web/', '').replace(/sha256:.*/, 'sha256'))
  assert.deepEqual(kinds, ['manifests/1', 'manifests/sha256', 'blobs/sha256', 'blobs/sha256'])
  const before = asked.length
  await images.need(`oci:${host}/team/web@${image.digest}`, need)
  assert.equal(asked.length, before)
  assert.equal((await images.need(`oci:${host}/team/web:old`, need)).digest, image.digest)
})

const challenge = (host: string): string =>
  `Bearer realm="http://${host}/token",service="reg",scope="repository:team/web:pull"`
const credential = { username: 'ann', password: 'pw:x' }

test('a token, with the password shown to the token server alone', async (context) => {
  const { host, asked } = await registry(context, (request, response, own) => {
    if (request.url?.startsWith('/token') === true) {
      const basic = `Basic ${Buffer.from('ann:pw:x').toString('base64')}`
      assert.equal(request.headers.authorization, basic)
      assert.match(request.url, /service=reg&scope=repository%3Ateam%2Fweb%3Apull/)
      response.end(JSON.stringify({ token: 'abc' }))
      return true
    }
    if (request.headers.authorization === 'Bearer abc') return false
    response.writeHead(401, { 'www-authenticate': challenge(own) }).end()
    return true
  })
  await store(context, { credential }).images.need(`oci:${host}/team/web:1`, need)
  assert.ok(asked.some((line) => line.startsWith('/token') && line.endsWith('Basic')))
})

test('a name and a password; without them it is said', async (context) => {
  const { host } = await registry(context, (request, response) => {
    if (request.headers.authorization?.startsWith('Basic ') === true) return false
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    return true
  })
  await store(context, { credential }).images.need(`oci:${host}/team/web:1`, need)
  const bare = store(context)
  await assert.rejects(bare.images.need(`oci:${host}/team/web:1`, need), {
    code: 'image.unauthorized',
    message: /asks for a name and a password/,
  })
  assert.deepEqual(bare.left(), [])
})

test('what lets us in does not go along a redirect, nor a password to a token server of others', async (context) => {
  const seen: (string | undefined)[] = []
  const elsewhere = await registry(context, (request) => {
    seen.push(request.headers.authorization)
    return false
  })
  const { host } = await registry(context, (request, response) => {
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
      return true
    }
    if (request.url?.includes('/blobs/') !== true) return false
    response.writeHead(307, { location: `http://${elsewhere.host}${request.url}` }).end()
    return true
  })
  await store(context, { credential }).images.need(`oci:${host}/team/web:1`, need)
  assert.deepEqual(new Set(seen), new Set([undefined]))
  const away = await registry(context, (_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Bearer realm="http://example.org/token"' }).end()
    return true
  })
  await assert.rejects(store(context, { credential }).images.need(`oci:${away.host}/team/web:1`, need), {
    code: 'image.unauthorized',
    message: /without TLS/,
  })
})

test('a mirror is asked first, and passed over when it lacks the image or is gone', async (context) => {
  const mirror = await registry(context)
  const empty = await registry(context, (_request, response) => {
    response.writeHead(404).end()
    return true
  })
  const own = await registry(context)
  await store(context, { mirrors: [mirror.host] }).images.need(`oci:${own.host}/team/web:1`, need)
  assert.deepEqual([own.asked.length, mirror.asked.length], [0, 4])
  await store(context, { mirrors: [empty.host, '127.0.0.1:1'] }).images.need(`oci:${own.host}/team/web:1`, need)
  assert.equal(own.asked.length, 4)
})

const wrong =
  (change: (bytes: Buffer) => Buffer, kind: 'manifests' | 'blobs', digest: Digest): Answer =>
  (request, response) => {
    if (request.url?.endsWith(`/${kind}/${digest}`) !== true) return false
    response.end(change(kind === 'manifests' ? manifest : (blobs.get(digest) ?? Buffer.alloc(0))))
    return true
  }

for (const [name, answer, code, words] of [
  [
    'a layer that is another',
    wrong(() => Buffer.alloc(layer.length, 1), 'blobs', digestOf(layer)),
    'image.wrong-digest',
    /layer/,
  ],
  [
    'a layer that ends early',
    wrong((bytes) => bytes.subarray(0, 20), 'blobs', digestOf(layer)),
    'image.truncated',
    /20 of/,
  ],
  [
    'a layer that goes on',
    wrong((bytes) => Buffer.concat([bytes, bytes]), 'blobs', digestOf(layer)),
    'image.wrong-digest',
    /more than/,
  ],
  [
    'a manifest that is another',
    wrong(() => Buffer.from('{}'), 'manifests', digestOf(manifest)),
    'image.wrong-digest',
    /manifest/,
  ],
  [
    'a manifest without end',
    wrong(() => Buffer.alloc(5 * 2 ** 20), 'manifests', digestOf(manifest)),
    'image.too-large',
    /documentBytesMax/,
  ],
  [
    'a configuration that is another',
    wrong(() => Buffer.alloc(config.length, 32), 'blobs', digestOf(config)),
    'image.wrong-digest',
    /configuration/,
  ],
] as const) {
  test(`refused, with nothing left: ${name}`, async (context) => {
    const { host } = await registry(context, answer)
    const { images, left } = store(context)
    await assert.rejects(images.need(`oci:${host}/team/web:1`, need), { code, message: words })
    assert.ok(
      !left().some((file) => file === 'names.json' || file === 'blob' || file === digestOf(layer).slice(7)),
      left().join(),
    )
  })
}

for (const [name, answer, code, words] of [
  ['nothing there', (_request, response) => (response.writeHead(404).end(), true), 'image.not-found', /has no/],
  ['a failure', (_request, response) => (response.writeHead(503).end(), true), 'image.registry-failed', /503/],
  [
    'redirects without end',
    (request, response) => (response.writeHead(302, { location: request.url ?? '' }).end(), true),
    'image.registry-failed',
    /redirects more than/,
  ],
  ['a connection that breaks', (request) => (request.socket.destroy(), true), 'image.registry-failed', /cannot be had/],
  [
    'another type',
    (_request, response) => (response.writeHead(200, { 'content-type': 'text/html' }).end('{"x":1}'), true),
    'image.unknown-media-type',
    /text\/html/,
  ],
] satisfies readonly (readonly [string, Answer, string, RegExp])[]) {
  test(`a registry that answers with ${name}`, async (context) => {
    const { host } = await registry(context, answer)
    await assert.rejects(store(context).images.need(`oci:${host}/team/web:1`, need), { code, message: words })
  })
}
