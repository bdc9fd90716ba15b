/**
 * Backups from the command line, with the real daemon and a real database: made, listed, proved by a drill, damaged, brought
 * back beside the app and put in its place.
 */
import assert from 'node:assert/strict'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger } from './ledger-app.ts'
import { needsFile } from './needs.ts'

const restic = needsFile('/usr/bin/restic', 'apt-get install restic')

interface Listed {
  readonly backups: readonly { readonly id: string; readonly state: string; readonly sentence: string }[]
}

test('backups of an app that runs', { skip: restic, timeout: 600_000 }, async (t) => {
  const disk = join(mkdtempSync(join(tmpdir(), 'stead-backup-disk-')), 'backups')
  t.after(() => rmSync(join(disk, '..'), { recursive: true, force: true }))
  await using daemon = await DaemonBench.start()
  const { bench, port } = daemon
  const stead = async (...words: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await bench.stead(...words)
    assert.equal(code, 0, `${words.join(' ')}: ${stderr}`)
    return stdout
  }
  const list = async (): Promise<Listed['backups']> =>
    (JSON.parse(await stead('backup', 'ls', '--from', disk, '--json')) as Listed).backups
  const copies = async (): Promise<number> => {
    const { checkpoints, branches } = JSON.parse(await stead('releases', '--app', 'ledger', '--json')) as {
      checkpoints: unknown[]
      branches: unknown[]
    }
    return checkpoints.length + branches.length
  }
  useLedger(bench)
  await daemon.deploy('ledger')
  await keep(port, 1)

  const early = await bench.stead('backup', 'ls', '--from', disk)
  assert.match(early.stderr, /key of backups cannot be read/)
  const first = await bench.stead('backup', 'ledger', '--to', disk, '--name', 'first')
  assert.equal(first.code, 0, first.stderr)
  const key = /^ {2}((?:[0-9a-z]{4}-){8}[0-9a-z]{4})$/m.exec(first.stderr)?.[1] ?? ''
  assert.match(first.stderr, /Keep it where this machine is not/)
  assert.equal(await stead('backup', 'key'), `${key}\n`)
  await keep(port, 2)
  const second = await bench.stead('backup', 'ledger', '--to', disk)
  assert.ok(!second.stderr.includes(key), 'the key is shown once')
  assert.equal(await copies(), 0, 'checkpoints that were made for it are given back')
  const [one, two] = await list()
  assert.deepEqual([one?.state, two?.state], ['unproved', 'unproved'])

  const drill = await stead(
    'backup',
    'drill',
    'ledger',
    '--from',
    disk,
    '--probe',
    'db=select count(*) = 2 from ledger',
  )
  assert.match(
    drill,
    /is proved in .*: \d+ files restored; db: a server started on it and recovered; .*checksum.*; db: the probe holds.*; db started; web started/,
  )
  assert.equal(await copies(), 0, 'a drill leaves nothing behind')
  assert.deepEqual(
    (await list()).map(({ state }) => state),
    ['unproved', 'proved'],
  )
  assert.deepEqual(await readNumbers(port), [1, 2])

  const answer = ['backup', 'drill', 'ledger', '--from', disk, '--probe', 'db=select false']
  const failed = await bench.stead(...answer)
  assert.equal(failed.code, 1)
  assert.match(failed.stdout, /NOT proved: .*probe/)

  const pack = join(disk, globSync('data/*/*', { cwd: disk }).toSorted()[0] ?? '')
  const whole = readFileSync(pack)
  rmSync(pack)
  writeFileSync(pack, whole.with(Math.floor(whole.length / 2), whole[Math.floor(whole.length / 2)] === 0 ? 1 : 0))
  const damaged = await bench.stead('backup', 'drill', 'ledger', '--from', disk)
  assert.equal(damaged.code, 1)
  assert.match(damaged.stdout, /is NOT proved: /)
  assert.match((await list()).at(-1)?.sentence ?? '', /failed its drill/)
  rmSync(pack)
  writeFileSync(pack, whole)

  await keep(port, 3)
  await stead('restore', 'ledger', '--from', disk, '--id', one?.id ?? '', '--name', 'back-then')
  assert.deepEqual(await readNumbers(port), [1, 2, 3], 'the live data is not touched')
  await stead('rollback', '--checkpoint', 'back-then', '--app', 'ledger')
  assert.deepEqual(await readNumbers(port), [1])
  const files = join(disk, '..', 'files')
  await stead('restore', 'ledger', '--from', disk, '--to', files)
  assert.ok(existsSync(join(files, 'db')))

  await stead('backup', 'rm', one?.id ?? '', '--from', disk)
  assert.equal((await list()).length, 1)
})

/** Has the app keep a number. */
async function keep(port: number, number: number): Promise<void> {
  const code = await new Promise<number>((resolve, reject) => {
    const options = { port, method: 'POST', path: `/${number}`, headers: { host: 'ledger.localhost' } }
    request(options, (answer) => {
      answer.resume()
      resolve(answer.statusCode ?? 0)
    })
      .once('error', reject)
      .end()
  })
  assert.equal(code, 201)
}
