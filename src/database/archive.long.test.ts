/** The log beside the data, with a real server: a copy is brought along what only it still has. */
import assert from 'node:assert/strict'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { sleep, systemClock } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'

test('a copy is brought along what the server itself has long thrown away; the log of the copy has no gap', async () => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { resource, provider, host } = postgres
  await resource.start()
  const write = (count: number): Promise<unknown> =>
    postgres.asConsumer('web', (client) => client.query(`insert into a select generate_series(1, ${count})`))
  await postgres.asConsumer('web', (client) => client.query('create table a (b int)'))
  const base = await postgres.checkpoint('base')
  await write(10)
  await provider.mark?.(resource.context, 'wanted')
  for (let times = 0; times < 5; times++) {
    await write(1)
    await postgres.admin('select pg_switch_wal()')
  }
  const standing = async () => (await provider.log?.(resource.context)) ?? assert.fail()
  const deadlineMs = systemClock.monotonicMs() + 30_000
  while ((await standing()).bytes < 5 * 16 * 1024 * 1024) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, JSON.stringify(await standing()))
    await sleep(systemClock, 50)
  }
  const { sinceMs, trouble } = await standing()
  assert.ok(sinceMs !== null && sinceMs <= systemClock.nowMs() + 1000)
  assert.equal(trouble, null)
  const later = await postgres.checkpoint('later')
  const [wal, log] = [join(later, 'pgdata', 'pg_wal'), join(later, 'log')]
  const names = readdirSync(log).filter((name) => name.startsWith('0'))
  for (const name of names) rmSync(join(wal, name), { force: true })
  const dataDir = join(host.dir, 'copy')
  await host.copy(base, dataDir)
  await provider.restoreTo?.({ ...resource.context, dataDir }, later, { kind: 'name', name: 'wanted' })
  await provider.verify?.({ ...resource.context, dataDir }, 'select count(*) = 10 from a')
  const copied = readdirSync(join(dataDir, 'log'))
  assert.ok(copied.includes('00000002.history'), copied.join())
  assert.ok(
    names.some((name) => copied.includes(name)),
    copied.join(),
  )
})
