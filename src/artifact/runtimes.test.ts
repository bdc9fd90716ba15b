/** Runtimes: Node is copied once and runs for every user, Python is the system's, other trees get their links. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { needsFile, needsRoot } from '../../test/needs.ts'
import { systemClock } from '../base/index.ts'
import { digestOf } from './manifest.ts'
import { createBundleStore } from './store.ts'
import { fails, newStore, temporaryDirectory, writeTree } from './support.test.ts'

test('node: the Node of the platform, copied under its digest, again found for an old bundle', async (context) => {
  const root = join(temporaryDirectory(context), 'store')
  const store = await createBundleStore({ root, clock: systemClock })
  const node = await store.resolveRuntime('node')
  const digest = digestOf(readFileSync(realpathSync(process.execPath)))
  assert.deepEqual(node.runtime, { name: 'node', version: process.version, digest })
  assert.equal(node.argv0, '/opt/stead/runtime/bin/node')
  const [mount] = node.mounts
  assert.equal(mount?.target, '/opt/stead/runtime')
  const binary = join(mount?.source ?? '', 'bin/node')
  assert.ok(binary.startsWith(join(realpathSync(root), 'runtimes', digest)))
  const { ino } = statSync(binary)
  assert.deepEqual(await store.resolveRuntime('node'), node)
  assert.equal(statSync(binary).ino, ino)
  if (needsRoot() === false) {
    const run = spawnSync(binary, ['-p', '1+1'], { uid: 65534, gid: 65534, cwd: '/', env: {}, encoding: 'utf8' })
    assert.equal(run.stdout, '2\n', run.stderr)
  }
  await store.sweep(new Set())
  assert.deepEqual(await store.openRuntime({ name: 'node', version: process.version, digest }), node)
  assert.equal(await store.openRuntime({ name: 'node', version: 'v1', digest: digestOf('other') }), null)
})

test('python3: the system', { skip: needsFile('/usr/bin/python3', 'apt-get install -y python3') }, async (context) => {
  const store = await newStore(context)
  const python = await store.resolveRuntime('python3')
  assert.match(python.runtime?.version ?? '', /^3\.\d+\.\d+$/)
  assert.equal(python.argv0, '/usr/bin/python3')
  assert.deepEqual(python.mounts, [])
  const { runtime } = python
  assert.ok(runtime !== null)
  assert.deepEqual(await store.openRuntime(runtime), python)
  assert.equal(await store.openRuntime({ ...runtime, digest: digestOf('other') }), null)
})

test('other programs are the own of the bundle, or the system', async (context) => {
  const store = await newStore(context)
  const argv0 = async (program: string): Promise<string> => {
    const { runtime, argv0: found, mounts } = await store.resolveRuntime(program)
    assert.equal(runtime, null)
    assert.deepEqual(mounts, [])
    return found
  }
  assert.equal(await argv0('./bin/server'), '/app/bin/server')
  assert.equal(await argv0('bin/server'), '/app/bin/server')
  assert.equal(await argv0('/usr/bin/env'), '/usr/bin/env')
  assert.equal(await argv0('sh'), 'sh')
})

test('materialiseTree: an immutable copy with links, made once', async (context) => {
  const store = await newStore(context)
  const source = writeTree(temporaryDirectory(context), {
    'lib/libx.so.1.2': '!library',
    'lib/libx.so.1': '-> libx.so.1.1',
    'bin/tool': '!tool',
  })
  const links = [
    { path: 'lib/libx.so', target: 'lib/libx.so.1.2' },
    { path: 'lib/libx.so.1', target: 'lib/libx.so.1.2' },
    { path: 'current', target: 'bin/tool' },
    { path: 'share/x/tool', target: 'bin/tool' },
  ]
  const tree = await store.materialiseTree(source, links)
  assert.equal(readlinkSync(join(tree.path, 'lib/libx.so')), 'libx.so.1.2')
  assert.equal(readFileSync(join(tree.path, 'lib/libx.so.1'), 'utf8'), 'library')
  assert.equal(readFileSync(join(tree.path, 'share/x/tool'), 'utf8'), 'tool')
  assert.equal(statSync(join(tree.path, 'bin/tool')).mode & 0o777, 0o555)
  assert.deepEqual(await store.materialiseTree(source, links), tree)
  await store.sweep(new Set())
  assert.equal(readFileSync(join(tree.path, 'current'), 'utf8'), 'tool')
  const outside = store.materialiseTree(source, [{ path: 'x', target: '../y' }])
  await fails(outside, 'artifact.link-refused', /"x"/)
})
