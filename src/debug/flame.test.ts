/** Flame graphs: widths are shares, names are escaped, and what V8 says becomes stacks. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flameGraph } from './flame.ts'
import { cpuStacks, heapStacks } from './node/profile.ts'

const frame = (functionName: string): { functionName: string; url: string; lineNumber: number } => ({
  functionName,
  url: 'file:///app/a.js',
  lineNumber: 4,
})

test('a box is as wide as its share', () => {
  const stacks = [
    { frames: ['main', '<hot>'], weight: 300 },
    { frames: ['main'], weight: 100 },
    { frames: ['other & more'], weight: 400 },
  ]
  const svg = flameGraph({ unit: 'microseconds', stacks }, 'time of "x"')
  assert.match(svg, /^<svg [^>]*width="1200"/)
  assert.match(svg, /<title>main \(0\.4 ms, 50\.0 %\)<\/title><rect x="0\.0" y="64" width="600\.0"/)
  assert.match(svg, /<title>&lt;hot&gt; \(0\.3 ms, 37\.5 %\)<\/title><rect x="0\.0" y="82" width="450\.0"/)
  assert.match(svg, /<title>other &amp; more/)
  assert.match(svg, /time of &quot;x&quot;/)
})

test('an empty profile is an empty picture', () => {
  assert.match(flameGraph({ unit: 'bytes', stacks: [] }, 'nothing'), /<\/svg>\n$/)
})

test('a CPU profile becomes stacks with the time until the next sample', () => {
  const nodes = [
    { id: 1, callFrame: { ...frame('(root)'), url: '' }, children: [2, 4] },
    { id: 2, callFrame: frame('outer'), children: [3] },
    { id: 3, callFrame: frame('inner') },
    { id: 4, callFrame: { ...frame('(idle)'), url: '' } },
  ]
  assert.deepEqual(cpuStacks({ nodes, samples: [3, 3, 2, 4], timeDeltas: [9, 10, 20, 30] }), [
    { frames: ['outer /app/a.js:5', 'inner /app/a.js:5'], weight: 30 },
    { frames: ['outer /app/a.js:5'], weight: 30 },
  ])
})

test('a heap profile becomes stacks with their own bytes', () => {
  const leaf = { callFrame: frame('leaf'), selfSize: 5, children: [] }
  const head = {
    callFrame: frame('(root)'),
    selfSize: 0,
    children: [{ callFrame: frame('top'), selfSize: 7, children: [leaf] }],
  }
  assert.deepEqual(heapStacks(head), [
    { frames: ['top /app/a.js:5'], weight: 7 },
    { frames: ['top /app/a.js:5', 'leaf /app/a.js:5'], weight: 5 },
  ])
})
