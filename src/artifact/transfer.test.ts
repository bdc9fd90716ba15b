/** Moving bundles: random trees arrive whole; a stream with any byte changed, missing or added leaves nothing behind. */
import assert from 'node:assert/strict'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { canonicalJson, isSteadError, seededRandom, systemClock } from '../base/index.ts'
import type { Random } from '../base/index.ts'
import type { BundleFile } from './bundle.ts'
import { digestOf } from './manifest.ts'
import { createBundleStore } from './store.ts'
import type { TreeText } from './support.test.ts'
import { fails, newStore, temporaryDirectory, writeTree } from './support.test.ts'

function below(random: Random, limit: number): number {
  return Buffer.from(random.bytes(4)).readUInt32LE() % limit
}

/** A tree of a few directories, files (some empty, some equal, some large, some executable) and links. */
function randomTree(random: Random): TreeText {
  const tree: Record<string, string> = {}
  const names = ['a', 'b', 'a-', 'ü', 'x y', '.hidden', 'Z']
  const pick = (): string => names[below(random, names.length)] ?? 'a'
  for (let count = below(random, 30); count >= 0; count--) {
    const directory = Array.from({ length: below(random, 3) }, () => `d${pick()}`)
    const path = [...directory, `f${pick()}${below(random, 10)}`].join('/')
    const text = pick().repeat(below(random, 4) === 0 ? 0 : 1 + below(random, 3000))
    tree[path] = `${below(random, 3) === 0 ? '!' : ''}${text}`
    if (below(random, 4) === 0) tree[`${path}.link`] = `-> ${path.split('/').at(-1) ?? ''}`
  }
  return tree
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(stream))
}

/** The bytes in pieces of `size`. */
function* pieces(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

async function* streamOf(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  yield* pieces(bytes, size)
}

test('random trees: the same digest elsewhere, after new times, another order, and a round trip', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  for (let seed = 1; seed <= 12; seed++) {
    const random = seededRandom(seed)
    const tree = randomTree(random)
    const from = writeTree(temporaryDirectory(context), tree)
    const made = await here.make({ from, runtime: null })
    const stream = await collect(here.export(made.digest))
    const moved = await there.import(streamOf(stream, 1 + below(random, 5000)), made.digest)
    assert.equal(moved.digest, made.digest, `seed ${seed}`)
    await there.verify(moved.digest)
    assert.equal((await here.make({ from: moved.path, runtime: null })).digest, made.digest, `seed ${seed}`)

    const shuffled = Object.entries(tree).sort(() => below(random, 3) - 1)
    const other = writeTree(temporaryDirectory(context), Object.fromEntries(shuffled))
    const file = Object.keys(tree).find((path) => !(tree[path] ?? '').startsWith('->'))
    if (file !== undefined) utimesSync(join(other, file), seed, seed)
    assert.equal((await there.make({ from: other, runtime: null })).digest, made.digest, `seed ${seed}`)
    assert.deepEqual(await collect(there.export(made.digest)), stream, `seed ${seed}`)
  }
})

test('import: what the store has already is shared', async (context) => {
  const [here, there] = [await newStore(context), await newStore(context)]
  const from = writeTree(temporaryDirectory(context), { stays: 'x', changes: '1' })
  const first = await here.make({ from, runtime: null })
  writeTree(from, { changes: '2' })
  const second = await here.make({ from, runtime: null })
  const moved = [await there.import(here.export(first.digest)), await there.import(here.export(second.digest))]
  const inodes = moved.map(({ path }) => statSync(join(path, 'stays')).ino)
  assert.equal(inodes[0], inodes[1])
})

