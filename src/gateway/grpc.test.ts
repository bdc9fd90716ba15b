/** gRPC through a gateway, with gRPC's own client and server: every kind of call, deadlines, cancelling, and failures. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { ServerHttp2Stream } from 'node:http2'
import type { Writable } from 'node:stream'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { credentials, makeClientConstructor, Metadata, Server, ServerCredentials, status as codes } from '@grpc/grpc-js'
import type {
  Client,
  handleServerStreamingCall,
  handleUnaryCall,
  ServiceDefinition,
  ServiceError,
  UntypedHandleCall,
} from '@grpc/grpc-js'
import type { Route, RouteTarget } from '../protocol/index.ts'
import { ask, deadPort, rig, route, until } from '../../test/gateway-rig.ts'
import { askHttp2, openHttp2, tlsRig } from '../../test/tls-rig.ts'
import type { TlsRig } from '../../test/tls-rig.ts'

const text = {
  serialize: (value: string): Buffer => Buffer.from(value),
  deserialize: (bytes: Buffer): string => bytes.toString(),
}

function method(path: string, requestStream: boolean, responseStream: boolean): ServiceDefinition[string] {
  return {
    path,
    requestStream,
    responseStream,
    requestSerialize: text.serialize,
    requestDeserialize: text.deserialize,
    responseSerialize: text.serialize,
    responseDeserialize: text.deserialize,
  }
}

const definition: ServiceDefinition = {
  say: method('/shop.Talk/Say', false, false),
  list: method('/shop.Talk/List', false, true),
  sum: method('/shop.Talk/Sum', true, false),
  chat: method('/shop.Talk/Chat', true, true),
}

interface Talk {
  readonly target: RouteTarget
  readonly cancelled: string[]
  readonly seen: Metadata[]
}

/** A gRPC service of four methods, one of each kind. */
async function talk(t: TestContext, instance = 'talk-1'): Promise<Talk> {
  const server = new Server()
  const cancelled: string[] = []
  const seen: Metadata[] = []
  const handlers: Record<string, UntypedHandleCall> = {
    say: ((call, callback) => {
      seen.push(call.metadata)
      call.on('cancelled', () => cancelled.push('say'))
      if (call.request === 'hang') return
      if (call.request === 'fail') return callback({ code: codes.NOT_FOUND, details: 'no such thing: 100 %' })
      const trailers = new Metadata()
      trailers.set('took', '1')
      callback(null, `${instance} heard ${call.request}`, trailers)
    }) satisfies handleUnaryCall<string, string>,
    list: ((call) => {
      call.on('cancelled', () => cancelled.push('list'))
      for (let i = 0; i < 3; i += 1) call.write(`${call.request} ${i}`)
      if (call.request !== 'hold') call.end()
    }) satisfies handleServerStreamingCall<string, string>,
    sum: (
      call: { on(event: string, run: (chunk: string) => void): void },
      callback: (error: null, sum: string) => void,
    ) => {
      let sum = 0
      call.on('data', (chunk) => (sum += Number(chunk)))
      call.on('end', () => callback(null, String(sum)))
    },
    chat: (call: { on(event: string, run: (chunk: string) => void): void; write(text: string): void; end(): void }) => {
      call.on('data', (chunk) => (chunk === 'bye' ? call.end() : call.write(`re: ${chunk}`)))
      call.on('cancelled', () => cancelled.push('chat'))
      call.on('end', () => call.end())
    },
  }
  server.addService(definition, handlers)
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    )
  })
  t.after(() => server.forceShutdown())
  return { target: { instance, endpoint: { kind: 'tcp', host: '127.0.0.1', port }, protocol: 'h2c' }, cancelled, seen }
}

interface Call {
  on(event: string, listener: (value: never) => void): Call
  write(text: string): void
  end(): void
  cancel(): void
}
type Unary = (
  request: string,
  metadata: Metadata,
  options: { deadline?: number },
  callback: (error: ServiceError | null, answer: string) => void,
) => Call
interface TalkClient {
  readonly say: Unary
  list(request: string): Call
  sum(callback: (error: ServiceError | null, answer: string) => void): Call
  chat(): Call
}

