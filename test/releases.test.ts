/**
 * Releases on the real daemon, through the command line: rolled out under load without a failed request, taken back by
 * themselves, and gone back from with their data, with nothing that was acknowledged missing from both what is live and
 * what was kept.
 */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ask, eventually, type Result } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'

/** A deployment of what lies in the app's directory, watched shortly. */
function deploy(daemon: DaemonBench, ...more: readonly string[]): Promise<Result> {
  return daemon.bench.stead('deploy', '.', '--watch', '1s', ...more)
}

interface Listed {
  readonly live: number
  readonly generation: number
  readonly releases: readonly { readonly number: number; readonly state: string; readonly backTo: number | null }[]
  readonly branches: readonly { readonly name: string }[]
}

async function releasesOf(daemon: DaemonBench): Promise<Listed> {
  const { stdout, code, stderr } = await daemon.bench.stead('releases', '--app', 'ledger', '--json')
  assert.equal(code, 0, stderr)
  return JSON.parse(stdout) as Listed
}

suite('releases', { timeout: 600_000 }, () => {
  test('every strategy, under load: no request fails, and what a migration needs is said first', async () => {
    await using daemon = await DaemonBench.start()
    useLedger(daemon.bench)
    await daemon.deploy('ledger')
    await using load = writeNumbers(daemon.port, 2)

    useLedger(daemon.bench, 'rolling')
    const rolling = await deploy(daemon)
    assert.equal(rolling.code, 0, rolling.stderr)
    assert.match(rolling.stderr, /restarts web: its code has changed/)

    useLedger(daemon.bench, 'blue-green, with a first and a second half')
    daemon.bench.write({
      'migrations/002_note.expand.sql': 'alter table ledger add column note text;\n',
      'migrations/002_note.contract.sql': "update ledger set note = '' where note is null;\n",
    })
    const blueGreen = await deploy(daemon, '--strategy', 'blue-green')
    assert.equal(blueGreen.code, 0, blueGreen.stderr)
    assert.match(blueGreen.stderr, /002_note\.expand\.sql \(runs at once\)/)
    for (const step of [
      'rehearse on a copy of the data',
      'checkpoint',
      'expand the schema',
      'shift the traffic',
      'contract the schema',
    ])
      assert.match(blueGreen.stderr, new RegExp(`✓ ${step}`))

    useLedger(daemon.bench, 'canary')
    const canary = await deploy(daemon, '--strategy', 'canary', '--shares', '20,100')
    assert.equal(canary.code, 0, canary.stderr)
    assert.match(canary.stderr, /20 % of the requests/)

    const { kept, answers } = await load.stop()
    assert.deepEqual([...answers.keys()], ['201'], JSON.stringify([...answers]))
    const there = new Set(await readNumbers(daemon.port))
    assert.deepEqual(
      kept.filter((number) => !there.has(number)),
      [],
    )
    const { live, releases } = await releasesOf(daemon)
    assert.deepEqual(
      [live, releases.map(({ state }) => state)],
      [4, ['confirmed', 'confirmed', 'confirmed', 'confirmed']],
    )
  })

  test('bad releases are refused or taken back; going back takes the data along and keeps what it leaves', async () => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    useLedger(bench)
    await daemon.deploy('ledger')
    await using load = writeNumbers(port, 1)

    bench.write({ 'migrations/002_bad.sql': 'alter table no_such_table add column x int;\n' })
    const refused = await deploy(daemon)
    assert.equal(refused.code, 1)
    assert.match(
      refused.stderr,
      /release 2 of ledger was refused; nothing was changed: .*002_bad\.sql:1.*no_such_table/s,
    )

    bench.write({
      'migrations/002_bad.sql': 'alter table ledger add column note text;\n',
      'web/server.js': 'process.exit(7)\n',
    })
    const dies = await deploy(daemon)
    assert.equal(dies.code, 1, dies.stderr)
    assert.match(dies.stderr, /release 3 of ledger was refused; nothing was changed: web .*code 7/s)

    useLedger(bench, 'fine')
    const fine = await deploy(daemon)
    assert.equal(fine.code, 0, fine.stderr)
    assert.match(fine.stderr, /stops the app/)

    bench.write({ 'web/server.js': 'process.exit(7)\n' })
    const taken = await deploy(daemon)
    assert.equal(taken.code, 1)
    assert.match(taken.stderr, /release 5 of ledger was taken back: web: .*code 7/s)

    const hard = await bench.stead('rollback', '--app', 'ledger')
    assert.equal(hard.code, 1)
    assert.match(hard.stderr, /release 4 has changed the schema/)

    const back = await bench.stead('rollback', '--with-data', '--app', 'ledger')
    assert.equal(back.code, 0, back.stderr)
    assert.match(back.stdout, /db ledger: \d+ inserted; `stead replay left-by-6 db ledger`/)
    const { kept } = await load.stop()
    const live = new Set(await readNumbers(port))
    const left = kept.filter((number) => !live.has(number))
    assert.ok(left.length > 0)

    const replayed = await bench.stead('replay', 'left-by-6', 'db', 'ledger', '--app', 'ledger')
    assert.equal(replayed.code, 0, replayed.stderr)
    const again = new Set(await readNumbers(port))
    assert.deepEqual(
      kept.filter((number) => !again.has(number)),
      [],
      'nothing acknowledged is missing',
    )

    const branch = await bench.stead('branch', 'try', '--from', 'left-by-6', '--app', 'ledger')
    assert.equal(branch.code, 0, branch.stderr)
    assert.match(branch.stdout, /http:\/\/try\.ledger\.localhost/)
    const { live: number, generation, branches } = await releasesOf(daemon)
    assert.deepEqual([number, generation, branches.map(({ name }) => name)], [6, 2, ['try']])
    const gone = await bench.stead('branch', 'try', '--rm', '--app', 'ledger')
    assert.equal(gone.code, 0, gone.stderr)

    useLedger(bench, 'fine again')
    const forward = await deploy(daemon)
    assert.equal(forward.code, 0, `on data that has come back: ${forward.stderr}`)
    assert.match(forward.stderr, /rehearse on a copy/)
  })
})

