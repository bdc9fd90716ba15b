/** What py-spy prints, as stacks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { foldedStacks, pyThreads } from './reports.ts'

test('threads with their frames', () => {
  const frames = [{ name: 'tick', filename: '/app/a.py', line: 5 }, { name: '<module>' }]
  const text = JSON.stringify([{ thread_name: 'MainThread', active: true, frames }, { active: false }])
  assert.deepEqual(pyThreads(text), [
    {
      name: 'MainThread',
      state: 'running',
      frames: [
        { name: 'tick', file: '/app/a.py', line: 5 },
        { name: '<module>', file: '', line: 0 },
      ],
    },
    { name: 'thread', state: 'waiting', frames: [] },
  ])
  assert.deepEqual(pyThreads('{}'), [])
})

test('folded stacks', () => {
  assert.deepEqual(foldedStacks('<module> (/a b.py:9);spin (/a b.py:3) 97\n\nnonsense\n'), [
    { frames: ['<module> /a b.py:9', 'spin /a b.py:3'], weight: 97 },
  ])
})
