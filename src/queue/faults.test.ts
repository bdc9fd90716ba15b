/** A driver that fails at chosen moments: confirmations that get lost, dead letters that cannot be written, servers that are away. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ManualClock, systemClock } from '../base/index.ts'
import { jsonCodec } from './codec.ts'
import type { QueueDriver } from './driver.ts'
import { openLedgerMemory } from './drivers/ledger/file.ts'
import { LedgerHost } from './drivers/ledger/host.ts'
import { memoryCapabilities } from './drivers/ledger/capabilities.ts'
import { failure } from './errors.ts'
import { assertNothing, refuses, takeOne, until } from './helpers.conformance.ts'
import type { QueueEvent } from './metrics.ts'
import { queuesOn } from './queues.ts'

const away = (): Error => failure('unavailable', 'the server is away', 'Wait.')

function memory(clock = systemClock): LedgerHost {
  return new LedgerHost(openLedgerMemory(), {
    name: 'memory',
    server: 'here',
    capabilities: memoryCapabilities,
    clock,
    durability: 'memory',
    messagesMax: 1000,
    bytesMax: Number.MAX_SAFE_INTEGER,
  })
}

/** The driver with some methods replaced. */
function withFaults(faults: (driver: QueueDriver) => Partial<QueueDriver>): QueueDriver {
  const driver = memory()
  const replaced = faults(driver)
  return new Proxy(driver, {
    get(target, name) {
      const value: unknown = Reflect.get(replaced, name) ?? Reflect.get(target, name)
      return typeof value === 'function'
        ? (...args: readonly unknown[]): unknown => Reflect.apply(value, target, args)
        : value
    },
  })
}

suite('queues on a driver that fails', () => {
  test('a confirmation that was lost leads to one more of the same id, or to a duplicate that is told', async () => {
    let lost = 0
    const driver = withFaults((inner) => ({
      async send(queue, messages) {
        const outcomes = await inner.send(queue, messages)
        if ((lost += 1) % 2 === 1) throw failure('outcome-unknown', 'the answer was lost', 'Look.')
        return outcomes
      },
    }))
    await using queues = queuesOn(driver)
    const queue = await queues.declare('mail', jsonCodec)
    assert.deepEqual(await queue.send(1, { id: 'a' }), { id: 'a', duplicate: false, durability: 'memory' })
    assert.equal((await queue.counts()).ready, 2)
    const messages = await queue.receive({ max: 10 })
    assert.deepEqual(
      messages.map(({ id }) => id),
      ['a', 'a'],
    )
    for (const message of messages) await message.ack()
    assert.equal((await queue.send(2, { dedup: { key: 'k' } })).duplicate, true)
    assert.equal((await queue.counts()).ready, 1)
  })

  test('a dead letter that cannot be written is not lost: it comes again, and no handler is started for it', async () => {
    let broken = true
    const driver = withFaults((inner) => ({
      settle(queue, settlements) {
        const burying = settlements.some(({ decision }) => decision.kind === 'reject')
        return burying && broken ? Promise.reject(away()) : inner.settle(queue, settlements)
      },
    }))
    const events: QueueEvent[] = []
    await using queues = queuesOn(driver, { patienceMs: 50, onEvent: (event) => void events.push(event) })
    const queue = await queues.declare('mail', jsonCodec, { retry: { attemptsMax: 1 } })
    await queue.send(1, { id: 'poison' })
    let starts = 0
    const consumer = queue.consume(
      () => {
        starts += 1
        throw new Error('broken')
      },
      { leaseMs: 300, timeoutMs: 0 },
    )
    await until('it was tried twice', () => events.filter(({ kind }) => kind === 'not-settled').length >= 2)
    broken = false
    await until('it is dead', () => queue.metrics().rejected === 1)
    await consumer.drain()
    assert.equal(starts, 1)
    assert.equal((await queue.deadLetters.peek())[0]?.id, 'poison')
  })

  test('a server that is away is asked again, and is told of; one that refuses ends the consumer aloud', async () => {
    let error: Error | null = away()
    const driver = withFaults((inner) => ({
      receive: (queue, want, signal) => (error === null ? inner.receive(queue, want, signal) : Promise.reject(error)),
    }))
    const events: QueueEvent[] = []
    await using queues = queuesOn(driver, { onEvent: (event) => void events.push(event) })
    const queue = await queues.declare('mail', jsonCodec)
    const consumer = queue.consume(() => {})
    await until('it was asked three times', () => events.length >= 3)
    error = null
    await queue.send(1)
    await until('it goes on', () => queue.metrics().acked === 1)
    error = failure('not-authorized', 'the password was changed', 'Give the new one.')
    const ended = assert.rejects(consumer.ended, { code: 'queue.not-authorized' })
    consumer.pause()
    consumer.resume()
    await ended
    assert.deepEqual([...new Set(events.map(({ kind }) => kind))], ['not-received'])
  })

  test('an answer to somebody who has gone is dropped, and the question is settled', async () => {
    const driver = memory()
    await using queues = queuesOn(driver)
    const queue = await queues.declare('sums', jsonCodec)
    await driver.send('sums', [
      {
        id: 'q',
        body: '1',
        headers: { 'stead-reply-to': 'reply-gone', 'stead-correlation': 'q' },
        key: null,
        priority: 0,
        delayMs: 0,
        dedup: null,
      },
    ])
    const consumer = queue.consume((message) => queues.reply(message, jsonCodec, 2))
    await until('the question is settled', () => queue.metrics().acked === 1)
    await consumer.drain()
    const plain = await queue.send(1).then(() => takeOne(queue))
    await refuses('queue.bad-input', () => queues.reply(plain, jsonCodec, 2))
  })

  test('sending waits for a server that is away, and not longer than it may', async () => {
    let failures = 3
    const driver = withFaults((inner) => ({
      send: (queue, messages) => ((failures -= 1) >= 0 ? Promise.reject(away()) : inner.send(queue, messages)),
    }))
    await using queues = queuesOn(driver, { patienceMs: 2000 })
    const queue = await queues.declare('mail', jsonCodec)
    await queue.send(1)
    await (await takeOne(queue)).ack()
    failures = 1_000_000
    await refuses('queue.unavailable', () => queue.send(2))
    await assertNothing(queue)
    assert.equal(queue.metrics().sendFailed, 1)
  })
})

test('setting the clock of the machine moves neither leases nor delays', async () => {
  const steps = new ManualClock(1_000_000_000)
  let jumpMs = 0
  const clock = {
    nowMs: (): number => steps.nowMs() + jumpMs,
    monotonicMs: (): number => steps.monotonicMs(),
    after: (delayMs: number, run: () => void): Disposable => steps.after(delayMs, run),
  }
  await using queues = queuesOn(memory(clock), { clock })
  const queue = await queues.declare('mail', jsonCodec)
  await queue.send('held')
  const [held] = await queue.receive({ leaseMs: 60_000 })
  await queue.send('delayed', { delayMs: 60_000 })
  for (const hours of [1, -2]) {
    jumpMs += hours * 3_600_000
    assert.deepEqual(await queue.receive(), [])
    assert.deepEqual(await queue.counts(), { ready: 0, delayed: 1, held: 1, dead: 0 })
  }
  steps.advance(59_000)
  assert.deepEqual(await queue.receive(), [])
  await held?.ack()
  steps.advance(1000)
  assert.deepEqual(
    (await queue.receive()).map(({ value }) => value),
    ['delayed'],
  )
})
