/** What every engine of the way in must do, tried with each: the own one, and HAProxy where it is installed. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { Agent, request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError } from '../base/index.ts'
import type { Route } from '../protocol/index.ts'
import { engineRig, engines } from '../../test/gateway-engines.ts'
import { ask, backend, deadPort, rawExchange, route, until } from '../../test/gateway-rig.ts'
import type { Answer } from '../../test/gateway-rig.ts'

/** Clients that ask again and again on kept connections. */
function load(port: number, clients: number): { readonly stop: () => Promise<{ ok: number; failed: string[] }> } {
  const agent = new Agent({ keepAlive: true })
  const failed: string[] = []
  let ok = 0
  let stopped = false
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const fail = (why: string): void => {
        failed.push(why)
        resolve()
      }
      const asked = httpRequest({ port, host: '127.0.0.1', agent, headers: { host: 'shop.test' } }, (response) => {
        response.on('error', (error) => fail(error.message))
        response.resume().on('end', () => {
          if (response.statusCode === 200) ok += 1
          else failed.push(`status ${response.statusCode}`)
          resolve()
        })
      })
      // A kept connection may be closed by either side while it is idle: a client asks again on another one.
      asked.on('error', (error) => (asked.reusedSocket && 'code' in error ? resolve(one()) : fail(error.message)))
      asked.end()
    })
  const workers = Array.from({ length: clients }, async () => {
    while (!stopped) await one()
  })
  return {
    stop: async () => {
      stopped = true
      await Promise.all(workers)
      agent.destroy()
      return { ok, failed }
    },
  }
}

