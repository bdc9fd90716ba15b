/**
 * A part that is a whole system on a disk, through the real command line: its output, its kept states, and its disk over restarts,
 * an accident of the platform, and another disk in its place. The system is a boot sector, which is there in two seconds.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { vmStopMs } from '../src/model/index.ts'
import { bootDisk } from './boot-disk.ts'
import { eventually, type Result, type Running, Workbench } from './command-line.ts'
import { machineParts, needsGuests } from './machine-parts.ts'
import { needsAll, needsFile } from './needs.ts'
import { appFile, assertRefused, server, web } from './small-app.ts'

const skip = needsAll(needsGuests(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))
const bootMs = 60_000
const keptMax = 16
const watchMs = 4000

const app = appFile(
  `const ledger = service('ledger', { vm: { disk: './guest/disk.raw' }, limits: { memory: '32MB', cpus: 1 } })
   ${web()}`,
  `{ parts: { ledger, web }, public: { 'small.localhost': web } }`,
)

/** The lines of the system's console. */
async function said(bench: Workbench): Promise<string[]> {
  const { code, stdout, stderr } = await bench.stead('logs', 'ledger', '--json', '--lines', '1000')
  assert.equal(code, 0, stderr)
  const texts = stdout.split('\n').filter(Boolean)
  return texts.map((line) => String((JSON.parse(line) as { readonly text?: unknown }).text).trim())
}

async function until(bench: Workbench, what: string, fits: (lines: readonly string[]) => boolean): Promise<void> {
  await eventually(what, () => said(bench), fits, bootMs)
}

async function begun(bench: Workbench): Promise<Running> {
  const up = bench.up('--port', '0')
  await up.until(/small runs, after/, bootMs)
  return up
}

function assertDone({ code, stdout, stderr }: Result): void {
  assert.equal(code, 0, `${stdout}${stderr}`)
}

