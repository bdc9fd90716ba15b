/** Instances that fail, floods, and releases side by side, over real sockets: who is asked, who waits, what is counted. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ask, backend, rig, route, until } from '../../test/gateway-rig.ts'
import type { Answer } from '../../test/gateway-rig.ts'

test('an instance that fails is left alone, tried with one request after a while, and is back when it answers', async (t) => {
  let broken = true
  let asked = 0
  const sick = await backend(t, (request, response) => {
    asked += 1
    if (broken) request.socket.destroy()
    else response.end('sick')
  })
  const well = await backend(t, (_request, response) => response.end('well'))
  const limits = { ejectFailures: 3, ejectMs: 300, ejectMsMax: 600 }
  const { port, gateway } = await rig(t, [route([sick.target('web-1'), well.target('web-2')])], limits)
  const target = (): boolean | undefined =>
    gateway.targetMetrics().find(({ labels }) => labels.instance === 'web-1')?.ejected
  while (target() !== true) assert.equal((await ask(port)).body, 'well', 'each is sent again to the other')
  assert.equal(asked, 3)
  for (let i = 0; target() === true && i < 10; i += 1) assert.equal((await ask(port)).body, 'well')
  broken = false
  await until('its time is over', () => target() === false)
  const seen = new Set<string>()
  while (seen.size < 2) seen.add((await ask(port)).body)
  const failed = gateway.targetMetrics().find(({ labels }) => labels.instance === 'web-1')?.attempts.requests.failed
  assert.ok(failed !== undefined && failed >= 3)
})

test('an instance that answers 503 itself is left alone too; one that answers 500 is not', async (t) => {
  const seen = { ill: 0, buggy: 0 }
  const ill = await backend(t, (_request, response) => {
    seen.ill += 1
    response.writeHead(503).end()
  })
  const buggy = await backend(t, (_request, response) => {
    seen.buggy += 1
    response.writeHead(500).end()
  })
  const { port } = await rig(t, [route([ill.target('web-1'), buggy.target('web-2')])], { ejectMs: 60_000 })
  for (let i = 0; i < 60; i += 1) assert.ok((await ask(port)).status >= 500)
  assert.equal(seen.ill, 5)
  assert.equal(seen.buggy, 55)
})

test('when all fail all are still asked, and what is sent twice stays within its budget', async (t) => {
  let asked = 0
  const one = await backend(t, (request) => {
    asked += 1
    request.socket.destroy()
  })
  const other = await backend(t, (request) => {
    asked += 1
    request.socket.destroy()
  })
  const limits = { retryFloor: 5, retryShare: 0.1, retryWindowMs: 600_000, ejectMs: 60_000 }
  const { port, gateway } = await rig(t, [route([one.target('web-1'), other.target('web-2')])], limits)
  const answers: Answer[] = []
  for (let i = 0; i < 100; i += 1) answers.push(await ask(port))
  assert.ok(answers.every(({ status }) => status === 502))
  const retries = gateway.metrics().find(({ labels }) => labels.route === 'web')?.retries ?? 0
  assert.equal(asked, 100 + retries)
  assert.ok(retries >= 5 && retries <= 5 + 0.1 * 100, `${retries} second sendings`)
})

test('a flood on one route leaves places for the others, and turns away what matters less first', async (t) => {
  const held: (() => void)[] = []
  const slow = await backend(t, (_request, response) => void held.push(() => response.end('slow')))
  const quick = await backend(t, (_request, response) => response.end('quick'))
  const { port } = await rig(
    t,
    [
      route([slow.target('slow-1')], {
        id: 'slow',
        path: '/slow',
        limits: { instanceRequestsMax: 3, queueMs: 60_000 },
      }),
      route([quick.target('low-1')], { id: 'low', path: '/low', priority: 'low' }),
      route([quick.target('normal-1')], { id: 'normal', path: '/normal' }),
      route([quick.target('high-1')], { id: 'high', path: '/high', priority: 'high' }),
    ],
    { requestsMax: 20 },
  )
  const flood = Array.from({ length: 30 }, () => ask(port, { path: '/slow' }))
  const refused: Answer[] = []
  let open = flood.length
  for (const one of flood) void one.then((answer) => refused.push(answer)).finally(() => (open -= 1))
  // 15 of the 20 places are all that one route can have: three are answered in time, twelve wait.
  await until('the flood is at its limit', () => open === 15 && held.length === 3)
  assert.ok(refused.every(({ status, headers }) => status === 503 && headers['retry-after'] === '1'))
  assert.equal((await ask(port, { path: '/low' })).status, 503)
  assert.equal((await ask(port, { path: '/normal' })).body, 'quick')
  assert.equal((await ask(port, { path: '/high' })).body, 'quick')
  for (let done = 0; done < 15; done += 1) {
    await until('the next one is at the instance', () => held.length > 0)
    held.shift()?.()
  }
  assert.equal((await Promise.all(flood)).filter(({ body }) => body === 'slow').length, 15)
  assert.equal((await ask(port, { path: '/low' })).body, 'quick')
})

test('two releases share the requests by weight, and each is counted by itself', async (t) => {
  const old = await backend(t, (_request, response) => response.end('r41'))
  const canary = await backend(t, (_request, response) => response.writeHead(500).end('r42'))
  const targets = [
    { ...old.target('web-1'), group: 'r41' },
    { ...old.target('web-2'), group: 'r41' },
    { ...canary.target('web-3'), group: 'r42' },
  ]
  const groups = (weight: number): { name: string; weight: number }[] => [
    { name: 'r41', weight: 100 - weight },
    { name: 'r42', weight },
  ]
  const { port, gateway } = await rig(t, [route(targets, { groups: groups(20) })])
  const bodies = (await Promise.all(Array.from({ length: 300 }, () => ask(port)))).map(({ body }) => body)
  const share = bodies.filter((body) => body === 'r42').length
  assert.ok(share > 25 && share < 110, `${share} of 300 for 20 %`)
  const counted = gateway.metrics().find(({ labels }) => labels.route === 'web')?.groups
  assert.equal(counted?.['r42']?.requests['5xx'], share)
  assert.equal(counted?.['r41']?.requests['2xx'], 300 - share)
  assert.equal(counted?.['r42']?.latency.count, share)
  gateway.apply({ revision: 2, routes: [route(targets, { groups: groups(0) })] })
  for (let i = 0; i < 20; i += 1) assert.equal((await ask(port)).body, 'r41')
  gateway.apply({ revision: 3, routes: [route(targets.slice(0, 2), { groups: groups(100) })] })
  assert.equal((await ask(port)).body, 'r41', 'a group without instances gives its share away')
})

test('a client stays at its release and its instance, by a cookie that the instance never sees', async (t) => {
  const start = async (name: string): Promise<{ instance: string; group: string; endpoint: object }> => {
    const web = await backend(t, (request, response) => {
      const cache = request.url === '/public' ? { 'cache-control': 'public' } : {}
      response.writeHead(200, cache).end(`${name} ${request.headers.cookie ?? ''}`)
    })
    return { ...web.target(name), group: name.slice(0, 3) }
  }
  const all = await Promise.all(['r41-a', 'r41-b', 'r42-a', 'r42-b'].map(start))
  const table = (weight: number, targets: readonly object[]) =>
    route(targets as ReturnType<typeof route>['targets'], {
      groups: [
        { name: 'r41', weight: 100 - weight },
        { name: 'r42', weight },
      ],
      sticky: { by: 'instance', ttlS: 600 },
    })
  const { port, gateway } = await rig(t, [table(30, all)])
  const clients: { cookie: string; home: string }[] = []
  for (let i = 0; i < 40; i += 1) {
    const first = await ask(port, { headers: { cookie: 'mine=1' } })
    const [given = ''] = first.headers['set-cookie'] ?? []
    assert.match(given, /^stead-sticky=[0-9a-f]{16}; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/)
    const [home, seen] = first.body.split(' ')
    assert.equal(seen, 'mine=1')
    clients.push({ cookie: given.slice(0, given.indexOf(';')), home: home ?? '' })
  }
  const homes = async (): Promise<string[]> => {
    const answers = await Promise.all(clients.map(({ cookie }) => ask(port, { headers: { cookie: `a=b; ${cookie}` } })))
    assert.ok(answers.every(({ headers, body }) => headers['set-cookie'] === undefined && body.endsWith(' a=b')))
    return answers.map(({ body }) => body.slice(0, 5))
  }
  assert.deepEqual(
    await homes(),
    clients.map(({ home }) => home),
  )
  gateway.apply({
    revision: 2,
    routes: [
      table(
        30,
        all.filter(({ instance }) => instance !== 'r41-a'),
      ),
    ],
  })
  for (const [i, home] of (await homes()).entries()) {
    const before = clients[i]?.home
    assert.equal(home, before === 'r41-a' ? 'r41-b' : before)
  }
  gateway.apply({ revision: 3, routes: [table(60, all)] })
  for (const [i, home] of (await homes()).entries()) {
    if (clients[i]?.home.startsWith('r42') === true) assert.equal(home, clients[i]?.home)
  }
  assert.equal((await ask(port, { path: '/public' })).headers['set-cookie'], undefined)
})
