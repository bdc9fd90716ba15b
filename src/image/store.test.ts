/** The store of images and that of layers: building, every source on disk, sharing, pruning, and what is refused with nothing left. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { zstdCompressSync } from 'node:zlib'
import { needsRoot } from '../../test/needs.ts'
import { systemClock } from '../base/index.ts'
import { pieces, tarOf, zipped } from './archives.test-helper.ts'
import { digestOf, hexOf, type Digest } from './digest.ts'
import { mediaTypes, platformOf } from './documents.ts'
import { LayerStore } from './layers.ts'
import { openImage } from './open.ts'
import { ImageStore } from './store.ts'

const platform = platformOf(process.arch)
const none = {
  at: '/',
  without: [],
  base: null,
  entrypoint: null,
  cmd: null,
  env: {},
  workdir: null,
  user: null,
  ports: [],
  volumes: [],
  labels: {},
}

interface Place {
  readonly root: string
  readonly store: ImageStore
  readonly layers: LayerStore
  readonly need: { readonly directory: string; readonly onProgress: (line: string) => void }
  readonly progress: string[]
}

function place(context: TestContext): Place {
  const root = mkdtempSync(join(tmpdir(), 'stead-images-'))
  context.after(() => rmSync(root, { recursive: true, force: true }))
  const progress: string[] = []
  const store = new ImageStore({
    directory: join(root, 'store'),
    clock: systemClock,
    registry: { credentialFor: () => null },
  })
  return {
    root,
    store,
    layers: new LayerStore(join(root, 'layers')),
    need: { directory: root, onProgress: (line) => progress.push(line) },
    progress,
  }
}

function tree(root: string, name: string): string {
  const from = join(root, name)
  mkdirSync(join(from, 'etc'), { recursive: true })
  mkdirSync(join(from, 'bin'))
  writeFileSync(join(from, 'etc/passwd'), 'web:x:101:101::/srv:/bin/sh\n')
  writeFileSync(join(from, 'bin/server'), '#!/bin/sh\n', { mode: 0o755 })
  writeFileSync(join(from, 'etc', `${'n'.repeat(120)}\u00fc`), 'long')
  symlinkSync('bin/server', join(from, 'server'))
  return from
}

/** Everything below a directory that is not a directory. */
function filesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name)
}

test('the same directory is the same image, and it comes out as it went in', async (context) => {
  const { root, store, layers, need } = place(context)
  const options = { ...none, entrypoint: ['/bin/server'], user: 'web', env: { A: '1' }, ports: [80] }
  const first = await store.build(tree(root, 'one'), 'web:1', options, need)
  const second = await store.build(tree(root, 'two'), 'web:2', options, need)
  assert.equal(second.digest, first.digest)
  const other = await store.build(join(root, 'one'), 'web:3', { ...options, user: '5' }, need)
  assert.notEqual(other.digest, first.digest)
  const layout = join(root, 'layout')
  await store.layOut(first, layout)
  const opened = await openImage(layout, layers, { run: [], user: null, platform, name: 'web' })
  assert.deepEqual(
    [opened.argv, opened.user.uid, opened.env['A'], opened.env['HOME'], opened.cwd],
    [['/bin/server'], 101, '1', '/srv', '/'],
  )
  const [layer = ''] = opened.layers
  assert.equal(readFileSync(join(layer, 'etc', `${'n'.repeat(120)}\u00fc`), 'utf8'), 'long')
  assert.equal(lstatSync(join(layer, 'bin/server')).mode & 0o777, 0o755)
  assert.ok(lstatSync(join(layer, 'server')).isSymbolicLink())
  assert.deepEqual(
    (await store.list()).map(({ name }) => name),
    ['web:1', 'web:2', 'web:3'],
  )
  await assert.rejects(store.build(join(root, 'one'), 'reg.example.org/x', options, need), {
    code: 'image.bad-reference',
  })
})

test('a directory over another image, at a place of its own', async (context) => {
  const { root, store, layers, need } = place(context)
  await store.build(
    tree(root, 'one'),
    'base',
    { ...none, entrypoint: ['/bin/server'], cmd: ['a'], env: { A: '1', B: '2' } },
    need,
  )
  mkdirSync(join(root, 'app'))
  writeFileSync(join(root, 'app/index.html'), 'hello')
  const built = await store.build(
    join(root, 'app'),
    'site',
    { ...none, base: 'base', at: '/srv/www', env: { B: '3' }, user: '7' },
    need,
  )
  const layout = join(root, 'layout')
  await store.layOut(built, layout)
  const opened = await openImage(layout, layers, { run: [], user: null, platform, name: 'site' })
  assert.deepEqual(
    [opened.argv, opened.env['A'], opened.env['B'], opened.layers.length],
    [['/bin/server', 'a'], '1', '3', 2],
  )
  assert.equal(readFileSync(join(opened.layers[1] ?? '', 'srv/www/index.html'), 'utf8'), 'hello')
})

