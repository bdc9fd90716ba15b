/** What an instance reaches outside, seen from inside: real namespaces, a name server and servers of the test's own. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, Socket, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { type Clock, ManualClock, systemClock } from '../../base/index.ts'
import { openLibc } from '../drivers/libc.ts'
import { createNetnsDriver } from '../drivers/netns.ts'
import type { Place } from '../network.ts'
import { whyClosed } from './addresses.ts'
import { answerCodes, readQuestion, recordTypes, writeAnswer } from './dns.ts'
import { type Egress, openEgress } from './egress.ts'
import { NameLookup } from './names.ts'
import { describeRefusal } from './refusals.ts'
import { resolverAddress } from './resolver.ts'
import { parseEgress } from './rules.ts'

const libc = openLibc()
const skip = 'reason' in libc ? libc.reason : false

/** A name server on the loopback of the host. */
async function nameServer(zone: Readonly<Record<string, readonly string[]>>, ttlSeconds = 30) {
  const asked: string[] = []
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await once(socket, 'listening')
  socket.on('message', (packet, from) => {
    const question = readQuestion(packet)
    assert.ok(question !== null)
    asked.push(`${question.name} ${question.type}`)
    const found = zone[question.name]
    const addresses = (question.type === recordTypes.a ? (found ?? []) : []).map((address) => ({ address, ttlSeconds }))
    const code = found === undefined ? answerCodes.noSuchName : answerCodes.ok
    socket.send(writeAnswer(question, { code, addresses }), from.port, from.address)
  })
  return {
    asked,
    address: `127.0.0.1:${socket.address().port}`,
    [Symbol.dispose]: () => void socket.close(),
  }
}

