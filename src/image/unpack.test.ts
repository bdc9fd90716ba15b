/** Unpacking layers: what an escape from an image would try, and what honest layers become. */
import assert from 'node:assert/strict'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsRoot } from '../../test/needs.ts'
import { isSteadError } from '../base/index.ts'
import { dice, extended, pieces, rawEntry, tarOf, type RawEntry } from './archives.test-helper.ts'
import { imageLimits } from './limits.ts'
import { LayerPlan } from './place.ts'
import { unpackLayer } from './unpack.ts'

/** Unpacks beside a file that must not be touched. */
async function within<T>(use: (place: { layer: string; outside: string }) => Promise<T>): Promise<T> {
  const root = mkdtempSync(join(tmpdir(), 'stead-unpack-'))
  const place = { layer: join(root, 'layer'), outside: join(root, 'outside') }
  mkdirSync(place.layer)
  mkdirSync(place.outside)
  writeFileSync(join(place.outside, 'kept'), 'kept')
  try {
    const value = await use(place)
    assert.deepEqual(readdirSync(root).sort(), ['layer', 'outside'], 'nothing beside the layer')
    assert.deepEqual(readdirSync(place.outside), ['kept'])
    assert.equal(readFileSync(join(place.outside, 'kept'), 'utf8'), 'kept')
    assert.equal(statSync(join(place.outside, 'kept')).nlink, 1)
    return value
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

const link = (path: string, target: string): RawEntry => ({ path, type: '2', target })
const hard = (path: string, target: string): RawEntry => ({ path, type: '1', target })
const dir = (path: string, mode = 0o755): RawEntry => ({ path, type: '5', mode })

const hostile: readonly (readonly [string, (outside: string) => readonly RawEntry[]])[] = [
  ['dots that lead up', () => [{ path: '../outside/new', body: 'x' }]],
  ['dots in the middle', () => [{ path: 'a/../../outside/new', body: 'x' }]],
  ['a directory that leads up', () => [dir('../outside/new')]],
  ['through a link of the same layer', (outside) => [link('way', outside), { path: 'way/new', body: 'x' }]],
  ['through a relative link', () => [link('way', '../outside'), { path: 'way/new', body: 'x' }]],
  ['through a link to a link', (outside) => [link('a', outside), link('b', 'a'), { path: 'b/new', body: 'x' }]],
  ['a directory below a link', () => [link('way', '../outside'), dir('way/new')]],
  ['a link below a link', () => [link('way', '../outside'), link('way/new', 'x')]],
  ['a hard link out of the layer', () => [hard('new', '../outside/kept')]],
  ['a hard link by an absolute path', (outside) => [hard('new', `${outside}/kept`)]],
  ['a hard link through a link', (outside) => [link('way', outside), hard('new', 'way/kept')]],
  ['a hard link to nothing', () => [hard('new', 'not/there')]],
  ['a hard link to a directory', () => [dir('d'), hard('new', 'd')]],
  ['a hard link to itself', () => [{ path: 'a', body: 'x' }, hard('a', 'a')]],
  ['a removal of what is above', () => [{ path: 'd/.wh...' }]],
  ['a removal of nothing', () => [{ path: 'd/.wh.' }]],
  ['a removal through a link', () => [link('way', '../outside'), { path: 'way/.wh.kept' }]],
  ['a file below a mark of removal', () => [{ path: '.wh.a/b', body: 'x' }]],
  [
    'a file below a file',
    () => [
      { path: 'a', body: 'x' },
      { path: 'a/b', body: 'x' },
    ],
  ],
  ['a file in the place of the root', () => [{ path: './', body: '', type: '2', target: '../outside' }]],
]

for (const [name, entries] of hostile) {
  test(`refused: ${name}`, async () => {
    await within(async ({ layer, outside }) => {
      await assert.rejects(unpackLayer(pieces(tarOf(...entries(outside))), layer, 'the layer'), {
        code: 'image.unsafe-layer',
      })
    })
  })
}

test('a name in an extended header is held to the same', async () => {
  await within(async ({ layer }) => {
    const bytes = Buffer.concat([
      extended({ path: '../outside/new' }),
      rawEntry({ path: 'a', body: 'x' }),
      Buffer.alloc(1024),
    ])
    await assert.rejects(unpackLayer(pieces(bytes), layer, 'the layer'), { code: 'image.unsafe-layer' })
  })
})

test('the time of a directory that a link has replaced since goes nowhere', async () => {
  await within(async ({ layer, outside }) => {
    mkdirSync(join(outside, 'b'))
    const bytes = tarOf(dir('way/b'), link('way', outside))
    await unpackLayer(pieces(bytes), layer, 'the layer')
    assert.ok(statSync(join(outside, 'b')).mtimeMs > 0, 'what lies outside keeps its time')
    rmdirSync(join(outside, 'b'))
  })
})

test('a link that is replaced by a file is not written through; a file that is replaced leaves its other names alone', async () => {
  await within(async ({ layer, outside }) => {
    const bytes = tarOf(
      link('a', `${outside}/kept`),
      { path: 'a', body: 'mine' },
      { path: 'b', body: 'one' },
      hard('c', 'b'),
      { path: 'b', body: 'two' },
      dir('d'),
      { path: 'd/x', body: 'x' },
      { path: 'd', body: 'file' },
      { path: 'e', body: 'x' },
      dir('e'),
      { path: 'e/in', body: 'in' },
    )
    await unpackLayer(pieces(bytes), layer, 'the layer')
    const text = (path: string): string => readFileSync(join(layer, path), 'utf8')
    assert.deepEqual([text('a'), text('b'), text('c'), text('d'), text('e/in')], ['mine', 'two', 'one', 'file', 'in'])
  })
})

test('whatever the entries are: a layer, or an error with a code, and nothing beside it', async () => {
  const roll = dice(13)
  const one = <T>(of: readonly [T, ...T[]]): T => of[Math.floor(roll() * of.length)] ?? of[0]
  let refused = 0
  await within(async ({ layer, outside }) => {
    const path = (): string =>
      Array.from({ length: 1 + Math.floor(roll() * 3) }, () => one(['a', 'b', 'way', 'way', 'd', '.', '', '..'])).join(
        '/',
      )
    const target = (): string => one([outside, '../outside', '../outside/kept', `${outside}/kept`, '/', '..', path()])
    const entry = (): RawEntry => {
      const kind = one(['file', 'file', 'directory', 'link', 'link', 'hard'])
      if (kind === 'file') return { path: path(), body: 'x' }
      if (kind === 'directory') return dir(path(), 0o777)
      return kind === 'link' ? link(path(), target()) : hard(path(), roll() < 0.5 ? path() : target())
    }
    for (let round = 0; round < 600; round++) {
      const entries = Array.from({ length: 2 + Math.floor(roll() * 6) }, entry)
      try {
        await unpackLayer(pieces(tarOf(...entries)), layer, 'the layer')
      } catch (error) {
        assert.ok(
          isSteadError(error) && error.code.startsWith('image.'),
          `${String(error)}\n${JSON.stringify(entries)}`,
        )
        refused++
      }
      assert.equal(statSync(join(outside, 'kept')).nlink, 1, JSON.stringify(entries))
      assert.deepEqual(readdirSync(outside), ['kept'], JSON.stringify(entries))
      assert.ok(statSync(join(outside, 'kept')).mtimeMs > 0, JSON.stringify(entries))
      rmSync(layer, { recursive: true, force: true })
      mkdirSync(layer)
    }
  })
  assert.ok(refused > 100 && refused < 600, `${refused} refused`)
})

test('leading slashes and dots are taken off; links are kept as they are and never followed', async () => {
  await within(async ({ layer, outside }) => {
    const bytes = tarOf(
      { path: '/etc/hosts', body: 'x' },
      { path: './usr//lib/./a', body: 'y' },
      link('abs', outside),
      link('up', '../../outside'),
    )
    const { entries, bytes: size } = await unpackLayer(pieces(bytes), layer, 'the layer')
    assert.deepEqual([entries, size], [4, 2])
    assert.ok(existsSync(join(layer, 'etc/hosts')) && existsSync(join(layer, 'usr/lib/a')))
    assert.equal(readlinkSync(join(layer, 'up')), '../../outside')
  })
})

test('no file is more than itself: set-user-id is dropped, devices and pipes are left out, attributes do not come along', async () => {
  await within(async ({ layer }) => {
    const bytes = Buffer.concat([
      extended({
        'SCHILY.xattr.security.capability': '\u0001\u0000\u0000\u0002',
        'SCHILY.xattr.trusted.overlay.opaque': 'y',
      }),
      rawEntry({ path: 'su', body: 'x', mode: 0o6755 }),
      tarOf(
        dir('tmp', 0o1777),
        dir('g', 0o2755),
        { path: 'null', type: '3' },
        { path: 'disk', type: '4' },
        { path: 'pipe', type: '6' },
        { path: 'shut', mode: 0 },
      ),
    ])
    const { leftOut } = await unpackLayer(pieces(bytes), layer, 'the layer')
    const mode = (path: string): number => lstatSync(join(layer, path)).mode & 0o7777
    assert.deepEqual([leftOut, mode('su'), mode('tmp'), mode('g'), mode('shut')], [3, 0o755, 0o1777, 0o755, 0])
    assert.deepEqual(readdirSync(layer).sort(), ['g', 'shut', 'su', 'tmp'])
  })
})

test(
  'what a layer removes: a device 0:0 in its place, and nothing where the layer has it itself',
  { skip: needsRoot() },
  async () => {
    await within(async ({ layer }) => {
      const bytes = tarOf(
        dir('a'),
        { path: 'a/.wh.gone' },
        { path: 'a/.wh.back' },
        { path: 'a/back', body: 'x' },
        { path: 'b/.wh..wh..opq' },
        { path: 'c/.wh..wh.aufs' },
      )
      await unpackLayer(pieces(bytes), layer, 'the layer')
      const gone = lstatSync(join(layer, 'a/gone'))
      assert.ok(gone.isCharacterDevice() && gone.rdev === 0)
      assert.equal(readFileSync(join(layer, 'a/back'), 'utf8'), 'x')
      assert.deepEqual(readdirSync(join(layer, 'b')), [])
      assert.deepEqual(readdirSync(join(layer, 'c')), [])
    })
  },
)

test(
  'owners as the archive says them, where they are wanted; beyond the users that there may be they are refused',
  { skip: needsRoot() },
  async () => {
    const owned = (entry: RawEntry, uid: number, gid: number): Buffer => {
      return Buffer.concat([extended({ uid: String(uid), gid: String(gid) }), rawEntry(entry)])
    }
    const archive = Buffer.concat([
      owned(dir('srv', 0o750), 70, 71),
      owned({ path: 'srv/file', body: 'x', mode: 0o640 }, 70, 72),
      owned(link('srv/link', 'file'), 73, 74),
      rawEntry(hard('srv/same', 'srv/file')),
      rawEntry({ path: 'srv/plain', body: 'x' }),
      Buffer.alloc(1024),
    ])
    const ownersIn = (layer: string): unknown[] =>
      ['srv', 'srv/file', 'srv/link', 'srv/same', 'srv/plain'].map((path) => {
        const { uid, gid, mode } = lstatSync(join(layer, path))
        return [uid, gid, (mode & 0o777).toString(8)]
      })
    await within(async ({ layer }) => {
      await unpackLayer(pieces(archive), layer, 'the layer', 'own')
      const file = [70, 72, '640']
      assert.deepEqual(ownersIn(layer), [[70, 71, '750'], file, [73, 74, '777'], file, [0, 0, '644']])
    })
    await within(async ({ layer }) => {
      await unpackLayer(pieces(archive), layer, 'the layer')
      const owners = ownersIn(layer) as number[][]
      assert.ok(owners.every(([uid, gid]) => uid === 0 && gid === 0))
    })
    for (const uid of [65_536, 2 ** 32]) {
      const far = Buffer.concat([owned({ path: 'far', body: 'x' }, uid, 0), Buffer.alloc(1024)])
      await within(async ({ layer }) => {
        await assert.rejects(unpackLayer(pieces(far), layer, 'the layer', 'own'), {
          code: 'image.unknown-owner',
          message: /"far", which belongs to user/,
        })
      })
      await within(async ({ layer }) => void (await unpackLayer(pieces(far), layer, 'the layer')))
    }
  },
)

test('bounds: each is an error with its name', () => {
  const place = (path: string, more: { size?: number; target?: string } = {}): unknown =>
    new LayerPlan('the layer').place({
      path,
      kind: more.target === undefined ? 'file' : 'symlink',
      target: more.target ?? '',
      mode: 0,
      size: more.size ?? 0,
    })
  const refused = (limit: string) => ({ code: 'image.too-large', message: new RegExp(limit) })
  assert.throws(() => place('x', { size: imageLimits.unpackedBytesMax + 1 }), refused('unpackedBytesMax'))
  assert.throws(() => place('x/'.repeat(200)), refused('depthMax'))
  assert.throws(() => place('x'.repeat(300)), refused('nameBytesMax'))
  assert.throws(() => place('x/'.repeat(3000)), refused('pathBytesMax'))
  assert.throws(() => place('l', { target: 'x'.repeat(5000) }), refused('pathBytesMax'))
})
