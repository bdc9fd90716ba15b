/** Effects over a return of the data to an earlier state, with the provider that carries the ledger: nothing goes out twice. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Client } from 'pg'
import { isSteadError } from '../base/index.ts'
import { makeTestPostgres } from '../database/conformance.ts'
import { compensate, look, plan, run, sweep } from './index.ts'

test('what was sent after a checkpoint is not sent again by the data that came back', async () => {
  const received: string[] = []
  const send = async ({ key }: { readonly key: string }): Promise<string> => {
    received.push(key)
    return key
  }
  const planned = async (client: Client, key: string): Promise<void> => {
    await client.query('begin')
    await plan(client, { key, kind: 'mail', what: `mail ${key}`, payload: { key } })
    await client.query('commit')
  }
  await using postgres = await makeTestPostgres()
  const { resource, provider, host } = postgres
  const dir = await mkdtemp(join(tmpdir(), 'stead-effects-return-'))
  try {
    await resource.start()
    await provider.prepare(resource.context)
    await postgres.asConsumer('web', (client) => planned(client, 'known'))
    const earlier = await postgres.checkpoint('earlier')
    await postgres.asConsumer('web', async (client) => {
      for (const key of ['new', 'lost', 'never']) await planned(client, key)
      for (const key of ['known', 'new']) await run(client, key, send)
      await assert.rejects(run(client, 'lost', () => Promise.reject(new Error('connection reset'))))
    })
    await provider.abandon?.(resource.context, dir)
    await resource.stop()
    await host.copy(earlier, resource.context.dataDir)
    await provider.recover(resource.context)
    await resource.start()
    await provider.carry?.(resource.context, dir, 2)

    await postgres.asConsumer('web', async (client) => {
      const report = await sweep(client, { mail: { send, possiblySent: 'send-again' } })
      assert.deepEqual(report, { sent: [], left: [{ key: 'lost', because: 'abandoned' }], more: false })
      const states = []
      for (const key of ['known', 'new', 'lost', 'never']) {
        const effect = await look(client, key)
        states.push(effect === null ? null : `${effect.state} ${effect.abandonedByGeneration}`)
      }
      assert.deepEqual(states, ['sent null', 'sent 2', 'sending 2', null])
      // The data decides on it once more: it is the same effect, and it is done.
      await planned(client, 'new')
      await run(client, 'new', send)
      await assert.rejects(
        run(client, 'lost', send),
        (error) => isSteadError(error) && error.code === 'effects.abandoned',
      )
      assert.equal((await compensate(client, 'lost', send)).state, 'compensated')
    })
    assert.deepEqual(received, ['known', 'new', 'lost:undo'])
  } finally {
    await rm(dir, { recursive: true })
  }
})