test('its output, its kept states, and its disk over a restart', { skip, timeout: 600_000 }, async (t) => {
  const env = machineParts.root === null ? {} : { STEAD_GUEST_PARTS: machineParts.root }
  await using bench = new Workbench({ env })
  bench.write({ 'app.ts': app, 'web/server.js': server, 'guest/note': '' })
  const diskPath = join(bench.appDir, 'guest/disk.raw')
  writeFileSync(diskPath, bootDisk())
  let up = await begun(bench)

  await t.test('what it says on its console is in the logs, and it is shown as what it is', async () => {
    await until(bench, 'letters', (lines) => lines.includes('boot 1') && lines.includes('C'))
    assert.match((await bench.stead('graph')).stdout, /ledger\s+system on guest\/disk\.raw/)
    const digest = createHash('sha256').update(bootDisk()).digest('hex')
    assert.match((await bench.stead('graph', '--json')).stdout, new RegExp(`"digest":"sha256:${digest}"`))
    assert.match((await bench.stead('status')).stdout, /ledger: a system of its own, booted from guest\/disk\.raw/)
    assertRefused(await bench.stead('exec', 'ledger', '--', 'true'), { says: /nothing inside/, hint: /^/ })
  })

  await t.test('its console is watched, and left by its character', async () => {
    const [command = '', ...args] = bench.command(['vm', 'console', 'ledger'])
    const watching = spawn(command, args, { cwd: bench.appDir, env: bench.env })
    const printed = Promise.all([text(watching.stdout), text(watching.stderr)])
    setTimeout(() => watching.stdin.write('\u001d'), watchMs)
    const [code] = await once(watching, 'exit')
    const [shown, notes] = await printed
    assert.equal(code, 0, notes)
    assert.match(shown, /^[A-Z]\r?$/m)
    assert.match(notes, /The console of ledger/)
    assert.doesNotMatch(notes, /stead:/)
  })

  await t.test('its kernel is reached by the protocol of gdb, and goes on when the debugger is gone', async () => {
    const [command = '', ...args] = bench.command(['vm', 'debug', 'ledger', '--json'])
    const offering = spawn(command, args, { cwd: bench.appDir, env: bench.env })
    const [line] = await once(createInterface(offering.stdout), 'line')
    const offered = JSON.parse(String(line)) as { readonly port: number; readonly symbols: string | null }
    assert.equal(offered.symbols, null)
    const socket = connect(offered.port, '127.0.0.1')
    // Why it stands.
    socket.write('$?#3f')
    const answer = await eventually(
      'an answer of the stub',
      () => Promise.resolve(String(socket.read() ?? '')),
      (said) => said.includes('$T05'),
      bootMs,
    )
    assert.match(answer, /\$T05/)
    // A debugger that is gone without a word holds nothing up.
    socket.destroy()
    const before = (await said(bench)).length
    await until(bench, 'it goes on', (lines) => lines.length > before)
    const exited = once(offering, 'exit')
    offering.kill('SIGINT')
    assert.deepEqual(await exited, [0, null])
  })

  await t.test('its states are kept, listed, gone back to and forgotten', async () => {
    assertDone(await bench.stead('vm', 'snapshot', 'ledger', 'early'))
    const kept = JSON.parse((await bench.stead('vm', 'snapshots', 'ledger', '--json')).stdout) as { name: string }[]
    assert.deepEqual(
      kept.map(({ name }) => name),
      ['early'],
    )
    const refused = async (words: readonly string[], says: RegExp): Promise<void> =>
      assertRefused(await bench.stead('vm', ...words), { says, hint: /^/ })
    await refused(['snapshot', 'ledger', 'early'], /has a snapshot called early already.*Forget it first/)
    await refused(['restore', 'ledger', 'never'], /no snapshot called never.*It has early/)
    await refused(['forget', 'ledger', 'never'], /no snapshot called never/)
    await refused(['snapshot', 'ledger', '1'], /"1" is no name of a snapshot/)
    await refused(['snapshots', 'web'], /no kernel of its own.*isolation: 'kernel'/)
    await refused(['snapshots', 'nobody'], /no part called nobody/)
    const before = (await said(bench)).length
    await until(bench, 'more letters', (lines) => lines.length > before + 3)
    assertDone(await bench.stead('vm', 'restore', 'ledger', 'early'))
    assertDone(await bench.stead('vm', 'snapshot', 'ledger'))
    assertDone(await bench.stead('vm', 'forget', 'ledger', 'early'))
    const left = await bench.stead('vm', 'snapshots', 'ledger')
    assert.match(left.stdout, /at-\d{4}-\d\d-\d\d-/)
    assert.doesNotMatch(left.stdout, /early/)
  })

  await t.test('it keeps so many states, and no more until one is forgotten', async () => {
    const listed = await bench.stead('vm', 'snapshots', 'ledger', '--json')
    const [oldest, ...others] = (JSON.parse(listed.stdout) as { name: string }[]).map(({ name }) => name)
    assert.ok(oldest !== undefined)
    const more = Array.from({ length: keptMax - 1 - others.length }, (_, index) => `more-${index}`)
    for (const name of more) assertDone(await bench.stead('vm', 'snapshot', 'ledger', name))
    assertRefused(await bench.stead('vm', 'snapshot', 'ledger', 'one-more'), {
      says: new RegExp(`keeps 16 snapshots, and 16 are the most. Forget one first; the oldest is ${oldest}\\.`),
      hint: /^/,
    })
    const before = (await said(bench)).length
    await until(bench, 'it goes on', (lines) => lines.length > before)
    assertDone(await bench.stead('vm', 'forget', 'ledger', 'more-0'))
    assertDone(await bench.stead('vm', 'snapshot', 'ledger', 'one-more'))
    for (const name of [...more.slice(1), 'one-more']) assertDone(await bench.stead('vm', 'forget', 'ledger', name))
  })

  await t.test('asked to end it switches itself off; what it wrote and kept is there when it boots again', async () => {
    const startMs = performance.now()
    assertDone(await bench.stead('restart', 'ledger'))
    assert.ok(performance.now() - startMs < vmStopMs, 'it was not waited for in vain')
    await until(bench, 'the second boot', (lines) => lines.includes('boot 2'))
    assert.match((await bench.stead('vm', 'snapshots', 'ledger')).stdout, /at-\d{4}/)
  })

  await t.test(
    'a release that gives it more memory boots what it wrote, and a state of less is not gone on from',
    async () => {
      assertDone(await bench.stead('vm', 'snapshot', 'ledger', 'small'))
      bench.write({ 'app.ts': app.replace('32MB', '40MB') })
      await until(bench, 'the third boot', (lines) => lines.includes('boot 3'))
      const says = /has its disk of small, and boots from it/
      assertRefused(await bench.stead('vm', 'restore', 'ledger', 'small'), { says, hint: /^/ })
      // The counter on the disk is that of then.
      await until(bench, 'the third boot again', (lines) => lines.filter((line) => line === 'boot 3').length === 2)
      bench.write({ 'app.ts': app })
      await until(bench, 'the fourth boot', (lines) => lines.includes('boot 4'))
      assertDone(await bench.stead('vm', 'forget', 'ledger', 'small'))
    },
  )

  await t.test('it goes on when the platform is killed, and is found again', async () => {
    await up.stop('SIGKILL')
    up = await begun(bench)
    const before = (await said(bench)).length
    await until(bench, 'more letters', (lines) => lines.length > before)
    const boots = (await said(bench)).filter((line) => line.startsWith('boot '))
    assert.deepEqual(boots.slice(-1), ['boot 4'])
    assertDone(await bench.stead('vm', 'snapshot', 'ledger', 'after'))
  })

  await t.test('a stop of the platform presses its power button, and a start boots what it wrote', async () => {
    const { code, tookMs } = await up.stop()
    assert.equal(code, 0)
    assert.ok(tookMs < vmStopMs, `it switched itself off, after ${tookMs} ms`)
    up = await begun(bench)
    await until(bench, 'the fifth boot', (lines) => lines.includes('boot 5'))
    assert.equal((await up.stop()).code, 0)
    assert.ok(readFileSync(diskPath).equals(bootDisk()), 'the disk itself is as it was')
  })

  await t.test('another disk in its place is refused, and the earlier one is taken again', async () => {
    writeFileSync(diskPath, bootDisk('another'))
    const refused = await bench.stead('up', '.', '--port', '0')
    assertRefused(refused, {
      says: /the disk of ledger is not the one that its data was written on.*another name/,
      hint: /^/,
    })
    writeFileSync(diskPath, bootDisk())
    up = await begun(bench)
    await until(bench, 'the sixth boot', (lines) => lines.includes('boot 6'))
    assert.equal((await up.stop()).code, 0)
  })
})

