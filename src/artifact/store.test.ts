/** Making bundles: what goes in, that equal content gives equal digests, what is refused, what stays after failures. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
  mkdirSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsRoot } from '../../test/needs.ts'
import { systemClock } from '../base/index.ts'
import type { Clock } from '../base/index.ts'
import { createBundleStore } from './store.ts'
import { fails, newStore, temporaryDirectory, writeTree } from './support.test.ts'

const runtime = null

test('make: the tree goes in, what does not belong stays out', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), {
    'main.ts': 'hello',
    'bin/tool': '!#!/bin/sh',
    'lib/link.ts': '-> ../main.ts',
    'node_modules/a/index.js': 'a',
    'node_modules/.cache/x': 'x',
    '.git/HEAD': 'x',
    '.stead/data': 'x',
    '__pycache__/x.pyc': 'x',
    '.main.ts.swp': 'x',
    'secret.txt': 'x',
    '.steadignore': 'secret.txt\n',
  })
  const lines: string[] = []
  const bundle = await store.make({ from, runtime, onProgress: (line) => lines.push(line) })
  assert.deepEqual(
    bundle.manifest.files.map((file) => file.path),
    ['.steadignore', 'bin/tool', 'lib/link.ts', 'main.ts', 'node_modules/a/index.js'],
  )
  assert.equal(readFileSync(join(bundle.path, 'lib/link.ts'), 'utf8'), 'hello')
  assert.match(lines.join('\n'), /^bundle [0-9a-f]{12}: 5 files/m)
  assert.deepEqual(await store.list(), [bundle.digest])
  assert.deepEqual(await store.open(bundle.digest), bundle)
  assert.equal(await store.open('../../etc'), null)
  await store.verify(bundle.digest)
})

test('make: equal content gives the same digest, whatever times, order, umask, place and store', async (context) => {
  const tree = { 'a/b': '1', 'a/c': '!2', 'a-b': '3', z: '-> a/b', 'é/ü': '4', 'same/1': '5', 'same/2': '!5' }
  const one = writeTree(join(temporaryDirectory(context), 'one'), tree)
  const reversed = Object.fromEntries(Object.entries(tree).reverse())
  const two = writeTree(join(temporaryDirectory(context), 'two'), reversed)
  utimesSync(join(two, 'a/b'), 1, 1)
  chmodSync(join(two, 'a/b'), 0o600)
  chmodSync(join(two, 'a/c'), 0o700)
  const first = await (await newStore(context)).make({ from: one, runtime })
  const second = await (await newStore(context)).make({ from: two, runtime })
  assert.equal(first.digest, second.digest)

  const node = { name: 'node', version: 'v1', digest: first.digest }
  const third = await (await newStore(context)).make({ from: two, runtime: node })
  assert.notEqual(third.digest, first.digest)
  chmodSync(join(two, 'a/b'), 0o755)
  const fourth = await (await newStore(context)).make({ from: two, runtime })
  assert.notEqual(fourth.digest, first.digest)
})

test('make: trees are read-only for everybody and readable by everybody', { skip: needsRoot() }, async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { 'a/b': 'text', 'a/run': '!#!/bin/sh\necho ran' })
  chmodSync(join(from, 'a/b'), 0o600)
  const { path } = await store.make({ from, runtime })
  const asNobody = (script: string): number | null =>
    spawnSync('/bin/sh', ['-c', script], { cwd: path, uid: 65534, gid: 65534 }).status
  assert.equal(asNobody('test "$(cat a/b)" = text && test "$(a/run)" = ran'), 0)
  for (const script of ['echo x > a/b', 'echo x > a/new', 'rm -f a/b', 'chmod 777 a/b', 'mv a c', 'rm -rf a']) {
    assert.notEqual(asNobody(script), 0, script)
  }
  assert.equal(statSync(join(path, 'a/b')).mode & 0o777, 0o444)
  assert.equal(statSync(join(path, 'a/run')).mode & 0o777, 0o555)
  assert.equal(statSync(join(path, 'a')).mode & 0o777, 0o555)
  assert.equal(statSync(join(path, 'a')).mtimeMs, statSync(join(path, 'a/b')).mtimeMs)
})

test('make: a bundle does not change when the directory does, and shares what stayed', async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { changes: '1', stays: 'x' })
  const before = await store.make({ from, runtime })
  writeFileSync(join(from, 'changes'), '2')
  const after = await store.make({ from, runtime })
  assert.equal(readFileSync(join(before.path, 'changes'), 'utf8'), '1')
  assert.equal(readFileSync(join(after.path, 'changes'), 'utf8'), '2')
  assert.equal(statSync(join(before.path, 'stays')).ino, statSync(join(after.path, 'stays')).ino)
})

test('make: what leads out of the directory or is no file is refused by name', async (context) => {
  const store = await newStore(context)
  const make = (tree: Record<string, string>): Promise<unknown> =>
    store.make({ from: writeTree(join(temporaryDirectory(context), 'x'), tree), runtime })
  await fails(make({ 'x/out': '-> ../../y' }), 'artifact.link-refused', /"x\/out" -> "..\/..\/y" leads out/)
  await fails(make({ out: '-> /etc/passwd' }), 'artifact.link-refused', /"out".*is absolute/)
  const from = temporaryDirectory(context)
  const server = createServer().listen(join(from, 'sock'))
  context.after(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  await fails(store.make({ from, runtime }), 'artifact.special-file', /sock/)
  await fails(store.make({ from: join(from, 'none'), runtime }), 'artifact.not-found', /none/)
  await fails(store.make({ from: '/etc/passwd', runtime }), 'artifact.not-found', /not a directory/)
  assert.deepEqual(await store.list(), [])
})

test('make: limits name the offenders', async (context) => {
  const limits = { filesMax: 5, totalBytesMax: 100, fileBytesMax: 60 }
  const store = await newStore(context, { limits })
  const make = (tree: Record<string, string>): Promise<unknown> =>
    store.make({ from: writeTree(temporaryDirectory(context), tree), runtime })
  const many = Object.fromEntries(['1', '2', '3', '4', '5', '6'].map((name) => [`logs/${name}`, name]))
  await fails(make(many), 'artifact.too-big', /more than 5 files; most are in logs \(6\)/)
  await fails(make({ a: 'x'.repeat(50), big: 'x'.repeat(61) }), 'artifact.too-big', /largest: big/)
  await fails(make({ a: 'x'.repeat(50), b: 'x'.repeat(51) }), 'artifact.too-big', /largest: b/)
})

test('make: the store may lie inside the directory', async (context) => {
  const from = writeTree(temporaryDirectory(context), { a: '1' })
  const store = await createBundleStore({ root: join(from, 'bundles'), clock: systemClock })
  const { manifest } = await store.make({ from, runtime })
  assert.deepEqual(
    manifest.files.map((file) => file.path),
    ['a'],
  )
})

test('make: again after one change in 2,000 files, reading only that one', async (context) => {
  // Files that changed in the last two seconds are not remembered; this clock has them all older.
  const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + 60_000 }
  const store = await newStore(context, { clock })
  const names = Array.from({ length: 2000 }, (_, index) => `d${index % 40}/f${index}`)
  const from = writeTree(temporaryDirectory(context), Object.fromEntries(names.map((name) => [name, name])))
  const first = await store.make({ from, runtime })
  writeFileSync(join(from, 'd1/f1'), 'changed')
  const startMs = performance.now()
  const second = await store.make({ from, runtime })
  const againMs = performance.now() - startMs
  const copyMs = timed(() => execFileSync('cp', ['-r', from, join(temporaryDirectory(context), 'copy')]))
  context.diagnostic(`again ${againMs.toFixed(0)} ms; a plain cp -r of the tree ${copyMs.toFixed(0)} ms`)
  assert.notEqual(second.digest, first.digest)
  const inodes = names.filter((name) => statSync(join(first.path, name)).ino === statSync(join(second.path, name)).ino)
  assert.equal(inodes.length, 1999)
  await store.verify(second.digest)
})

test('make: a remembered digest is not believed after a change that keeps size and time', async (context) => {
  const clock: Clock = { ...systemClock, nowMs: () => systemClock.nowMs() + 60_000 }
  const store = await newStore(context, { clock })
  const from = writeTree(temporaryDirectory(context), { a: '1' })
  utimesSync(join(from, 'a'), 1000, 1000)
  const first = await store.make({ from, runtime })
  writeFileSync(join(from, 'a'), '2')
  utimesSync(join(from, 'a'), 1000, 1000)
  assert.notEqual((await store.make({ from, runtime })).digest, first.digest)
})

test('sweep: removes what is not kept, and the files that only it held', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  const store = await createBundleStore({ root, clock: systemClock })
  const from = writeTree(temporaryDirectory(context), { both: 'both', old: 'old' })
  const old = await store.make({ from, runtime })
  renameSync(join(from, 'old'), join(from, 'new'))
  writeFileSync(join(from, 'new'), 'new')
  const kept = await store.make({ from, runtime })
  const contents = (): number =>
    readdirSync(join(root, 'files'), { recursive: true, withFileTypes: true }).filter((item) => item.isFile()).length
  assert.equal(contents(), 3)
  await store.sweep(new Set([kept.digest]))
  assert.equal(contents(), 2)
  assert.deepEqual(await store.list(), [kept.digest])
  assert.equal(await store.open(old.digest), null)
  await store.verify(kept.digest)
  await fails(store.verify(old.digest), 'artifact.not-found')
  await store.sweep(new Set())
  assert.deepEqual(readdirSync(join(root, 'trees')), [])
  assert.equal((await store.make({ from, runtime })).digest, kept.digest)
})

test('make and sweep at once: every bundle that is listed is whole', async (context) => {
  const store = await newStore(context)
  const trees = Array.from({ length: 6 }, (_, index) =>
    writeTree(temporaryDirectory(context), { own: `own ${index}`, same: 'same', 'd/same': 'same' }),
  )
  const work = trees.flatMap((from) => [store.make({ from, runtime }), store.sweep(new Set())])
  await Promise.all(work)
  for (const digest of await store.list()) await store.verify(digest)
})

test('verify and open: damage is found and named', { skip: needsRoot() }, async (context) => {
  const store = await newStore(context)
  const from = writeTree(temporaryDirectory(context), { a: 'text', b: '-> a', 'c/d': 'more' })
  const { digest, path } = await store.make({ from, runtime })
  writeFileSync(join(path, 'stray'), '')
  await fails(store.verify(digest), 'artifact.corrupt', /stray does not belong/)
  renameSync(join(path, 'stray'), join(path, 'c/d'))
  await fails(store.verify(digest), 'artifact.corrupt', /c\/d has other permissions/)
  chmodSync(join(path, 'c/d'), 0o444)
  await fails(store.verify(digest), 'artifact.corrupt', /c\/d has other content/)
  writeFileSync(join(path, '../manifest.json'), '{}')
  await fails(store.open(digest), 'artifact.corrupt', /not the one/)
})

test(
  'verify: a damaged content that several bundles share is taken in anew',
  { skip: needsRoot() },
  async (context) => {
    const store = await newStore(context)
    const from = writeTree(temporaryDirectory(context), { shared: 'text', other: '1' })
    const one = await store.make({ from, runtime })
    writeFileSync(join(from, 'other'), '2')
    const two = await store.make({ from, runtime })
    writeFileSync(join(one.path, 'shared'), 'bent')
    await fails(store.verify(two.digest), 'artifact.corrupt', /shared has other content/)
    await store.sweep(new Set([one.digest]))
    await store.verify((await store.make({ from, runtime })).digest)
  },
)

test('make on a full disk says so and leaves nothing', { skip: needsRoot() }, async (context) => {
  const disk = temporaryDirectory(context)
  const from = temporaryDirectory(context)
  for (let index = 0; index < 8; index++) writeFileSync(join(from, `f${index}`), Buffer.alloc(500_000, index))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
  try {
    const store = await createBundleStore({ root: join(disk, 'store'), clock: systemClock })
    await fails(store.make({ from, runtime }), 'artifact.disk-full')
    assert.deepEqual(readdirSync(join(disk, 'store/files')), [])
    assert.deepEqual(await store.list(), [])
    for (let index = 2; index < 8; index++) rmSync(join(from, `f${index}`))
    await store.verify((await store.make({ from, runtime })).digest)
  } finally {
    execFileSync('umount', [disk])
  }
})

test('open: what a dead process left is removed, what a living one works on stays', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  await createBundleStore({ root, clock: systemClock })
  const dead = spawnSync('true').pid
  const litter = ['trees', 'files', 'layers', 'runtimes'].map((name) => join(root, name, `.by-${dead}.123-abcdef`))
  for (const path of litter) mkdirSync(path)
  const stat = readFileSync(`/proc/${process.pid}/stat`, 'utf8')
  const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  const alive = join(root, 'files', `.by-${process.pid}.${start}-abcdef`)
  const reborn = join(root, 'files', `.by-${process.pid}.1-abcdef`)
  for (const path of [alive, reborn]) mkdirSync(path)
  await createBundleStore({ root, clock: systemClock })
  assert.deepEqual(litter.map(existsSync), [false, false, false, false])
  assert.equal(existsSync(alive), true)
  assert.equal(existsSync(reborn), false)
})

function timed(work: () => void): number {
  const startMs = performance.now()
  work()
  return performance.now() - startMs
}

test('unused: what nobody keeps and nobody has used lately, and the Node that only it names; pruned, it is gone', async (context) => {
  let laterMs = 0
  const clock = { ...systemClock, nowMs: () => systemClock.nowMs() + laterMs }
  const store = await newStore(context, { clock })
  const node = (await store.resolveRuntime('node')).runtime
  const made = []
  for (const text of ['one', 'two']) {
    const from = writeTree(join(temporaryDirectory(context), text), { 'main.js': text })
    made.push(await store.make({ from, runtime: node }))
  }
  const [one, two] = made.map(({ digest }) => digest)
  assert.deepEqual(await store.unused(new Set(), 60_000), [], 'it was just made')
  laterMs = 3_600_000
  const unused = await store.unused(new Set([one ?? '']), 60_000)
  assert.deepEqual(
    unused.map(({ kind, digest, bytes }) => [kind, digest, bytes]),
    [['bundle', two, 3]],
    'the runtime of what stays, stays',
  )
  await store.prune(unused)
  assert.deepEqual(await store.list(), [one])
  const all = await store.unused(new Set(), 60_000)
  assert.deepEqual(all.map(({ kind }) => kind).sort(), ['bundle', 'runtime'])
  await store.prune(all)
  assert.deepEqual([await store.list(), await store.sizeBytes()], [[], 0])
})
