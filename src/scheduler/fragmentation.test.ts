/** Fragmentation by hand, and which tasks count as usual. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fragmentation, Usual } from './fragmentation.ts'
import { readNeeds } from './read.ts'

const half = { cpuMilli: 1000, gpuCount: 1, gpuMilli: 500, gpuModels: null, weight: 0.5 }
const pair = { cpuMilli: 4000, gpuCount: 2, gpuMilli: 1000, gpuModels: ['A'], weight: 0.5 }

test('what is of no use to typical tasks', () => {
  const fragmentation = new Fragmentation([half, pair])
  const free = Int16Array.of(1000, 1000, 300)
  // The half leaves 300 unused; the pair too.
  assert.equal(fragmentation.of(8000, free, 'A'), 300)
  // Another model, or too little cpu: nothing is of use to the pair.
  assert.equal(fragmentation.of(8000, free, 'B'), 0.5 * 300 + 0.5 * 2300)
  assert.equal(fragmentation.of(2000, free, 'A'), 0.5 * 300 + 0.5 * 2300)
  assert.equal(fragmentation.of(8000, Int16Array.of(0, 0), 'A'), 0)
  // One whole GPU is not two.
  assert.equal(fragmentation.of(8000, Int16Array.of(1000, 400), 'A'), 0.5 * 400 + 0.5 * 1400)
})

test('tasks without GPUs can use none of what is idle', () => {
  const without = { cpuMilli: 1000, gpuCount: 0, gpuMilli: 0, gpuModels: null, weight: 1 }
  assert.equal(new Fragmentation([without]).of(8000, Int16Array.of(700), 'A'), 700)
})

test('the most frequent kinds that make up 95 of 100 are usual', () => {
  const usual = new Usual()
  const needs = (count: number): ReturnType<typeof readNeeds> => readNeeds('a task', { cpu: 1, gpu: { count } })
  usual.add(needs(1), 1000, 90)
  usual.add(needs(2), 1000, 6)
  usual.add(needs(4), 1000, 4)
  const typical = usual.typical()
  assert.deepEqual(
    typical.map(({ gpuCount, weight }) => [gpuCount, weight]),
    [
      [1, 90 / 96],
      [2, 6 / 96],
    ],
  )
})
