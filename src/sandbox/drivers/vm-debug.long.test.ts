/**
 * A kernel is debugged from one end to the other: a guest boots, gdb stops it in a function, reads its tasks, and lets it go
 * on, also when its debugger is killed. Half a minute, because the processor is emulated.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { needsAll, needsFile } from '../../../test/needs.ts'
import { needsGuests } from '../../../test/machine-parts.ts'
import { mountOf, until, within } from '../bench.conformance.ts'
import type { Sandbox } from '../driver.ts'
import { variants } from '../fixtures/drivers.ts'

const skip = needsAll(
  needsGuests(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsFile('/usr/bin/gdb', 'apt-get install gdb'),
)

/** A guest that says a line each time round, until it is told to end. */
async function guest(work: (running: Running) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(`${tmpdir()}/stead-kernel-debug-`)
  chmodSync(dir, 0o711)
  const place = { host: `${dir}/data`, inside: '/data' }
  mkdirSync(place.host)
  chmodSync(place.host, 0o777)
  const driver = variants['vm']?.()
  assert.ok(driver !== undefined)
  const alive = setInterval(() => undefined, 1000)
  const recordDir = `${dir}/records`
  const rounds =
    'echo up; while ! [ -e /data/go ]; do mkdir /tmp/again; rmdir /tmp/again; echo round; sleep 0.05; done; echo on'
  const sandbox = await driver.start({
    id: `kernel-debug-${process.pid}`,
    argv: ['sh', '-c', rounds],
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
    await until('the program', async () => (await lines()).includes('round'))
    await work({ dir, recordDir, sandbox, lines, end: () => writeFileSync(`${place.host}/go`, '') })
  } finally {
    await sandbox.kill()
    await driver.remove(recordDir)
    rmSync(dir, { recursive: true, force: true })
    clearInterval(alive)
  }
}

interface Running {
  readonly dir: string
  readonly recordDir: string
  readonly sandbox: Sandbox
  readonly lines: () => Promise<readonly string[]>
  /** Tells the program to end. */
  readonly end: () => void
}

test('gdb stops a guest in a function of its kernel, lists its tasks, and lets it go on', { skip }, async () => {
  await guest(async ({ dir, sandbox, lines, end }) => {
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
    end()
    assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
    assert.ok((await lines()).includes('on'), 'it went on')
  })
})

test('a guest whose debugger has vanished runs on, without his breakpoints', { skip }, async () => {
  await guest(async ({ sandbox, recordDir, lines }) => {
    const machine = sandbox.machine()
    const goesOn = async (): Promise<void> => {
      const { length } = await lines()
      await until('the program to go on', async () => (await lines()).length > length + 2)
    }
    const [mkdir] = (await machine.symbols(['do_mkdirat'])).values()
    /** A breakpoint where each round passes, and the wish to go on. */
    const stopIn = async (stream: Duplex): Promise<void> => {
      let said = ''
      stream.on('data', (piece: Buffer) => {
        said += piece.toString('latin1')
        // Whatever is said to it while it runs stops it.
        if (piece.includes('$')) stream.write('+')
      })
      stream.write(packet(`Z0,${mkdir?.toString(16)},1`))
      await until('the breakpoint', () => said.includes('$OK#'))
      stream.write(packet('c'))
      await until('the stop', () => /\$[TS]05/.test(said))
    }
    const stream = await machine.debugger()
    await stopIn(stream)
    await assert.rejects(machine.debugger(), /already/)
    stream.destroy()
    await goesOn()
    // Another may come, and is let go of where the supervisor that let him in was killed: nothing of it says goodbye.
    const left = connect(machine.debugStub)
    await stopIn(left)
    writeFileSync(`${dirname(machine.debugStub)}/debugged`, '')
    left.destroy()
    await variants['vm']?.().adopt(recordDir)
    await goesOn()
  })
})

function packet(text: string): string {
  const sum = Buffer.from(text).reduce((all, byte) => (all + byte) % 256, 0)
  return `$${text}#${sum.toString(16).padStart(2, '0')}`
}
