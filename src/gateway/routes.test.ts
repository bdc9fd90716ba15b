/** Route matching against a model that tries every route, and the readings of hosts and paths. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { routeTableSchema } from '../protocol/index.ts'
import type { Route } from '../protocol/index.ts'
import { hostOf, indexRoutes, matchRoute, routablePath } from './routes.ts'

const base: Route = { id: 'r', host: 'a.test', path: '/', app: 'app', part: 'web', targets: [] }

/** Says it as the documentation does, one route at a time. */
function model(routes: readonly Route[], host: string, path: string): string | undefined {
  const takes = (route: Route): boolean => {
    const wild = route.host.startsWith('*.')
    const hostFits = wild
      ? host.endsWith(route.host.slice(1)) && host.length > route.host.length - 1
      : route.host === host
    const segments = route.path.split('/').filter((segment, i, all) => i < all.length - 1 || segment !== '')
    const asked = path.split('/')
    return hostFits && segments.every((segment, i) => asked[i] === segment)
  }
  const rank = (route: Route): number =>
    (route.host.startsWith('*.') ? route.host.length : 1000) * 1000 + route.path.replace(/\/$/, '').length
  return routes.filter(takes).sort((a, b) => rank(b) - rank(a))[0]?.id
}

test('matching agrees with the model on 20 000 random requests', () => {
  const random = seededRandom(7)
  const pick = <T>(from: readonly [T, ...T[]]): T => from[(random.bytes(1)[0] ?? 0) % from.length] ?? from[0]
  const hosts = ['a.test', 'b.a.test', 'c.b.a.test', 'test', '*.test', '*.a.test', '*.b.a.test'] as const
  const paths = ['/', '/api', '/api/', '/api/v1', '/apix', '/api/v1/x/', '/%61', '/a.b'] as const
  const askedHosts = ['a.test', 'b.a.test', 'c.b.a.test', 'd.c.b.a.test', 'test', 'x.test', 'other', 'aa.test'] as const
  const askedPaths = [
    '/',
    '/api',
    '/api/',
    '/api/v',
    '/api/v1',
    '/api/v1/',
    '/api/v1/x/y',
    '/apix/1',
    '/%61',
    '/A',
  ] as const
  for (let round = 0; round < 500; round += 1) {
    const routes = new Map<string, Route>()
    for (let i = 0; i < 8; i += 1) {
      const host = pick(hosts)
      const path = pick(paths)
      const key = `${host}${path.replace(/\/$/, '')}`
      if (!routes.has(key)) routes.set(key, { ...base, id: key, host, path })
    }
    const index = indexRoutes([...routes.values()].map((route) => ({ route, value: route.id })))
    for (let i = 0; i < 40; i += 1) {
      const host = pick(askedHosts)
      const path = pick(askedPaths)
      assert.equal(matchRoute(index, host, path), model([...routes.values()], host, path), `${host}${path}`)
    }
  }
})

test('hosts are read without case, port and closing dot; what is no host is null', () => {
  assert.equal(hostOf('Shop.Example:8080'), 'shop.example')
  assert.equal(hostOf('shop.example.'), 'shop.example')
  assert.equal(hostOf('[::1]:80'), '[::1]')
  assert.equal(hostOf('[::1]'), '[::1]')
  for (const bad of ['', 'a b', 'a/b', 'a@b', 'a,b', 'a..b', 'a:port', 'a:1:2', '*.a', 'ä.test', 'a\tb']) {
    assert.equal(hostOf(bad), null, bad)
  }
})

test('paths with dot segments, plain or encoded, are not routed', () => {
  for (const good of ['/', '/.well-known/x', '/a.b', '/..a/b', '/a%20b', '/a%2fb', '/a?x=/../']) {
    assert.equal(routablePath(good), good.split('?')[0])
  }
  for (const bad of [
    '',
    '*',
    'a',
    '/..',
    '/a/../b',
    '/a/./b',
    '/%2e%2e/b',
    '/a/.%2E',
    '/a/%2e%2e%2fb',
    '/a%5c..%5cb',
    '/a\\b',
  ]) {
    assert.equal(routablePath(bad), null, bad)
  }
})

test('the validator takes a table and refuses what could not be meant', () => {
  const table = {
    revision: 3,
    routes: [{ ...base, targets: [{ instance: 'i', endpoint: { kind: 'unix', path: '/s' } }] }],
  }
  assert.deepEqual(routeTableSchema.parse(table), table)
  const wrong: readonly object[] = [
    { host: 'A.test' },
    { host: 'a.test:80' },
    { host: '*' },
    { path: 'api' },
    { path: '/a?b' },
    { targets: [{ instance: 'i', endpoint: { kind: 'tcp', host: 'h', port: 0 } }] },
    { limits: { queueMax: -1 } },
  ]
  for (const change of wrong) {
    assert.equal(routeTableSchema.safeParse({ revision: 1, routes: [{ ...base, ...change }] }).success, false)
  }
})
