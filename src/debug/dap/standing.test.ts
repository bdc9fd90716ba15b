/** Whether a program stands, read from what is said about it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeDap } from './codec.ts'
import { Standing } from './standing.ts'

test('it stands from the word that it has stopped to the wish that it goes on', () => {
  const told: boolean[] = []
  const standing = new Standing((stands) => told.push(stands))
  const says = (event: string): void => standing.answered(encodeDap({ type: 'event', event, body: {} }))
  says('initialized')
  says('stopped')
  says('stopped')
  assert.equal(standing.asked(encodeDap({ type: 'request', command: 'stackTrace' })), 0)
  assert.deepEqual(told, [true])
  const next = encodeDap({ type: 'request', command: 'next' })
  assert.equal(standing.asked(next.subarray(0, 10)), 10)
  standing.askedAnew()
  assert.equal(standing.asked(next), 0)
  says('stopped')
  says('continued')
  assert.deepEqual(told, [true, false, true, false])
})

test('what cannot be read is a program that runs', () => {
  const told: boolean[] = []
  const standing = new Standing((stands) => told.push(stands))
  standing.answered(encodeDap({ type: 'event', event: 'stopped' }))
  assert.equal(standing.asked(Buffer.from('Content-Length: x\r\n\r\n')), 0)
  standing.answered(encodeDap({ type: 'event', event: 'stopped' }))
  assert.deepEqual(told, [true, false])
})
