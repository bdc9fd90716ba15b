/** One guest from its start to its end, and machines that cannot have guests. The whole of the suite is a long test. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { needsGuests } from '../../../test/machine-parts.ts'
import { freePort } from '../../../test/command-line.ts'
import { systemClock } from '../../base/index.ts'
import { pause, until, within } from '../bench.conformance.ts'
import type { Sandbox, SandboxSpec } from '../driver.ts'
import { variants } from '../fixtures/drivers.ts'
import { vmDriver } from './vm.ts'

const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

async function inside(sandbox: Sandbox, script: string): Promise<string> {
  const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: {}, terminal: null })
  executed.input.end()
  return await within(text(executed.output), `the output of ${script}`)
}

/** How many seconds pass inside in one of the host. */
async function clockRate(sandbox: Sandbox): Promise<number> {
  const script = 'date +%s.%N; sleep 4; date +%s.%N'
  const executed = await sandbox.exec({ argv: ['sh', '-c', script], env: {}, terminal: null })
  executed.input.end()
  const seen: { readonly inside: number; readonly outside: number }[] = []
  for await (const line of createInterface(executed.output))
    seen.push({ inside: Number(line), outside: performance.now() / 1000 })
  const [first, last] = [seen[0], seen[1]]
  assert.ok(first !== undefined && last !== undefined)
  return (last.inside - first.inside) / (last.outside - first.outside)
}

test('a guest runs a program on its own kernel: output, directories, orders, exit', { skip }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/stead-guest-`)
  chmodSync(dir, 0o711)
  const data = `${dir}/data`
  mkdirSync(data)
  chmodSync(data, 0o777)
  const driver = variants['vm']?.()
  assert.ok(driver !== undefined)
  assert.equal(driver.capabilities.ownKernel, 'native')
  const spec: SandboxSpec = {
    id: `guest-${process.pid}`,
    argv: ['sh', '-c', 'echo up; while ! [ -e /data/go ]; do sleep 0.1; done; cat /run/secrets/key; exit 3'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [{ source: data, target: '/data', access: 'read-write' }],
    files: [{ path: '/run/secrets/key', content: 'opened\n', mode: 0o400 }],
    hostUid: 231_073,
    limits: { memoryBytes: 64 * 2 ** 20, cpuCores: null, pidsMax: 32, tmpBytes: 2 ** 20 },
    syscalls: 'strict',
    isolation: 'kernel',
    network: null,
    recordDir: `${dir}/records`,
    outputBytesMax: 2 ** 20,
  }
  const alive = setInterval(() => undefined, 1000)
  const sandbox = await driver.start(spec)
  try {
    assert.notEqual((await inside(sandbox, 'uname -r')).trim(), release(), 'its kernel is another')
    assert.equal(await inside(sandbox, 'id -u; echo made >/data/made; echo no >/usr/no || echo kept'), '1000\nkept\n')
    assert.equal(readFileSync(`${data}/made`, 'utf8'), 'made\n')
    assert.equal(statSync(`${data}/made`).uid, spec.hostUid, 'on the host it is the user of the workload')
    assert.ok(((await sandbox.usage()).pids ?? 0) >= 2)
    const rate = await clockRate(sandbox)
    assert.ok(rate > 0.9 && rate < 1.1, `its clock goes ${rate} times as fast as that of the host`)
    const symbols = await sandbox.machine().symbols(['do_exit', 'no_such_symbol'])
    assert.deepEqual([...symbols.keys()], ['do_exit'])
    assert.ok((symbols.get('do_exit') ?? 0n) > 0xffff_ffff_8000_0000n)
    writeFileSync(`${data}/go`, '')
    assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 3')
    const lines = (await Array.fromAsync(driver.output(spec.recordDir))).map((line) => line.text)
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('[')),
      ['up', 'opened'],
    )
  } finally {
    await sandbox.kill()
    await driver.remove(spec.recordDir)
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
})

test('a port of a guest is open once its program has opened it', { skip }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/stead-guest-`)
  chmodSync(dir, 0o711)
  const driver = variants['vm']?.()
  assert.ok(driver !== undefined)
  const port = await freePort()
  // Perl is in every guest, and soon there.
  const server = `use IO::Socket::INET; $| = 1; sleep 2;
    my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => ${port}, Listen => 5) or die; print "open\\n";
    while (my $caller = $server->accept) { print $caller "served\\n"; close $caller }`
  const recordDir = `${dir}/records`
  const alive = setInterval(() => undefined, 1000)
  const sandbox = await driver.start({
    id: `port-${process.pid}`,
    argv: ['perl', '-e', server],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [],
    files: [],
    hostUid: 231_078,
    limits: { memoryBytes: 64 * 2 ** 20, cpuCores: null, pidsMax: 32, tmpBytes: 2 ** 20 },
    syscalls: 'strict',
    isolation: 'kernel',
    ports: [port],
    network: null,
    recordDir,
    outputBytesMax: 2 ** 20,
  })
  const machine = sandbox.machine()
  /** What a stream to it brings until it is closed, and whether something inside took it meanwhile. */
  const dial = async (): Promise<string> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    const said = text(socket).catch(() => '')
    await Promise.race([said, pause(3000)])
    socket.destroy()
    return await said
  }
  try {
    await until('what runs it listens', async () => !(await machine.accepts(port)))
    await until('the program serves', async () => (await dial()) === 'served\n')
    const lines = (await Array.fromAsync(driver.output(recordDir))).map((line) => line.text)
    assert.ok(lines.includes('open'), 'and nothing before it did')
    await until('it serves again', async () => (await dial()) === 'served\n')
  } finally {
    await sandbox.kill()
    await driver.remove(recordDir)
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
})

suite('a machine that cannot have guests says what is missing', { skip: needsGuests() }, () => {
  const cases: readonly (readonly [title: string, parts: (root: string) => void, said: RegExp])[] = [
    ['no emulator', () => {}, /no QEMU on this machine/],
    ['no kernel', (root) => put(`${root}/usr/bin/qemu-system-x86_64`), /no kernel for guests/],
    [
      'a kernel without the modules',
      (root) => {
        put(`${root}/usr/bin/qemu-system-x86_64`)
        put(`${root}/boot/vmlinuz-9.9.9`)
        put(`${root}/lib/modules/9.9.9/kernel/virtio_mmio.ko`)
      },
      /vmlinuz-9\.9\.9 lacks the module virtio_console/,
    ],
  ]
  for (const [title, parts, said] of cases) {
    test(title, () => {
      const root = mkdtempSync(`${tmpdir()}/stead-no-guests-`)
      try {
        parts(root)
        const make = (): unknown => vmDriver({ clock: systemClock, groups: null, stateDir: root, partsRoot: root })
        assert.throws(make, { code: 'sandbox.unavailable', message: said })
      } finally {
        rmSync(root, { recursive: true, force: true })
      }
    })
  }
})

function put(path: string): void {
  mkdirSync(path.slice(0, path.lastIndexOf('/')), { recursive: true })
  writeFileSync(path, '')
}
