/** What several gateways tell, as one: sums, the last word of each, nothing of one that is gone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InstanceTraffic, RouteTraffic, Traffic } from '../protocol/index.ts'
import { TrafficBook } from './traffic.ts'

function traffic(requests: number, p99Ms: number | null = 9): Traffic {
  return { requestsPerSecond: requests, errorsPerSecond: 1, requests, errors: 1, p50Ms: requests, p99Ms }
}

function route(name: string, part: string, requests: number, app = 'shop'): RouteTraffic {
  return { route: name, app, part, inFlight: 0, traffic: traffic(requests), groups: { r2: traffic(requests / 2) } }
}

function instance(name: string, requests: number, ejected = false): InstanceTraffic {
  return { instance: name, app: 'shop', part: 'web', inFlight: 1, ejected, traffic: traffic(requests, null) }
}

test('two routes of two gateways to one part are one edge', () => {
  const book = new TrafficBook()
  const report = { full: true, gone: [] }
  book.receive('g1', {
    ...report,
    routes: [route('a', 'web', 10), route('b', 'web', 4)],
    instances: [instance('i', 3)],
  })
  book.receive('g2', { ...report, routes: [route('a', 'web', 6)], instances: [instance('i', 2, true)] })
  book.receive('g2', {
    ...report,
    full: false,
    routes: [route('c', 'api', 1), route('d', 'web', 1, 'other')],
    instances: [],
  })
  const { edges, groups, instances } = book.of('shop')
  assert.deepEqual(edges, [
    { from: null, to: 'web', requestsPerSecond: 20, errorsPerSecond: 3, requests: 20, errors: 3, p50Ms: 10, p99Ms: 9 },
    { from: null, to: 'api', requestsPerSecond: 1, errorsPerSecond: 1, requests: 1, errors: 1, p50Ms: 1, p99Ms: 9 },
  ])
  assert.deepEqual(
    groups.map(({ part, group, requests }) => [part, group, requests]),
    [
      ['web', 'r2', 10],
      ['api', 'r2', 0.5],
    ],
  )
  assert.deepEqual(
    instances.map(({ traffic: told, inFlight, ejected }) => [told.requests, told.p99Ms, inFlight, ejected]),
    [[5, null, 2, true]],
  )
  book.receive('g2', { full: false, routes: [], instances: [], gone: ['i'] })
  assert.equal(book.of('shop').instances[0]?.ejected, false)
  book.receive('g1', { full: true, routes: [], instances: [], gone: [] })
  book.forget('g2')
  assert.deepEqual(book.of('shop'), { edges: [], groups: [], instances: [] })
})
