/** What it costs to ask what has changed: measured and printed beside the writer's own figures. Nothing is decided by it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'

const tables = 1_000
const rounds = 40

test('asking what has changed in a thousand tables, while somebody writes', async (t) => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { provider, resource } = postgres
  await resource.start()
  const median = (values: readonly number[]): string =>
    `${(values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN).toFixed(1)} ms`
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const startMs = systemClock.monotonicMs()
    await work()
    return systemClock.monotonicMs() - startMs
  }
  const ask = async (): Promise<void> => {
    const { counts } = (await provider.position?.(resource.context)) ?? assert.fail()
    assert.ok(counts.length <= tables)
  }
  await postgres.asConsumer('web', async (client) => {
    await client.query(
      `do $$ begin for i in 1..${tables} loop execute format('create table t%s (a int)', i); execute format('insert into t%s values (1)', i); end loop; end $$`,
    )
    const write = (): Promise<unknown> => client.query('insert into t1 values (1)')
    const alone: number[] = []
    for (let round = 0; round < rounds; round++) alone.push(await timed(write))
    const [asked, beside]: [number[], number[]] = [[], []]
    for (let round = 0; round < rounds; round++) {
      const asking = timed(ask)
      beside.push(await timed(write))
      asked.push(await asking)
    }
    t.diagnostic(
      `asked in ${median(asked)} with a connection of its own; a commit took ${median(alone)} alone and ${median(beside)} while it was asked`,
    )
  })
})
