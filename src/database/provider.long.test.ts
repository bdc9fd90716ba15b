/** What takes long: many crashes in a row, and the waits for a data directory that is in use. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom, sleep, systemClock } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'

test('twenty crashes at random moments under load lose nothing that was acknowledged', async () => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { provider, resource } = postgres
  const random = seededRandom(7)
  let acknowledged = 0
  await resource.start()
  await postgres.asConsumer('web', (client) => client.query('create table a (b int primary key)'))
  for (let round = 0; round < 20; round++) {
    await postgres.asConsumer('web', async (client) => {
      const writing = (async () => {
        for (;;) {
          await client.query('insert into a values ($1) on conflict do nothing', [acknowledged])
          acknowledged++
        }
      })().catch(() => undefined)
      await sleep(systemClock, 20 + (random.bytes(1)[0] ?? 0))
      await resource.process().kill()
      await writing
    })
    await provider.recover(resource.context)
    await resource.start()
    const [row] = await postgres.admin<{ count: number; max: number }>(
      'select count(*)::int as count, max(b)::int from a',
    )
    assert.ok(row !== undefined && row.count >= acknowledged, `${row?.count} of ${acknowledged} in round ${round}`)
    assert.equal(row.max, row.count - 1)
    acknowledged = row.count
  }
  assert.ok(acknowledged > 20)
})

test('a second server, a recovery and a comparison are refused while a server runs on the data', async () => {
  await using postgres = await makeTestPostgres()
  const { provider, resource, host } = postgres
  await resource.start()
  const server = await provider.provision(resource.context)
  assert.ok(server !== null)
  const second = await host.start(server).ended
  assert.notEqual(second.code, 0)
  assert.match(second.output, /another server runs on/)
  const inUse = { code: 'database.in-use', retry: 'later' } as const
  await assert.rejects(provider.recover(resource.context), inUse)
  const { dataDir } = resource.context
  await assert.rejects(provider.diff(resource.context, dataDir, dataDir), inUse)
  await postgres.asConsumer('web', (client) => client.query('select 1'))
})
