/**
 * Backups that an app declares: the running platform makes, carries and proves them by itself, says what fails, and a moment
 * between two of them is brought back from there.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, eventually, withInput } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger } from './ledger-app.ts'
import { needsFile } from './needs.ts'

interface Standing {
  readonly madeMs: number | null
  readonly logMs: number | null
  readonly state: string
  readonly troubles: readonly string[]
}

test(
  'backups that are declared',
  { skip: needsFile('/usr/bin/restic', 'apt-get install restic'), timeout: 600_000 },
  async (t) => {
    const disk = mkdtempSync(join(tmpdir(), 'stead-backup-disk-'))
    t.after(() => rmSync(disk, { recursive: true, force: true }))
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    const standing = async (): Promise<Standing> => {
      const { stdout } = await bench.stead('status', 'ledger', '--json')
      return (JSON.parse(stdout) as { backup: Standing }).backup
    }
    const until = (what: string, holds: (found: Standing) => boolean): Promise<Standing> =>
      eventually(what, standing, holds, 120_000)
    const keep = async (number: number): Promise<void> => {
      assert.equal((await ask(port, `/${number}`, { method: 'POST', host: 'ledger.localhost' })).status, 201)
    }
    const probe = 'select count(*) > 0 from ledger'
    const key = "secret('backup-key', { from: 'operator' })"
    useLedger(bench, '', `backup: { to: '${disk}/b', log: '10s', drill: { probe: { db: '${probe}' } }, key: ${key} }`)
    await daemon.deploy('ledger')
    await keep(1)

    const { troubles } = await until('it says what is missing', (found) => found?.troubles.length > 0)
    assert.match(troubles[0] ?? '', /a backup failed.*backup-key/)
    assert.equal((await bench.stead('status', 'ledger')).code, 4, 'a backup that fails is loud')

    const made = await bench.stead('backup', 'key', '--make')
    assert.equal(made.code, 0, made.stderr)
    const set = await withInput(bench, made.stdout, 'secret', 'set', 'backup-key', '--app', 'ledger')
    assert.equal(set.code, 0, set.stderr)
    const proved = await until('a backup is made and proved', ({ state }) => state === 'proved')
    assert.ok(proved.madeMs !== null)
    assert.deepEqual(proved.troubles, [])

    await keep(2)
    const moment = new Date().toISOString()
    await eventually(
      'the clock goes on',
      async () => Date.now(),
      (nowMs) => nowMs > Date.parse(moment) + 50,
    )
    await keep(3)
    const writtenMs = Date.now()
    await until('the log is carried', ({ logMs }) => logMs !== null && logMs > writtenMs)
    const then = await bench.stead(
      'restore',
      'ledger',
      '--from',
      join(disk, 'b'),
      '--at',
      moment,
      '--name',
      'then',
      '--confirm',
    )
    assert.equal(then.code, 0, then.stderr)
    const back = await bench.stead('rollback', '--checkpoint', 'then', '--app', 'ledger')
    assert.equal(back.code, 0, back.stderr)
    assert.deepEqual(await readNumbers(port), [1, 2])
    await until('what has come back is backed up anew', ({ madeMs }) => (madeMs ?? 0) > writtenMs)
    const { stdout } = await bench.stead('status', 'ledger')
    assert.match(stdout, /backups to .*newest backup of .*; proved/)
  },
)
