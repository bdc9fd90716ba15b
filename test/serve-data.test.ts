/** What `stead deploy` says of a database that runs already: the truth about this release, not about the one before. */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger } from './ledger-app.ts'

test('a migration over a running database', { timeout: 300_000 }, async () => {
  await using daemon = await DaemonBench.start()
  const { bench } = daemon
  useLedger(bench)
  await daemon.deploy('ledger')

  bench.write({ 'migrations/002_more.sql': 'create tabel more (id int);\n' })
  const broken = await bench.stead('deploy', '.', '--watch', '0')
  assert.equal(broken.code, 1, broken.stderr)
  assert.match(broken.stderr, /was refused; nothing was changed: .*002_more\.sql:1/)
  assert.deepEqual(await readNumbers(daemon.port), [], 'what ran before goes on')

  rmSync(join(bench.appDir, 'migrations/002_more.sql'))
  bench.write({ 'migrations/002_right.sql': 'create table more (id int);\n' })
  const mended = await bench.stead('deploy', '.', '--watch', '0')
  assert.equal(mended.code, 0, mended.stderr)
  assert.deepEqual(await readNumbers(daemon.port), [])
})
