/** The example with a PostgreSQL in a guest, which takes a minute or two to make its files where the processor is emulated. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { release } from 'node:os'
import { test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { machineParts, needsGuests } from './machine-parts.ts'
import { needsAll, needsFile } from './needs.ts'

const skip = needsAll(
  needsGuests(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  existsSync('/usr/lib/postgresql') ? false : 'needs PostgreSQL: apt-get install postgresql',
)

test('a PostgreSQL in a guest answers a part beside it', { skip, timeout: 900_000 }, async () => {
  const env = machineParts.root === null ? {} : { STEAD_GUEST_PARTS: machineParts.root }
  await using bench = new Workbench({ env })
  bench.useExample('own-kernel')
  const port = await freePort()
  const up = bench.up('--port', String(port))
  await up.until(/own-kernel runs, after/, 600_000)
  const { status, body } = await ask(port, '/', { host: 'ledger.localhost' })
  assert.equal(status, 200, body)
  const told = JSON.parse(body) as { readonly ledger: string; readonly web: string }
  assert.match(told.ledger, /^PostgreSQL \d+/)
  assert.match(told.ledger, /on Linux \d+\.\d+/)
  assert.ok(!told.ledger.endsWith(`Linux ${release()}`), 'its kernel is not that of the host')
  assert.equal(told.web, `Linux ${release()}`)
  assert.equal((await up.stop()).code, 0)
})