/** A client of the gateway: over TLS by the rig's authority, or without. */
function clientOf(t: TestContext, rig: Pick<TlsRig, 'port'> & { readonly roots?: string }): TalkClient {
  const secure = rig.roots === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(rig.roots))
  const Constructor = makeClientConstructor(definition, 'Talk')
  const client: Client = new Constructor(`127.0.0.1:${rig.port}`, secure, {
    'grpc.ssl_target_name_override': 'shop.test',
    'grpc.default_authority': 'shop.test',
    'grpc.enable_retries': 0,
  })
  t.after(() => client.close())
  return client as unknown as TalkClient
}

interface Outcome {
  readonly code: number
  readonly details: string
  readonly answer: string
  readonly trailers: Metadata | undefined
}

function say(client: TalkClient, request: string, deadlineMs?: number): Promise<Outcome> {
  return new Promise((resolve) => {
    let trailers: Metadata | undefined
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }
    const call = client.say(request, new Metadata(), options, (error, answer) =>
      setImmediate(() => resolve({ code: error?.code ?? 0, details: error?.details ?? '', answer, trailers })),
    )
    call.on('status', ({ metadata }: { metadata: Metadata }) => (trailers = metadata))
  })
}

function web(target: RouteTarget | null, more: Partial<Route> = {}): Route {
  return route(target === null ? [] : [target], { part: 'talk', ...more })
}

for (const secure of [true, false]) {
  test(`every kind of call, ${secure ? 'over TLS' : 'in plain HTTP/2'}`, async (t) => {
    const { target, seen } = await talk(t)
    const plain = web(target, { plain: 'serve' })
    const given = secure ? await tlsRig(t, [plain]) : await rig(t, [plain])
    const client = clientOf(t, given)
    const unary = await say(client, 'hello')
    assert.deepEqual([unary.code, unary.answer], [0, 'talk-1 heard hello'])
    assert.deepEqual(unary.trailers?.get('took'), ['1'])
    assert.match(String(seen[0]?.get('traceparent')[0]), /^00-/)
    assert.deepEqual(seen[0]?.get('x-forwarded-proto'), [secure ? 'https' : 'http'])

    const listed: string[] = []
    const list = client.list('item').on('data', (item: string) => void listed.push(item))
    await new Promise<void>((resolve) => list.on('end', () => resolve()))
    assert.deepEqual(listed, ['item 0', 'item 1', 'item 2'])

    const sum = await new Promise<string>((resolve, reject) => {
      const call = client.sum((error, answer) => (error === null ? resolve(answer) : reject(error)))
      for (let i = 1; i <= 100; i += 1) call.write(String(i))
      call.end()
    })
    assert.equal(sum, '5050')

    // Both sides speak in turn, on one stream, before either has ended.
    const heard: string[] = []
    const chat = client.chat().on('data', (line: string) => void heard.push(line))
    for (let i = 0; i < 3; i += 1) {
      chat.write(`line ${i}`)
      await until(`answer ${i}`, () => heard.length === i + 1)
    }
    const over = new Promise<{ code: number }>((resolve) =>
      chat.on('status', (status: { code: number }) => resolve(status)),
    )
    chat.write('bye')
    assert.equal((await over).code, 0)
    assert.deepEqual(heard, ['re: line 0', 're: line 1', 're: line 2'])
    await until('nothing in use', () => given.gateway.inUse('talk-1') === 0)
  })
}

test("the service's own status and message reach the caller, and count as what they mean", async (t) => {
  const { target } = await talk(t)
  const given = await tlsRig(t, [web(target)])
  const failed = await say(clientOf(t, given), 'fail')
  assert.deepEqual([failed.code, failed.details], [codes.NOT_FOUND, 'no such thing: 100 %'])
  const counted = given.gateway.metrics().find(({ labels }) => labels.part === 'talk')
  await until('the count', () => given.gateway.inUse('talk-1') === 0)
  assert.equal(given.gateway.metrics().find(({ labels }) => labels.part === 'talk')?.requests['4xx'], 1)
  assert.equal(counted?.rejected, 0)
})

test('a caller that cancels ends the call at the service, and frees its place', async (t) => {
  const { target, cancelled } = await talk(t)
  const given = await tlsRig(t, [web(target)])
  const client = clientOf(t, given)
  const call = client.list('hold')
  const items: string[] = []
  call.on('data', (item: string) => void items.push(item)).on('error', () => undefined)
  await until('the items', () => items.length === 3)
  assert.equal(given.gateway.inUse('talk-1'), 1)
  call.cancel()
  await until('the service to hear of it', () => cancelled.includes('list'))
  await until('nothing in use', () => given.gateway.inUse('talk-1') === 0)
})