/** What `docker save` writes, in its old form, its layers packed by `pack`. */
function saved(
  config: object,
  layers: readonly Buffer[],
  pack: (layer: Buffer) => Uint8Array = (layer) => layer,
): Buffer {
  const document = JSON.stringify({
    ...config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => digestOf(layer)) },
  })
  const manifest = [{ Config: 'c.json', RepoTags: ['x:1'], Layers: layers.map((_, index) => `l${index}/layer.tar`) }]
  return tarOf(
    { path: 'manifest.json', body: JSON.stringify(manifest) },
    { path: 'c.json', body: document },
    ...layers.flatMap((layer, index) => [
      { path: `l${index}/`, type: '5' },
      { path: `l${index}/layer.tar`, body: pack(layer) },
    ]),
  )
}

const config = { os: platform.os, architecture: platform.architecture, config: { User: '5', Cmd: ['/x'] } }
const small = tarOf({ path: 'x', body: 'x' })

test('an archive of docker save, old and new, plain and compressed; a layout; a directory', async (context) => {
  const { root, store, layers, need } = place(context)
  const old = saved(config, [small])
  writeFileSync(join(root, 'old.tar'), old)
  writeFileSync(join(root, 'old.tar.gz'), zipped(old))
  writeFileSync(join(root, 'old.tar.zst'), zstdCompressSync(old))
  const image = await store.need('oci:./old.tar', need)
  for (const path of ['./old.tar.gz', './old.tar.zst'])
    assert.equal((await store.need(path, need)).digest, image.digest)
  const layout = join(root, 'layout')
  await store.layOut(image, layout)
  const blob = (digest: Digest): string => `blobs/sha256/${hexOf(digest)}`
  const contents = [image.digest, image.manifest.config.digest, ...image.manifest.layers.map(({ digest }) => digest)]
  const entries = ['oci-layout', 'index.json', ...contents.map(blob)].map((path) => ({
    path,
    body: readFileSync(join(layout, path)),
  }))
  writeFileSync(join(root, 'new.tar'), tarOf(...entries))
  assert.equal((await store.need('./new.tar', need)).digest, image.digest)
  assert.equal((await store.need('./layout', need)).digest, image.digest)
  const opened = await openImage(layout, layers, { run: [], user: null, platform, name: 'x' })
  assert.equal(readFileSync(join(opened.layers[0] ?? '', 'x'), 'utf8'), 'x')
  const plain = await store.need(`./${tree(root, 'plain').split('/').at(-1)}`, need)
  assert.equal(plain.config.diffIds.length, 1)
  await assert.rejects(store.need('./nothing', need), { code: 'image.not-found' })
  await assert.rejects(store.need('oci:nothing', need), { code: 'image.not-found' })
})

test('layers packed with gzip and zstd are read wherever plain ones are: in an old archive, a layout, an archive of one', async (context) => {
  const { root, store, need } = place(context)
  const read = async (path: string): Promise<string> => {
    const image = await store.need(path, need)
    const layers = new LayerStore(join(root, `layers-${path.replaceAll('/', '')}`))
    const [layer = ''] = await store.unpack(image, layers)
    return `${image.manifest.layers[0]?.compression} ${readFileSync(join(layer, 'x'), 'utf8')}`
  }
  for (const [kind, pack] of [
    ['gzip', zipped],
    ['zstd', (layer: Buffer) => zstdCompressSync(layer)],
  ] as const) {
    writeFileSync(join(root, `${kind}.tar`), saved(config, [small], pack))
    assert.equal(await read(`./${kind}.tar`), `${kind} x`)
    const layout = join(root, `layout-${kind}`)
    await store.layOut(await store.need(`./${kind}.tar`, need), layout)
    assert.equal(await read(`./layout-${kind}`), `${kind} x`)
    const paths = readdirSync(layout, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const entries = paths.map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return { path: path.slice(layout.length + 1), body: readFileSync(path) }
    })
    writeFileSync(join(root, `${kind}-layout.tar`), tarOf(...entries))
    assert.equal(await read(`./${kind}-layout.tar`), `${kind} x`)
  }
})

