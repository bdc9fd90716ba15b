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
  const first = holds.take({ by: 'ada', traffic: 'drain' })
  const second = holds.take(null)
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
  assert.equal(since.length, 4, 'told when one comes and when one goes')
  assert.deepEqual([typeof since[0], since.at(-1)], ['number', null])
})

test('whose debuggers are in it is known, and whether it stands', () => {
  const clock = new ManualClock()
  let told = 0
  const holds = new Holds(
    () => clock.monotonicMs(),
    (delayMs, run) => void clock.after(delayMs, run),
    () => told++,
  )
  const hold = holds.take({ by: 'ada', traffic: 'drain' })
  const sinceMs = clock.monotonicMs()
  assert.deepEqual(holds.debuggers, [{ by: 'ada', traffic: 'drain', sinceMs, stands: false }])
  hold.stands(true)
  hold.stands(true)
  assert.deepEqual([holds.debuggers[0]?.stands, told], [true, 2])
  hold[Symbol.dispose]()
  hold.stands(false)
  assert.deepEqual([holds.debuggers, told], [[], 3])
})
