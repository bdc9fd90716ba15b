/** The test for one core against running the tasks step by step, over many small sets. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Dice } from '../../test/scheduler/dice.ts'
import { meetsDeadlines } from '../../test/scheduler/reference.ts'
import { fitsCore } from './edf.ts'

test('reservations are admitted if and only if no deadline is missed', () => {
  const dice = new Dice(7)
  let admitted = 0
  for (let round = 0; round < 3000; round++) {
    const set = Array.from({ length: 1 + dice.number(4) }, () => {
      const periodUs = dice.pick([2, 3, 4, 5, 6, 8, 10, 12])
      const deadlineUs = dice.percent(40) ? periodUs : 1 + dice.number(periodUs)
      return { periodUs, deadlineUs, runtimeUs: 1 + dice.number(Math.min(deadlineUs, 4)) }
    })
    const expected = meetsDeadlines(set)
    if (expected) admitted++
    assert.equal(fitsCore(set), expected, JSON.stringify(set))
  }
  assert.ok(admitted > 300 && admitted < 2700)
})

test('a full core is admitted exactly, however odd the shares are', () => {
  const thirds = [1, 1, 1].map((runtimeUs) => ({ runtimeUs, periodUs: 3, deadlineUs: 3 }))
  assert.ok(fitsCore(thirds))
  assert.ok(!fitsCore([...thirds, { runtimeUs: 1, periodUs: 1_000_000, deadlineUs: 1_000_000 }]))
})
