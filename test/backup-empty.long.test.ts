/**
 * A machine that has nothing but Stead, the place of the backups, and their key: one command brings the app up there, with its
 * code, its secrets and its data. The machine that made the backup is gone.
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

test(
  'an app comes back on an empty machine',
  { skip: needsFile('/usr/bin/restic', 'apt-get install restic'), timeout: 600_000 },
  async (t) => {
    const disk = mkdtempSync(join(tmpdir(), 'stead-backup-disk-'))
    t.after(() => rmSync(disk, { recursive: true, force: true }))
    const place = join(disk, 'b')
    const keep = async (port: number, number: number): Promise<void> => {
      const answer = await ask(port, `/${number}`, { method: 'POST', host: 'ledger.localhost' })
      assert.equal(answer.status, 201, answer.body)
    }
    let key = ''
    {
      await using first = await DaemonBench.start()
      const made = await first.bench.stead('backup', 'key', '--make')
      assert.equal(made.code, 0, made.stderr)
      key = made.stdout
      useLedger(first.bench, '', `backup: { to: '${place}', log: '10s' }`)
      await first.deploy('ledger')
      const standing = async (): Promise<{ readonly madeMs: number | null; readonly logMs: number | null }> => {
        const { stdout } = await first.bench.stead('status', 'ledger', '--json')
        return (JSON.parse(stdout) as { backup: { madeMs: number | null; logMs: number | null } }).backup
      }
      await eventually('a backup is made', standing, (found) => (found?.madeMs ?? null) !== null, 120_000)
      for (const number of [1, 2, 3]) await keep(first.port, number)
      const writtenMs = Date.now()
      await eventually('the log is carried', standing, ({ logMs }) => (logMs ?? 0) > writtenMs, 120_000)
    }

    await using second = await DaemonBench.start()
    const { bench, port } = second
    const before = await bench.stead('restore', 'ledger', '--from', place)
    assert.match(before.stderr, /key of backups cannot be read/)
    const set = await withInput(bench, key, 'backup', 'key', '--set')
    assert.equal(set.code, 0, set.stderr)
    const unknown = await bench.stead('restore', 'shop', '--from', place)
    assert.deepEqual([unknown.code, /there is no backup of shop/.test(unknown.stderr)], [1, true], unknown.stderr)
    second.adopt('ledger')
    const restored = await bench.stead('restore', 'ledger', '--from', place)
    assert.equal(restored.code, 0, restored.stderr)
    assert.match(restored.stdout, /ledger\.localhost/)
    assert.deepEqual(await readNumbers(port), [1, 2, 3])
    await keep(port, 4)
    const backedUp = async (): Promise<boolean> => {
      const { stdout } = await bench.stead('status', 'ledger', '--json')
      return ((JSON.parse(stdout) as { backup?: { madeMs: number | null } }).backup?.madeMs ?? null) !== null
    }
    await eventually('what it declares goes on here: a backup is made', backedUp, (made) => made, 120_000)
  },
)