suite('a moment in the past', { timeout: 600_000 }, () => {
  test('a checkpoint goes forward along the log to a time, is looked at, and gone back to', async () => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    useLedger(bench)
    await daemon.deploy('ledger')
    const made = await bench.stead('checkpoint', 'first', '--app', 'ledger')
    assert.equal(made.code, 0, made.stderr)
    const before = await (await keepFor(port, 1000, 1)).stop()
    const moment = new Date(Date.now() + 1500).toISOString()
    await pause(3000)
    const after = await (await keepFor(port, 500, 1_000_000)).stop()
    const second = await bench.stead('checkpoint', 'second', '--app', 'ledger')
    assert.equal(second.code, 0, second.stderr)

    // Nothing keeps the clock of most machines that tests run on: then a time has to be confirmed.
    const at = await bench.stead('restore', '--at', moment, '--name', 'then', '--confirm', '--app', 'ledger')
    assert.equal(at.code, 0, at.stderr)
    assert.match(at.stdout, /db: [0-9A-F]+\/[0-9A-F]+/)
    const nowhere = await bench.stead('restore', '--at', '20:15', '--app', 'ledger')
    assert.deepEqual([nowhere.code, /20:15 is no moment/.test(nowhere.stderr)], [2, true], nowhere.stderr)

    const back = await bench.stead('rollback', '--checkpoint', 'then', '--app', 'ledger')
    assert.equal(back.code, 0, back.stderr)
    const there = new Set(await readNumbers(port))
    assert.deepEqual(
      before.kept.filter((number) => !there.has(number)),
      [],
      'all from before that time',
    )
    assert.deepEqual(
      after.kept.filter((number) => there.has(number)),
      [],
      'nothing from after it',
    )

    // The abandoned future has its log with it, and the names in there.
    const found = await bench.stead(
      'restore',
      '--at',
      'second',
      '--log',
      'left-by-2',
      '--name',
      'again',
      '--app',
      'ledger',
    )
    assert.equal(found.code, 0, found.stderr)
    const again = await bench.stead('rollback', '--checkpoint', 'again', '--app', 'ledger')
    assert.equal(again.code, 0, again.stderr)
    const all = new Set(await readNumbers(port))
    assert.deepEqual(
      [...before.kept, ...after.kept].filter((number) => !all.has(number)),
      [],
      'all that was acknowledged before the second checkpoint',
    )
    await eventually(
      'the log is looked at',
      () => bench.stead('status', 'ledger'),
      ({ code, stdout }) => code === 0 && /db: the log leads /.test(stdout),
    )
  })
})

/** Writes for a while from a number on. */
async function keepFor(port: number, forMs: number, first: number): Promise<ReturnType<typeof writeNumbers>> {
  const writing = writeNumbers(port, 1, first)
  await pause(forMs)
  return writing
}

suite('the bad releases of the shop', { timeout: 600_000 }, () => {
  test('a migration that real data breaks is refused; code that fails requests is taken back, and nothing is lost', async () => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    bench.useExample('shop')
    await daemon.deploy('shop')
    const location = await order(port, 'lamp', 'Ada')

    bench.useExample('shop-bad-releases/migration')
    const refused = await deploy(daemon)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /was refused; nothing was changed: .*0003_gift_note\.sql:2.*null values/s)
    assert.equal((await ask(port, location)).status, 200)

    rmSync(join(bench.appDir, 'migrations/0003_gift_note.sql'))
    bench.useExample('shop-bad-releases/code')
    const visits = visitAll(port)
    // What the new release is compared with: the requests of before it.
    await pause(3000)
    const taken = await bench.stead('deploy', '.', '--watch', '30s')
    await visits.stop()
    assert.equal(taken.code, 1, taken.stderr)
    assert.match(taken.stderr, /was taken back: .*% of \d+ requests failed/s)
    assert.equal((await ask(port, location)).status, 200)
    for (let visit = 0; visit < 6; visit += 1) assert.equal((await ask(port, '/')).status, 200, 'the old one serves')
  })
})

/** Asks for the shop's first page, a few times in a second, until it is stopped. */
function visitAll(port: number): { stop(): Promise<void> } {
  let going = true
  const visit = async (): Promise<void> => {
    while (going) {
      await ask(port, '/').catch(() => null)
      await pause(10)
    }
  }
  const running = [visit(), visit()]
  return {
    async stop() {
      going = false
      await Promise.all(running)
    },
  }
}

async function order(port: number, product: string, customer: string): Promise<string> {
  const page = await ask(port, `/products/${product}`)
  const token = /name="token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
  const answer = await ask(port, '/orders', { form: { product, quantity: '1', customer, token } })
  assert.equal(answer.status, 303, answer.body)
  return String(answer.headers['location'])
}