test('a layout whose manifest is another than the release names is not opened', async (context) => {
  const { root, store, layers, need } = place(context)
  writeFileSync(join(root, 'a.tar'), saved(config, [small]))
  const image = await store.need('./a.tar', need)
  const layout = join(root, 'layout')
  await store.layOut(image, layout)
  const wish = { run: [], user: null, platform, name: 'x' }
  assert.equal((await openImage(layout, layers, { ...wish, digest: image.digest })).layers.length, 1)
  await assert.rejects(openImage(layout, layers, { ...wish, digest: digestOf('other') }), {
    code: 'image.wrong-digest',
  })
})

test('what is wrong is said in one sentence, and nothing of it is kept', async (context) => {
  const { root, store, layers, need } = place(context)
  writeFileSync(join(root, 'good.tar'), saved(config, [small]))
  const image = await store.need('./good.tar', need)
  const good = join(root, 'good')
  await store.layOut(image, good)
  const [layer] = image.manifest.layers
  assert.ok(layer !== undefined)
  const before = filesIn(join(root, 'store', 'blobs'))

  const damaged = async (
    name: string,
    change: (directory: string) => void,
    code: string,
    message: RegExp,
  ): Promise<void> => {
    const directory = join(root, name)
    cpSync(good, directory, { recursive: true })
    change(directory)
    // A store of its own, for what is here already is not asked for again.
    const fresh = new ImageStore({
      directory: join(root, `${name}-store`),
      clock: systemClock,
      registry: { credentialFor: () => null },
    })
    await assert.rejects(fresh.need(`./${name}`, need), { code, message }, name)
    const left = existsSync(join(root, `${name}-store`)) ? filesIn(join(root, `${name}-store`)) : []
    assert.ok(
      !left.some((file) => file === hexOf(layer.digest) || file.endsWith('.json') || file === 'blob'),
      `${name}: ${left.join()}`,
    )
    if (code === 'image.other-architecture' || code === 'image.unknown-media-type') return
    await assert.rejects(openImage(directory, layers, { run: [], user: null, platform, name }), { code }, name)
    assert.deepEqual(existsSync(join(root, 'layers')) ? readdirSync(join(root, 'layers')) : [], [], name)
  }
  const blob = (directory: string, digest: Digest): string => join(directory, 'blobs/sha256', hexOf(digest))
  const rewrite = (directory: string, digest: Digest, bytes: Uint8Array): void => {
    rmSync(blob(directory, digest))
    writeFileSync(blob(directory, digest), bytes)
  }
  await damaged(
    'changed',
    (directory) => rewrite(directory, layer.digest, Buffer.from(small).fill('y', 512, 513)),
    'image.wrong-digest',
    /wanted sha256:.*found sha256:/,
  )
  await damaged(
    'short',
    (directory) => rewrite(directory, layer.digest, small.subarray(0, 600)),
    'image.truncated',
    /ends after 600 of/,
  )
  await damaged(
    'long',
    (directory) => rewrite(directory, layer.digest, Buffer.concat([small, small])),
    'image.wrong-digest',
    /more than/,
  )
  await damaged('missing', (directory) => rmSync(blob(directory, layer.digest)), 'image.not-found', /is not there/)
  await damaged(
    'linked',
    (directory) => {
      rmSync(blob(directory, layer.digest))
      symlinkSync(blob(good, layer.digest), blob(directory, layer.digest))
    },
    'image.not-found',
    /is no file/,
  )
  const index = (directory: string, change: (entry: Record<string, unknown>) => void): void => {
    const value = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8'))
    change(value.manifests[0])
    writeFileSync(join(directory, 'index.json'), JSON.stringify(value))
  }
  await damaged(
    'foreign',
    (directory) => index(directory, (entry) => (entry['platform'] = { os: 'linux', architecture: 's390x' })),
    'image.other-architecture',
    /linux\/s390x/,
  )
  await damaged(
    'unknown',
    (directory) => {
      const bytes = Buffer.from(
        readFileSync(blob(directory, image.digest), 'utf8').replace(mediaTypes.layerTar, 'application/x-secret'),
      )
      writeFileSync(blob(directory, digestOf(bytes)), bytes)
      index(directory, (entry) => Object.assign(entry, { digest: digestOf(bytes), size: bytes.length }))
    },
    'image.unknown-media-type',
    /x-secret/,
  )
  assert.deepEqual(filesIn(join(root, 'store', 'blobs')), before)
})

