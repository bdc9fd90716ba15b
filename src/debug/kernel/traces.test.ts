/** The traces of kernels: what they are, and how their lines are read. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { endingAfter, kernelTraces, withPart } from './traces.ts'

test('each needs the tracepoints that it names, and no other', () => {
  for (const { name, program, needs } of kernelTraces) {
    const named = [...program.matchAll(/tracepoint:([a-z_]+:[a-z_]+)/g)].map(([, point]) => point)
    assert.deepEqual(new Set(named), new Set(needs), name)
    // Programs are run by none of them, and nothing of what a process holds in its memory is read.
    assert.doesNotMatch(program, /system\(|\bstr\(|\bbuf\(|kaddr|uaddr|usym|\bcat\(|signal\(/, name)
  }
})

test('a process is named by its part; other lines stay; a program ends', () => {
  const partOf = (pid: number): string | null => (pid === 7 ? 'shop.web.1' : null)
  assert.equal(withPart('@calls[7, node]: 42', partOf), '       42  shop.web.1  node (process 7)')
  assert.equal(withPart('@calls[8, a, b]: 1', partOf), '        1  (no part)  a, b (process 8)')
  assert.equal(withPart('[2, 4)  1 |@|', partOf), '[2, 4)  1 |@|')
  assert.match(endingAfter('BEGIN { }', 1500.4), /^BEGIN \{ \}\ninterval:ms:1500 \{ exit\(\); \}\n$/)
})
