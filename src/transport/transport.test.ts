/** Channels over both kinds of address: what arrives, and how they end. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { z } from 'zod'
import { type Clock, ManualClock, type SteadError, systemClock, systemRandom } from '../base/index.ts'
import { type Channel, openChannel, heartbeatMs, silenceMaxMs } from './channel.ts'
import { frameBytesMax } from './frames.ts'
import { dialForever, listenForPeers, type TransportAddress } from './sockets.ts'

const waitMs = 10_000
const schema = z.object({ say: z.string() })
type Message = z.infer<typeof schema>
type Peers = Awaited<ReturnType<typeof listenForPeers<Message, Message>>>

/** Resolves as the promise does, or fails naming what did not happen. */
async function within<T>(what: string, promise: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: not within ${waitMs} ms`)), waitMs)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** A directory for sockets, gone with the test. */
function place(): Disposable & { address(name?: string): { kind: 'unix'; path: string } } {
  const directory = mkdtempSync(join(tmpdir(), 'st-'))
  return {
    address: (name = 'control') => ({ kind: 'unix', path: join(directory, name) }),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}

interface Listening extends AsyncDisposable {
  readonly peers: Peers
  /** The next peer that comes. */
  peer(): Promise<Channel<Message>>
  readonly heard: string[]
}

async function listen(
  address: TransportAddress,
  { clock = systemClock, keyOf = () => null }: { clock?: Clock; keyOf?: (identity: string) => Uint8Array | null } = {},
): Promise<Listening> {
  const heard: string[] = []
  const come: Channel<Message>[] = []
  let news = Promise.withResolvers<void>()
  const peers = await listenForPeers<Message, Message>(address, { clock, schema, keyOf }, (channel) => {
    come.push(channel)
    news.resolve()
    news = Promise.withResolvers()
    return ({ say }) => {
      heard.push(say)
      channel.send({ say: `heard ${say}` })
    }
  })
  return {
    peers,
    heard,
    async peer() {
      for (;;) {
        const channel = come.shift()
        if (channel !== undefined) return channel
        await within('a peer comes', news.promise)
      }
    },
    [Symbol.asyncDispose]: () => peers[Symbol.asyncDispose](),
  }
}

interface Dialling extends AsyncDisposable {
  /** The first channel. */
  opened(): Promise<Channel<Message>>
  /** The first answer. */
  answered(): Promise<string>
  /** Why the first try or channel ended. */
  fell(): Promise<SteadError>
}

function dial(address: TransportAddress, clock: Clock = systemClock): Dialling {
  const opened = Promise.withResolvers<Channel<Message>>()
  const answered = Promise.withResolvers<string>()
  const fell = Promise.withResolvers<SteadError>()
  const link = dialForever<Message, Message>(address, {
    clock,
    random: systemRandom,
    schema,
    onOpen: (channel) => opened.resolve(channel),
    onMessage: ({ say }) => answered.resolve(say),
    onDown: (reason) => fell.resolve(reason),
  })
  return {
    opened: () => within('a channel opens', opened.promise),
    answered: () => within('an answer comes', answered.promise),
    fell: () => within('the channel ends', fell.promise),
    [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
  }
}

/** A listener for TLS on a free port that knows the key of `n1`, and the address a node dials. */
async function tls(): Promise<
  Listening & { address(identity: string, key: Uint8Array): TransportAddress; key: Buffer }
> {
  const key = randomBytes(32)
  const base = { kind: 'tls', host: '127.0.0.1', port: 0, identity: '', key } as const
  const listening = await listen(base, { keyOf: (identity) => (identity === 'n1' ? key : null) })
  const port = listening.peers.port ?? 0
  return { ...listening, key, address: (identity, own) => ({ ...base, port, identity, key: own }) }
}

suite('transport', () => {
  test('messages go both ways over a Unix socket that only its owner may open', async () => {
    using at = place()
    await using control = await listen(at.address())
    await using node = dial(at.address())
    ;(await node.opened()).send({ say: 'hello' })
    assert.equal(await node.answered(), 'heard hello')
    assert.equal((await control.peer()).identity, null)
    assert.equal(statSync(at.address().path).mode & 0o777, 0o600)
  })

  test('messages go both ways over TLS, and the listener knows whose key it is', async () => {
    await using control = await tls()
    await using node = dial(control.address('n1', control.key))
    ;(await node.opened()).send({ say: 'hello' })
    assert.equal(await node.answered(), 'heard hello')
    assert.equal((await control.peer()).identity, 'n1')
  })

  test('who is still being greeted when a listener ends does not keep it from ending', async () => {
    const psk = randomBytes(32)
    const listening = await listen(
      { kind: 'tls', host: '127.0.0.1', port: 0, identity: '', key: psk },
      { keyOf: () => psk },
    )
    const socket = connect(listening.peers.port ?? 0, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    // Long enough for the listener to have taken the connection; it waits for the first word of TLS.
    await new Promise((resolve) => setTimeout(resolve, 100))
    const ended = listening[Symbol.asyncDispose]()
    const versions = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
    const greeted = connectTls({
      socket,
      ...versions,
      ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ identity: 'n1', psk }),
    })
    greeted.on('error', () => {})
    // As an agent does: it beats, so it is not dropped for its silence.
    const beating = openChannel({ socket: greeted, identity: null, clock: systemClock, schema, onMessage: () => {} })
    await within('the end', Promise.resolve(ended))
    beating.close()
    greeted.destroy()
  })

  test('a wrong key and an unknown identity are refused, and bytes in the clear as well', async () => {
    await using control = await tls()
    await using wrongKey = dial(control.address('n1', randomBytes(32)))
    await using stranger = dial(control.address('n2', control.key))
    for (const refused of [wrongKey, stranger]) assert.equal((await refused.fell()).code, 'transport.unreachable')
    const plain = connect(control.peers.port ?? 0, '127.0.0.1', () => plain.write('{"say":"let me in"}\n'))
    plain.on('error', () => {})
    await within('the plain connection is closed', once(plain, 'close'))
    assert.deepEqual(control.heard, [])
  })

  test('what is not valid closes the channel with the reason', async () => {
    using at = place()
    await using control = await listen(at.address())
    for (const [bytes, reason] of [
      ['{"say":7}\n', /not valid at say: .*expected string/],
      ['GET / HTTP/1.1\r\n\r\n', /not JSON/],
    ] as const) {
      const socket = connect(at.address().path, () => socket.write(bytes))
      const peer = await control.peer()
      assert.match((await within('it is closed', peer.closed)).message, reason)
      await within('the socket is closed', once(socket, 'close'))
    }
  })

  test('nothing is heard after a channel has ended', async () => {
    using at = place()
    await using control = await listen(at.address())
    const socket = connect(at.address().path, () => socket.write('{"say":"one"}\n{"say":2}\n{"say":"three"}\n'))
    const peer = await control.peer()
    await within('it is closed', peer.closed)
    assert.deepEqual(control.heard, ['one'])
  })

  test('a frame that does not end is refused', async () => {
    using at = place()
    await using control = await listen(at.address())
    const socket = connect(at.address().path, () => socket.write(Buffer.alloc(frameBytesMax + 1, 'x')))
    socket.on('error', () => {})
    const reason = await within('it is closed', (await control.peer()).closed)
    assert.match(reason.message, new RegExp(`more than ${frameBytesMax} bytes`))
  })

  test('a silent peer is dropped, a beating one is not', async () => {
    using at = place()
    const clock = new ManualClock()
    await using control = await listen(at.address(), { clock })
    const silent = connect(at.address().path)
    const first = await control.peer()
    const beating = connect(at.address().path)
    const second = await control.peer()
    const beats = silenceMaxMs / heartbeatMs + 1
    for (let beat = 0; beat < beats; beat += 1) {
      beating.write('\n')
      // Its beat has been heard when the answer to what follows it is there.
      beating.write('{"say":"here"}\n')
      await within('the beat is heard', once(beating, 'data'))
      clock.advance(heartbeatMs)
    }
    assert.match((await within('the silent one is dropped', first.closed)).message, /silent for 7 s/)
    assert.equal(await Promise.race([second.closed, Promise.resolve('open')]), 'open')
    silent.destroy()
    beating.destroy()
  })

  test('a dialler tries for ever with growing pauses, and is there again when the listener is', async () => {
    using at = place()
    const pauses: number[] = []
    // Long pauses are noted and cut short.
    const clock: Clock = {
      ...systemClock,
      after(delayMs, run) {
        if (delayMs !== heartbeatMs) pauses.push(delayMs)
        return systemClock.after(delayMs === heartbeatMs ? delayMs : 1, run)
      },
    }
    const opened: Channel<Message>[] = []
    let news = Promise.withResolvers<void>()
    const wake = (): void => {
      news.resolve()
      news = Promise.withResolvers()
    }
    const until = async (what: string, holds: () => boolean): Promise<void> => {
      while (!holds()) await within(what, news.promise)
    }
    const control = await listen(at.address())
    await using _link = dialForever<Message, Message>(at.address(), {
      clock,
      random: systemRandom,
      schema,
      onOpen: (channel) => {
        opened.push(channel)
        wake()
      },
      onMessage: () => {},
      onDown: wake,
    })
    await until('it opens', () => opened.length === 1)
    await control[Symbol.asyncDispose]()
    await until('it tries again and again', () => pauses.length >= 12)
    const rest = pauses.slice(8)
    assert.ok((pauses[0] ?? 0) <= 100, `starts at once: ${pauses[0]}`)
    assert.ok(
      rest.every((pause) => pause >= 2500 && pause <= 5000),
      `up to the cap, not in step: ${rest.join(' ')}`,
    )
    await using again = await listen(at.address())
    await until('it is there again', () => opened.length === 2)
    opened[1]?.send({ say: 'back' })
    await until('the word arrives', () => again.heard.includes('back') || (setTimeout(wake, 10), false))
  })

  test('a slow reader is waited for, and given up before it costs too much memory', async () => {
    using at = place()
    const path = at.address().path
    const come = Promise.withResolvers<Socket>()
    const server = createServer((socket) => come.resolve(socket)).listen(path)
    await once(server, 'listening')
    const slow = connect(path)
    slow.pause()
    const socket = await come.promise
    const clock = systemClock
    const channel = openChannel<Message, Message>({ socket, identity: null, clock, schema, onMessage: () => {} })
    const message = { say: 'x'.repeat(1024 * 1024) }
    for (let sent = 0; sent < 8; sent += 1) channel.send(message)
    const waiting = channel.drained().then(() => 'drained')
    assert.equal(await Promise.race([waiting, Promise.resolve('waits')]), 'waits')
    slow.resume()
    assert.equal(await within('it is drained', waiting), 'drained')
    slow.pause()
    let sent = 0
    for (; sent < 1000 && !socket.destroyed; sent += 1) channel.send(message)
    assert.match((await within('it is given up', channel.closed)).message, /too slowly/)
    assert.ok(sent <= 70, `${sent} MB were taken`)
    await within('nobody waits for the dead', channel.drained())
    slow.destroy()
    await new Promise((resolve) => server.close(resolve))
  })

  test('an address in use is said by name; a socket file that nobody holds is no hindrance', async () => {
    await using first = await tls()
    await assert.rejects(listen(first.address('n1', first.key)), { code: 'transport.address-taken' })
    using at = place()
    writeFileSync(at.address().path, '')
    await using _listening = await listen(at.address())
  })
})
