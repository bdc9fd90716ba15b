/** References, manifests and configurations: what is read, what is refused, and that no bytes make it do anything else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { dice } from './archives.test-helper.ts'
import { commandOf, parseConfig, userOf, type ImageConfig } from './config.ts'
import { digestOf } from './digest.ts'
import { choosePlatform, mediaTypes, parseTop, platformOf } from './documents.ts'
import { parseReference } from './reference.ts'

const digest = digestOf('x')
const amd = { os: 'linux', architecture: 'amd64' }
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

test('references: registries with host, paths, names of this machine', () => {
  assert.deepEqual(parseReference('oci:reg.example.org:5000/team/web:1.4'), {
    kind: 'registry',
    host: 'reg.example.org:5000',
    repository: 'team/web',
    tag: '1.4',
    digest: null,
  })
  assert.deepEqual(parseReference(`localhost/web@${digest}`), {
    kind: 'registry',
    host: 'localhost',
    repository: 'web',
    tag: null,
    digest,
  })
  assert.deepEqual(parseReference('oci:./image.tar'), { kind: 'path', path: './image.tar' })
  assert.deepEqual(parseReference('oci:team/web:2'), { kind: 'local', name: 'team/web:2' })
  for (const bad of [
    'oci:',
    'oci:Web',
    'a.b/x:!',
    `web@${digest}`,
    'a.b/x@sha256:12',
    'a.b/../x',
    'a.b//x',
    '-a.b/x',
    'a b',
  ])
    assert.throws(() => parseReference(bad), { code: 'image.bad-reference' }, bad)
})

const layer = { mediaType: mediaTypes.layerGzip, digest, size: 5 }
const config = { mediaType: mediaTypes.config, digest, size: 7 }
const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [layer] }

test('manifests of both families; what is not understood is named', () => {
  const docker = {
    ...manifest,
    mediaType: mediaTypes.dockerManifest,
    config: { ...config, mediaType: mediaTypes.dockerConfig },
    layers: [{ ...layer, mediaType: mediaTypes.dockerLayer }],
  }
  for (const [value, type] of [
    [manifest, null],
    [docker, null],
    [{ config, layers: [] }, mediaTypes.manifest],
  ] as const) {
    const top = parseTop(json(value), type, 'web')
    assert.ok(top.kind === 'manifest')
  }
  const refused = (value: unknown, code: string): void =>
    assert.throws(() => parseTop(json(value), null, 'web'), { code })
  refused({ ...manifest, mediaType: 'text/plain' }, 'image.unknown-media-type')
  refused(
    { ...manifest, layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }] },
    'image.unknown-media-type',
  )
  refused({ ...manifest, config: { ...config, mediaType: 'application/vnd.example' } }, 'image.unknown-media-type')
  refused({ ...manifest, layers: [{ ...layer, digest: 'sha256:x' }] }, 'image.bad-document')
  refused({ ...manifest, layers: [{ ...layer, size: -1 }] }, 'image.bad-document')
  refused({ ...manifest, layers: Array.from({ length: 200 }, () => layer) }, 'image.too-large')
  refused({ ...manifest, layers: [{ ...layer, size: 2 ** 50 }] }, 'image.too-large')
  refused([], 'image.bad-document')
  assert.throws(() => parseTop(Buffer.alloc(5 * 2 ** 20, 32), null, 'web'), {
    code: 'image.too-large',
    message: /documentBytesMax/,
  })
})

test('an index: this machine’s image, and another architecture by its name', () => {
  const entry = (architecture: string, os = 'linux') => ({ ...manifestEntry, platform: { os, architecture } })
  const manifestEntry = { mediaType: mediaTypes.manifest, digest, size: 1 }
  const index = (manifests: unknown[]) => {
    const top = parseTop(json({ mediaType: mediaTypes.index, manifests }), null, 'web')
    assert.ok(top.kind === 'index')
    return top.index
  }
  assert.equal(choosePlatform(index([entry('arm64'), entry('amd64')]), amd, 'web').digest, digest)
  assert.equal(platformOf('x64').architecture, 'amd64')
  assert.throws(() => choosePlatform(index([entry('arm64'), entry('unknown', 'unknown')]), amd, 'web'), {
    code: 'image.other-architecture',
    message: 'web is for linux/arm64, and this machine is linux/amd64.',
  })
})

const whole = {
  architecture: 'amd64',
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [digest] },
  config: {
    User: 'web',
    Env: ['A=b=c', 'BAD NAME=x', 'EMPTY='],
    Entrypoint: ['/server'],
    Cmd: ['--all'],
    WorkingDir: '/srv/./app/',
    ExposedPorts: { '8080/tcp': {}, '53/udp': {} },
    Volumes: { '/data/': {} },
    StopSignal: 'quit',
    Healthcheck: { Test: ['CMD-SHELL', 'check me'], Interval: 5e9 },
  },
}

test('a configuration, and what becomes of it', () => {
  const read = parseConfig(json(whole), 1, 'web')
  assert.deepEqual(read.env, { A: 'b=c', EMPTY: '' })
  assert.deepEqual(
    [read.workdir, read.ports, read.volumes, read.stopSignal],
    ['/srv/app', [8080], ['/data'], 'SIGQUIT'],
  )
  assert.deepEqual(read.healthcheck, { command: ['/bin/sh', '-c', 'check me'], intervalMs: 5000, timeoutMs: 30_000 })
  assert.deepEqual(commandOf(read, { run: [], user: null }, 'web'), ['/server', '--all'])
  assert.deepEqual(commandOf(read, { run: ['/other'], user: null }, 'web'), ['/other'])
  const bare = parseConfig(json({ ...whole, config: null }), 1, 'web')
  assert.throws(() => commandOf(bare, { run: [], user: null }, 'web'), { code: 'image.no-program' })
  for (const change of [
    { Volumes: { '/a/../..': {} } },
    { WorkingDir: 'relative' },
    { StopSignal: 'SIGRTMIN+3' },
    { Entrypoint: 'text' },
  ])
    assert.throws(() => parseConfig(json({ ...whole, config: { ...whole.config, ...change } }), 1, 'web'), {
      code: 'image.bad-document',
    })
  assert.throws(() => parseConfig(json(whole), 2, 'web'), {
    code: 'image.bad-document',
    message: /1 layers, and its manifest 2/,
  })
})

test('users: by name through the image’s own files; root only when the part says so', () => {
  const files = { passwd: 'root:x:0:0::/root:/bin/sh\nweb:x:101:102:web:/srv/web:/bin/false\n', group: 'mail:x:8:\n' }
  const of = (user: string): ImageConfig => parseConfig(json({ ...whole, config: { User: user } }), 1, 'web')
  const plain = { run: [], user: null }
  assert.deepEqual(userOf(of('web'), plain, files, 'web'), { uid: 101, gid: 102, home: '/srv/web' })
  assert.deepEqual(userOf(of('101'), plain, files, 'web'), { uid: 101, gid: 102, home: '/srv/web' })
  assert.deepEqual(userOf(of('web:mail'), plain, files, 'web'), { uid: 101, gid: 8, home: '/srv/web' })
  assert.deepEqual(userOf(of('5000:7'), plain, files, 'web'), { uid: 5000, gid: 7, home: null })
  assert.deepEqual(userOf(of(''), { run: [], user: 'root' }, files, 'web'), { uid: 0, gid: 0, home: '/root' })
  assert.deepEqual(userOf(of(''), { run: [], user: 'web' }, files, 'web').uid, 101)
  for (const root of ['', 'root', '0', '0:0'])
    assert.throws(() => userOf(of(root), plain, files, 'web'), { code: 'image.asks-for-root' })
  assert.throws(() => userOf(of('nobody'), plain, files, 'web'), { code: 'image.unknown-user' })
  assert.throws(() => userOf(of('web:nogroup'), plain, files, 'web'), { code: 'image.unknown-user' })
  assert.throws(() => userOf(of('4294967295'), plain, files, 'web'), { code: 'image.unknown-user' })
})

test('whatever the bytes are: a document, or an error with a code', () => {
  const roll = dice(11)
  const seeds = [
    json(manifest),
    json(whole),
    json({ mediaType: mediaTypes.index, manifests: [{ ...layer, platform: amd }] }),
  ]
  const values = ['null', '-1', '[]', '{}', '"x"', '1e999', '"sha256:"', 'true']
  let refused = 0
  for (let round = 0; round < 3000; round++) {
    const seed = seeds[round % seeds.length] ?? Buffer.alloc(0)
    let text = seed.toString()
    for (let change = 0; change < 3; change++) {
      const at = Math.floor(roll() * text.length)
      const value = values[Math.floor(roll() * values.length)] ?? ''
      text =
        roll() < 0.5
          ? text.replace(/(?<=:)("[^"]*"|\d+|\{\}|\[\])/g, (found) => (roll() < 0.1 ? value : found))
          : text.slice(0, at) + String.fromCharCode(Math.floor(roll() * 128)) + text.slice(at + 1)
    }
    for (const read of [
      () => parseTop(Buffer.from(text), null, 'fuzz'),
      () => parseConfig(Buffer.from(text), 1, 'fuzz'),
    ]) {
      try {
        read()
      } catch (error) {
        assert.ok(isSteadError(error) && error.code.startsWith('image.'), `${String(error)}\n${text}`)
        refused++
      }
    }
  }
  assert.ok(refused > 1000)
})
