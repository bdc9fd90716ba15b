/** The dashboard as a browser, and as somebody who should not be let in, meet it: over HTTP, without a browser. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { ManualClock, seededRandom, systemClock } from '../base/index.ts'
import { type Caller, openGate } from '../operator/index.ts'
import { loginMs } from './access.ts'
import { type Dashboard, serveDashboard } from './server.ts'
import { everybody, reader, type Synthetic, synthetic } from './synthetic.test-helper.ts'
import type { ReleasesMessage } from './release-wire.ts'
import { storyOf } from './releases.test-helper.ts'
import type { FeedMessage } from './wire.ts'

const hostile = '"><img src=x onerror=alert(1)>'

interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

interface Answered {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

function open(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: Asked = {},
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const own = { origin: `http://127.0.0.1:${port}`, 'sec-fetch-site': 'same-origin' }
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const all = Object.entries({ ...own, ...length, ...headers }).filter(([, value]) => value !== '')
  const question = request({ host: '127.0.0.1', port, path, method, headers: Object.fromEntries(all), agent: false })
  question.on('response', resolve)
  question.on('error', reject)
  question.end(body)
  return promise
}

async function ask(port: number, path: string, asked: Asked = {}): Promise<Answered> {
  const answer = await open(port, path, asked)
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) }
}

function tokenOf(dashboard: Dashboard, caller: Caller): string {
  return /#login=(.+)$/.exec(dashboard.login(caller).url)?.[1] ?? ''
}

/** Logs in; answers the headers that prove it. */
async function logIn(dashboard: Dashboard, caller: Caller = everybody): Promise<Record<string, string>> {
  const { status, headers, body } = await ask(dashboard.port, '/api/login', {
    method: 'POST',
    body: tokenOf(dashboard, caller),
  })
  assert.equal(status, 200, body)
  const cookie = headers['set-cookie']?.[0] ?? ''
  assert.match(cookie, /; HttpOnly; SameSite=Strict$/)
  return { cookie: cookie.split(';')[0] ?? '', 'x-stead-key': (JSON.parse(body) as { key: string }).key }
}