test('a layer is unpacked once, whoever asks; one that is refused leaves nothing; pruning keeps what is used', async (context) => {
  const { root, layers } = place(context)
  let reads = 0
  const source = (bytes: Buffer, diffId = digestOf(bytes)) => ({
    diffId,
    compression: 'gzip' as const,
    bytes() {
      reads++
      return pieces(zipped(bytes))
    },
  })
  const many = tarOf(...Array.from({ length: 200 }, (_, index) => ({ path: `d/${index}`, body: String(index) })))
  const other = new LayerStore(join(root, 'layers'))
  const all = await Promise.all([layers, layers, other, other].map((store) => store.need(source(many), 'the layer')))
  assert.deepEqual([new Set(all).size, reads <= 2], [1, true])
  assert.equal(await layers.need(source(many), 'the layer'), all[0])
  assert.ok(reads <= 2, 'it is here')
  await assert.rejects(layers.need(source(small, digestOf('else')), 'the layer'), { code: 'image.wrong-digest' })
  await assert.rejects(layers.need(source(tarOf({ path: '../x' })), 'the layer'), { code: 'image.unsafe-layer' })
  await assert.rejects(layers.need({ ...source(small), compression: 'zstd' }, 'the layer'), {
    code: 'image.bad-archive',
    message: /zstd is damaged/,
  })
  assert.deepEqual(readdirSync(join(root, 'layers')), [hexOf(digestOf(many))])
  await layers.need(source(small), 'the layer')
  assert.equal(await layers.prune(new Set([digestOf(many)]), systemClock.nowMs()), 1)
  assert.deepEqual(readdirSync(join(root, 'layers')), [hexOf(digestOf(many))])
})

test('a layer that did not reach the disk before the machine stopped is unpacked again', async (context) => {
  const { root, layers } = place(context)
  const source = { diffId: digestOf(small), compression: 'none' as const, bytes: () => pieces(small) }
  const path = await layers.need(source, 'the layer')
  const directory = join(root, 'layers', hexOf(source.diffId))
  while (!existsSync(join(directory, 'synced'))) await new Promise((resolve) => void setTimeout(resolve, 20))
  writeFileSync(join(path, 'x'), '')
  const note = JSON.parse(readFileSync(join(directory, 'layer.json'), 'utf8'))
  rmSync(join(directory, 'synced'), { force: true })
  writeFileSync(join(directory, 'layer.json'), JSON.stringify({ ...note, boot: 'another' }))
  const again = new LayerStore(join(root, 'layers'))
  assert.equal(readFileSync(join(await again.need(source, 'the layer'), 'x'), 'utf8'), 'x')
})

test(
  'a full disk is said to be one, for what is fetched and for what is unpacked; nothing of either stays',
  { skip: needsRoot() },
  async (context) => {
    const { root, store, need } = place(context)
    const large = tarOf({ path: 'x', body: Buffer.alloc(3 * 2 ** 20, 'x') })
    writeFileSync(join(root, 'large.tar'), saved(config, [large]))
    const image = await store.need('./large.tar', need)
    const small = join(root, 'small-disk')
    mkdirSync(small)
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', small]).status, 0)
    try {
      const there = new ImageStore({
        directory: join(small, 'store'),
        clock: systemClock,
        registry: { credentialFor: () => null },
      })
      const layout = join(root, 'layout')
      await store.layOut(image, layout)
      await assert.rejects(there.need('./layout', need), { code: 'image.no-space' })
      assert.deepEqual(
        filesIn(small).filter((name) => name === 'blob' || name.endsWith('.json')),
        [],
      )
      await assert.rejects(store.unpack(image, new LayerStore(join(small, 'layers'))), { code: 'image.no-space' })
      assert.deepEqual(readdirSync(join(small, 'layers')), [])
    } finally {
      spawnSync('umount', [small])
    }
  },
)