test('a deadline is passed on, and kept by the gateway when nobody else does', async (t) => {
  const { target, cancelled } = await talk(t)
  const given = await tlsRig(t, [web(target)])
  assert.equal((await say(clientOf(t, given), 'hang', 300)).code, codes.DEADLINE_EXCEEDED)
  await until('the service to hear of it', () => cancelled.length === 1)
  // A client that does not end the stream itself is told when its time is over.
  const session = await openHttp2(t, given)
  const message = Buffer.from([0, 0, 0, 0, 4, ...Buffer.from('hang')])
  const headers = { ':method': 'POST', ':path': '/shop.Talk/Say', 'content-type': 'application/grpc', te: 'trailers' }
  const answer = await askHttp2(session, { ...headers, 'grpc-timeout': '300m' }, message)
  assert.deepEqual([answer.status, answer.headers['grpc-status']], [200, '4'])
})

test('failures of the gateway are gRPC statuses for gRPC, with the sentence', async (t) => {
  const dead: RouteTarget = {
    instance: 'dead',
    endpoint: { kind: 'tcp', host: '127.0.0.1', port: await deadPort(t) },
    protocol: 'h2c',
  }
  const refused = await say(clientOf(t, await tlsRig(t, [web(dead)])), 'hello')
  assert.equal(refused.code, codes.UNAVAILABLE)
  assert.match(refused.details, /^talk does not accept connections\. \(refused, request [0-9a-f]{32}\)$/)
  const absent = await say(
    clientOf(t, await tlsRig(t, [web(null, { unavailable: 'talk is failing: größer' })])),
    'hello',
  )
  assert.equal(absent.code, codes.UNAVAILABLE)
  assert.match(absent.details, /No instance of talk is ready\. talk is failing: größer/)
  const nowhere = await say(clientOf(t, await tlsRig(t, [web(dead, { path: '/other' })])), 'hello')
  assert.equal(nowhere.code, codes.UNIMPLEMENTED)
  const { target } = await talk(t)
  const large = await say(
    clientOf(t, await tlsRig(t, [web(target, { limits: { bodyBytesMax: 1000 } })])),
    'x'.repeat(5000),
  )
  assert.equal(large.code, codes.RESOURCE_EXHAUSTED)
})

test('a service that is replaced finishes its calls; new ones go to the new one', async (t) => {
  const [old, next] = [await talk(t, 'old'), await talk(t, 'new')]
  const given = await tlsRig(t, [web(old.target)])
  const client = clientOf(t, given)
  const heard: string[] = []
  const chat = client.chat().on('data', (line: string) => void heard.push(line))
  chat.write('one')
  await until('an answer', () => heard.length === 1)
  given.gateway.apply({ revision: 2, routes: [web(next.target)] })
  assert.equal((await say(client, 'hello')).answer, 'new heard hello')
  chat.write('two')
  await until('an answer of the old one', () => heard.length === 2)
  assert.deepEqual(given.drained, [])
  chat.end()
  await until('the old one to be drained', () => given.drained.includes('old'))
})

