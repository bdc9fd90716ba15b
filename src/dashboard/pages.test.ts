/** What the pages work out by themselves: where a graph is drawn, which lines are shown, numbers in words. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { ReleaseViews } from './release-view.ts'
import { storyOf } from './releases.test-helper.ts'
import { amountOf, boxesOf, originOf, treeOf } from './web/flame.ts'
import { heardOf } from './web/held.ts'
import { layoutOf, pathOf } from './web/layout.ts'
import { added, linesMax, matching, noLines, resumed } from './web/log-lines.ts'
import { railOf } from './web/rail.ts'
import { takeBackWords, took } from './web/release-words.ts'
import { age, bytes, share, uptimeShare } from './web/words.ts'

const options = { direction: 'right', nodeWidth: 100, nodeHeight: 40, layerGap: 50, nodeGap: 10 } as const

suite('layout', () => {
  test('uses lead forward, nothing overlaps, and long ways go around', () => {
    const random = seededRandom(7)
    const byte = (): number => random.bytes(1)[0] ?? 0
    for (let round = 0; round < 30; round += 1) {
      const nodes = Array.from({ length: 2 + (byte() % 40) }, (_, index) => `n${index}`)
      const edges = nodes.flatMap((from, index) =>
        nodes.slice(index + 1).flatMap((to) => (byte() < 20 ? [{ from, to }] : [])),
      )
      const layout = layoutOf(nodes, edges, options)
      assert.equal(layout.nodes.size, nodes.length)
      assert.equal(layout.edges.length, edges.length)
      const boxes = [...layout.nodes.values()]
      for (const [index, a] of boxes.entries()) {
        assert.ok(a.x >= 0 && a.y >= -0.5 && a.x + 100 <= layout.width && a.y + 40 <= layout.height + 0.5)
        for (const b of boxes.slice(index + 1))
          assert.ok(Math.abs(a.x - b.x) >= 100 || Math.abs(a.y - b.y) >= 40, 'two boxes lie on each other')
      }
      for (const { points } of layout.edges) {
        for (const [index, point] of points.entries())
          if (index > 0) assert.ok(point.x > (points[index - 1]?.x ?? 0), 'an edge leads back')
        for (const { x, y } of points.slice(1, -1))
          for (const box of boxes)
            assert.ok(
              x < box.x || x > box.x + 100 || y <= box.y - 0.5 || y >= box.y + 40.5,
              'an edge goes through a box',
            )
      }
    }
  })

  test('the same graph gives the same picture, whatever the order it is told in', () => {
    const nodes = ['web', 'db', 'worker', 'mail']
    const edges = [
      { from: 'web', to: 'db' },
      { from: 'web', to: 'mail' },
      { from: 'worker', to: 'db' },
    ]
    assert.deepEqual(layoutOf(nodes, edges, options).nodes, layoutOf(nodes.toReversed(), edges, options).nodes)
  })

  test('a chain is a straight line, a part alone has a place, and none is nothing', () => {
    const { nodes, edges } = layoutOf(['a', 'b'], [{ from: 'a', to: 'b' }], options)
    assert.equal(nodes.get('a')?.y, nodes.get('b')?.y)
    assert.match(pathOf(edges[0]?.points ?? [], 'right'), /^M100 20C125 20 125 20 150 20$/)
    assert.equal(layoutOf(['a'], [], options).nodes.size, 1)
    assert.equal(layoutOf([], [], options).nodes.size, 0)
  })
})

suite('a flame graph', () => {
  const stacks = [
    { frames: ['b', 'c'], weight: 30 },
    { frames: ['a'], weight: 50 },
    { frames: ['b'], weight: 20 },
  ]

  test('joins what is called alike, in the order of names, whatever the order of the stacks', () => {
    const boxes = boxesOf(treeOf(stacks)).map(({ node, depth, from, width }) => [node.name, depth, from, width])
    assert.deepEqual(boxes, [
      ['', 0, 0, 1],
      ['a', 1, 0, 0.5],
      ['b', 1, 0.5, 0.5],
      ['c', 2, 0.5, 0.3],
    ])
    assert.deepEqual(treeOf(stacks.toReversed()), treeOf(stacks))
  })

  test('a box that is chosen becomes the whole; what nobody could see is left out; nothing is nothing', () => {
    const b = treeOf(stacks).children[1]
    assert.deepEqual(
      (b === undefined ? [] : boxesOf(b)).map(({ node, from, width }) => [node.name, from, width]),
      [
        ['b', 0, 1],
        ['c', 0, 0.6],
      ],
    )
    assert.equal(boxesOf(treeOf([...stacks, { frames: ['tiny'], weight: 0.1 }])).length, 4)
    assert.equal(boxesOf(treeOf([])).length, 0)
  })

  test('code is told apart by where it comes from', () => {
    const names = ['f /app/a.js:1', 'f /app/node_modules/x/i.js:1', 'f node:fs:1', '(idle)']
    assert.deepEqual(names.map(originOf), ['own', 'package', 'runtime', 'rest'])
    assert.deepEqual([amountOf(1500, 'microseconds'), amountOf(2e6, 'bytes')], ['1.5 ms', '2.0 MB'])
  })
})

suite('log lines', () => {
  const line = (timeMs: number, text: string): { assignment: string; timeMs: number; text: string } => ({
    assignment: 'shop.web.1',
    timeMs,
    text,
  })

  test('are in the order of time and bounded, the oldest go first', () => {
    const late = added(noLines, [line(5, 'b'), line(3, 'a')], false)
    assert.deepEqual(
      late.shown.map(({ text }) => text),
      ['a', 'b'],
    )
    const many = added(
      late,
      Array.from({ length: linesMax }, (_, index) => line(10 + index, 'x')),
      false,
    )
    assert.equal(many.shown.length, linesMax)
    assert.equal(many.shown[0]?.timeMs, 10)
    assert.equal(new Set(many.shown.map(({ id }) => id)).size, linesMax)
  })

  test('wait while paused, and come when it goes on', () => {
    const paused = added(added(noLines, [line(1, 'a')], false), [line(2, 'b')], true)
    assert.equal(paused.shown.length, 1)
    assert.deepEqual(
      resumed(paused).shown.map(({ text }) => text),
      ['a', 'b'],
    )
    assert.equal(resumed(paused).waiting.length, 0)
  })

  test('are chosen by words, whatever their case; colours are taken out', () => {
    const { shown } = added(noLines, [line(1, '\u001b[31mError\u001b[0m: no'), line(2, 'fine')], false)
    assert.deepEqual(
      matching(shown, ' ERROR ').map(({ text }) => text),
      ['Error: no'],
    )
    assert.equal(matching(shown, '').length, 2)
  })
})

suite('the time line', () => {
  const story = storyOf(1_000_000_000_000)
  const releases = [...new ReleaseViews().of(story)]

  test('is newest first, and what hangs off a release stands above it', () => {
    const rows = railOf({ ...story, releases })
    const names = rows.map(({ item }) => {
      switch (item.kind) {
        case 'release':
          return item.release.number
        case 'branch':
          return item.branch.name
        case 'left':
          return item.copy
        case 'checkpoint':
          return item.checkpoint.name
      }
    })
    assert.deepEqual(names, [7, 6, 5, 'left-by-6', 'try', 'monday', 4, 3, 2, 1])
    assert.deepEqual([rows[0]?.above, rows.at(-1)?.below], [false, false])
  })

  test('an arc leads from a return to where it went back to, past everything that was left behind', () => {
    const rows = railOf({ ...story, releases })
    const of = (number: number) =>
      rows.findIndex(({ item }) => item.kind === 'release' && item.release.number === number)
    const [from, to] = [of(6), of(2)]
    assert.deepEqual(rows[from]?.leaves, { lane: 1, withData: true })
    assert.deepEqual(rows[to]?.arrive, [{ lane: 1, withData: true }])
    for (const [row, { pass, faintAbove, faintBelow }] of rows.entries()) {
      const isBetween = from < row && row < to
      assert.equal(pass.length, isBetween ? 1 : 0)
      assert.equal(faintAbove && faintBelow, isBetween)
    }
  })

  test('returns that overlap have lanes of their own, one to what is gone has none', () => {
    const [view] = releases.slice(5)
    assert.ok(view !== undefined)
    const back = (number: number, backTo: number) => ({ ...view, number, backTo, report: null })
    const own = { checkpoints: [], branches: [], live: 9 }
    const rows = railOf({ ...own, releases: [...releases.slice(0, 5), back(7, 4), back(8, 3), back(9, 99)] })
    assert.deepEqual(
      rows.map(({ leaves }) => leaves?.lane ?? null),
      [null, 1, 2, null, null, null, null, null],
    )
    assert.equal(railOf({ ...own, releases: [] }).length, 0)
  })

  test('a change keeps what has not changed, and a line that begins anew has everything', () => {
    const rest = { live: 6, generation: 2, checkpoints: [], branches: [], counted: null }
    const news = { type: 'releases' as const, nowMs: 1, drop: [], ...rest }
    const all = heardOf(null, { ...news, put: releases })
    const [first, second] = releases
    assert.ok(first !== undefined && second !== undefined)
    const next = heardOf(all, { ...news, put: [{ ...second, live: true }], drop: [1] })
    assert.deepEqual(
      next?.releases.map(({ number }) => number),
      [7, 6, 5, 4, 3, 2],
    )
    assert.equal(next?.releases[0], releases[6])
    assert.equal(heardOf(next, { type: 'beat', nowMs: 2 }), next)
    assert.equal(heardOf(next, { type: 'no-app' }), null)
  })

  test('what taking back will do is said as it is', () => {
    const rollout = releases[6]?.rollout
    assert.ok(rollout !== null && rollout !== undefined)
    assert.match(takeBackWords(rollout), /Only the code goes back: no write is lost/)
    assert.match(takeBackWords({ ...rollout, dataGoesToo: true }), /kept as a branch and listed/)
    assert.deepEqual([140, 2300, 61_000].map(took), ['140 ms', '2.3 s', '1 min'])
  })
})

suite('words', () => {
  test('ages and sizes', () => {
    assert.deepEqual([900, 59_000, 61_000, 3_600_000, 7_500_000, 90_000_000].map(age), [
      '0 s',
      '59 s',
      '1 min',
      '1 h',
      '2 h 5 min',
      '1 d 1 h',
    ])
    assert.deepEqual([0, 1200, 34_000_000, 1_250_000_000].map(bytes), ['0', '1 kB', '34 MB', '1.3 GB'])
  })

  test('only what was never away is 100 %', () => {
    assert.equal(share(1), '100 %')
    assert.equal(share(0.999_999_9), '99.999 %')
    assert.equal(share(0.5), '50.0 %')
    const away = { readyMs: 9000, totalMs: 10_000, atMs: 0, ready: false }
    assert.equal(uptimeShare(away, 0), 0.9)
    assert.equal(uptimeShare(away, 10_000), 0.45)
    assert.equal(uptimeShare({ ...away, ready: true }, 10_000), 0.95)
  })
})
