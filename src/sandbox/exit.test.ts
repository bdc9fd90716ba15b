/** Exits in words: each cause, and what the limit group adds to it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { explainExit } from './exit.ts'

const limits = { memoryBytes: 128 * 2 ** 20, cpuCores: 1, pidsMax: 24, tmpBytes: 1 }
const calm = { oomKills: 0, forksRefused: 0 }

test('a code, with its meaning where it has one', () => {
  assert.deepEqual(explainExit(3, calm, limits), {
    cause: 'code',
    code: 3,
    signal: null,
    sentence: 'ended with code 3',
  })
  assert.match(explainExit(127, calm, limits).sentence, /code 127: the program was not found inside/)
})

test('a signal', () => {
  assert.deepEqual(explainExit(143, calm, limits), {
    cause: 'signal',
    code: null,
    signal: 'SIGTERM',
    sentence: 'ended by signal SIGTERM',
  })
  assert.equal(explainExit(255, calm, limits).cause, 'code', '127 is no signal')
})

test('memory: killed for it, or told beside another end', () => {
  const exit = explainExit(137, { oomKills: 1, forksRefused: 0 }, limits)
  assert.deepEqual([exit.cause, exit.signal], ['memory', 'SIGKILL'])
  assert.equal(exit.sentence, 'killed: it reached its memory limit of 128 MiB')
  assert.equal(explainExit(137, calm, limits).cause, 'signal', 'killed by somebody, not for memory')
  assert.match(explainExit(1, { oomKills: 2, forksRefused: 0 }, limits).sentence, /2 of its processes were killed/)
})

test('refused forks are told', () => {
  assert.match(
    explainExit(2, { oomKills: 0, forksRefused: 7 }, limits).sentence,
    /refused a new process 7 times \(limit 24\)/,
  )
})

test('what is not known is said to be unknown', () => {
  assert.equal(explainExit(null, calm, limits).cause, 'unknown')
})
