/** The arguments of bubblewrap for a spec: order where it matters, and what must always be there. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bubblewrapOptions, encodeOptions, standardFiles } from './bubblewrap-args.ts'
import type { SandboxSpec } from './driver.ts'

const spec: SandboxSpec = {
  id: 'web-1',
  argv: ['node', 'web.js'],
  env: { SECRET: 'x' },
  cwd: '/app',
  mounts: [
    { source: '/data/inner', target: '/app/data', access: 'read-write' },
    { source: '/bundle', target: '/app', access: 'read-only' },
  ],
  files: [{ path: '/run/secrets/db', content: 'x', mode: 0o400 }],
  hostUid: 200_001,
  limits: { memoryBytes: 1, cpuCores: 1, pidsMax: 1, tmpBytes: 1_000_000 },
  syscalls: 'strict',
  network: null,
  recordDir: '/records/web-1',
  outputBytesMax: 2 ** 20,
}
const host = {
  systemDirectories: [
    { path: '/bin', linkTo: 'usr/bin' },
    { path: '/lib64', linkTo: null },
  ],
  etc: ['/etc/ssl/certs'],
  procFiles: ['/proc/keys'],
  procDirectories: ['/proc/acpi'],
}
const handover = { seccomp: 6, files: [{ path: '/run/secrets/db', mode: 0o400, writable: false, from: 7 }] }
const options = bubblewrapOptions(spec, host, handover)
const text = ` ${options.join(' ')} `

test('the hardening is there', () => {
  for (const wanted of [
    '--unshare-user --disable-userns --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup',
    '--cap-drop ALL --new-session --as-pid-1',
    '--ro-bind /proc/sys /proc/sys',
    '--ro-bind /dev/null /proc/keys',
    '--tmpfs /proc/acpi --remount-ro /proc/acpi',
    '--perms 1777 --size 1000000 --tmpfs /tmp',
    '--perms 0400 --ro-bind-data 7 /run/secrets/db',
    '--seccomp 6',
    '--symlink usr/bin /bin',
    '--ro-bind /lib64 /lib64',
  ]) {
    assert.ok(text.includes(` ${wanted} `), wanted)
  }
  assert.ok(!options.includes('--die-with-parent'), 'it outlives its supervisor')
  assert.ok(!options.includes('--unshare-net'), 'the network comes from outside')
  assert.deepEqual(
    options.filter((option) => option === '--bind'),
    ['--bind'],
    'one writable mount: the one of the spec',
  )
})

test('order: outer mounts before inner ones, files over mounts, the root closed last, the environment empty before it is filled', () => {
  const at = (wanted: string): number => text.indexOf(` ${wanted} `)
  assert.ok(at('--ro-bind /bundle /app') < at('--bind /data/inner /app/data'))
  assert.ok(at('--bind /data/inner /app/data') < at('--ro-bind-data 7'))
  assert.ok(at('--ro-bind-data 7') < at('--remount-ro /'))
  assert.ok(at('--tmpfs /dev/shm') < at('--remount-ro /dev'))
  assert.ok(at('--clearenv') < at('--setenv SECRET x'))
})

test('a root of its own takes the place of the host: its user, its shell, closed at the end unless it is to be written', () => {
  const root = { path: '/place/root', shellSource: '/shell', shellTarget: '/.stead', resolver: '/run/resolv.conf' }
  const user = { uid: 0, gid: 5 }
  const rooted = (writable: boolean): string => {
    const own = { ...spec, root: { layers: ['/layers/a'], writable, user } }
    return ` ${bubblewrapOptions(own, host, handover, root).join(' ')} `
  }
  const closed = rooted(false)
  const at = (wanted: string): number => closed.indexOf(` ${wanted} `)
  for (const wanted of [
    '--uid 0 --gid 5',
    '--ro-bind /shell /.stead',
    '--dir /app',
    '--ro-bind-try /etc/resolv.conf /run/resolv.conf',
  ])
    assert.ok(closed.includes(` ${wanted} `), wanted)
  for (const unwanted of ['/usr', '/lib64', '/etc/ssl/certs']) assert.ok(!closed.includes(` ${unwanted} `), unwanted)
  assert.ok(at('--bind /place/root /') < at('--proc /proc') && at('--dir /app') < at('--remount-ro /'))
  assert.ok(!rooted(true).includes(' --remount-ro / '))
})

test('the standard files give way to those of the spec; a place of its own has no name server but its own', () => {
  const paths = (wanted: SandboxSpec): readonly string[] => standardFiles(wanted).map((file) => file.path)
  assert.ok(paths(spec).includes('/etc/hosts') && !paths(spec).includes('/etc/resolv.conf'))
  const own = { ...spec, files: [{ path: '/etc/hosts', content: '', mode: 0o444 }] }
  assert.ok(!paths(own).includes('/etc/hosts'))
  const placed = { ...spec, network: { name: 'place', enter: <T>(run: () => T): T => run() } }
  assert.ok(paths(placed).includes('/etc/resolv.conf'))
})

test('options are handed over each with its own end', () => {
  assert.equal(encodeOptions(['a', '', 'b']), 'a\0\0b\0')
})
