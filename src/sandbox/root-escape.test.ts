/**
 * What a root made to do harm can reach: layers with devices, set-user-id files, links in the places that the sandbox makes
 * itself, and a program that is root inside. Nothing is tried that would do harm if it worked.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
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
import { after, before, suite, test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import type { RootTree, SandboxDriver, SandboxSpec } from './driver.ts'
import { variants } from './fixtures/drivers.ts'
import { hostLayer } from './layer.conformance.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const hostUid = 231_074
const hostIds = { first: 2 ** 31 + 65_536, count: 65_536 }

suite('escape from a root', { skip }, () => {
  let root = ''
  let base = ''
  let driver: SandboxDriver
  let alive: NodeJS.Timeout
  let count = 0
  const recordDirs: string[] = []

  before(() => {
    root = mkdtempSync(join(tmpdir(), 'stead-root-escape-'))
    chmodSync(root, 0o711)
    base = join(root, 'base')
    mkdirSync(base)
    hostLayer(base, ['setpriv', 'mknod', 'mount', 'unshare', 'nsenter'])
    driver = variants['bubblewrap']?.() ?? assert.fail('there is such a driver')
    alive = setInterval(() => undefined, 1000)
  })

  after(async () => {
    for (const recordDir of recordDirs) await driver.remove(recordDir)
    rmSync(root, { recursive: true, force: true })
    clearInterval(alive)
  })

  function layer(fill: (directory: string) => void): string {
    const directory = join(root, `layer-${count++}`)
    mkdirSync(directory)
    fill(directory)
    return directory
  }

  function spec(script: string, tree: Partial<RootTree>): SandboxSpec {
    const id = `root-escape-${process.pid}-${count++}`
    recordDirs.push(join(root, id))
    return {
      id,
      argv: ['sh', '-c', script],
      env: { PATH: '/usr/bin' },
      cwd: '/tmp',
      mounts: [],
      files: [],
      root: { layers: [base], writable: false, user: { uid: 0, gid: 0 }, ...tree },
      hostUid,
      limits: { memoryBytes: 64 * 2 ** 20, cpuCores: 1, pidsMax: 32, tmpBytes: 2 ** 20 },
      syscalls: 'strict',
      network: null,
      recordDir: join(root, id),
      outputBytesMax: 2 ** 20,
    }
  }

  async function run(script: string, tree: Partial<RootTree> = {}): Promise<readonly string[]> {
    const asked = spec(script, tree)
    const sandbox = await driver.start(asked)
    await sandbox.exited
    return (await Array.fromAsync(driver.output(asked.recordDir))).map(({ text }) => text)
  }

  test('what is run inside a root as its user 0 has no more capabilities than its program', async () => {
    const status = ['sh', '-c', 'id -u; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status']
    for (const [tree, held] of [
      [{}, '0000000000000000'],
      [{ hostIds }, '00000000000000fb'],
    ] as const) {
      const sandbox = await driver.start(spec('exec sleep 60', tree))
      const inside = await sandbox.exec({ argv: status, env: {}, terminal: null })
      const lines = (await inside.output.toArray()).join('').split('\n')
      assert.equal(lines[0], '0')
      for (const set of ['CapPrm', 'CapEff', 'CapBnd']) assert.ok(lines.includes(`${set}:\t${held}`), lines.join('\n'))
      for (const set of ['CapInh', 'CapAmb']) assert.ok(lines.includes(`${set}:\t0000000000000000`), lines.join('\n'))
      assert.ok(lines.includes('NoNewPrivs:\t1') && lines.includes('Seccomp:\t2'))
      await sandbox.kill()
    }
  })

  test('root of several users is nobody of the host either, and who it becomes is less than it', async () => {
    const outside = join(root, 'foreign')
    mkdirSync(outside, { mode: 0o777 })
    chmodSync(outside, 0o777)
    for (const [name, owner] of [
      ['root', 0],
      ['neighbour', hostIds.first - 65_536 + 33],
      ['other', 12_345],
    ] as const) {
      writeFileSync(join(outside, name), 'secret')
      chmodSync(join(outside, name), 0o600)
      chownSync(join(outside, name), owner, owner)
    }
    const closed = [
      '/proc/sys/kernel/core_pattern',
      '/proc/sysrq-trigger',
      '/usr/bin/sh',
      '/new',
      '/dev/new',
      '/.stead/sh',
    ]
    const tries = [
      ...closed.map((path) => `(: >>${path}) && echo written ${path}`),
      ...['root', 'neighbour', 'other'].map((name) => `cat /data/${name} && echo read ${name}`),
      ...['/data/root', '/dev/null', '/proc/sys/kernel/hostname', '/.stead/sh'].map(
        (path) => `chown 0 ${path} && echo took ${path}`,
      ),
      'mknod /tmp/null c 1 3 && echo device',
      'mount -t tmpfs none /tmp && echo mounted',
      'unshare -U true && echo namespace',
      'unshare -m true && echo namespace',
      'nsenter -t 1 -U true && echo entered',
      'kill -9 -1 2>/dev/null; :',
    ]
    const as33 = 'setpriv --reuid 33 --regid 33 --clear-groups'
    const less = [
      `${as33} sh -c 'id -u; grep -E "^Cap(Prm|Eff|Amb)" /proc/self/status'`,
      'echo kept >/tmp/own; chmod 600 /tmp/own',
      `${as33} cat /tmp/own && echo read`,
      `${as33} chown 33 /tmp/own && echo took`,
      `${as33} setpriv --reuid 0 true && echo root again`,
      'cp /usr/bin/id /tmp/su; chmod 6755 /tmp/su',
      `${as33} /tmp/su -u`,
    ]
    const script = `exec 2>/dev/null; ${[...less, ...tries].join('\n')}\necho end`
    // Without the filter, the kernel's own answer; with it, what a program meets.
    for (const syscalls of ['none', 'strict'] as const) {
      const asked = { ...spec(script, { hostIds }), syscalls }
      const mounts = [{ source: outside, target: '/data', access: 'read-write' as const }]
      const sandbox = await driver.start({ ...asked, mounts })
      await sandbox.exited
      const lines = (await Array.fromAsync(driver.output(asked.recordDir))).map(({ text }) => text)
      const none = '0000000000000000'
      assert.deepEqual(lines, ['33', `CapPrm:\t${none}`, `CapEff:\t${none}`, `CapAmb:\t${none}`, '33', 'end'], syscalls)
    }
  })

  test('root inside is nobody of the host: no capability, a filter, one id, and no file of the host to write', async () => {
    const forbidden = [
      '/proc/sys/kernel/core_pattern',
      '/proc/sys/vm/panic_on_oom',
      '/proc/sysrq-trigger',
      '/usr/bin/sh',
      '/new',
      '/dev/new',
      '/.stead/sh',
    ]
    const tries = forbidden.map((path) => `(: >>${path}) 2>/dev/null && echo written ${path}`).join('; ')
    const lines = await run(
      `id -u; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; cat /proc/self/uid_map; ${tries}; chown 5 /tmp 2>/dev/null && echo changed; echo end`,
    )
    assert.equal(lines[0], '0')
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      assert.ok(lines.includes(`${set}:\t0000000000000000`), set)
    assert.ok(lines.includes('NoNewPrivs:\t1') && lines.includes('Seccomp:\t2'))
    assert.match(lines.at(-2) ?? '', /^\s+0\s+0\s+1$|^\s+0\s+\d+\s+1$/)
    assert.deepEqual(
      lines.filter((line) => /^(?:written|changed)/.test(line)),
      [],
    )
    assert.equal(lines.at(-1), 'end')
  })

  test('devices of a layer do not open, set-user-id of a layer does nothing, a file of another owner belongs to nobody', async () => {
    const bad = layer((directory) => {
      spawnSync('mknod', [join(directory, 'null'), 'c', '1', '3'])
      spawnSync('mknod', [join(directory, 'disk'), 'b', '254', '0'])
      for (const name of ['null', 'disk']) chmodSync(join(directory, name), 0o666)
      copyFileSync('/usr/bin/id', join(directory, 'su'))
      chmodSync(join(directory, 'su'), 0o6755)
      writeFileSync(join(directory, 'foreign'), 'x')
      chownSync(join(directory, 'foreign'), 12_345, 12_345)
      chmodSync(join(directory, 'foreign'), 0o600)
    })
    const script = 'exec 2>&1; cat /null; cat /disk; /su -u; stat -c %u /foreign; cat /foreign'
    const lines = await run(script, { layers: [base, bad], user: { uid: 7, gid: 7 } })
    assert.equal(lines.filter((line) => line.includes('Permission denied')).length, 3, lines.join('\n'))
    assert.deepEqual(
      lines.filter((line) => /^\d+$/.test(line)),
      ['7', '65534'],
    )
  })

  test('links in the places that the sandbox makes itself are refused; mounts and files lead nowhere through links', async () => {
    const outside = join(root, 'outside')
    mkdirSync(outside, { recursive: true })
    for (const path of ['proc', 'dev', 'tmp', '.stead']) {
      const bad = layer((directory) => symlinkSync(outside, join(directory, path)))
      await assert.rejects(driver.start(spec('true', { layers: [base, bad] })), {
        code: 'sandbox.start-failed',
        message: /symbolic link/,
      })
    }
    const circle = layer((directory) => {
      symlinkSync('b', join(directory, 'a'))
      symlinkSync('a', join(directory, 'b'))
    })
    await assert.rejects(driver.start({ ...spec('true', { layers: [base, circle] }), cwd: '/a/x' }), {
      code: 'sandbox.start-failed',
      message: /40 symbolic links/,
    })
    const links = layer((directory) => {
      symlinkSync(outside, join(directory, 'volume'))
      symlinkSync(`../../../../..${outside}`, join(directory, 'up'))
    })
    const lines = await run('echo x >/volume/new; echo y >/up/other; cat /volume/new /up/other', {
      layers: [base, links],
      scratch: ['/volume', '/up'],
    })
    assert.deepEqual(lines, ['x', 'y'])
    assert.deepEqual(readdirSync(outside), [], 'nothing on the host')
  })

  test('a file handed in cannot be made to land in a mount through a link', async () => {
    const shared = join(root, 'shared')
    mkdirSync(shared, { recursive: true })
    const bad = layer((directory) => symlinkSync('/data', join(directory, 'secrets')))
    const asked = {
      ...spec('true', { layers: [base, bad] }),
      mounts: [{ source: shared, target: '/data', access: 'read-write' as const }],
    }
    const files = [{ path: '/secrets/key', content: 'x', mode: 0o400 }]
    await assert.rejects(driver.start({ ...asked, files }), {
      code: 'sandbox.bad-spec',
      message: /written into the mount/,
    })
    assert.deepEqual(readdirSync(shared), [])
  })

  test('a file system that the host unmounts meanwhile is not kept busy, one that is handed in is there', async () => {
    const [other, given] = ['other', 'given'].map((name) => {
      const directory = join(root, name)
      mkdirSync(directory)
      assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', `stead-${name}`, directory]).status, 0)
      return directory
    })
    try {
      writeFileSync(join(given ?? '', 'file'), 'given')
      const asked = spec('cat /data/file; echo; exec sleep 60', {})
      const mounts = [{ source: given ?? '', target: '/data', access: 'read-only' as const }]
      const sandbox = await driver.start({ ...asked, mounts })
      let lines: readonly string[] = []
      while (lines.length === 0) lines = (await Array.fromAsync(driver.output(asked.recordDir))).map(({ text }) => text)
      assert.equal(lines[0], 'given')
      const { keeper } = JSON.parse(readFileSync(join(asked.recordDir, 'record.json'), 'utf8'))
      const seen = readFileSync(`/proc/${keeper.pid}/mountinfo`, 'utf8')
      assert.ok(!seen.includes('stead-other') && seen.includes('stead-given'), seen)
      await sandbox.kill()
    } finally {
      for (const directory of [other, given]) spawnSync('umount', [directory ?? ''])
    }
  })

  test('nothing is mounted on the host while one runs, and no path of the host stands in its mounts', async () => {
    const before = readFileSync('/proc/self/mountinfo', 'utf8')
    const asked = spec('cat /proc/self/mountinfo; exec sleep 60', {})
    const sandbox = await driver.start(asked)
    let lines: readonly string[] = []
    while (lines.length === 0) lines = (await Array.fromAsync(driver.output(asked.recordDir))).map(({ text }) => text)
    const own = (text: string): string =>
      text
        .split('\n')
        .filter((line) => line.includes('overlay') || line.includes('stead-roots'))
        .join('\n')
    assert.equal(own(readFileSync('/proc/self/mountinfo', 'utf8')), own(before))
    assert.ok(!lines.some((line) => line.includes(root)), lines.join('\n'))
    await sandbox.kill()
  })
})