for (const engine of engines) {
  suite(`the way in by ${engine.name}`, { skip: engine.skip }, () => {
    test('host and path lead to a route as the table says, and who the client is comes from nobody else', async (t) => {
      const web = await backend(t, (request, response) => response.end(JSON.stringify([request.url, request.headers])))
      const other = await backend(t, (_request, response) => response.end('other'))
      const wild = await backend(t, (_request, response) => response.end('wild'))
      const { port } = await engineRig(t, engine, [
        route([web.target('web-1')]),
        route([other.target('other-1')], { id: 'api', path: '/api/' }),
        route([wild.target('wild-1')], { id: 'wild', host: '*.shop.test' }),
        route([other.target('other-1')], { id: 'deep', host: '*.deep.shop.test', path: '/x' }),
      ])
      const said = async (path: string, host = 'shop.test'): Promise<string> =>
        (await ask(port, { path, headers: { host } })).body
      assert.match(await said('/apix?q=/../'), /^\["\/apix\?q=\/\.\.\/"/)
      for (const path of ['/api', '/api/', '/api/v1?x']) assert.equal(await said(path), 'other', path)
      assert.equal(await said('/', 'a.b.shop.test'), 'wild')
      assert.equal(await said('/x/y', 'a.deep.shop.test'), 'other')
      assert.equal(
        await said('/y', 'a.deep.shop.test'),
        'wild',
        'a host that does not take the path leaves it to the next',
      )
      assert.match(await said('/', 'SHOP.test.:80'), /^\["\/"/)
      assert.equal((await ask(port, { headers: { host: 'xshop.test' } })).status, 404)
      const spoofed = {
        'x-forwarded-for': '6.6.6.6',
        X_Forwarded_For: '6.6.6.6',
        forwarded: 'for=6.6.6.6',
        'x-real-ip': '6.6.6.6',
      }
      const answer = await ask(port, { headers: { ...spoofed, 'x-request-id': 'order-12345', 'x-mine': '1' } })
      assert.doesNotMatch(answer.body, /6\.6\.6\.6/)
      const [, seen] = JSON.parse(answer.body)
      assert.deepEqual(
        [seen['x-forwarded-for'], seen['x-forwarded-proto'], seen['x-forwarded-host'], seen.host, seen['x-mine']],
        ['127.0.0.1', 'http', 'shop.test', 'shop.test', '1'],
      )
      assert.equal(seen.forwarded, 'for=127.0.0.1;host="shop.test";proto=http')
      assert.match(seen.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/)
      assert.deepEqual([seen['x-request-id'], answer.headers['x-request-id']], ['order-12345', 'order-12345'])
    })

    test('bodies pass whole both ways, and HEAD has none', async (t) => {
      const web = await backend(t, (request, response) => {
        const hash = createHash('sha256')
        request.on('data', (chunk: Buffer) => hash.update(chunk))
        request.on('end', () =>
          response.end(request.method === 'HEAD' ? '' : hash.digest('hex') + 'x'.repeat(3_000_000)),
        )
      })
      const { port } = await engineRig(t, engine, [route([web.target('web-1')])])
      const body = Buffer.concat(Array.from({ length: 50 }, (_, i) => Buffer.alloc(60_000 + i, i)))
      const digest = createHash('sha256').update(body).digest('hex')
      for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
        const answer = await ask(port, { method: 'PUT', body, headers })
        assert.equal(answer.body.slice(0, 64), digest)
        assert.equal(answer.body.length, 3_000_064)
      }
      assert.equal((await ask(port, { method: 'HEAD' })).body, '')
    })

    test('instances, paths and routes change under load: no request fails, none goes to who has left', async (t) => {
      const start = async (name: string) => (await backend(t, (_request, response) => response.end(name))).target(name)
      const extra = await start('extra')
      const { port, gateway, drained } = await engineRig(t, engine, [route([await start('web-0')])])
      const clients = load(port, 8)
      let revision = 1
      for (let round = 1; round <= 12; round += 1) {
        const current = route([await start(`web-${round}`), await start(`web-${round}b`)])
        // A route that comes and goes, then one whose path moves.
        const more = round % 4 === 0 ? [route([extra], { id: 'more', path: '/more' })] : []
        await gateway.apply({ revision: (revision += 1), routes: [current, ...more] })
        assert.match((await ask(port)).body, new RegExp(`^web-${round}b?$`), 'when it is applied it counts')
        if (more.length > 0) assert.equal((await ask(port, { path: '/more' })).body, 'extra')
      }
      const { ok, failed } = await clients.stop()
      assert.deepEqual(failed, [])
      assert.ok(ok > 100, `${ok} requests`)
      await until('all that left are drained', () =>
        ['web-0', 'web-1', 'web-11b'].every((one) => drained.includes(one)),
      )
      assert.ok(!drained.includes('web-12'))
    })

    test('an instance is drained when what was in flight is over, not before', async (t) => {
      const open: (() => void)[] = []
      const slow = await backend(t, (_request, response) => void open.push(() => response.end('slow')))
      const next = await backend(t, (_request, response) => response.end('next'))
      for (const more of [[], [route([], { id: 'new', path: '/new' })]]) {
        const { port, gateway, drained } = await engineRig(t, engine, [route([slow.target('web-1')])])
        const first = ask(port)
        await until('it is at the instance', () => open.length === 1)
        await gateway.apply({ revision: 2, routes: [route([next.target('web-2')]), ...more] })
        assert.equal((await ask(port)).body, 'next')
        await new Promise((resolve) => setTimeout(resolve, 300))
        assert.deepEqual([drained, gateway.inUse('web-1')], [[], 1])
        open.shift()?.()
        assert.equal((await first).body, 'slow')
        await gateway.drained('web-1')
        assert.deepEqual([drained, gateway.inUse('web-1')], [['web-1'], 0])
        await gateway.close()
      }
    })

    test('an instance that refuses is passed over; what may have had an effect is not sent again', async (t) => {
      const seen: string[] = []
      const well = await backend(t, (request, response) => {
        seen.push(`well ${request.method}`)
        request.resume().on('end', () => response.end('ok'))
      })
      const crash = await backend(t, (request) => {
        seen.push(`crash ${request.method}`)
        request.socket.destroy()
      })
      const gone = { instance: 'gone', endpoint: { kind: 'tcp', host: '127.0.0.1', port: await deadPort(t) } } as const
      const { port } = await engineRig(t, engine, [
        route([gone, well.target('well-1')]),
        route([crash.target('crash-1')], { id: 'crash', path: '/crash' }),
      ])
      for (let i = 0; i < 10; i += 1) assert.equal((await ask(port, { method: 'POST', body: 'x' })).body, 'ok')
      assert.equal((await ask(port, { path: '/crash', method: 'POST', body: 'x' })).status, 502)
      assert.equal(seen.filter((line) => line === 'crash POST').length, 1)
    })

    test('what there is no place for waits, and is refused when too many wait', async (t) => {
      const open: (() => void)[] = []
      const web = await backend(t, (_request, response) => void open.push(() => response.end('ok')))
      const limits = { instanceRequestsMax: 1, queueMax: 1, queueMs: 60_000 }
      const { port } = await engineRig(t, engine, [route([web.target('web-1')], { limits })])
      const asked = [ask(port)]
      await until('one is at the instance', () => open.length === 1)
      asked.push(ask(port))
      const refused = async (): Promise<boolean> => {
        const answer = await Promise.race([
          ask(port),
          new Promise<null>((resolve) => setTimeout(() => resolve(null), 200)),
        ])
        return answer?.status === 503 && answer.headers['retry-after'] === '1'
      }
      // Until the second one waits there is place for another; then there is not.
      while (!(await refused())) open.shift()?.()
      let ended = false
      void Promise.all(asked).finally(() => (ended = true))
      await until('those that wait have their turn', () => {
        open.shift()?.()
        return ended
      })
    })

    test('a request that could be read in two ways is refused', async (t) => {
      let reached = 0
      const web = await backend(t, (_request, response) => {
        reached += 1
        response.end('reached')
      })
      const { port } = await engineRig(t, engine, [route([web.target('web-1')])], { headersMs: 500 })
      const post = 'POST / HTTP/1.1\r\nHost: shop.test\r\n'
      const close = 'Connection: close\r\n\r\n'
      const cases = [
        `${post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nX`,
        `${post}Content-Length: +1\r\n\r\nX`,
        `${post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
        `${post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n`,
        'GET / HTTP/1.1\r\nHost: shop.test\r\nX-A : 1\r\n\r\n',
        `GET / HTTP/1.1\r\nHost: shop.test\r\nHost: other.test\r\n${close}`,
        `GET / HTTP/1.1\r\n${close}`,
        `GET / HTTP/1.1\r\nHost: me@shop.test\r\n${close}`,
        `GET http://other.test/ HTTP/1.1\r\nHost: shop.test\r\n${close}`,
        `GET /a/../b HTTP/1.1\r\nHost: shop.test\r\n${close}`,
        `GET /a/%2e%2E%2fb HTTP/1.1\r\nHost: shop.test\r\n${close}`,
        `GET /a\\b HTTP/1.1\r\nHost: shop.test\r\n${close}`,
        `OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n${close}`,
      ]
      for (const bytes of cases) assert.match(await rawExchange(port, bytes), /^HTTP\/1\.[01] 400 /, bytes)
      assert.match(
        await rawExchange(port, `CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test:80\r\n${close}`),
        /^HTTP\/1\.1 405 /,
      )
      assert.match(await rawExchange(port, 'GET / HTTP/1.1\r\nHost: sh'), /^HTTP\/1\.[01] 408 /)
      assert.match(
        await rawExchange(port, `GET / HTTP/1.1\r\nHost: shop.test\r\nX: ${'a'.repeat(20_000)}\r\n${close}`),
        /^HTTP\/1\.[01] 4(?:00|31) /,
      )
      assert.equal(reached, 0)
      assert.equal((await ask(port, { method: 'POST', body: 'x' })).body, 'reached')
    })

    test('a WebSocket is carried both ways', async (t) => {
      const web = await backend(t, (_request, response) => response.end())
      web.server.on('upgrade', (request, socket) => {
        const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`
        const accept = createHash('sha1').update(key).digest('base64')
        const head = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
        socket.write(`${head}Sec-WebSocket-Accept: ${accept}\r\n\r\n`)
        socket.pipe(socket)
      })
      const { port, gateway } = await engineRig(t, engine, [route([web.target('web-1')])])
      const socket = connect(port, '127.0.0.1')
      t.after(() => socket.destroy())
      let text = ''
      socket.on('data', (chunk) => (text += chunk.toString('latin1')))
      socket.write(
        'GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      )
      await until('it is open', () => /^HTTP\/1\.1 101 [^]*\r\n\r\n/.test(text))
      socket.write(Buffer.from([0x81, 0x02, 0x68, 0x69]))
      await until('it comes back', () => text.endsWith('\x81\x02hi'))
      socket.destroy()
      await until('it is over', () => gateway.inUse('web-1') === 0)
    })

    test('an instance inside a place, and a name, are reached through the network', async (t) => {
      const web = await backend(t, (_request, response) => response.end('inside'))
      const inside = { instance: 'web-1', endpoint: { kind: 'instance', pid: 1, netns: 1, port: web.port } } as const
      const named = { instance: 'web-2', endpoint: { kind: 'tcp', host: 'localhost', port: web.port } } as const
      const { port, gateway } = await engineRig(t, engine, [route([inside])])
      for (let i = 0; i < 5; i += 1) assert.equal((await ask(port)).body, 'inside')
      await gateway.apply({ revision: 2, routes: [route([named])] })
      assert.equal((await ask(port)).body, 'inside')
      await gateway.apply({ revision: 3, routes: [route([])] })
      assert.equal((await ask(port)).status, 503)
    })

    test('what comes while a route has no instances waits, for a bounded time and in a bounded number', async (t) => {
      const web = await backend(t, (request, response) => {
        let body = ''
        request.on('data', (chunk: Buffer) => (body += String(chunk)))
        request.on('end', () => response.end(`${request.method} ${body}`))
      })
      const holding = route([], { holdMs: 60_000, phase: 'deploying' })
      const { port, gateway } = await engineRig(t, engine, [route([web.target('web-1')])], { heldMax: 2 })
      assert.equal((await ask(port)).status, 200)
      await gateway.apply({ revision: 2, routes: [holding] })
      let refused = 0
      const asked = Array.from({ length: 4 }, async () => {
        const { status, body } = await ask(port, { method: 'POST', body: 'an order' })
        if (status === 503) refused += 1
        return `${status} ${status === 200 ? body : ''}`
      })
      await until('those that find no room are refused', () => refused === 2)
      await gateway.apply({ revision: 3, routes: [route([web.target('web-2')])] })
      assert.deepEqual((await Promise.all(asked)).toSorted(), [
        '200 POST an order',
        '200 POST an order',
        '503 ',
        '503 ',
      ])
      await gateway.apply({ revision: 4, routes: [{ ...holding, holdMs: 300 }] })
      assert.equal((await ask(port)).status, 503, 'its time is over')
      await gateway.apply({ revision: 5, routes: [route([])] })
      assert.equal((await ask(port)).status, 503, 'the route holds no more')
    })

    test('what waits is answered by what comes, also when other routes have come and gone meanwhile', async (t) => {
      const web = await backend(t, (_request, response) => response.end('web'))
      const other = await backend(t, (_request, response) => response.end('other'))
      const holding = route([], { holdMs: 60_000, phase: 'deploying' })
      const { port, gateway } = await engineRig(t, engine, [holding])
      const beside = (name: string): Route =>
        route([other.target(`${name}-1`)], { id: name, host: `${name}.test`, app: name })
      const waiting = async (): Promise<{ readonly answer: Promise<Answer> }> => {
        const answer = ask(port)
        // Whoever came just before a table is in it, and that cannot be seen from here.
        await Promise.race([answer, pause(300)])
        return { answer }
      }
      const first = await waiting()
      await gateway.apply({ revision: 2, routes: [holding, beside('b')] })
      const second = await waiting()
      await gateway.apply({ revision: 3, routes: [holding, beside('c')] })
      const third = await waiting()
      assert.equal((await ask(port, { headers: { host: 'c.test' } })).body, 'other')
      // Instances that come at once with a route, and those that come alone.
      await gateway.apply({ revision: 4, routes: [route([web.target('web-2')]), beside('d')] })
      for (const { answer } of [first, second, third]) assert.equal((await answer).body, 'web')
    })

    test('a table that cannot be is refused whole, an older one changes nothing, a taken port names its holder', async (t) => {
      const web = await backend(t, (_request, response) => response.end('ok'))
      const good = route([web.target('web-1')])
      const { port, gateway } = await engineRig(t, engine, [good])
      const refusing = (code: string) => (error: unknown) => isSteadError(error) && error.code === code
      const apply = async (routes: ReturnType<typeof route>[]): Promise<unknown> =>
        gateway.apply({ revision: 9, routes })
      await assert.rejects(apply([good, route([], { id: 'two' })]), refusing('gateway.duplicate-route'))
      const asking = { sticky: [{ sticky: { by: 'group' } }], priorities: [{ priority: 'low' }] } as const
      for (const [feature, [more]] of Object.entries(asking)) {
        if (gateway.capabilities[feature as keyof typeof asking].level !== 'refused') continue
        await assert.rejects(apply([route([web.target('web-1')], more)]), refusing('gateway.engine-cannot'))
      }
      assert.deepEqual(await gateway.apply({ revision: 7, routes: [good] }), { revision: 7 })
      assert.deepEqual(await gateway.apply({ revision: 6, routes: [] }), { revision: 7 })
      assert.equal((await ask(port)).body, 'ok')
      await assert.rejects(gateway.listen(port), refusing('gateway.port-taken'))
      assert.equal((await ask(port)).body, 'ok')
    })

    test('requests are counted by route and class, over changes', async (t) => {
      const web = await backend(t, (request, response) => response.writeHead(Number(request.url?.slice(1))).end())
      const good = route([web.target('web-1')])
      const { port, gateway } = await engineRig(t, engine, [good])
      const counted = (): string =>
        JSON.stringify(gateway.metrics().find(({ labels }) => labels.route === 'web')?.requests)
      for (const status of [200, 200, 302, 404, 500]) await ask(port, { path: `/${status}` })
      await until('all are counted', () => /"2xx":2,"3xx":1,"4xx":1,"5xx":1/.test(counted()))
      await gateway.apply({ revision: 2, routes: [good, route([], { id: 'new', path: '/new' })] })
      await ask(port, { path: '/200' })
      await until('and those after', () => /"2xx":3,"3xx":1,"4xx":1,"5xx":1/.test(counted()))
    })
  })
}
