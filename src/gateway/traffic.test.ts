/** Rates from counters: what is told, when, and that they are what went through. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import type { TrafficReport } from '../protocol/index.ts'
import { ask, backend, rig, route } from '../../test/gateway-rig.ts'
import { observe } from './histogram.ts'
import { countAttempt, emptyAttempts, emptyMetrics } from './metrics.ts'
import type { TargetMetrics } from './metrics.ts'
import { TrafficMeter } from './traffic.ts'

const labels = { route: 'shop:shop.test/', app: 'shop', part: 'web' }

test('a rate is over the last few looks, told while it moves and once when it has come to rest', () => {
  const meter = new TrafficMeter()
  const metrics = emptyMetrics(labels)
  const look = (second: number, full = false): TrafficReport | null => meter.look(second * 1000, [metrics], [], full)
  assert.equal(look(0)?.routes.length, 1, 'a new route is told')
  assert.equal(look(1), null)
  for (let i = 0; i < 100; i += 1) {
    metrics.requests[i % 10 === 0 ? '5xx' : '2xx'] += 1
    observe(metrics.latency, i < 98 ? 2 : 500)
  }
  const told = look(2)?.routes[0]?.traffic
  assert.deepEqual([told?.requests, told?.errors, told?.requestsPerSecond, told?.errorsPerSecond], [100, 10, 50, 5])
  assert.ok(told?.p50Ms !== null && Math.abs((told?.p50Ms ?? 0) - 2) < 0.1, String(told?.p50Ms))
  assert.ok((told?.p99Ms ?? 0) > 450 && (told?.p99Ms ?? 0) < 550)
  const rates = [3, 4, 5, 6, 7, 8, 9].map((second) => look(second)?.routes[0]?.traffic.requestsPerSecond)
  // The jump leaves the five seconds that are looked at; then there is nothing more to tell.
  assert.deepEqual(rates, [33.3, 25, 20, 20, 0, undefined, undefined])
  assert.equal(look(10, true)?.routes[0]?.traffic.p50Ms, null, 'who asks for all is told all')
})

test('instances and groups are told by what was sent to them, and that they have gone', () => {
  const meter = new TrafficMeter()
  const metrics = emptyMetrics(labels)
  const target: TargetMetrics = {
    labels: { app: 'shop', part: 'web', group: 'r2', instance: 'web-1' },
    inFlight: 2,
    ejected: false,
    attempts: emptyAttempts(),
  }
  meter.look(0, [metrics], [target], false)
  const r2 = emptyAttempts()
  metrics.groups['r2'] = r2
  for (const counters of [r2, target.attempts]) {
    countAttempt(counters, '2xx', 5)
    countAttempt(counters, 'failed', 5)
    countAttempt(counters, 'aborted', 5)
  }
  const report = meter.look(1000, [metrics], [target], false)
  assert.deepEqual([report?.routes[0]?.groups['r2']?.requests, report?.routes[0]?.groups['r2']?.errors], [2, 1])
  const [instance] = report?.instances ?? []
  assert.deepEqual([instance?.instance, instance?.traffic.requestsPerSecond, instance?.inFlight], ['web-1', 2, 2])
  assert.deepEqual(meter.look(2000, [metrics], [{ ...target, ejected: true }], false)?.instances[0]?.ejected, true)
  const last = meter.look(3000, [metrics], [], false)
  assert.deepEqual([last?.gone, last?.instances], [['web-1'], []])
  assert.deepEqual(meter.look(4000, [metrics], [], false)?.gone ?? [], [])
})

test('a gateway tells what went through it', async (t) => {
  const clock = new ManualClock()
  const web = await backend(t, (request, response) => response.writeHead(request.url === '/bad' ? 500 : 200).end())
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], {}, clock)
  gateway.traffic(true)
  for (const path of ['/', '/', '/bad']) await ask(port, { path })
  clock.advance(1000)
  const report = gateway.traffic(false)
  const told = report?.routes.find((one) => one.part === 'web')?.traffic
  assert.deepEqual([told?.requestsPerSecond, told?.errorsPerSecond, told?.requests], [3, 1, 3])
  assert.deepEqual(
    report?.instances.map(({ instance, traffic }) => [instance, traffic.requests]),
    [['web-1', 3]],
  )
  clock.advance(10_000)
  for (let i = 0; i < 8; i += 1) gateway.traffic(false)
  assert.equal(gateway.traffic(false), null)
})
