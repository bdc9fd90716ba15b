/** A program that is held keeps no time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import { Holds } from './holds.ts'

test('a time begins anew for as long as somebody holds', () => {
  const clock = new ManualClock()
  const since: (number | null)[] = []
  const holds: Holds = new Holds(
    () => clock.nowMs(),
    (delayMs, run) => void clock.after(delayMs, run),
    () => since.push(holds.sinceMs),
  )
  let ran = 0
  const first = holds.take()
  const second = holds.take()
  holds.due(100, () => ran++)
  clock.advance(250)
  assert.equal(ran, 0)
  first[Symbol.dispose]()
  first[Symbol.dispose]()
  assert.ok(holds.any, 'a hold ends once')
  second[Symbol.dispose]()
  clock.advance(50)
  assert.equal(ran, 1)
  clock.advance(1000)
  assert.equal(ran, 1)
  assert.equal(since.length, 2, 'told when the first comes and the last goes')
  assert.deepEqual([typeof since[0], since[1]], ['number', null])
})
