/**
 * A kernel is debugged from one end to the other: a guest boots, gdb stops it in a function, reads its tasks, and lets it go
 * on. About twenty seconds, because the processor is emulated.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { needsGuests } from '../../../test/machine-parts.ts'
import { mountOf, until, within } from '../bench.conformance.ts'
import { variants } from '../fixtures/drivers.ts'

const skip = needsAll(
  needsGuests(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/gdb', 'apt-get install gdb'),
)

test('gdb stops a guest in a function of its kernel, lists its tasks, and lets it go on', { skip }, async () => {
  const dir = mkdtempSync(`${tmpdir()}/stead-kernel-debug-`)
  chmodSync(dir, 0o711)
  const place = { host: `${dir}/data`, inside: '/data' }
  mkdirSync(place.host)
  chmodSync(place.host, 0o777)
  const driver = variants['vm']?.()
  assert.ok(driver !== undefined)
  const alive = setInterval(() => undefined, 1000)
  const recordDir = `${dir}/records`
  const sandbox = await driver.start({
    id: `kernel-debug-${process.pid}`,
    argv: [
      'sh',
      '-c',
      'echo up; while ! [ -e /data/go ]; do mkdir /tmp/again; rmdir /tmp/again; sleep 0.05; done; echo on',
    ],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: mountOf(place),
    files: [],
    hostUid: 231_074,
    limits: { memoryBytes: 64 * 2 ** 20, cpuCores: null, pidsMax: null, tmpBytes: null },
    syscalls: 'strict',
    isolation: 'kernel',
    network: null,
    recordDir,
    outputBytesMax: 2 ** 20,
  })
  const lines = async (): Promise<readonly string[]> =>
    (await Array.fromAsync(driver.output(recordDir))).map((line) => line.text)
  try {
    await until('the program', async () => (await lines()).includes('up'))
    const machine = sandbox.machine()
    const { symbols, commands } = await machine.debugFiles()
    writeFileSync(`${dir}/kernel`, symbols)
    writeFileSync(`${dir}/commands`, commands)
    const orders = ['break do_mkdirat', 'continue', 'backtrace 3', 'tasks', 'delete', 'detach']
    const args = ['-batch', '-nx', '-x', `${dir}/commands`, '-ex', `target remote ${machine.debugStub}`]
    const run = promisify(execFile)('gdb', [...args, ...orders.flatMap((order) => ['-ex', order]), `${dir}/kernel`], {
      timeout: 120_000,
    })
    const { stdout } = await run
    assert.match(stdout, /Breakpoint 1, .*do_mkdirat/)
    assert.match(stdout, /^ +0 {2}swapper\/0$/m)
    assert.match(stdout, /^ +1 {2}\S+$/m)
    assert.match(stdout, /^ +\d+ {2}mkdir$/m, 'the program that it was stopped in')
    assert.match(stdout, /^#0 .* in do_mkdirat/m)
    writeFileSync(`${place.host}/go`, '')
    assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
    assert.ok((await lines()).includes('on'), 'it went on')
  } finally {
    await sandbox.kill()
    await driver.remove(recordDir)
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
})
