/** Changing the table under load: no request fails, nothing new reaches an old instance, and drained means drained. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, request as httpRequest } from 'node:http'
import type { ServerResponse } from 'node:http'
import { test } from 'node:test'
import { ask, backend, rig, route, until } from '../../test/gateway-rig.ts'
import type { Backend } from '../../test/gateway-rig.ts'

interface Load {
  answered(): number
  stop(): Promise<{ ok: number; failed: string[] }>
}

/** A client that asks again and again on kept-alive connections; counts answers and keeps every failure. */
function load(port: number, clients: number, body: string | null): Load {
  const agent = new Agent({ keepAlive: true })
  const failed: string[] = []
  let ok = 0
  const stopped = new AbortController()
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const method = body === null ? 'GET' : 'POST'
      const fail = (reason: string): void => {
        failed.push(reason)
        resolve()
      }
      const asked = httpRequest(
        { port, host: '127.0.0.1', agent, method, headers: { host: 'shop.test' } },
        (response) => {
          response.on('error', (error) => fail(error.message))
          response.resume().on('end', () => {
            if (response.statusCode !== 200) return fail(`status ${response.statusCode}`)
            ok += 1
            resolve()
          })
        },
      )
      asked.on('error', (error) => fail(error.message))
      asked.end(body ?? undefined)
    })
  const workers = Array.from({ length: clients }, async () => {
    while (!stopped.signal.aborted) await one()
  })
  return {
    answered: () => ok + failed.length,
    stop: async () => {
      stopped.abort()
      await Promise.all(workers)
      agent.destroy()
      return { ok, failed }
    },
  }
}

for (const body of [null, 'an order']) {
  test(`thirty swaps of all instances under load (${body === null ? 'GET' : 'POST'}): no request fails`, async (t) => {
    const answer = (response: ServerResponse): void => void setTimeout(() => response.end('ok'), 2)
    const start = (): Promise<Backend> =>
      backend(t, (request, response) => request.resume().on('end', () => answer(response)))
    let current = [await start(), await start()]
    const targets = (generation: number): ReturnType<Backend['target']>[] =>
      current.map((one, i) => one.target(`web-${generation}-${i}`))
    const { port, gateway, drained } = await rig(t, [route(targets(0))])
    const clients = load(port, 8, body)
    for (let generation = 1; generation <= 30; generation += 1) {
      const old = current
      current = [await start(), await start()]
      assert.deepEqual(gateway.apply({ revision: generation + 1, routes: [route(targets(generation))] }), {
        revision: generation + 1,
      })
      const answered = clients.answered()
      for (const [i, one] of old.entries()) {
        const name = `web-${generation - 1}-${i}`
        await gateway.drained(name)
        assert.equal(gateway.inUse(name), 0)
        // Stopped hard, the moment it is said to be drained.
        await one.stop()
      }
      await until('a hundred more answers', () => clients.answered() >= answered + 100)
    }
    const { ok, failed } = await clients.stop()
    assert.deepEqual(failed, [])
    assert.ok(ok >= 3000)
    assert.equal(drained.length, 60)
    const counted = gateway.metrics().find(({ labels }) => labels.route === 'web')
    assert.equal(counted?.requests['2xx'], ok)
    assert.equal(counted?.latency.count, ok)
    assert.equal(counted?.inFlight, 0)
  })
}

test('kill -9 of one of two instances under load fails no GET', async (t) => {
  const program = `require('node:http').createServer((q, s) => setTimeout(() => s.end('ok'), 2))
    .listen(0, '127.0.0.1', function () { console.log(this.address().port) })`
  const instances = await Promise.all(
    ['web-1', 'web-2'].map(async (instance) => {
      const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
      t.after(() => child.kill('SIGKILL'))
      const [line] = await once(child.stdout, 'data')
      const endpoint = { kind: 'tcp', host: '127.0.0.1', port: Number(String(line)) } as const
      return { child, target: { instance, endpoint } }
    }),
  )
  const { port, gateway } = await rig(t, [route(instances.map(({ target }) => target))])
  const clients = load(port, 8, null)
  await until('two hundred answers', () => clients.answered() >= 200)
  instances[0]?.child.kill('SIGKILL')
  await until('a thousand more', () => clients.answered() >= 1200)
  const { failed } = await clients.stop()
  assert.deepEqual(failed, [])
  assert.ok((gateway.metrics().find(({ labels }) => labels.route === 'web')?.retries ?? 0) > 0)
})

