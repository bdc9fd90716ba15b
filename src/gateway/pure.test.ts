/** The gateway's pure parts: histograms, counters, ids, balancing, frames and error pages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom, systemRandom } from '../base/index.ts'
import { bucketUpToMs, emptyHistogram, mergeHistograms, observe, quantileErrorMax, quantileMs } from './histogram.ts'
import { IdSource, requestIds } from './ids.ts'
import { countAttempt, countRejected, emptyAttempts, emptyMetrics, mergeMetrics } from './metrics.ts'
import { causes, renderProblem } from './problem.ts'
import type { Cause } from './problem.ts'
import { renderPrometheus } from './prometheus.ts'
import { FrameTracker, closeFrame } from './websocket.ts'

const random = seededRandom(11)
const fraction = (): number => Buffer.from(random.bytes(4)).readUInt32LE() / 2 ** 32

test('quantiles are within the stated error of the truth, also after merging', () => {
  const truth: number[] = []
  const parts = [emptyHistogram(), emptyHistogram(), emptyHistogram()]
  for (let i = 0; i < 30_000; i += 1) {
    const durationMs = 0.06 * 2 ** (fraction() * 20)
    truth.push(durationMs)
    const part = parts[i % parts.length]
    if (part !== undefined) observe(part, durationMs)
  }
  truth.sort((a, b) => a - b)
  const merged = parts.reduce(mergeHistograms)
  assert.equal(merged.count, truth.length)
  assert.ok(quantileErrorMax < 0.045)
  for (const q of [0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1]) {
    const exact = truth[Math.max(0, Math.ceil(q * truth.length) - 1)] ?? 0
    const found = quantileMs(merged, q) ?? 0
    assert.ok(Math.abs(found / exact - 1) <= quantileErrorMax + 1e-9, `q${q}: ${found} for ${exact}`)
  }
  assert.equal(quantileMs(emptyHistogram(), 0.5), null)
})

test('every duration has its bucket, also zero, the bounds themselves and hours', () => {
  for (const durationMs of [0, 0.05, 0.0500001, 1, 299_999, 300_000, 3_600_000, bucketUpToMs(8), bucketUpToMs(100)]) {
    const histogram = emptyHistogram()
    observe(histogram, durationMs)
    const index = histogram.counts.indexOf(1)
    assert.ok(durationMs <= bucketUpToMs(index) * (1 + 1e-12), String(durationMs))
    assert.ok(index === 0 || durationMs > bucketUpToMs(index - 1) * (1 - 1e-12), String(durationMs))
  }
  assert.ok(bucketUpToMs(emptyHistogram().counts.length - 2) > 300_000)
})

test('Prometheus text: escaped labels, cumulative buckets, a count that agrees', () => {
  const metrics = emptyMetrics({ route: 'a"b\\c\n', app: 'shop', part: 'web' })
  metrics.requests['2xx'] = 3
  for (const durationMs of [0.01, 2, 400_000_000]) observe(metrics.latency, durationMs)
  metrics.groups['r2'] = emptyAttempts()
  countAttempt(metrics.groups['r2'], '5xx', 3)
  countRejected(metrics, 'overloaded')
  const merged = mergeMetrics(metrics, metrics)
  assert.deepEqual([merged.groups['r2']?.requests['5xx'], merged.rejectedBy.overloaded], [2, 2])
  const labels = { app: 'shop', part: 'web', group: 'r2', instance: 'web-1' }
  const target = { labels, inFlight: 1, ejected: true, attempts: metrics.groups['r2'] }
  const text = renderPrometheus([mergeMetrics(metrics, emptyMetrics(metrics.labels))], [target])
  const lines = text.split('\n')
  assert.ok(lines.some((line) => /^stead_gateway_rejected_total\{.*cause="overloaded"\} 1$/.test(line)))
  assert.ok(lines.some((line) => /^stead_gateway_group_attempts_total\{.*group="r2",outcome="5xx"\} 1$/.test(line)))
  assert.ok(lines.some((line) => /^stead_gateway_instance_ejected\{.*instance="web-1"\} 1$/.test(line)))
  assert.equal(
    new Set(lines.filter((line) => line.startsWith('# TYPE'))).size,
    lines.filter((line) => line.startsWith('# TYPE')).length,
  )
  assert.ok(
    text.includes('stead_gateway_requests_total{route="a\\"b\\\\c\\n",app="shop",part="web",outcome="2xx"} 3\n'),
  )
  const buckets = [...text.matchAll(/request_duration_seconds_bucket\{[^}]*le="([^"]+)"\} (\d+)/g)].map(
    ([, le, count]) => [le, Number(count)] as const,
  )
  assert.deepEqual(buckets[0], ['0.00005', 1])
  assert.deepEqual(buckets.at(-1), ['+Inf', 3])
  assert.ok(buckets.every(([, count], i) => i === 0 || count >= (buckets[i - 1]?.[1] ?? 0)))
  assert.match(text, /_duration_seconds_count\{[^}]*\} 3\n/)
})

test('ids are unique across batches and dice are fair enough', () => {
  const ids = new IdSource(systemRandom)
  const seen = new Set(Array.from({ length: 2000 }, () => requestIds(ids, null, null).requestId))
  assert.equal(seen.size, 2000)
  const counts = [0, 0, 0]
  for (let i = 0; i < 3000; i += 1) {
    const face = ids.below(3)
    counts[face] = (counts[face] ?? 0) + 1
  }
  assert.ok(
    counts.every((count) => count > 800),
    counts.join(' '),
  )
})

test('frame boundaries are found however the bytes are cut', () => {
  const frames = [0, 1, 125, 126, 300, 70_000].flatMap((length) =>
    [false, true].map((masked) => {
      const mask = masked ? 0x80 : 0
      const head =
        length < 126
          ? [0x82, mask | length]
          : length < 65_536
            ? [0x82, mask | 126, length >> 8, length & 0xff]
            : [0x82, mask | 127, 0, 0, 0, 0, 0, length >> 16, (length >> 8) & 0xff, length & 0xff]
      return Buffer.concat([Buffer.from([...head, ...(masked ? [1, 2, 3, 4] : [])]), Buffer.alloc(length, 0x88)])
    }),
  )
  const stream = Buffer.concat(frames)
  const boundaries = new Set([0])
  let sum = 0
  for (const frame of frames) boundaries.add((sum += frame.length))
  for (let round = 0; round < 200; round += 1) {
    const tracker = new FrameTracker()
    let at = 0
    while (at < stream.length) {
      const step = Math.floor(fraction() ** 4 * 5000) + 1
      const end = Math.min(stream.length, at + step)
      tracker.take(stream.subarray(at, end), false)
      at = end
      assert.equal(tracker.atBoundary, boundaries.has(at), `at ${at}`)
    }
  }
  const tracker = new FrameTracker()
  tracker.take(Buffer.from([0x82, 5, 1]), false)
  assert.equal(tracker.take(Buffer.from([2, 3]), true), -1)
  assert.equal(tracker.take(Buffer.from([4, 5, 0x82, 0]), true), 2)
  assert.deepEqual([...closeFrame(1001, 'x', false)], [0x88, 3, 3, 0xe9, 0x78])
  assert.deepEqual([...closeFrame(1001, 'x', true)], [0x88, 0x83, 0, 0, 0, 0, 3, 0xe9, 0x78])
})

test('every cause renders in every form, escaped and with no outside file', () => {
  const nasty = '<script>alert(1)</script>$&'
  for (const [name, facts] of Object.entries(causes)) {
    const problem = { cause: name as Cause, requestId: 'r"1', app: nasty, part: nasty, detail: nasty }
    for (const accept of ['text/html', 'application/json', undefined]) {
      const rendered = renderProblem(problem, accept)
      assert.equal(rendered.status, facts.status)
      assert.equal(
        rendered.headers[rendered.headers.indexOf('content-length') + 1],
        String(Buffer.byteLength(rendered.body)),
      )
      if (accept !== 'text/html') continue
      assert.doesNotMatch(rendered.body, /<script|src=|href=|@import|url\(/)
      assert.doesNotMatch(rendered.body, /\{part\}/)
    }
  }
  const preferred = (accept: string): string | undefined =>
    renderProblem({ cause: 'no-route', requestId: 'r', app: '', part: '' }, accept).headers[1]
  assert.match(preferred('text/html,application/xhtml+xml,application/json;q=0.5') ?? '', /^text\/html/)
  assert.match(preferred('application/json, text/plain, */*') ?? '', /^application\/problem\+json/)
  assert.match(preferred('*/*') ?? '', /^text\/plain/)
})
