/** What the spec of a program becomes for a part that is a system: its disks, its seed, and what is refused. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import type { Bundle } from '../artifact/index.ts'
import type { VmUse } from '../model/index.ts'
import type { InstanceAssignment } from '../protocol/index.ts'
import type { SandboxSpec } from '../sandbox/index.ts'
import type { StatePlace } from './state.ts'
import { systemOf } from './system.ts'

const limits = { memoryBytes: 2 ** 29, cpuCores: 1, pidsMax: 128 }

const program: SandboxSpec = {
  id: 'shop.ledger.1',
  argv: ['ledger'],
  env: { PORT: '5432', WORD: "it's", STEAD_STATE_DIR: '/state', STEAD_SECRETS: '/run/secrets' },
  cwd: '/',
  mounts: [{ source: '/data', target: '/state', access: 'read-write' }],
  files: [
    { path: '/run/secrets/key', content: 'hidden', mode: 0o400 },
    { path: '/etc/hosts', content: '', mode: 0o444 },
    { path: '/etc/resolv.conf', content: 'nameserver 10.65.0.53\n', mode: 0o444 },
  ],
  hostUid: 200_001,
  limits: { ...limits, tmpBytes: null },
  syscalls: 'strict',
  network: { name: 'place', enter: (run) => run() },
  recordDir: '/records',
  outputBytesMax: 2 ** 20,
}

function assignmentOf(vm: VmUse | undefined): InstanceAssignment {
  return {
    kind: 'service',
    id: 'shop.ledger.1',
    app: 'shop',
    part: 'ledger',
    bundle: 'b',
    run: [],
    ...(vm === undefined ? {} : { vm }),
    env: {},
    limits,
    http: null,
    ready: { kind: 'tcp', port: 5432, timeoutMs: 1000 },
    hostUid: 200_001,
    edges: [],
    wanted: true,
    timeoutMs: null,
    onSecretChange: 'restart',
  }
}

function bundleOf(sha256: string, name = 'disk.qcow2'): Bundle {
  const files = [name, 'initrd', 'kernel'].map(
    (path) => ({ kind: 'file', path, executable: false, sizeBytes: 1, sha256 }) as const,
  )
  return { digest: 'b', manifest: { version: 1, files, runtime: null }, path: '/bundles/b' }
}

suite('a part that is a system', () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-system-'))
  after(() => rmSync(dir, { recursive: true, force: true }))

  function stateIn(name: string): StatePlace {
    const filesDir = join(dir, name, 'files')
    mkdirSync(filesDir, { recursive: true })
    const config = {
      of: 'ledger',
      quiesce: null,
      checkpoint: null,
      restore: null,
      verify: null,
      pauseMs: 1,
      timeoutMs: 1,
    }
    return { part: 'ledger-disk', config, generation: 1, filesDir, mark: 'live 1', markPath: join(dir, name, 'mark') }
  }

  const secretsDir = '/run/secrets'

  test('what a program would find lies on the disk beside its own', () => {
    const vm: VmUse = {
      disk: 'disk.qcow2',
      seed: { 'user-data': '#cloud-config\n' },
      kernel: { image: 'vmlinuz', initrd: 'initrd.img', commandLine: 'root=/dev/vda1' },
    }
    const state = stateIn('plain')
    const spec = systemOf(program, { assignment: assignmentOf(vm), bundle: bundleOf('d1'), state, secretsDir })
    const { disk } = spec
    assert.ok(disk !== undefined)
    const { seed, ...disks } = disk
    assert.deepEqual(disks, {
      path: '/bundles/b/disk.qcow2',
      format: 'qcow2',
      writtenDir: state.filesDir,
      kernel: { path: '/bundles/b/kernel', initrd: '/bundles/b/initrd', commandLine: 'root=/dev/vda1' },
    })
    assert.equal(seed['env'], "PORT='5432'\nWORD='it'\\''s'\nSTEAD_SECRETS='/run/stead/secrets'\n")
    assert.equal(seed['secrets/key'], 'hidden')
    assert.equal(seed['user-data'], '#cloud-config\n')
    assert.match(seed['meta-data'] ?? '', /^instance-id: ledger\nlocal-hostname: ledger\n$/)
    assert.match(seed['vendor-data'] ?? '', /LABEL=CIDATA \/run\/stead/)
    assert.deepEqual(
      [spec.env, spec.mounts, spec.files.map(({ path }) => path)],
      [{}, [], ['/etc/resolv.conf']],
      'nothing of it is told to what runs the machine',
    )
  })

  test('what was written is laid over no other disk; before anything was written, any will do', () => {
    const state = stateIn('changed')
    const start = (sha256: string, name?: string): SandboxSpec =>
      systemOf(program, {
        assignment: assignmentOf({ disk: 'd', seed: {} }),
        bundle: bundleOf(sha256, name),
        state,
        secretsDir,
      })
    start('first')
    assert.equal(start('second', 'disk.raw').disk?.format, 'raw')
    writeFileSync(join(state.filesDir, 'disk.qcow2'), '')
    start('second')
    assert.throws(() => start('first'), {
      code: 'agent.other-disk',
      message: /disk of ledger is not the one.*\(second\)/,
    })
    start('second')
  })

  test('a program stays what it is, and a system that lacks something is refused', () => {
    const state = stateIn('refused')
    const parts = { bundle: bundleOf('d1'), state, secretsDir }
    assert.equal(systemOf(program, { ...parts, assignment: assignmentOf(undefined) }), program)
    const assignment = assignmentOf({ disk: 'd', seed: {} })
    assert.throws(() => systemOf(program, { ...parts, assignment, state: null }), { code: 'agent.no-disk' })
    const other = bundleOf('d1', 'server.js')
    assert.throws(() => systemOf(program, { ...parts, assignment, bundle: other }), { code: 'agent.no-disk' })
    assert.throws(() => systemOf({ ...program, network: null }, { ...parts, assignment }), { code: 'agent.no-network' })
  })
})