/** A place with an egress, whose outside leads to an echo that first says what was really dialled. */
async function rig(
  declared: readonly string[],
  zone: Readonly<Record<string, readonly string[]>>,
  {
    clock = systemClock,
    ahead = false,
    hosts = new Map(),
  }: { clock?: Clock; ahead?: boolean; hosts?: ReadonlyMap<string, string> } = {},
) {
  assert.ok(!('reason' in libc))
  const stack = new AsyncDisposableStack()
  const echo = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(echo, 'listening')
  stack.defer(() => void echo.close())
  const network = stack.use(createNetnsDriver({ libc, poolSize: 1 }))
  const place = stack.use(await network.place('caller'))
  const names = stack.use(await nameServer(zone))
  assert.ok(place.outside !== null)
  const dialled: string[] = []
  const told: string[] = []
  const egress = stack.use(
    await openEgress({
      outside: place.outside,
      rules: parseEgress(declared),
      names: new NameLookup({ clock, servers: [names.address] }),
      clock,
      ahead,
      hosts,
      onRefused: (refusal) => void told.push(describeRefusal('web', refusal)),
      onNotice: (notice) => assert.fail(notice),
      way: {
        dial: (address, port) => {
          dialled.push(`${address}:${port}`)
          return new Socket().connect((echo.address() as AddressInfo).port, '127.0.0.1')
        },
        whyClosed: (address) => whyClosed(address, ['198.51.100.1']),
      },
    }),
  )
  return { place, egress, names, dialled, told, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

/** Runs a script of Node inside and answers what it printed. */
async function inside(place: Place, script: string): Promise<string> {
  const prelude = `
    const dns = require('node:dns'), net = require('node:net'), dgram = require('node:dgram')
    const resolver = new dns.promises.Resolver({ timeout: 15000, tries: 1 }); resolver.setServers(['${resolverAddress}'])
    const lookup = (name) => resolver.resolve4(name).then((found) => found.join(), (error) => error.code)
    const dial = (host, port) => new Promise((resolve) => {
      const socket = net.connect(port, host, () => socket.end('hello'))
      let said = ''
      socket.setTimeout(15000, () => resolve('timeout'))
      socket.on('data', (data) => (said += data))
      socket.on('end', () => resolve(said))
      socket.on('error', (error) => resolve(error.code))
    })
    const say = (value) => console.log(JSON.stringify(value));`
  const child = place.enter(() =>
    spawn(process.execPath, ['-e', `${prelude}\n(async () => {${script}})()`], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 30_000,
    }),
  )
  return (await text(child.stdout)).trim()
}

async function untilRefused(egress: Egress, what: RegExp): Promise<void> {
  const seen = (): boolean => egress.refusals().some((refusal) => what.test(describeRefusal('web', refusal)))
  await until(`${what}; ${JSON.stringify(egress.refusals())}`, seen)
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (
    const endMs = systemClock.monotonicMs() + 20_000;
    !holds();
    await new Promise((resolve) => setTimeout(resolve, 10))
  )
    if (systemClock.monotonicMs() > endMs) assert.fail(`never: ${what}`)
}

suite('egress by name', { skip }, () => {
  test('an allowed name is looked up and dialled, at its port only', async () => {
    await using it = await rig(['api.example.com:443'], { 'api.example.com': ['203.0.113.7', '203.0.113.8'] })
    const said = await inside(
      it.place,
      `say([await dial('203.0.113.7', 443), await lookup('API.Example.com'), await dial('203.0.113.7', 443), await dial('203.0.113.8', 443), await dial('203.0.113.7', 80)])`,
    )
    assert.deepEqual(JSON.parse(said), ['ECONNREFUSED', '203.0.113.7,203.0.113.8', 'hello', 'hello', 'ECONNREFUSED'])
    assert.deepEqual(it.dialled, ['203.0.113.7:443', '203.0.113.8:443'])
    await untilRefused(it.egress, /^web tried 203\.0\.113\.7:443: not in its egress$/)
    await untilRefused(it.egress, /^web tried api\.example\.com:80: not in its egress$/)
    assert.ok(it.told.includes('web tried api.example.com:80: not in its egress'))
  })

  test('a system that reads no hosts file is told the addresses of its edges, and nobody is asked', async () => {
    await using it = await rig([], {}, { hosts: new Map([['db', '10.64.0.7']]) })
    const said = await inside(
      it.place,
      `const six = await resolver.resolve6('db').then(() => 'answered', (error) => error.code)
       say([await lookup('DB'), six, await lookup('other')])`,
    )
    assert.deepEqual(JSON.parse(said), ['10.64.0.7', 'ENODATA', 'ENOTFOUND'])
    assert.deepEqual(it.names.asked, [])
  })

  test('a name that is not allowed is answered at once, and nobody is asked', async () => {
    await using it = await rig(['api.example.com:443', '*.cdn.example.com:443'], {
      'api.example.com': ['203.0.113.7'],
      'a.b.cdn.example.com': ['203.0.113.9'],
    })
    const names = ['evil.example.com', 'secret-bytes.tunnel.example.net', 'cdn.example.com', 'xapi.example.com']
    const said = await inside(
      it.place,
      `const other = (type, name) => resolver.resolve(name, type).then(() => 'answered', (error) => error.code)
       say([await Promise.all(${JSON.stringify(names)}.map(lookup)), await lookup('a.b.cdn.example.com'),
         await other('TXT', 'secret.tunnel.example.net'), await other('TXT', 'api.example.com'), await other('AAAA', 'api.example.com'), await other('NS', 'example.com')])`,
    )
    assert.deepEqual(JSON.parse(said), [
      names.map(() => 'ENOTFOUND'),
      '203.0.113.9',
      'ENOTFOUND',
      'ENODATA',
      'ENODATA',
      'ENOTFOUND',
    ])
    assert.deepEqual(it.names.asked, ['a.b.cdn.example.com 1'])
    await untilRefused(it.egress, /^web looked up secret-bytes\.tunnel\.example\.net: not in its egress$/)
  })

  test('a name that leads to the host, its neighbours or metadata is refused, unless that address is declared', async () => {
    const zone = {
      'rebind.example.com': ['127.0.0.1'],
      'meta.example.com': ['169.254.169.254'],
      'lan.example.com': ['10.1.2.3'],
      'self.example.com': ['198.51.100.1'],
      'db.example.com': ['10.9.9.9', '203.0.113.7'],
    }
    const declared = [...Object.keys(zone).map((name) => `${name}:443`), '10.1.2.3:443', '0.0.0.0/0:443']
    await using it = await rig(declared, zone)
    const said = await inside(
      it.place,
      `say([await Promise.all(${JSON.stringify(Object.keys(zone))}.map(lookup)), await dial('10.1.2.3', 443), await dial('169.254.169.254', 443), await dial('10.9.9.9', 443), await dial('203.0.113.99', 443)])`,
    )
    const [looked, lan, metadata, neighbour, anywhere] = JSON.parse(said) as [string[], ...string[]]
    assert.deepEqual(looked, ['ENOTFOUND', 'ENOTFOUND', '10.1.2.3', 'ENOTFOUND', '203.0.113.7'])
    assert.deepEqual([lan, anywhere], ['hello', 'hello'])
    assert.notEqual(metadata, 'hello')
    assert.notEqual(neighbour, 'hello')
    assert.deepEqual(it.dialled, ['10.1.2.3:443', '203.0.113.99:443'])
    await untilRefused(it.egress, /^web looked up meta\.example\.com: it leads to 169\.254\.169\.254, a link-local/)
  })

  test('addresses and ranges are opened without a name; all else is refused at once, and UDP is', async () => {
    await using it = await rig(['203.0.113.5:5432', '192.0.2.0/24:6379'], {})
    const said = await inside(
      it.place,
      `const datagram = (address, port) => new Promise((resolve) => {
         const socket = dgram.createSocket('udp4'); socket.on('error', (error) => resolve(error.code)); setTimeout(() => resolve('silent'), 15000).unref()
         socket.connect(port, address, () => socket.send('x', () => {})) })
       const streams = [['203.0.113.5', 5432], ['203.0.113.6', 5432], ['192.0.2.77', 6379], ['192.0.3.1', 6379], ['169.254.169.254', 80], ['8.8.8.8', 53]]
       const results = []; for (const [address, port] of streams) results.push(await dial(address, port))
       for (let i = 0; i < 5; i++) results.push(await datagram('8.8.8.8', 53))
       say(results); process.exit()`,
    )
    const results = JSON.parse(said) as string[]
    const refused = 'ECONNREFUSED'
    assert.deepEqual(results.slice(0, 3), ['hello', refused, 'hello'])
    assert.match(results[3] ?? '', /ECONNRESET|^$/)
    assert.deepEqual(results.slice(4), [refused, refused, ...Array.from({ length: 5 }, () => refused)])
    await untilRefused(it.egress, /^web tried 192\.0\.3\.1:6379: not in its egress$/)
    await untilRefused(it.egress, /^web tried 8\.8\.8\.8:53 by UDP: only TCP is carried$/)
    assert.deepEqual(it.names.asked, [])
    assert.equal(it.egress.refusals().find(({ what }) => what.endsWith('UDP'))?.count, 5)
  })

  test('an address stays open for as long as its name leads there, also for a program that looks up once', async () => {
    const clock = new ManualClock()
    const zone: Record<string, readonly string[]> = { 'api.example.com': ['203.0.113.7'] }
    await using it = await rig(['api.example.com:443', '*.wide.example.com:443'], zone, { clock })
    const dials = async (wanted: string): Promise<void> => {
      for (let tries = 1; ; tries += 1) {
        const said = await inside(it.place, `say(await dial('203.0.113.7', 443))`)
        if (said === wanted) return
        assert.ok(tries < 50, `${said}, not ${wanted}`)
      }
    }
    assert.equal(await inside(it.place, `say(await lookup('api.example.com'))`), '"203.0.113.7"')
    for (let minutes = 1; minutes <= 3; minutes += 1) {
      const before = it.names.asked.length
      clock.advance(55_000)
      await until('it is asked for again', () => it.names.asked.length > before)
      clock.advance(10_000)
      await dials('"hello"')
    }
    zone['api.example.com'] = ['203.0.113.8']
    const before = it.names.asked.length
    clock.advance(50_000)
    await until('it is asked for again', () => it.names.asked.length > before)
    clock.advance(60_000)
    await dials('"ECONNREFUSED"')
    await untilRefused(
      it.egress,
      /^web tried api\.example\.com:443: 203\.0\.113\.7 was not looked up, or too long ago$/,
    )
  })

  test('for a program that was found running, declared names are open without being asked for', async () => {
    await using it = await rig(['api.example.com:443'], { 'api.example.com': ['203.0.113.7'] }, { ahead: true })
    await until('it is asked for', () => it.names.asked.length === 1)
    const said = await inside(
      it.place,
      `let said; for (let tries = 0; tries < 200 && said !== 'hello'; tries++) said = await dial('203.0.113.7', 443); say(said)`,
    )
    assert.equal(said, '"hello"')
  })

  test('a program may serve on the port that it dials outside, and does not meet itself there', async () => {
    await using it = await rig(['api.example.com:4433'], { 'api.example.com': ['203.0.113.7'] })
    const said = await inside(
      it.place,
      `net.createServer((socket) => socket.end('itself')).listen(4433, '0.0.0.0', async () => {
         await lookup('api.example.com'); say([await dial('203.0.113.7', 4433), await dial('203.0.113.8', 4433), await dial('127.0.0.1', 4433)]); process.exit() })`,
    )
    assert.deepEqual(JSON.parse(said), ['hello', 'ECONNREFUSED', 'itself'])
  })

  test('a program that runs on finds its outside again with another supervisor', async () => {
    assert.ok(!('reason' in libc))
    await using it = await rig(['203.0.113.9:5432'], {})
    const child = it.place.enter(() =>
      spawn(process.execPath, [
        '-e',
        `require('net').connect(5432, '203.0.113.9').on('error', (error) => console.log('waiting one: ' + error.code))
         process.stdin.on('data', () => { const socket = require('net').connect(5432, '203.0.113.5', () => { console.log('connected'); socket.destroy() }); socket.on('error', (error) => console.log(error.code)) })`,
      ]),
    )
    const tries = async (): Promise<string> => {
      child.stdin.write('go')
      return String((await once(child.stdout, 'data'))[0]).trim()
    }
    try {
      assert.equal(await tries(), 'ECONNREFUSED')
      await until('a stream waits', () => it.egress.streams === 1)
      await using network = createNetnsDriver({ libc, poolSize: 1 })
      const told = once(child.stdout, 'data')
      using again = await network.adopt('caller', child.pid ?? 0)
      assert.ok(again !== null && again.outside !== null)
      // A stream that only waits to read is told that it leads nowhere any more.
      assert.match(String((await told)[0]), /waiting one: E/)
      await using _egress = await openEgress({
        outside: again.outside,
        rules: parseEgress(['203.0.113.5:5432']),
        names: new NameLookup({ clock: systemClock }),
        clock: systemClock,
        onRefused: () => {},
        onNotice: (notice) => assert.fail(notice),
      })
      assert.equal(await tries(), 'connected')
    } finally {
      child.kill('SIGKILL')
      await once(child, 'close')
    }
  })

  test('a flood of questions, of names and of streams stays bounded', async () => {
    await using it = await rig(['*.example.com:443'], {})
    const said = await inside(
      it.place,
      `const results = await Promise.all(Array.from({ length: 400 }, (_, i) => lookup('n' + i + '.example.com')))
       const dials = await Promise.all(Array.from({ length: 300 }, (_, i) => dial('203.0.113.' + (i % 250), 1000 + i)))
       say([results.filter((code) => code === 'EREFUSED').length, new Set(results).has('ETIMEOUT'), [...new Set(dials)]])`,
    )
    const [refused, late, dials] = JSON.parse(said) as [number, boolean, string[]]
    assert.ok(refused >= 200, `${refused} refused`)
    assert.equal(late, false)
    assert.deepEqual(dials, ['ECONNREFUSED'])
    assert.ok(it.names.asked.length <= 140, `${it.names.asked.length} asked upstream`)
    assert.ok(it.egress.refusals().length <= 32)
  })

  test('questions come by TCP too, and nonsense harms nobody', async () => {
    await using it = await rig(['api.example.com:443'], { 'api.example.com': ['203.0.113.7'] })
    const said = await inside(
      it.place,
      `const query = Buffer.from('12340100000100000000000003617069076578616d706c6503636f6d0000010001', 'hex')
       const framed = Buffer.concat([Buffer.from([0, query.length]), query])
       const socket = net.connect(53, '${resolverAddress}'); let got = Buffer.alloc(0)
       await new Promise((resolve) => { socket.on('data', (data) => { got = Buffer.concat([got, data]); if (got.length >= 2 * 51) resolve() }); socket.write(Buffer.concat([framed, framed])) })
       const garbage = dgram.createSocket('udp4')
       for (let size = 0; size < 200; size += 5) await new Promise((resolve) => garbage.send(Buffer.alloc(size, size), 53, '${resolverAddress}', resolve))
       const huge = net.connect(53, '${resolverAddress}'); huge.on('error', () => {}); huge.write(Buffer.from([255, 255, 1]))
       await new Promise((resolve) => huge.on('close', resolve))
       say([got.length, got.subarray(47, 51).join('.'), await lookup('api.example.com')]); process.exit()`,
    )
    assert.deepEqual(JSON.parse(said), [102, '203.0.113.7', '203.0.113.7'])
  })
})
