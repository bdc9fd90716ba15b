/** The protocol as in `protocol.test.ts`, with two faults in each run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run, starts } from './runs.test-helper.ts'

for (const [name, start] of Object.entries(starts)) {
  test(`whatever happens, with two faults: ${name}`, (context) => {
    const { states, steps, violation } = run(start, 2)
    context.diagnostic(`${states} states, ${steps} steps between them, all visited`)
    assert.equal(violation, null, JSON.stringify(violation, null, 1))
  })
}
