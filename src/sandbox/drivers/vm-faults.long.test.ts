/** What happens to guests: their kernel fails, what runs them is killed, there is no room for them. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, suite, test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { machineParts, needsGuests } from '../../../test/machine-parts.ts'
import { systemClock } from '../../base/index.ts'
import { until, within } from '../bench.conformance.ts'
import type { Sandbox, SandboxDriver, SandboxSpec } from '../driver.ts'
import { variants } from '../fixtures/drivers.ts'
import { vmDriver } from './vm.ts'

const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

suite('faults of guests', { skip, timeout: 400_000 }, () => {
  let dir = ''
  let alive: NodeJS.Timeout | null = null
  let count = 0
  const driver = (): SandboxDriver => variants['vm']?.() ?? assert.fail('no driver')
  before(() => {
    dir = mkdtempSync(`${tmpdir()}/stead-faults-`)
    chmodSync(dir, 0o711)
    alive = setInterval(() => undefined, 1000)
  })
  after(() => {
    clearInterval(alive ?? undefined)
    rmSync(dir, { recursive: true, force: true })
  })
  const spec = (): SandboxSpec => ({
    id: `faults-${process.pid}-${count}`,
    argv: ['sh', '-c', 'echo up; exec sleep 600'],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [],
    files: [],
    hostUid: 231_076,
    limits: { memoryBytes: 64 * 2 ** 20, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'strict',
    isolation: 'kernel',
    network: null,
    recordDir: `${dir}/records-${count++}`,
    outputBytesMax: 2 ** 20,
  })
  const run = async (
    work: (sandbox: Sandbox, lines: () => Promise<readonly string[]>) => Promise<void>,
  ): Promise<void> => {
    const vm = driver()
    const asked = spec()
    const sandbox = await vm.start(asked)
    const lines = async (): Promise<readonly string[]> =>
      (await Array.fromAsync(vm.output(asked.recordDir))).map((line) => line.text)
    try {
      await until('the program', async () => (await lines()).includes('up'))
      await work(sandbox, lines)
    } finally {
      await sandbox.kill()
      await vm.remove(asked.recordDir)
    }
  }

  test('a kernel that fails is told as such, with its last words', () =>
    run(async (sandbox, lines) => {
      const console = await sandbox.machine().console()
      let said = ''
      console.on('data', (chunk) => (said += String(chunk)))
      console.on('error', () => undefined)
      await until('a shell of its root', async () => {
        console.write('\n')
        await new Promise((resolve) => setTimeout(resolve, 500))
        return said.includes('guest#')
      })
      console.write('echo c >/proc/sysrq-trigger\n')
      const exit = await within(sandbox.exited, 'the end')
      assert.equal(exit.cause, 'unknown')
      assert.match(exit.sentence, /its kernel failed/)
      assert.match((await lines()).join('\n'), /Kernel panic/)
    }))

  test('what runs it is killed: that is no exit of the program', () =>
    run(async (sandbox) => {
      const emulator = sandbox
        .members()
        .find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0]?.endsWith('qemu-system-x86_64'))
      assert.ok(emulator !== undefined)
      process.kill(emulator, 'SIGKILL')
      const exit = await within(sandbox.exited, 'the end')
      assert.deepEqual([exit.cause, exit.code], ['unknown', null])
      await assert.rejects(sandbox.freeze(), { code: 'sandbox.ended' })
      await assert.rejects(sandbox.machine().console(), { code: 'sandbox.ended' })
    }))

  test('without room for the kernel nothing begins, and nothing half stays', async () => {
    const small = `${dir}/small`
    mkdirSync(small)
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', small]).status, 0)
    try {
      const parts = machineParts.root === null ? {} : { partsRoot: machineParts.root }
      const vm = vmDriver({ clock: systemClock, groups: null, stateDir: small, ...parts })
      const asked = { ...spec(), limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: null } }
      await assert.rejects(vm.start(asked), { code: 'sandbox.no-space', message: /MiB are free/ })
      assert.deepEqual(readdirSync(small), [])
      assert.ok(!existsSync(asked.recordDir))
    } finally {
      spawnSync('umount', [small])
    }
  })
})
