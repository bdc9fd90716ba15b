/**
 * A system booted from a disk: a boot sector of 31 bytes that says the letters, one a fifth of a second, and switches the
 * machine off. It has a console, an exit, a state that is kept and gone back to; its disk is never written. And disks, kernels and
 * places that no system can be booted from.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { machineParts, needsGuests } from '../../../test/machine-parts.ts'
import { until, within } from '../bench.conformance.ts'
import type { Disk, SandboxDriver, SandboxSpec } from '../driver.ts'
import { variants } from '../fixtures/drivers.ts'

const hostUid = 231_075
const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

/** In 16-bit code: say the letter and a line end on the first serial line, wait, next letter, after Z switch off. */
const code = 'b041 baf803 ee 50 b00a ee b486 b90300 31d2 cd15 58 fec0 3c5b 75e8 ba0406 b80020 ef f4 ebfd'

function bootDisk(): Buffer {
  const disk = Buffer.alloc(1024 * 1024)
  Buffer.from(code.replaceAll(' ', ''), 'hex').copy(disk)
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

const mebibyte = 2 ** 20

/** A spec that boots it, with its records in `dir`. */
function specOf(dir: string, disk: Disk): SandboxSpec {
  return {
    id: `disk-${process.pid}`,
    argv: ['letters'],
    env: {},
    cwd: '/',
    mounts: [],
    files: [],
    hostUid,
    limits: { memoryBytes: 16 * mebibyte, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'none',
    disk,
    network: null,
    recordDir: `${dir}/records`,
    outputBytesMax: mebibyte,
  }
}

/** Works in a directory that any user may pass through, with the driver, and keeps the process alive meanwhile. */
async function working(work: (dir: string, driver: SandboxDriver) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(`${tmpdir()}/stead-disk-`)
  chmodSync(dir, 0o711)
  const alive = setInterval(() => undefined, 1000)
  try {
    await work(dir, variants['vm']?.() ?? assert.fail('no driver'))
  } finally {
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
}

test('a system boots from a disk, is kept and gone back to, and switches itself off', { skip }, () =>
  working(async (dir, driver) => {
    assert.equal(driver.capabilities.snapshot, 'native')
    const path = `${dir}/disk.raw`
    writeFileSync(path, bootDisk(), { mode: 0o644 })
    const seed = { 'user-data': '#cloud-config\n', 'meta-data': 'instance-id: one\n' }
    const spec = specOf(dir, { path, format: 'raw', seed })
    const letters = async (): Promise<string> =>
      (await Array.fromAsync(driver.output(spec.recordDir)))
        .map((line) => line.text)
        .filter((line) => /^[A-Z]$/.test(line))
        .join('')
    const sandbox = await driver.start(spec)
    try {
      await until('a letter', async () => (await letters()).includes('C'))
      const machine = sandbox.machine()
      await machine.snapshot('early')
      const [kept, ...others] = await machine.snapshots()
      assert.deepEqual([kept?.name, others], ['early', []])
      assert.ok(kept !== undefined && kept.memoryBytes > 0 && Date.now() - kept.timeMs < 60_000)
      await assert.rejects(machine.snapshot('early'), { code: 'sandbox.machine-refused', message: /already/ })
      const before = (await letters()).length
      await until('more letters', async () => (await letters()).length >= before + 4)
      await machine.restore('early')
      await assert.rejects(machine.restore('never'), { code: 'sandbox.machine-refused' })
      await assert.rejects(machine.snapshot('a name'), { code: 'sandbox.bad-spec' })
      await assert.rejects(machine.snapshot('7'), { code: 'sandbox.bad-spec' })
      await machine.forget('early')
      assert.deepEqual(await machine.snapshots(), [])
      await assert.rejects(sandbox.exec({ argv: ['true'], env: {}, terminal: null }), { code: 'sandbox.refused' })
      assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
      const all = await letters()
      assert.match(all, /^ABC.*Z$/)
      assert.ok(all.length >= 26 + 3, `${all}: it said again what came after the snapshot`)
      assert.ok(readFileSync(path).equals(bootDisk()), 'the disk itself is as it was')
    } finally {
      await sandbox.kill()
      await driver.remove(spec.recordDir)
    }
  }),
)

test('what cannot be booted is told in a sentence, and nothing begins', { skip }, () =>
  working(async (dir, driver) => {
    const path = `${dir}/disk`
    const refused = async (content: Buffer, message: RegExp, kernel?: Disk['kernel']): Promise<void> => {
      writeFileSync(path, content, { mode: 0o644 })
      const spec = specOf(dir, { path, format: 'raw', seed: {}, ...(kernel !== undefined && { kernel }) })
      await assert.rejects(driver.start(spec), { code: 'sandbox.bad-disk', message })
      assert.ok(!existsSync(spec.recordDir))
    }
    await refused(Buffer.alloc(mebibyte), /no boot sector, and no kernel/)
    await refused(Buffer.from('QFI\u00fb', 'latin1'), /shorter than one sector/)
    const other = Buffer.alloc(4096)
    other.write('ARMd', 56)
    writeFileSync(`${dir}/kernel`, other)
    await refused(bootDisk(), /kernel for arm64/, { path: `${dir}/kernel`, commandLine: '' })
    await refused(bootDisk(), /kernel .*\/none.*cannot be read/, { path: `${dir}/none`, commandLine: '' })
    const gone = specOf(dir, { path: `${dir}/gone`, format: 'raw', seed: {} })
    await assert.rejects(driver.start(gone), { code: 'sandbox.bad-disk', message: /cannot be read/ })
  }),
)

test('a kernel that is named is booted in the place of what the disk has, with its command line', { skip }, () =>
  working(async (dir, driver) => {
    const path = `${dir}/disk.raw`
    writeFileSync(path, bootDisk(), { mode: 0o644 })
    const boot = `${machineParts.root ?? ''}/boot`
    const found = readdirSync(boot).find((name) => name.startsWith('vmlinuz-')) ?? assert.fail(`no kernel in ${boot}`)
    // It finds no system on this disk, and with panic=-1 that ends its machine.
    const kernel = { path: `${boot}/${found}`, commandLine: 'console=ttyS0 panic=-1 root=/dev/vda1 named=kernel' }
    const spec = specOf(dir, { path, format: 'raw', seed: {}, kernel })
    const sandbox = await driver.start({ ...spec, limits: { ...spec.limits, memoryBytes: 128 * mebibyte } })
    try {
      assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
      const said = (await Array.fromAsync(driver.output(spec.recordDir))).map((line) => line.text).join('\n')
      assert.match(said, /Command line: .*named=kernel/)
      assert.match(said, /Kernel panic/)
      assert.doesNotMatch(said, /^A$/m)
    } finally {
      await sandbox.kill()
      await driver.remove(spec.recordDir)
    }
  }),
)

test('a disk whose inside is broken ends its machine, whose exit and output say so', { skip }, () =>
  working(async (dir, driver) => {
    // The head is right, and where its tables should be there is nothing that could be one.
    const broken = Buffer.alloc(mebibyte, 0xff)
    broken.fill(0, 0, 512)
    broken.write('QFI\u00fb', 0, 'latin1')
    for (const [at, value] of [
      [4, 3],
      [20, 16],
      [36, 1],
      [100, 104],
    ] as const)
      broken.writeUInt32BE(value, at)
    for (const [at, value] of [
      [24, 2n ** 20n],
      [40, 131_072n],
      [48, 65_536n],
    ] as const)
      broken.writeBigUInt64BE(value, at)
    broken.writeUInt32BE(1, 56)
    broken.writeUInt32BE(4, 96)
    const path = `${dir}/disk.qcow2`
    writeFileSync(path, broken, { mode: 0o644 })
    const spec = specOf(dir, { path, format: 'qcow2', seed: {} })
    const sandbox = await driver.start(spec)
    try {
      const exit = await within(sandbox.exited, 'the end')
      assert.deepEqual([exit.cause, exit.code], ['unknown', null])
      assert.match(exit.sentence, /could not be started; its output says more/)
      const said = (await Array.fromAsync(driver.output(spec.recordDir))).map((line) => line.text).join('\n')
      assert.match(said, /The disk is damaged/)
    } finally {
      await sandbox.kill()
      await driver.remove(spec.recordDir)
    }
  }),
)

test('without room for a memory no state is kept, and the machine goes on', { skip }, () =>
  working(async (dir, driver) => {
    const path = `${dir}/disk.raw`
    writeFileSync(path, bootDisk(), { mode: 0o644 })
    const writtenDir = `${dir}/written`
    mkdirSync(writtenDir)
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', writtenDir]).status, 0)
    try {
      chownSync(writtenDir, hostUid, hostUid)
      const spec = specOf(dir, { path, format: 'raw', seed: {}, writtenDir })
      const sandbox = await driver.start(spec)
      const lines = async (): Promise<number> => (await Array.fromAsync(driver.output(spec.recordDir))).length
      await until('a letter', async () => (await lines()) > 0)
      const machine = sandbox.machine()
      await assert.rejects(machine.snapshot('early'), { code: 'sandbox.no-space', message: /16 MiB.*has \d MiB left/ })
      assert.deepEqual(await machine.snapshots(), [])
      const before = await lines()
      await until('it goes on', async () => (await lines()) > before)
      await sandbox.kill()
      await driver.remove(spec.recordDir)
      assert.ok(existsSync(`${writtenDir}/disk.qcow2`), 'what it wrote outlives its records')
    } finally {
      spawnSync('umount', [writtenDir])
    }
  }),
)