test('many calls at once share connections within what the service allows', async (t) => {
  const server = createHttp2Server({ settings: { maxConcurrentStreams: 10 } })
  let sessions = 0
  let most = 0
  server.on('session', (session) => {
    sessions += 1
    let open = 0
    session.on('stream', (stream) => {
      most = Math.max(most, (open += 1))
      stream.on('close', () => (open -= 1))
    })
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.respond({ ':status': 200 })
    setTimeout(() => stream.end('ok'), 20)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: address.port } as const
  const given = await tlsRig(t, [web({ instance: 'web-1', endpoint, protocol: 'h2c' })])
  const session = await openHttp2(t, given)
  await askHttp2(session)
  const answers = await Promise.all(Array.from({ length: 40 }, () => askHttp2(session)))
  assert.ok(answers.every(({ status, body }) => status === 200 && body === 'ok'))
  assert.ok(sessions > 1 && sessions <= 41 && most <= 10, `${sessions} sessions, ${most} streams`)
  await given.gateway.close()
})

test('HTTP/1.1 clients reach a part that speaks HTTP/2, and its early end is theirs', async (t) => {
  const server = createHttp2Server()
  const streams: ServerHttp2Stream[] = []
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    streams.push(stream.on('error', () => undefined))
    if (headers[':path'] === '/reset') return stream.close(2)
    stream.respond(
      { ':status': 201, 'x-seen': [headers[':authority'], headers['x-forwarded-for']].join(' ') },
      { waitForTrailers: true },
    )
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }))
    stream.pipe(stream)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const target: RouteTarget = {
    instance: 'web-1',
    endpoint: { kind: 'tcp', host: '127.0.0.1', port: address.port },
    protocol: 'h2c',
  }
  const { port, gateway } = await rig(t, [web(target)])
  const body = 'x'.repeat(2_000_000)
  const answer = await ask(port, { method: 'POST', body, headers: { te: 'trailers' } })
  assert.deepEqual(
    [answer.status, answer.headers['x-seen'], answer.body.length],
    [201, 'shop.test 127.0.0.1', body.length],
  )
  assert.deepEqual({ ...answer.trailers }, { 'x-end': 'yes' })
  const reset = await ask(port, { path: '/reset', headers: { accept: 'application/json' } })
  assert.deepEqual([reset.status, JSON.parse(reset.body).cause], [502, 'reset'])
  await gateway.close()
})

/** Writes as long as there is room, and then again; answers how much it has got rid of. */
function pump(stream: Writable, bytesMax: number): () => number {
  let bytes = 0
  const chunk = Buffer.alloc(65_536)
  const go = (): void => {
    while (bytes < bytesMax) {
      bytes += chunk.length
      if (!stream.write(chunk)) return void stream.once('drain', go)
    }
  }
  stream.on('error', () => undefined)
  go()
  return () => bytes
}

test('who does not read holds up who writes, through the gateway, in both directions', async (t) => {
  const bytesMax = 100_000_000
  const server = createHttp2Server()
  let sent = (): number => 0
  let opened = 0
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    opened += 1
    stream.respond({ ':status': 200 })
    // The upload is not read at all; the download is written as fast as it goes.
    if (headers[':path'] === '/down') sent = pump(stream, bytesMax)
    else stream.on('error', () => undefined).pause()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const endpoint = { kind: 'tcp', host: '127.0.0.1', port: address.port } as const
  const given = await tlsRig(t, [web({ instance: 'web-1', endpoint, protocol: 'h2c' })])
  const session = await openHttp2(t, given)
  const down = session.request({ ':authority': 'shop.test', ':path': '/down' }).on('error', () => undefined)
  down.pause()
  const up = session.request({ ':authority': 'shop.test', ':path': '/up', ':method': 'POST' })
  const pushed = pump(up, bytesMax)
  await until('both to be open', () => opened === 2)
  for (let last = -1; last !== sent() + pushed();) {
    last = sent() + pushed()
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  // A window of each hop and what its sockets hold, far below all of it.
  assert.ok(sent() < 20_000_000 && pushed() < 20_000_000, `${sent()} down, ${pushed()} up`)
  let read = 0
  down.on('data', (chunk: Buffer) => (read += chunk.length)).resume()
  await until('it to go on when it is read', () => read > 30_000_000)
  for (const stream of [down, up]) stream.close()
  await until('nothing in use', () => given.gateway.inUse('web-1') === 0)
})

test('an instance that speaks something else than HTTP/2 is a bad gateway, not a hanging one', async (t) => {
  const { createServer } = await import('node:http')
  const server = createServer((_request, response) => response.end('HTTP/1.1 only'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.closeAllConnections())
  t.after(() => server.close())
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  const target: RouteTarget = {
    instance: 'web-1',
    endpoint: { kind: 'tcp', host: '127.0.0.1', port: address.port },
    protocol: 'h2c',
  }
  const { port } = await rig(t, [web(target)])
  assert.equal((await ask(port)).status, 502)
})

test('HTTP/2 with prior knowledge, in plain', async (t) => {
  const { target } = await talk(t)
  const { port } = await rig(t, [web(target)])
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  t.after(() => session.destroy())
  const answer = await askHttp2(session, { ':path': '/nothing' })
  assert.equal(answer.status, 415, 'what the gRPC server says to what is no gRPC')
})