suite('the dashboard over HTTP', () => {
  const built = mkdtempSync(join(tmpdir(), 'stead-pages-'))
  let platform: Synthetic
  let dashboard: Dashboard
  let port = 0
  const serve = (clock = systemClock): Promise<Dashboard> =>
    serveDashboard({
      port: 0,
      operations: platform.operations,
      gate: null,
      clock,
      random: seededRandom(3),
      sessionsPath: null,
      built,
    })

  before(async () => {
    writeFileSync(join(built, 'index.html'), '<!doctype html><title>Stead</title>')
    platform = synthetic({ names: [hostile] })
    dashboard = await serve()
    port = dashboard.port
  })
  after(async () => {
    await dashboard[Symbol.asyncDispose]()
    rmSync(built, { recursive: true })
  })

  test('pages are for everybody and hold nothing; all else needs a session', async () => {
    const page = await ask(port, '/')
    assert.equal(page.status, 200)
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'.*frame-ancestors 'none'/)
    assert.equal(page.headers['x-content-type-options'], 'nosniff')
    assert.equal(page.headers['referrer-policy'], 'no-referrer')
    assert.equal((await ask(port, '/', { headers: { 'if-none-match': String(page.headers['etag']) } })).status, 304)
    for (const path of ['/../../../etc/passwd', '/%2e%2e/etc/passwd', '/assets/', '/index.html.map'])
      assert.equal((await ask(port, path)).status, 404, path)
    for (const path of ['/api/feed', '/api/v1/platform', '/api/v1/apps/shop/logs', '/api/nothing'])
      assert.equal((await ask(port, path)).status, 401, path)
    assert.equal((await ask(port, '/api/v1/apps/shop/down', { method: 'POST' })).status, 401)
  })

  test('an address lets in once, what is secret in it stands behind #, and it is too old after a while', async () => {
    const { url } = dashboard.login(everybody)
    assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/#login=[\w-]{32}$/)
    const token = url.split('=')[1] ?? ''
    const login = (body: string): Promise<Answered> => ask(port, '/api/login', { method: 'POST', body })
    assert.equal((await login(token)).status, 200)
    assert.equal((await login(token)).status, 403)
    assert.equal((await login('x'.repeat(5000))).status, 403)
    const clock = new ManualClock(1)
    const own = await serve(clock)
    const old = tokenOf(own, everybody)
    clock.advance(loginMs)
    assert.equal((await ask(own.port, '/api/login', { method: 'POST', body: old })).status, 403)
    await own[Symbol.asyncDispose]()
  })

  test('both halves are needed: a cookie that another port was given opens nothing', async () => {
    const session = await logIn(dashboard)
    assert.equal((await ask(port, '/api/v1/platform', { headers: session })).status, 200)
    assert.equal((await ask(port, '/api/v1/platform', { headers: { cookie: session['cookie'] ?? '' } })).status, 401)
    const key = session['x-stead-key'] ?? ''
    assert.equal((await ask(port, '/api/v1/platform', { headers: { 'x-stead-key': key } })).status, 401)
  })

  test('a name that only resolves to this machine is refused', async () => {
    const session = await logIn(dashboard)
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      `127.0.0.1:${port + 1}`,
      'localhost',
      `localhost.:${port}`,
    ])
      assert.equal((await ask(port, '/', { headers: { ...session, host } })).status, 421, host)
    assert.equal((await ask(port, '/', { headers: { host: `localhost:${port}`, origin: '' } })).status, 200)
  })

  test('pages of others can ask nothing, not even with a session', async () => {
    const session = await logIn(dashboard)
    const fault = JSON.stringify({ fault: { kind: 'kill', part: 'x' }, leaseMs: 1000 })
    const from = (headers: Record<string, string>): Promise<Answered> =>
      ask(port, '/api/v1/apps/shop/faults', { method: 'POST', body: fault, headers: { ...session, ...headers } })
    const others: Record<string, string>[] = [
      { origin: 'http://evil.example', 'sec-fetch-site': 'cross-site' },
      // Another port of this machine counts as the same site.
      { origin: `http://127.0.0.1:${port + 1}`, 'sec-fetch-site': 'same-site' },
      { origin: 'null', 'sec-fetch-site': 'cross-site' },
      { origin: '', 'sec-fetch-site': 'same-site' },
      { origin: '', 'sec-fetch-site': '' },
      { origin: '', 'sec-fetch-site': 'none' },
    ]
    for (const headers of others) assert.equal((await from(headers)).status, 403, JSON.stringify(headers))
    assert.deepEqual(platform.asked, [])
    assert.equal((await from({})).status, 200)
    assert.deepEqual(platform.asked.splice(0), ['break kill'])
    const typed = { origin: '', 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' }
    assert.equal((await ask(port, '/', { headers: typed })).status, 200, 'a person may type the address')
    const link = { origin: '', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }
    assert.equal((await ask(port, '/', { headers: link })).status, 200, 'or follow a link to it')
    assert.equal((await ask(port, '/api/v1/platform', { headers: { ...session, ...link } })).status, 403)
  })

  test('a session may do what its caller may, and is told what that is', async () => {
    const session = await logIn(dashboard, reader)
    assert.equal((await ask(port, '/api/v1/apps/shop/status', { headers: session })).status, 200)
    for (const [method, path] of [
      ['GET', '/api/v1/apps/shop/logs'],
      ['POST', '/api/v1/apps/shop/down'],
      ['DELETE', '/api/v1/apps/shop'],
      ['DELETE', '/api/v1/apps/shop/faults/f1'],
    ] as const)
      assert.equal((await ask(port, path, { method, headers: session })).status, 403, path)
    const blind = await logIn(dashboard, { name: 'nobody', from: 'a test', may: (right) => right === 'logs' })
    const told = await feedOf(blind, 3)
    assert.deepEqual(
      told.map((message) => (message.type === 'apps' ? message.apps : message.type)),
      ['hello', [], 'no-app'],
    )
    const [hello] = await feedOf(session, 1)
    assert.ok(hello?.type === 'hello')
    assert.deepEqual(
      hello.hello.offers.filter((offer) => /faults|logs|down/.test(offer)),
      [],
    )
    assert.ok(hello.hello.offers.includes('GET /v1/apps/:app/status'))
    assert.equal((await ask(port, '/api/v1/dashboard/login', { method: 'POST', headers: session })).status, 403)
    for (const path of ['/api/x/../v1/dashboard/login', '/api/v1\\dashboard/login', '/api/v1/%2e/dashboard/login'])
      assert.equal((await ask(port, path, { method: 'POST', headers: session })).status, 400, path)
    // What no page needs is not had by a session, whoever asked for it.
    const all = await logIn(dashboard)
    assert.equal((await ask(port, '/api/v1/apps/shop', { method: 'DELETE', headers: all })).status, 403)
    assert.equal((await ask(port, '/api/v1/apps/shop', { method: 'PUT', headers: all, body: '{}' })).status, 403)
  })

  test('bodies are limited, and what is not asked well is refused', async () => {
    const session = await logIn(dashboard)
    const post = (body: string): Promise<Answered> =>
      ask(port, '/api/v1/apps/shop/faults', { method: 'POST', headers: session, body })
    assert.equal((await post(JSON.stringify({ pad: 'x'.repeat(70_000) }))).status, 400)
    for (const body of [
      '{',
      '{}',
      '[]',
      '{"fault":{"kind":"nuke"},"leaseMs":5}',
      '{"fault":{"kind":"kill","part":"a"},"leaseMs":1e12}',
    ])
      assert.equal((await post(body)).status, 400, body)
    assert.equal((await ask(port, '/api/v1/apps/nope/status', { headers: session })).status, 404)
    assert.equal((await ask(port, '/api/v1/apps/%/status', { headers: session })).status, 400)
    assert.equal((await ask(port, '/', { method: 'PATCH' })).status, 405)
    assert.deepEqual(platform.asked, [])
  })

  test('streams are limited, and end with their session', async () => {
    const own = await serve()
    const session = await logIn(own)
    const streams: IncomingMessage[] = []
    let refused = 0
    for (let count = 0; count < 30; count += 1) {
      const answer = await open(own.port, '/api/feed', { headers: session })
      answer.on('error', () => {})
      if (answer.statusCode === 429) refused += 1
      else streams.push(answer)
      answer.resume()
    }
    assert.equal(streams.length, 24)
    assert.equal(refused, 6)
    const ended = Promise.all(streams.map((stream) => new Promise((resolve) => stream.on('close', resolve))))
    assert.equal((await ask(own.port, '/api/logout', { method: 'POST', headers: session })).status, 204)
    await ended
    assert.equal((await ask(own.port, '/api/v1/platform', { headers: session })).status, 401)
    await own[Symbol.asyncDispose]()
  })

  test('the feed tells everything once, then what changes, and nothing of the environment', async () => {
    const session = await logIn(dashboard)
    const seen: FeedMessage[] = []
    for await (const message of followed(session)) {
      seen.push(message)
      if (message.type === 'app')
        platform.move((status) => ({
          ...status,
          parts: status.parts.map((part, index) => (index === 0 ? { ...part, phase: 'unready' as const } : part)),
        }))
      if (message.type === 'delta') break
    }
    assert.deepEqual(
      seen.map(({ type }) => type).filter((type) => type !== 'sample'),
      ['hello', 'apps', 'app', 'apps', 'delta'],
    )
    const last = seen.at(-1)
    assert.ok(last?.type === 'delta')
    assert.deepEqual(Object.keys(last.delta.parts?.put ?? {}), [`shop.${hostile}.1`])
    assert.ok(!JSON.stringify(seen).includes('never told'))
  })

  test('a person sees his apps, keeps his session over a restart, is recorded, and loses all with his access', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'stead-gate-'))
    const gate = await openGate({
      directory: dir,
      keysPath: null,
      entrance: [],
      clock: systemClock,
      random: seededRandom(11),
      onNotice: () => {},
    })
    const apps = ['blog', 'shop']
    const two = synthetic({ apps })
    const sessionsPath = join(dir, 'sessions.json')
    const start = (seed: number, at: number): Promise<Dashboard> => {
      const how = { gate, clock: systemClock, random: seededRandom(seed), sessionsPath, built }
      return serveDashboard({ ...how, port: at, operations: two.operations })
    }
    try {
      await gate.grant({ name: 'ada', role: 'operator', rights: [], apps: ['shop'], sshKeys: [], expiresAtMs: null })
      const first = await start(12, 0)
      const session = await logIn(first, gate.known('ada', 'socket'))
      await first[Symbol.asyncDispose]()
      const second = await start(13, first.port)
      const get = async (path: string): Promise<number> => (await ask(second.port, path, { headers: session })).status
      assert.equal(await get('/api/v1/apps/shop/status'), 200)
      assert.equal(await get('/api/v1/apps/blog/status'), 403)
      const feed = await open(second.port, '/api/feed', { headers: session })
      feed.on('error', () => {})
      const lines = createInterface({ input: feed })[Symbol.asyncIterator]()
      const next = async (): Promise<FeedMessage> => JSON.parse(String((await lines.next()).value)) as FeedMessage
      assert.equal((await next()).type, 'hello')
      const cards = await next()
      assert.deepEqual(cards.type === 'apps' && cards.apps.map(({ head }) => head.app), ['shop'])
      const heal = { method: 'DELETE', headers: session }
      assert.equal((await ask(second.port, '/api/v1/apps/shop/faults/f1', heal)).status, 200)
      const recorded = await Array.fromAsync(gate.lines({ app: 'shop', who: 'ada', sinceMs: null }))
      assert.ok(recorded.some(({ operation }) => operation === 'DELETE /v1/apps/:app/faults/:fault'))

      await gate.remove('ada')
      assert.equal(await get('/api/v1/apps/shop/status'), 403)
      for (;;) {
        const message = await next()
        if (message.type === 'apps') assert.deepEqual(message.apps, [])
        if (message.type === 'no-app' || message.type === 'apps') break
      }
      feed.destroy()
      await second[Symbol.asyncDispose]()
    } finally {
      await gate[Symbol.asyncDispose]()
      rmSync(dir, { recursive: true })
    }
  })

  test('hostile names are data: JSON that no browser takes for a page', async () => {
    const session = await logIn(dashboard)
    const answer = await ask(port, '/api/v1/apps/shop/status', { headers: session })
    assert.equal(answer.headers['content-type'], 'application/json')
    assert.equal(answer.headers['x-content-type-options'], 'nosniff')
    assert.ok(answer.body.includes(JSON.stringify(hostile).slice(1, -1)))
    const refusal = await ask(port, `/api/v1/apps/${encodeURIComponent(hostile)}/status`, { headers: session })
    assert.equal(refusal.headers['content-type'], 'application/json')
  })

  test('releases are told to whoever may read them, and what changes; code comes from no page', async () => {
    let story = storyOf()
    const own = synthetic({ releases: () => story })
    const how = { gate: null, clock: systemClock, random: seededRandom(8), sessionsPath: null, built }
    await using served = await serveDashboard({ ...how, port: 0, operations: own.operations })
    assert.equal((await ask(served.port, '/api/releases?app=shop')).status, 401)
    const headers = await logIn(served)
    const answer = await open(served.port, '/api/releases?app=shop', { headers })
    answer.on('error', () => {})
    const lines = createInterface({ input: answer })[Symbol.asyncIterator]()
    const next = async (): Promise<ReleasesMessage> => JSON.parse(String((await lines.next()).value)) as ReleasesMessage
    const all = await next()
    assert.ok(all.type === 'releases')
    assert.deepEqual(
      all.put.map(({ number }) => number),
      [1, 2, 3, 4, 5, 6, 7],
    )
    assert.ok(!JSON.stringify(all).includes('never told'))
    story = { ...story, releases: story.releases.map((one) => (one.number === 7 ? { ...one, live: true } : one)) }
    own.move((status) => ({ ...status, release: 7 }))
    for (;;) {
      const message = await next()
      if (message.type === 'beat') continue
      assert.deepEqual(message.type === 'releases' && message.put.map(({ number }) => number), [7])
      break
    }
    answer.destroy()
    const post = (path: string, body: string, session = headers): Promise<Answered> =>
      ask(served.port, path, { method: 'POST', body, headers: session })
    const wish = JSON.stringify({ target: 4, withData: null, checkpoint: null })
    assert.equal((await post('/api/v1/apps/shop/rollback', wish)).status, 200)
    assert.equal((await post('/api/v1/apps/shop/copies/adopt', '{}')).status, 403)
    assert.equal((await ask(served.port, '/api/v1/apps/shop', { method: 'PUT', body: '{}', headers })).status, 403)
    const looking = await logIn(served, reader)
    assert.equal((await post('/api/v1/apps/shop/rollback', wish, looking)).status, 403)
    assert.equal((await post('/api/v1/apps/shop/rollback/preview', wish, looking)).status, 200)
    assert.deepEqual(own.asked, ['back to 4 code only'])
  })

  test('pages that are not built say how they are', async () => {
    const own = await serveDashboard({
      port: 0,
      operations: platform.operations,
      gate: null,
      clock: systemClock,
      random: seededRandom(4),
      sessionsPath: null,
      built: join(built, 'nowhere'),
    })
    const answer = await ask(own.port, '/')
    assert.equal(answer.status, 503)
    assert.match(answer.body, /npm run setup/)
    await assert.rejects(
      serveDashboard({
        port: own.port,
        operations: platform.operations,
        gate: null,
        clock: systemClock,
        random: seededRandom(5),
        sessionsPath: null,
      }),
      { code: 'dashboard.port-taken' },
    )
    await own[Symbol.asyncDispose]()
  })

  async function* followed(session: Record<string, string>): AsyncIterable<FeedMessage> {
    const answer = await open(port, '/api/feed?app=shop', { headers: session })
    answer.on('error', () => {})
    try {
      for await (const line of createInterface({ input: answer })) yield JSON.parse(line) as FeedMessage
    } finally {
      answer.destroy()
    }
  }

  async function feedOf(session: Record<string, string>, count: number): Promise<FeedMessage[]> {
    const seen: FeedMessage[] = []
    for await (const message of followed(session)) if (seen.push(message) >= count) break
    return seen
  }
})