test('tampering: any byte flipped, cut off or added is refused and leaves nothing', async (context) => {
  const here = await newStore(context)
  const tree = { 'a/b': 'some text', c: '!run', e: '', l: '-> a/b', same: 'some text' }
  const runtime = { name: 'node', version: 'v1', digest: digestOf('node') }
  const { digest } = await here.make({ from: writeTree(temporaryDirectory(context), tree), runtime })
  const whole = await collect(here.export(digest))

  const root = join(temporaryDirectory(context), 'store')
  const there = await createBundleStore({ root, clock: systemClock })
  const refused = async (bytes: Uint8Array, what: string): Promise<void> => {
    await assert.rejects(there.import(streamOf(bytes)), (error) => isSteadError(error), what)
  }
  for (let at = 0; at < whole.length; at++) {
    const bent = Buffer.from(whole)
    bent[at] = (whole[at] ?? 0) ^ (1 << (at % 8))
    await refused(bent, `byte ${at}`)
  }
  for (let length = 0; length < whole.length; length += 7) await refused(whole.subarray(0, length), `cut at ${length}`)
  await refused(Buffer.concat([whole, Buffer.from('x')]), 'one byte more')
  await fails(there.import(streamOf(whole), digestOf('other')), 'artifact.import-refused', /was asked for/)
  assert.deepEqual(await there.list(), [])
  for (const name of ['trees', 'files']) assert.deepEqual(readdirSync(join(root, name)), [], name)
  await there.verify((await there.import(streamOf(whole, 1), digest)).digest)
})

test('a hostile manifest with a right digest is refused, whatever it tries', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  const store = await createBundleStore({ root, clock: systemClock })
  const file = (path: string, sizeBytes = 1): BundleFile => {
    return { kind: 'file', path, executable: false, sizeBytes, sha256: digestOf('x') }
  }
  const link = (path: string, to: string): BundleFile => ({ kind: 'link', path, to })
  const attempts: readonly (readonly [code: string, files: readonly BundleFile[]])[] = [
    ['artifact.path-refused', [file('../escape')]],
    ['artifact.path-refused', [file('/etc/cron.d/x')]],
    ['artifact.path-refused', [file('a'), file('a')]],
    ['artifact.path-refused', [file('b'), file('a')]],
    ['artifact.path-refused', [link('a', 'b'), file('a/x')]],
    ['artifact.link-refused', [link('a', '/etc')]],
    ['artifact.link-refused', [link('a', '../..')]],
    ['artifact.link-refused', [link('a', 'd/up/../..'), link('d/up', '..')]],
    ['artifact.too-big', [file('a', 17 * 1024 ** 3)]],
    ['artifact.content-refused', [file('a', 2)]],
  ]
  for (const [code, files] of attempts) {
    const manifest = canonicalJson({ version: 1, files, runtime: null })
    const stream = `stead-bundle 1 ${digestOf(manifest)} ${Buffer.byteLength(manifest)}\n${manifest}xx`
    await fails(store.import(streamOf(Buffer.from(stream))), code)
  }
  const long = `stead-bundle 1 ${digestOf('x')} 999999999\n`
  await fails(store.import(streamOf(Buffer.from(long))), 'artifact.import-refused', /no possible length/)
  await fails(store.import(streamOf(Buffer.alloc(10_000, 'x'))), 'artifact.import-refused', /first line/)
  for (const name of ['trees', 'files']) assert.deepEqual(readdirSync(join(root, name)), [], name)
})

test('import: a source that fails or is given up is closed, and nothing stays', async (context) => {
  const here = await newStore(context)
  const { digest } = await here.make({
    from: writeTree(temporaryDirectory(context), { a: 'x'.repeat(5000) }),
    runtime: null,
  })
  const whole = await collect(here.export(digest))
  const root = join(temporaryDirectory(context), 'store')
  const there = await createBundleStore({ root, clock: systemClock })
  let closed = 0
  async function* source(fail: boolean): AsyncGenerator<Uint8Array> {
    try {
      yield whole.subarray(0, 2000)
      if (fail) throw new Error('the line broke')
      yield Buffer.alloc(10_000)
    } finally {
      closed++
    }
  }
  await assert.rejects(there.import(source(true)), /the line broke/)
  await fails(there.import(source(false)), 'artifact.content-refused')
  assert.equal(closed, 2)
  assert.deepEqual(readdirSync(join(root, 'files')), [])
  await fails(collect(there.export(digest)), 'artifact.not-found')
})