test('no new request goes to an instance that has left, and the one in flight is let end', async (t) => {
  const held: ServerResponse[] = []
  const old = await backend(t, (_request, response) => void held.push(response))
  const next = await backend(t, (_request, response) => response.end('new'))
  const { port, gateway, drained } = await rig(t, [route([old.target('old')])])
  const first = ask(port)
  await until('it is in flight', () => held.length === 1)
  gateway.apply({ revision: 2, routes: [route([next.target('new')])] })
  for (let i = 0; i < 10; i += 1) assert.equal((await ask(port)).body, 'new')
  assert.equal(held.length, 1)
  assert.equal(gateway.inUse('old'), 1)
  assert.deepEqual(drained, [])
  held[0]?.end('old')
  assert.equal((await first).body, 'old')
  await gateway.drained('old')
  assert.deepEqual(drained, ['old'])
})

test('requests that wait for a place are placed by the new table, or told when their route is gone', async (t) => {
  const held: ServerResponse[] = []
  const old = await backend(t, (_request, response) => void held.push(response))
  const next = await backend(t, (_request, response) => response.end('new'))
  const limits = { instanceRequestsMax: 1, queueMs: 60_000 }
  const { port, gateway } = await rig(t, [route([old.target('old')], { limits })])
  const inFlight = (): number | undefined => gateway.metrics().find(({ labels }) => labels.route === 'web')?.inFlight
  const first = ask(port)
  await until('one is in flight', () => held.length === 1)
  const waiting = [ask(port), ask(port)]
  await until('two wait', () => inFlight() === 3)
  gateway.apply({ revision: 2, routes: [route([next.target('new')], { limits })] })
  for (const answer of await Promise.all(waiting)) assert.equal(answer.body, 'new')
  gateway.apply({ revision: 3, routes: [route([old.target('old')], { limits })] })
  const second = ask(port)
  await until('the second is in flight', () => held.length === 2)
  const lost = ask(port)
  await until('one waits', () => inFlight() === 3)
  gateway.apply({ revision: 4, routes: [] })
  assert.equal((await lost).status, 503)
  for (const response of held) response.end('old')
  for (const answer of await Promise.all([first, second])) assert.equal(answer.body, 'old')
})

test('an instance that never lets go is cut off in the end', async (t) => {
  const stuck = await backend(t, () => undefined)
  const { port, gateway } = await rig(t, [route([stuck.target('stuck')])], { cutMs: 50 })
  const asked = ask(port)
  await until('it is in flight', () => gateway.inUse('stuck') === 1)
  gateway.apply({ revision: 2, routes: [] })
  await gateway.drained('stuck')
  assert.equal((await asked).status, 502)
})

test('an instance that is at another endpoint is another one; the name is drained when both are', async (t) => {
  const held: ServerResponse[] = []
  const before = await backend(t, (_request, response) => void held.push(response))
  const after = await backend(t, (_request, response) => response.end('after'))
  const { port, gateway, drained } = await rig(t, [route([before.target('web-1')])])
  const first = ask(port)
  await until('it is in flight', () => held.length === 1)
  gateway.apply({ revision: 2, routes: [route([after.target('web-1')])] })
  assert.equal((await ask(port)).body, 'after')
  assert.equal(gateway.inUse('web-1'), 1)
  held[0]?.end('before')
  assert.equal((await first).body, 'before')
  assert.deepEqual(drained, [])
  gateway.apply({ revision: 3, routes: [] })
  assert.deepEqual(drained, ['web-1'])
})

test('closing lets what is in flight end', async (t) => {
  const held: ServerResponse[] = []
  const web = await backend(t, (_request, response) => void held.push(response))
  const { port, gateway } = await rig(t, [route([web.target('web-1')])], { closeMs: 10_000 })
  const asked = ask(port)
  await until('it is in flight', () => held.length === 1)
  const closed = gateway.close()
  await assert.rejects(ask(port), /ECONNREFUSED/)
  held[0]?.end('done')
  const answer = await asked
  assert.equal(answer.body, 'done')
  assert.equal(answer.headers.connection, 'close')
  await closed
})