test('a disk that cannot be booted is refused before anything is done', { skip, timeout: 120_000 }, async () => {
  await using bench = new Workbench()
  const cases: readonly (readonly [content: Buffer | null, says: RegExp])[] = [
    [null, /ledger.*there is no guest\/disk\.raw beside the app file/],
    [Buffer.alloc(1024), /ledger.*no boot sector/],
  ]
  for (const [content, says] of cases) {
    bench.write({ 'app.ts': app, 'web/server.js': server, 'guest/note': '' })
    if (content !== null) writeFileSync(join(bench.appDir, 'guest/disk.raw'), content)
    assertRefused(await bench.stead('up', '.', '--port', '0'), { says, hint: /^/ })
  }
})

test('where there is nothing to run a kernel with, that is said, and what to install', { skip }, async () => {
  await using bench = new Workbench({ env: {} })
  mkdirSync(join(bench.dir, 'parts'))
  const alone = appFile(
    `const alone = service('alone', { run: ['sh', '-c', 'sleep 60'], isolation: 'kernel' })`,
    `{ parts: { alone } }`,
  )
  bench.write({ 'app.ts': alone })
  assertRefused(await bench.as({ STEAD_GUEST_PARTS: join(bench.dir, 'parts') }, 'up', '.', '--port', '0'), {
    says: /service 'alone' gave up: There is no QEMU on this machine/,
    hint: /Install qemu-system-x86 and linux-image-amd64/,
  })
})