test('pruning images keeps what a name needs', async (context) => {
  const { root, store, need } = place(context)
  writeFileSync(join(root, 'a.tar'), saved(config, [small]))
  writeFileSync(
    join(root, 'b.tar'),
    saved({ ...config, config: { User: '6' } }, [small, tarOf({ path: 'y', body: 'y'.repeat(5000) })]),
  )
  const a = await store.need('./a.tar', need)
  await store.need('./b.tar', need)
  const { names, bytes } = await store.prune(({ digest }) => digest === a.digest)
  assert.deepEqual([names, bytes > 5000], [[join(root, 'b.tar')], true])
  const layout = join(root, 'layout')
  await store.layOut(await store.need('./a.tar', need), layout)
  assert.equal((await store.prune(() => true)).bytes, 0)
})

test('owners go along where that is asked for', { skip: needsRoot() }, async (context) => {
  const { root, store, need } = place(context)
  const from = tree(root, 'one')
  chownSync(join(from, 'etc/passwd'), 101, 102)
  const ownersOf = async (owners: 'root' | 'own'): Promise<unknown[]> => {
    const { manifest, config: made } = await store.build(from, `web:${owners}`, { ...none, owners }, need)
    const [layer] = manifest.layers
    assert.ok(layer !== undefined)
    const layout = join(root, `layout-${owners}`)
    await store.layOut(await store.need(`web:${owners}`, need), layout)
    const bytes = (): AsyncIterable<Uint8Array> =>
      pieces(readFileSync(join(layout, 'blobs/sha256', hexOf(layer.digest))))
    const layers = new LayerStore(join(root, 'layers'))
    const source = { diffId: made.diffIds[0] ?? digestOf(''), compression: layer.compression, bytes }
    const [mapped, own] = [
      await layers.need(source, 'x'),
      await layers.need({ ...source, owners: 'own' as const }, 'x'),
    ]
    assert.notEqual(mapped, own)
    return [mapped, own].map((at) => lstatSync(join(at, 'etc/passwd')).uid)
  }
  assert.deepEqual(await ownersOf('root'), [0, 0])
  assert.deepEqual(await ownersOf('own'), [0, 101])
  const layers = new LayerStore(join(root, 'layers'))
  assert.equal(await layers.prune(new Set(), systemClock.nowMs()), 4)
})

test('what another process fetches meanwhile is not pruned, though it has no name yet', async (context) => {
  const { root, store, need } = place(context)
  writeFileSync(join(root, 'a.tar'), saved(config, [small]))
  const image = await store.need('./a.tar', need)
  const other = new ImageStore({
    directory: join(root, 'store'),
    clock: systemClock,
    registry: { credentialFor: () => null },
  })
  {
    await using _underWay = await other.scratch()
    // What is there already is reused by who is under way.
    await other.need('./a.tar', need)
    const { names, bytes } = await store.prune(() => false)
    assert.deepEqual([names.length, bytes], [1, 0])
  }
  const layout = join(root, 'layout')
  await other.layOut(image, layout)
  assert.ok((await store.prune(() => false)).bytes > 0)
  await assert.rejects(other.layOut(image, join(root, 'gone')))
})

test('a bill of what is inside: packages of Debian, Alpine, npm and Python', async (context) => {
  const { root, store, need } = place(context)
  const from = tree(root, 'one')
  const put = (path: string, text: string): void => {
    mkdirSync(join(from, path, '..'), { recursive: true })
    writeFileSync(join(from, path), text)
  }
  put('etc/os-release', 'ID=debian\nVERSION_ID="12"\n')
  put(
    'var/lib/dpkg/status',
    'Package: redis\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5:7.0-1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n',
  )
  put('lib/apk/db/installed', 'P:musl\nV:1.2.4-r2\nL:MIT\n\nP:zlib\nV:1.3\n')
  put('app/node_modules/@a/b/package.json', '{"name":"@a/b","version":"1.2.3","license":"ISC"}')
  put('usr/lib/python3/x.dist-info/METADATA', 'Name: Some_Thing\nVersion: 4.5\n\nText: no\n')
  const { bill, digest } = await store.build(from, 'web', none, need)
  const read = JSON.parse(bill)
  assert.equal(read.bomFormat, 'CycloneDX')
  assert.deepEqual(
    read.components.map(({ purl, name, version }: Record<string, string>) => purl ?? `${name} ${version}`),
    [
      'debian 12',
      'pkg:apk/alpine/musl@1.2.4-r2',
      'pkg:apk/alpine/zlib@1.3',
      'pkg:deb/debian/redis@5%3A7.0-1?arch=amd64',
      'pkg:npm/%40a/b@1.2.3',
      'pkg:pypi/some-thing@4.5',
    ],
  )
  assert.equal(await store.bill(digest), bill)
})
