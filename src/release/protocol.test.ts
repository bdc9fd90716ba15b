/**
 * The protocol, checked exhaustively to a bound: the real machine in a small world, with every order of events and one fault at
 * any point; with two in `protocol.long.test.ts`. See `world.test-helper.ts` for the world. Then it is broken on purpose, to see that it is found.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { run, starts } from './runs.test-helper.ts'
import { going } from './seen.test-helper.ts'
import type { Mutation } from './node.test-helper.ts'

for (const [name, start] of Object.entries(starts)) {
  test(`R13, R14, R15, R16, R17, R18: whatever happens: ${name}`, (context) => {
    const { states, steps, violation } = run(start, 1)
    context.diagnostic(`${states} states, ${steps} steps between them, all visited`)
    assert.equal(violation, null, JSON.stringify(violation, null, 1))
  })
}

/** Each of these breaks one rule of the protocol. What is found then is what the rule is for. */
const mutations: readonly [Mutation, string, RegExp][] = [
  ['swap-before-stop', 'return with data', /data of another generation|put aside/],
  ['swap-unguarded', 'return with data', /more than once|put aside/],
  ['no-lease', 'deploy, with a stop', /./],
  ['checkpoint-before-stop', 'deploy, with a stop', /written before the stop/],
  ['commit-without-copy', 'return with data', /without the copy/],
  ['abandon-before-stop', 'return with data', /between the ledger being put aside and the exchange/],
  ['instances-before-carry', 'return with data', /before the ledger was carried over/],
  ['code-only-after-stop', 'deploy, with a stop', /cannot work with|A on schema 2/],
  ['contract-beside-old', 'deploy, halves, blue-green', /schema that it cannot work with/],
  ['no-limits', 'deploy, halves, rolling', /can last for ever/],
]

for (const [mutation, name, sentence] of mutations) {
  test(`broken on purpose, it is found: ${mutation}`, (context) => {
    const { violation } = run(starts[name] ?? { rollout: going() }, 1, mutation)
    assert.match(violation?.what ?? 'nothing is found', sentence)
    context.diagnostic(`${violation?.what}, after ${violation?.way.length} events: ${violation?.way.join(', ')}`)
  })
}
