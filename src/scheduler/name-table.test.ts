/** Names by number and back, held against a Map while they come and go. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Dice } from '../../test/scheduler/dice.ts'
import { NameTable } from './name-table.ts'

test('names come and go, of every length, and the numbers of those that are gone are given anew', () => {
  const dice = new Dice(7)
  const table = new NameTable()
  const known = new Map<string, number>()
  const unused: number[] = []
  for (let step = 0; step < 18_000; step++) {
    // Long stretches of coming and of going, so that the row of bytes is closed up more than once.
    if (dice.percent(step % 4000 < 2000 ? 80 : 20)) {
      const name = `${dice.pick(['n', 'rack-', 'x'.repeat(dice.number(200))])}${dice.number(5000)}`
      assert.equal(table.get(name), known.get(name))
      if (known.has(name)) continue
      const number = unused.pop() ?? known.size
      table.add(name, number)
      known.set(name, number)
    } else {
      const [name, number] = [...known][dice.number(Math.max(1, known.size))] ?? ['', -1]
      if (number < 0) continue
      table.remove(number)
      known.delete(name)
      unused.push(number)
      assert.equal(table.get(name), undefined)
      assert.equal(table.nameOf(number), '')
    }
  }
  assert.ok(known.size > 100)
  for (const [name, number] of known) {
    assert.equal(table.get(name), number)
    assert.equal(table.nameOf(number), name)
  }
  assert.equal(table.get('näme'), undefined)
  assert.equal(table.nameOf(1_000_000), '')
})
