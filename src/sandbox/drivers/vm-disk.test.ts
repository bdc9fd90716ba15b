/**
 * A system booted from a disk: a boot sector of 31 bytes that says the letters, one a fifth of a second, and switches the
 * machine off. It has a console, an exit, a state that is kept and gone back to; its disk is never written.
 */
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { needsGuests } from '../../../test/machine-parts.ts'
import { until, within } from '../bench.conformance.ts'
import { variants } from '../fixtures/drivers.ts'

const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

/** In 16-bit code: say the letter and a line end on the first serial line, wait, next letter, after Z switch off. */
const code = 'b041 baf803 ee 50 b00a ee b486 b90300 31d2 cd15 58 fec0 3c5b 75e8 ba0406 b80020 ef f4 ebfd'

function bootDisk(): Buffer {
  const disk = Buffer.alloc(1024 * 1024)
  Buffer.from(code.replaceAll(' ', ''), 'hex').copy(disk)
  disk.writeUInt16LE(0xaa55, 510)
  return disk
}

test('a system boots from a disk, is kept and gone back to, and switches itself off', { skip }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/stead-disk-`)
  chmodSync(dir, 0o711)
  const driver = variants['vm']?.()
  assert.ok(driver !== undefined)
  assert.equal(driver.capabilities.snapshot, 'native')
  const path = `${dir}/disk.raw`
  writeFileSync(path, bootDisk(), { mode: 0o644 })
  const recordDir = `${dir}/records`
  const alive = setInterval(() => undefined, 1000)
  const spec = {
    id: `disk-${process.pid}`,
    argv: ['letters'],
    env: {},
    cwd: '/',
    mounts: [],
    files: [],
    hostUid: 231_075,
    limits: { memoryBytes: 16 * 2 ** 20, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'none',
    disk: { path, format: 'raw', seed: { 'user-data': '#cloud-config\n', 'meta-data': 'instance-id: one\n' } },
    network: null,
    recordDir,
    outputBytesMax: 2 ** 20,
  } as const
  const letters = async (): Promise<string> =>
    (await Array.fromAsync(driver.output(recordDir)))
      .map((line) => line.text.trim())
      .filter((line) => /^[A-Z]$/.test(line))
      .join('')
  const sandbox = await driver.start(spec)
  try {
    await until('a letter', async () => (await letters()).includes('C'))
    const machine = sandbox.machine()
    await machine.snapshot('early')
    assert.deepEqual(
      (await machine.snapshots()).map(({ name }) => name),
      ['early'],
    )
    const kept = (await letters()).length
    await until('more letters', async () => (await letters()).length >= kept + 4)
    await machine.restore('early')
    await assert.rejects(machine.restore('never'), { code: 'sandbox.machine-refused' })
    await assert.rejects(machine.snapshot('a name'), { code: 'sandbox.bad-spec' })
    await assert.rejects(sandbox.exec({ argv: ['true'], env: {}, terminal: null }), { code: 'sandbox.refused' })
    assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
    const all = await letters()
    assert.match(all, /^ABC.*Z$/)
    assert.ok(all.length >= 26 + 3, `${all}: it said again what came after the snapshot`)
    assert.ok(readFileSync(path).equals(bootDisk()), 'the disk itself is as it was')
  } finally {
    await sandbox.kill()
    await driver.remove(recordDir)
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
})
