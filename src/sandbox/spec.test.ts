/** What is refused before anything is started, and how wishes are held against capabilities. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeCapabilities, limitsWithin, refuseBeyond } from './capabilities.ts'
import type { SandboxCapabilities, SandboxSpec } from './driver.ts'
import { checkSpec, isWithin, specLimits } from './spec.ts'

const good: SandboxSpec = {
  id: 'shop.web-1',
  argv: ['node'],
  env: { A: 'b' },
  cwd: '/app',
  mounts: [{ source: '/bundles/x', target: '/app', access: 'read-only' }],
  files: [{ path: '/run/secrets/db', content: 'x', mode: 0o400 }],
  hostUid: 200_001,
  limits: { memoryBytes: 2 ** 27, cpuCores: 0.5, pidsMax: 64, tmpBytes: 2 ** 20 },
  syscalls: 'strict',
  network: null,
  recordDir: '/records/x',
  outputBytesMax: specLimits.outputBytesMin,
}

const bad: readonly (readonly [RegExp, Partial<SandboxSpec>])[] = [
  [/its id/, { id: '../up' }],
  [/its id/, { id: 'x'.repeat(64) }],
  [/argv is empty/, { argv: [] }],
  [/NUL/, { argv: ['a\0b'] }],
  [/argv is longer/, { argv: ['x'.repeat(200_000)] }],
  [/no name of an environment/, { env: { 'A B': '' } }],
  [/hostUid/, { hostUid: 0 }],
  [/above zero/, { limits: { ...good.limits, memoryBytes: 0 } }],
  [/above zero/, { limits: { ...good.limits, cpuCores: Number.NaN } }],
  [/outputBytesMax/, { outputBytesMax: 1 }],
  [/not an absolute path/, { cwd: '/app/../etc' }],
  [/not an absolute path/, { recordDir: 'records' }],
  [/not an absolute path/, { mounts: [{ source: '/a//b', target: '/app', access: 'read-only' }] }],
  [/nothing can be mounted at \/proc/, { mounts: [{ source: '/a', target: '/proc', access: 'read-only' }] }],
  [/never handed/, { mounts: [{ source: '/', target: '/host', access: 'read-only' }] }],
  [/never handed/, { mounts: [{ source: '/proc/sys', target: '/x', access: 'read-only' }] }],
  [/written into the mount/, { files: [{ path: '/app/key', content: '', mode: 0o400 }] }],
  [/larger than/, { files: [{ path: '/k', content: 'x'.repeat(70_000), mode: 0o400 }] }],
  [/from 1 to 128 layers/, { root: { layers: [], writable: false } }],
  [/a layer of its root/, { root: { layers: ['/proc/1/root'], writable: false } }],
  [/not an absolute path/, { root: { layers: ['layers/a'], writable: false } }],
  [/user inside/, { root: { layers: ['/layers/a'], writable: false, user: { uid: -1, gid: 0 } } }],
  [/permission bits/, { files: [{ path: '/k', content: '', mode: 0o4755 }] }],
]

test('a good spec passes; each bad one is named by its field', () => {
  checkSpec(good)
  for (const [message, change] of bad) {
    assert.throws(() => checkSpec({ ...good, ...change }), { code: 'sandbox.bad-spec', message })
  }
})

test('within is by whole names', () => {
  assert.ok(isWithin('/a/b', '/a') && isWithin('/a', '/a') && isWithin('/a', '/'))
  assert.ok(!isWithin('/ab', '/a'))
})

const weak: SandboxCapabilities = {
  isolation: 'refused',
  ownNetwork: 'native',
  memoryLimit: 'refused',
  cpuLimit: 'refused',
  bestEffortCpu: 'refused',
  deadlineCpu: 'refused',
  fifoCpu: 'refused',
  devices: 'refused',
  pidsLimit: 'native',
  tmpLimit: 'refused',
  freeze: 'emulated',
  syscallFilter: 'refused',
  root: 'refused',
  users: 'refused',
  exec: 'refused',
  outputFilter: 'refused',
  ownKernel: 'refused',
  console: 'refused',
  debugStub: 'refused',
  disk: 'refused',
  snapshot: 'refused',
  survivesSupervisor: 'native',
  weaker: ['no limits'],
}

test('limits are cut to what is held, with a line for each that is lost', () => {
  const { limits, weaker } = limitsWithin(weak, { ...good.limits, cpuCores: null })
  assert.deepEqual(limits, { memoryBytes: null, cpuCores: null, pidsMax: 64, tmpBytes: null })
  assert.equal(weaker.length, 2)
})

test('a wish beyond the capabilities is refused by name', () => {
  const plain = {
    ...good,
    mounts: [],
    files: [],
    limits: { memoryBytes: null, cpuCores: null, pidsMax: 1, tmpBytes: null },
  }
  refuseBeyond('weak', weak, { ...plain, syscalls: 'none' })
  for (const change of [{ limits: good.limits }, { mounts: good.mounts }, { files: good.files }, {}]) {
    assert.throws(() => refuseBeyond('weak', weak, { ...plain, ...change }), { code: 'sandbox.refused' })
  }
})

test('capabilities are told as a table', () => {
  const table = describeCapabilities([{ name: 'weak', capabilities: weak }])
  assert.match(table, /^\| capability +\| weak +\|\n\| -+ \| -+ \|\n/)
  assert.match(table, /\| memory limit +\| refused +\|/)
  assert.match(table, /\n\n- weak: no limits$/)
})
