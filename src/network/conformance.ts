/**
 * What every network driver must do, as node:test cases: an edge carries bytes both ways, half-closed and in bulk; what
 * was not given is refused at once; a place outlives its maker and is found again.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { openForwarder } from './forwarder.ts'
import type { Endpoint, NetworkDriver } from './network.ts'

/** Registers the suite for a driver. `skip` is a reason, or false. */
export function networkConformance(name: string, skip: string | false, make: () => NetworkDriver): void {
  suite(`network conformance: ${name}`, { skip }, () => {
    test('an edge carries bytes to its target and back, through half-close', async () => {
      await using network = make()
      using place = await network.place('caller')
      await using echo = await serve((socket) => socket.pipe(socket))
      const target = { id: 'echo', endpoint: echo.endpoint }
      await using edge = await openForwarder({ network, place, address: '10.64.0.9', port: 7, targets: () => [target] })
      const payload = 'x'.repeat(2_000_000)
      const answer = await inside(
        place,
        `const s=require('net').connect(${edge.port},'${edge.address}');let n=0;s.on('data',d=>n+=d.length);s.on('end',()=>console.log(n));s.end('x'.repeat(${payload.length}))`,
      )
      assert.equal(answer, String(payload.length))
      assert.equal(edge.counts.opened, 1)
    })

    test('an edge without a ready target refuses at once', async () => {
      await using network = make()
      using place = await network.place('caller')
      await using edge = await openForwarder({ network, place, address: '10.64.0.9', port: 7, targets: () => [] })
      assert.match(await dial(place, edge.address, edge.port), /ECONNRESET|end/)
      assert.equal(edge.counts.failed, 1)
    })

    test('targets may change: new streams go to the new one, open ones stay and are counted', async () => {
      await using network = make()
      using place = await network.place('caller')
      await using old = await serve((socket) => socket.write('old'))
      await using next = await serve((socket) => socket.write('new'))
      let current = { id: 'old', endpoint: old.endpoint }
      await using edge = await openForwarder({
        network,
        place,
        address: '10.64.0.9',
        port: 7,
        targets: () => [current],
      })
      const child = place.enter(() =>
        spawn(process.execPath, [
          '-e',
          `const c=()=>{const s=require('net').connect(${edge.port},'${edge.address}');s.on('data',d=>console.log(String(d)));s.on('error',()=>{});return s};let a=c();process.stdin.once('data',()=>{c();process.stdin.once('data',()=>process.exit())})`,
        ]),
      )
      assert.equal(String((await once(child.stdout, 'data'))[0]).trim(), 'old')
      current = { id: 'new', endpoint: next.endpoint }
      child.stdin.write('go')
      assert.equal(String((await once(child.stdout, 'data'))[0]).trim(), 'new')
      assert.deepEqual([edge.streamsTo('old'), edge.streamsTo('new')], [1, 1])
      child.stdin.write('stop')
      await once(child, 'close')
    })

    test('a server inside a place is reached through its endpoint, and a place is found again by its process', async () => {
      await using network = make()
      using place = await network.place('server')
      const port = await place.servePort(3000)
      const child = place.enter(() =>
        spawn(process.execPath, [
          '-e',
          `require('http').createServer((q,r)=>r.end('inside')).listen(${port},()=>console.log('up'))`,
        ]),
      )
      try {
        await once(child.stdout, 'data')
        assert.match(await get(network, place.endpoint(child.pid ?? 0, port)), /inside/)
        using again = await network.adopt('server', child.pid ?? 0)
        assert.ok(again !== null)
        assert.match(await get(network, again.endpoint(child.pid ?? 0, port)), /inside/)
      } finally {
        child.kill('SIGKILL')
        await once(child, 'close')
      }
    })

    test('packets are seen exactly where a place has a network of its own', async () => {
      await using network = make()
      using place = await network.place('watched')
      using tap = place.tap()
      assert.equal(tap !== null, network.capabilities.isolation === 'native')
    })

    test('a place has an outside exactly where the driver declares egress', async (t) => {
      await using network = make()
      using place = await network.place('caller')
      assert.equal(place.outside !== null, network.capabilities.egress === 'native')
      if (place.outside === null) {
        t.diagnostic(`no egress: ${network.capabilities.weaker.join('; ')}`)
        assert.match(network.capabilities.weaker.join('; '), /egress/)
        return
      }
      place.outside.attempts()
      const server = createServer((socket) => socket.end(`you dialled ${socket.localAddress}`))
      await place.outside.listen('203.0.113.7', 443, server)
      assert.match(await dial(place, '203.0.113.7', 443), /you dialled 203\.0\.113\.7/)
      assert.match(await dial(place, '203.0.113.8', 443), /ECONNREFUSED/)
      assert.deepEqual(
        place.outside.attempts().map(({ protocol, address, port }) => `${protocol} ${address}:${port}`),
        ['tcp 203.0.113.7:443', 'tcp 203.0.113.8:443'],
      )
      const { sentBytes, receivedBytes } = place.outside.carried()
      assert.ok(sentBytes > 0 && receivedBytes > 0, `carried ${sentBytes} and ${receivedBytes} bytes`)
      server.close()
    })

    test('a rate with the outside is held both ways, where the driver declares it', async () => {
      await using network = make()
      using place = await network.place('caller')
      const { outside } = place
      if (outside === null || network.capabilities.rates === 'refused') return
      const shown = (): string =>
        place.enter(() => spawnSync('tc', ['qdisc', 'show', 'dev', 'outside'], { encoding: 'utf8' })).stdout
      await outside.shape(8_000_000)
      assert.match(shown(), /tbf .*rate 8Mbit/)
      const bytes = 1_000_000
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.resume()
        socket.on('end', () => socket.end('x'.repeat(bytes)))
      })
      await outside.listen('203.0.113.7', 443, server)
      const script = `const s=require('net').connect(443,'203.0.113.7');let n=0;const t=process.hrtime.bigint();s.on('data',d=>n+=d.length);s.on('end',()=>console.log(n,Number(process.hrtime.bigint()-t)/1e6));s.end('x'.repeat(${bytes}))`
      const [got = 0, tookMs = 0] = (await inside(place, script)).split(' ').map(Number)
      assert.equal(got, bytes)
      // Eight megabits each way, one after the other, at eight megabits a second; slower is the machine, faster is no bound.
      assert.ok(tookMs > 1500, `both ways took ${tookMs} ms`)
      const { sentBytes, receivedBytes } = outside.carried()
      // Headers, and what was sent again, are on top.
      for (const carried of [sentBytes, receivedBytes])
        assert.ok(carried >= bytes && carried < 2 * bytes, `${carried} bytes were carried`)
      await outside.shape(null)
      assert.doesNotMatch(shown(), /tbf/)
      server.close()
    })

    test('isolation is what the driver declares', async (t) => {
      await using network = make()
      if (network.capabilities.isolation !== 'native') {
        t.diagnostic(`not isolated: ${network.capabilities.weaker.join('; ')}`)
        assert.ok(network.capabilities.weaker.length > 0, 'a driver without isolation must say so')
        return
      }
      using place = await network.place('caller')
      using neighbour = await network.place('neighbour')
      await using outside = await serve((socket) => socket.end('leak'))
      const inNeighbour = createServer((socket) => socket.end('leak'))
      await neighbour.listen('10.64.0.5', 80, inNeighbour)
      assert.equal(outside.endpoint.kind, 'tcp')
      const hostPort = outside.endpoint.kind === 'tcp' ? outside.endpoint.port : 0
      for (const [address, port] of [
        ['127.0.0.1', hostPort],
        ['10.64.0.5', 80],
        ['10.64.0.1', 22],
      ] as const) {
        assert.match(await dial(place, address, port), /ECONNREFUSED/, `${address}:${port}`)
      }
      for (const address of ['169.254.169.254', '192.0.2.1', '10.65.0.1']) {
        assert.match(await dial(place, address, 80), /ECONNREFUSED|ENETUNREACH/, address)
      }
      assert.match(await dial(place, '2001:db8::1', 80), /ENETUNREACH|EADDRNOTAVAIL/)
      inNeighbour.close()
    })
  })
}

/** Runs a script of Node inside a place and answers what it printed. */
async function inside(place: { enter<T>(run: () => T): T }, script: string): Promise<string> {
  const child = place.enter(() =>
    spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'], timeout: 20_000 }),
  )
  return (await text(child.stdout)).trim()
}

function dial(place: { enter<T>(run: () => T): T }, address: string, port: number): Promise<string> {
  return inside(
    place,
    `const s=require('net').connect(${port},'${address}');s.setTimeout(5000,()=>{console.log('timeout');process.exit()});s.on('error',e=>console.log(e.code));s.on('data',d=>console.log('data '+d));s.on('end',()=>console.log('end'))`,
  )
}

async function get(network: NetworkDriver, endpoint: Endpoint): Promise<string> {
  const socket = network.connect(endpoint)
  socket.end('GET / HTTP/1.0\r\n\r\n')
  return text(socket)
}

async function serve(
  handle: (socket: import('node:net').Socket) => unknown,
): Promise<{ endpoint: Endpoint } & AsyncDisposable> {
  const sockets = new Set<import('node:net').Socket>()
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    handle(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bound = server.address()
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0
  return {
    endpoint: { kind: 'tcp', host: '127.0.0.1', port },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
