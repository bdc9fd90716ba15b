/** The HTTP interface as a program without a library sees it: statuses, problems, rights, limits, and what becomes of a message. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { suite, test } from 'node:test'
import { refuses, until } from '../helpers.conformance.ts'
import { defaultRetry } from '../retry.ts'
import { TestServer } from './http/place.test-helper.ts'
import { openHttpQueues } from './http.ts'

interface Reply {
  readonly status: number
  readonly type: string
  readonly body: Readonly<Record<string, unknown>>
}

/** Asks as a program would: the URL of a login, without what fetch does not take in a URL. */
function asking(login: string): (path: string, body?: unknown, method?: string) => Promise<Reply> {
  const url = new URL(login)
  const token = url.password
  return async (path, body, method = body === undefined ? 'GET' : 'POST') => {
    const response = await fetch(`http://${url.host}${url.pathname}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const answered: unknown = await response.json()
    assert.ok(typeof answered === 'object' && answered !== null)
    return { status: response.status, type: response.headers.get('content-type') ?? '', body: { ...answered } }
  }
}

/** The items of a list in an answer. */
function listOf({ body }: Reply, name: string): readonly Readonly<Record<string, unknown>>[] {
  const list = body[name]
  assert.ok(Array.isArray(list), JSON.stringify(body))
  return list.map((item: object) => ({ ...item }))
}

/** A reply is a problem with this status and code. */
function assertProblem({ status, type, body }: Reply, expected: number, code: string): void {
  assert.deepEqual([status, body['code'], body['status']], [expected, code, expected], JSON.stringify(body))
  assert.equal(type, 'application/problem+json')
  assert.ok(String(body['title']).length > 0 && String(body['type']).startsWith('urn:stead:'))
}

const quick = { ...defaultRetry, attemptsMax: 2, firstDelayMs: 0, delayMsMax: 0 }

suite('the HTTP interface of queues', { concurrency: 4 }, () => {
  test('who is refused while still sending hears why', async () => {
    await using server = await TestServer.start()
    const login = await server.letIn('web', ['send'])
    const [mayNot, isNobody] = [asking(login), asking(login.replace(/:[^:@]+@/, ':wrong@'))]
    const large = JSON.stringify({ text: 'x'.repeat(900_000) })
    for (let round = 0; round < 20; round += 1) {
      assertProblem(await mayNot('/receive', large), 403, 'queue.forbidden')
      assertProblem(await isNobody('/messages', large), 401, 'queue.not-authorized')
    }
  })

  test('sends one and many, delivers, and settles each by itself', async () => {
    await using server = await TestServer.start()
    const ask = asking(await server.letIn('web'))
    const one = await ask('/messages', { value: { to: 'a' }, id: 'm1', headers: { lang: 'de' } })
    assert.deepEqual(one.body, { ok: true, id: 'm1', duplicate: false, durability: 'fsync' })
    const many = await ask('/messages', {
      messages: [{ text: 'plain', priority: 9 }, { base64: '/wD+' }, { text: 'x', priority: 10 }, { nothing: 1 }],
    })
    const results = listOf(many, 'results')
    assert.deepEqual(
      results.map(({ ok }) => ok),
      [true, true, false, false],
    )
    const problems = results.slice(2).map(({ error }) => JSON.stringify(error))
    assert.match(problems[0] ?? '', /"queue\.bad-input"/)
    assert.match(problems[1] ?? '', /nothing/)

    const held = listOf(await ask('/receive', { max: 10, waitMs: 1000 }), 'messages')
    assert.deepEqual(
      held.map(({ text, base64 }) => text ?? base64),
      ['plain', '{"to":"a"}', '/wD+'],
    )
    assert.deepEqual(held[1]?.['headers'], { lang: 'de' })
    const [first, second, third] = held.map(({ receipt }) => receipt)
    const settled = await ask('/settle', {
      settlements: [
        { receipt: first, decision: 'ack' },
        { receipt: second, decision: 'retry', delayMs: 0, countAsFailure: false },
        { receipt: third, decision: 'reject', cause: 'of no use' },
        { receipt: first, decision: 'ack' },
        { receipt: first, decision: 'sing' },
      ],
    })
    assert.deepEqual(
      listOf(settled, 'results').map(({ outcome }) => outcome),
      ['done', 'done', 'done', 'lost', 'error'],
    )
    const { ready, dead } = (await ask('')).body
    assert.deepEqual([ready, dead], [1, 1])
    const [letter] = listOf(await ask('/messages?shelf=dead'), 'messages')
    assert.deepEqual([letter?.['base64'], letter?.['cause']], ['/wD+', 'of no use'])
    assert.equal((await ask('/redrive', {})).body['count'], 1)
    assertProblem(await ask('/purge', {}), 400, 'queue.bad-input')
    assert.equal((await ask('/purge', { shelf: 'ready' })).body['count'], 2)
  })

  test('a paused queue takes and keeps, and hands out when it is resumed, also when its server was new meanwhile', async () => {
    await using server = await TestServer.start()
    const ask = asking(await server.letIn('worker'))
    await ask('/messages', { messages: [{ text: 'a' }, { text: 'b' }] })
    const [held] = listOf(await ask('/receive', {}), 'messages')
    assert.deepEqual((await ask('/pause', {})).body, { paused: true })
    assert.equal((await ask('/messages', { text: 'c' })).status, 200)
    assert.deepEqual(listOf(await ask('/receive', {}), 'messages'), [])
    const settled = await ask('/settle', { settlements: [{ receipt: held?.['receipt'], decision: 'ack' }] })
    assert.equal(listOf(settled, 'results')[0]?.['outcome'], 'done')
    const admin = server.admin()
    await admin.call('PUT', '/admin/generation', { generation: 2 })
    admin.close()
    const { ready, paused } = (await ask('')).body
    assert.deepEqual([ready, paused], [2, true])
    const waiting = ask('/receive', { max: 2, waitMs: 20_000 })
    assert.deepEqual(listOf(await ask('/receive', { waitMs: 50 }), 'messages'), [])
    assert.deepEqual((await ask('/resume', {})).body, { paused: false })
    assert.equal(listOf(await waiting, 'messages').length, 2)
  })

  test('gives up a message by the policy of the queue, whoever consumes it', async () => {
    await using server = await TestServer.start({ retry: quick })
    const ask = asking(await server.letIn('worker'))
    const takeOne = async (leaseMs = 30_000): Promise<unknown> =>
      listOf(await ask('/receive', { waitMs: 5000, leaseMs }), 'messages')[0]?.['receipt']
    await ask('/messages', { text: 'fails' })
    for (const outcome of [0, 1]) {
      const receipt = await takeOne()
      await ask('/settle', { settlements: [{ receipt, decision: 'retry', cause: `for the ${outcome}. time` }] })
    }
    const [failed] = listOf(await ask('/messages?shelf=dead'), 'messages')
    assert.equal(failed?.['cause'], '2 attempts have failed: for the 1. time')

    // Whoever takes it vanishes: nobody gets it a third time.
    await ask('/messages', { text: 'kills' })
    await takeOne(50)
    await takeOne(50)
    assert.deepEqual(listOf(await ask('/receive', { waitMs: 1000 }), 'messages'), [])
    const dead = listOf(await ask('/messages?shelf=dead'), 'messages')
    assert.match(String(dead[1]?.['cause']), /^2 attempts were made/)
  })

  test('lets nobody in without a credential, and nobody do more than his rights', async () => {
    await using server = await TestServer.start()
    const sender = await server.letIn('sender', ['send'])
    const worker = asking(await server.letIn('worker', ['receive']))
    const send = asking(sender)
    assert.equal((await send('/messages', { text: 'x' })).status, 200)
    assertProblem(await send('/receive', {}), 403, 'queue.forbidden')
    assertProblem(await send('/messages'), 403, 'queue.forbidden')
    assertProblem(await send('/../other', undefined, 'PUT'), 403, 'queue.forbidden')
    assertProblem(await worker('/messages', { text: 'x' }), 403, 'queue.forbidden')
    assertProblem(await worker('/purge', { shelf: 'ready' }), 403, 'queue.forbidden')
    assertProblem(await worker('/pause', {}), 403, 'queue.forbidden')
    assert.equal(listOf(await worker('/receive', {}), 'messages').length, 1)
    assertProblem(await asking(sender.replace('password', 'forged'))(''), 401, 'queue.not-authorized')
    // The administration is there for nobody who was let in.
    assertProblem(await send('/../../../admin/state'), 400, 'queue.bad-input')
    await refuses('queue.not-authorized', () => openHttpQueues({ url: sender.replace('password', 'forged') }))
    await refuses('queue.bad-input', () => openHttpQueues({ url: 'http://no-login/' }))
    // The library finds the queue, and is refused what it may not do.
    await using queues = await openHttpQueues({ url: sender })
    const { jsonCodec } = await import('../codec.ts')
    const queue = await queues.declare('mail', jsonCodec)
    await queue.send(1)
    await refuses('queue.forbidden', () => queue.receive())
    await refuses('queue.forbidden', () => queues.declare('of-my-own', jsonCodec))
  })

  test('refuses what is too large, malformed, unknown or too much, and says which', async () => {
    await using server = await TestServer.start({ bodyBytesMax: 1000, messagesMax: 2 })
    const ask = asking(await server.letIn('web'))
    assertProblem(await ask('/messages', { text: 'x'.repeat(1001) }), 413, 'queue.too-large')
    assertProblem(await ask('/messages', `{"text": "${'x'.repeat(5_000_000)}"}`), 413, 'queue.too-large')
    assertProblem(await ask('/messages', '{"text"'), 400, 'queue.bad-input')
    assertProblem(await ask('/messages', { base64: '***' }), 400, 'queue.bad-input')
    assertProblem(await ask('/receive', { waitMs: 1e9 }), 400, 'queue.bad-input')
    assertProblem(await ask('/settle', {}), 400, 'queue.bad-input')
    assertProblem(await ask('/../unknown/receive', {}), 404, 'queue.no-such-queue')
    assertProblem(await ask('/nothing-here', {}), 400, 'queue.bad-input')
    assertProblem(await ask('', undefined, 'DELETE'), 400, 'queue.bad-input')
    assertProblem(await ask('/..', {}), 400, 'queue.bad-input')
    await ask('/messages', { messages: [{ text: '1' }, { text: '2' }] })
    assertProblem(await ask('/messages', { text: '3' }), 507, 'queue.full')
  })

  test('what was on its way to somebody who has hung up comes again at once, uncounted', async () => {
    await using server = await TestServer.start()
    const login = await server.letIn('worker')
    const ask = asking(login)
    const socket = createConnection(server.port, '127.0.0.1')
    await once(socket, 'connect')
    const body = JSON.stringify({ waitMs: 20_000, leaseMs: 3_600_000 })
    const { password, pathname } = new URL(login)
    const head = `POST ${pathname}/receive HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${password}`
    socket.write(`${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
    const waiting = async (): Promise<number> => {
      const client = server.admin()
      const found = await client.call('GET', '/admin/metrics')
      client.close()
      return Number(found['receivers'])
    }
    await until('somebody waits', async () => (await waiting()) === 1)
    socket.destroy()
    await until('nobody waits', async () => (await waiting()) === 0)
    await ask('/messages', { text: 'for whoever is there' })
    const [message] = listOf(await ask('/receive', { waitMs: 10_000 }), 'messages')
    assert.equal(message?.['attempt'], 1)
  })

  test('a later generation of the data ends what was held under the earlier one', async () => {
    await using server = await TestServer.start()
    const ask = asking(await server.letIn('worker'))
    await ask('/messages', { text: 'x' })
    const [before] = listOf(await ask('/receive', { leaseMs: 3_600_000 }), 'messages')
    const admin = server.admin()
    await admin.call('PUT', '/admin/generation', { generation: 2 })
    await admin.call('PUT', '/admin/generation', { generation: 2 })
    const [after] = listOf(await ask('/receive', { waitMs: 5000 }), 'messages')
    const settled = await ask('/settle', {
      settlements: [before, after].map((message) => ({ receipt: message?.['receipt'], decision: 'ack' })),
    })
    assert.deepEqual(
      listOf(settled, 'results').map(({ outcome }) => outcome),
      ['lost', 'done'],
    )
    admin.close()
  })

  test('whoever is shut out loses the connection that waits', async () => {
    await using server = await TestServer.start()
    const ask = asking(await server.letIn('worker'))
    const waiting = ask('/receive', { waitMs: 20_000 })
    waiting.catch(() => {})
    const admin = server.admin()
    await until('it waits', async () => (await admin.call('GET', '/admin/metrics'))['receivers'] === 1)
    await admin.call('DELETE', '/admin/users/worker')
    await assert.rejects(waiting)
    assertProblem(await ask(''), 401, 'queue.not-authorized')
    admin.close()
  })
})
