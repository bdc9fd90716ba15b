/** Conformance: what cannot be sent is refused before any I/O, naming the limit; nothing of it arrives. */
import assert from 'node:assert/strict'
import { isSteadError } from '../base/index.ts'
import { jsonCodec, schemaCodec } from './codec.ts'
import type { StandardSchema } from './codec.ts'
import type { QueueCase } from './conformance.ts'
import { assertNothing, refuses, takeOne, until, untyped } from './helpers.conformance.ts'
import * as limits from './limits.ts'

/** A schema as a validator would make it: an address, which is cut to lower case when it arrives. */
const address: StandardSchema<{ readonly to: string }, { readonly to: string }> = {
  '~standard': {
    version: 1,
    vendor: 'stead',
    validate(value) {
      const to = typeof value === 'object' && value !== null && 'to' in value ? value.to : undefined
      if (typeof to === 'string' && to.includes('@')) return { value: { to: to.toLowerCase() } }
      return { issues: [{ message: 'is no address', path: ['to'] }] }
    },
  },
}

export const inputCases: readonly QueueCase[] = [
  {
    name: 'what is over a limit or cannot be written is refused, and the limit is named',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      const large = 'x'.repeat(limits.bodyBytesMax)
      await assert.rejects(queue.send(large), (error) => {
        assert.ok(isSteadError(error) && error.code === 'queue.too-large', String(error))
        assert.match(error.message, /the limit is \d+/)
        return true
      })
      const bad = [
        { headers: { 'Upper-Case': 'x' } },
        { headers: { 'stead-own': 'x' } },
        { headers: { x: '\ud800' } },
        { id: '' },
        { id: 'a\u0000b' },
      ]
      for (const options of bad) await refuses('queue.bad-input', () => queue.send(1, options))
      const many = Object.fromEntries(Array.from({ length: limits.headersMax + 1 }, (_, index) => [`h${index}`, 'x']))
      await refuses('queue.too-large', () => queue.send(1, { headers: many }))
      await refuses('queue.too-large', () => queue.send(1, { headers: { h: 'x'.repeat(limits.headerBytesMax) } }))
      await refuses('queue.too-large', () => queue.send(1, { id: 'x'.repeat(limits.keyBytesMax + 1) }))
      const cyclic: { self?: unknown } = {}
      cyclic.self = cyclic
      for (const value of [undefined, Number.NaN, () => 1, new Date(0), 1n, cyclic]) {
        await refuses('queue.bad-input', () => untyped(queue, 'send', value))
      }
      for (const name of ['', 'Upper', 'a b', 'a..b', 'mail.dead', '../x', 'ä', '-a']) {
        await refuses('queue.bad-input', () => queues.declare(name, jsonCodec))
      }
      await refuses('queue.too-large', () => queues.declare('x'.repeat(limits.nameBytesMax + 1), jsonCodec))
      await refuses('queue.bad-input', () => queue.receive({ max: 0 }))
      await refuses('queue.bad-input', () => queue.receive({ leaseMs: 0 }))
      // Misspelt: not heeded in silence, which would be a queue that gives less than was asked.
      await refuses('queue.bad-input', () => queue.send(1, { delay: 5 } as object))
      await refuses('queue.bad-input', () => queue.receive({ count: 5 } as object))
      await refuses('queue.bad-input', () => queues.declare('mail', jsonCodec, { need: ['fencing'] } as object))
      await refuses('queue.bad-input', () => queues.declare('mail', jsonCodec, { retry: { attempts: 2 } as object }))
      await refuses('queue.bad-input', async () => queue.consume(() => {}, { parallel: 2 } as object))
      await assertNothing(queue)
    },
  },
  {
    name: 'a delay longer than can be is refused, and the limit is named',
    needs: ['delayed-send'],
    async run(place) {
      await using queues = await place.open()
      const queue = await queues.declare('mail', jsonCodec)
      for (const delayMs of [-1, 1.5, Number.NaN, limits.delayMsMax + 1]) {
        await assert.rejects(queue.send(1, { delayMs }), (error) => {
          assert.ok(isSteadError(error) && error.code === 'queue.bad-input')
          assert.match(error.hint ?? '', /between 0 and \d+/)
          return true
        })
      }
    },
  },
  {
    name: 'a need that there is no word for is an error, not a promise',
    needs: [],
    async run(place) {
      await using queues = await place.open()
      await refuses('queue.bad-input', () => untyped(queues, 'declare', 'mail', jsonCodec, { needs: ['exactly-once'] }))
    },
  },
  {
    name: 'a schema is asked when a message is sent and when it arrives; what it does not accept is dead at once',
    needs: ['dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const plain = await queues.declare('mail', jsonCodec)
      const queue = await queues.declare('mail', schemaCodec(address))
      await refuses('queue.bad-input', () => queue.send({ to: 'nobody' }))
      await plain.send({ to: 'nobody' }, { id: 'bad' })
      await queue.send({ to: 'A@Example.com' })
      const got: string[] = []
      const consumer = queue.consume(({ value }) => void got.push(value.to))
      await until('the good one arrived', () => queue.metrics().acked === 1)
      await until('the bad one is dead', () => queue.metrics().rejected === 1)
      await consumer.drain()
      assert.deepEqual(got, ['a@example.com'])
      assert.equal(queue.metrics().invalid, 1)
      const [dead] = await queue.deadLetters.peek()
      assert.equal(dead?.id, 'bad')
      assert.match(dead.cause ?? '', /to: is no address/)
    },
  },
  {
    name: 'a message of a text that is not JSON does not stop the ones behind it',
    needs: ['dead-letter'],
    async run(place) {
      await using queues = await place.open()
      const raw = await queues.declare('mail', { encode: (text: string) => text, decode: String })
      const queue = await queues.declare('mail', jsonCodec)
      await raw.send('{"not": json')
      await raw.send('"good"')
      assert.equal((await takeOne(queue)).value, 'good')
      assert.equal(queue.metrics().invalid, 1)
    },
  },
]
