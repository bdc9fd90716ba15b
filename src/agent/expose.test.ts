/** The way in from other nodes: it leads to where the part is now, and its port stays the part's own. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { createHostDriver, type Endpoint } from '../network/index.ts'
import { Exposures } from './expose.ts'

const waitMs = 10_000

/** A directory and ways in on it, as one agent after another has them. */
function place(): Disposable & { agent(): { exposures: Exposures; opened: Promise<void> }; ports(): string[] } {
  const stateDir = mkdtempSync(join(tmpdir(), 'st-'))
  const network = createHostDriver('chosen by the test')
  return {
    agent() {
      const { promise: opened, resolve } = Promise.withResolvers<void>()
      const onNotice = (notice: string): void => assert.fail(notice)
      const options = { network, clock: systemClock, onNotice, stateDir }
      return { exposures: new Exposures(options, '127.0.0.1', resolve), opened }
    },
    ports: () => readdirSync(join(stateDir, 'ports')),
    [Symbol.dispose]: () => rmSync(stateDir, { recursive: true, force: true }),
  }
}

async function serve(greeting: string, port = 0): Promise<Server & AsyncDisposable> {
  const server = createServer((socket) => socket.end(greeting)).listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** What a stream to an endpoint brings; the error code when it is refused. */
async function dial(endpoint: Endpoint | null): Promise<string> {
  assert.ok(endpoint?.kind === 'tcp')
  const socket = connect(endpoint.port, endpoint.host)
  socket.setTimeout(waitMs, () => socket.destroy(new Error('nothing came')))
  return text(socket).catch((error: NodeJS.ErrnoException) => error.code ?? error.message)
}

suite('the way in from other nodes', () => {
  test('leads to where the part listens now, and refuses while it does not', async () => {
    using at = place()
    await using one = await serve('one')
    await using two = await serve('two')
    let local: Endpoint | null = { kind: 'tcp', host: '127.0.0.1', port: portOf(one) }
    const { exposures, opened } = at.agent()
    await using _exposures = exposures
    exposures.open('shop.web.1', () => local)
    assert.equal(exposures.endpoint('shop.web.1'), null, 'not open yet')
    await opened
    assert.equal(await dial(exposures.endpoint('shop.web.1')), 'one')
    local = { kind: 'tcp', host: '127.0.0.1', port: portOf(two) }
    assert.equal(await dial(exposures.endpoint('shop.web.1')), 'two')
    local = null
    assert.equal(await dial(exposures.endpoint('shop.web.1')), 'ECONNRESET')
  })

  test('keeps its port over restarts of the agent, gives it back in the end, and yields to another program', async () => {
    using at = place()
    const open = async (): Promise<{ exposures: Exposures; endpoint: Endpoint & { kind: 'tcp' } }> => {
      const { exposures, opened } = at.agent()
      exposures.open('shop.web.1', () => null)
      await opened
      const endpoint = exposures.endpoint('shop.web.1')
      assert.ok(endpoint?.kind === 'tcp')
      return { exposures, endpoint }
    }
    const first = await open()
    await first.exposures[Symbol.asyncDispose]()
    const second = await open()
    assert.deepEqual(second.endpoint, first.endpoint)
    await second.exposures[Symbol.asyncDispose]()

    await using _squatter = await serve('squatter', first.endpoint.port)
    const third = await open()
    assert.notEqual(third.endpoint.port, first.endpoint.port)
    await third.exposures.remove('shop.web.1')
    assert.equal(third.exposures.endpoint('shop.web.1'), null)
    assert.deepEqual(at.ports(), [])
    await third.exposures[Symbol.asyncDispose]()
  })

  test('the ports of what is gone are given back', async () => {
    using at = place()
    const { exposures, opened } = at.agent()
    exposures.open('shop.old.1', () => null)
    await opened
    await exposures[Symbol.asyncDispose]()
    const next = at.agent().exposures
    next.sweep()
    await next[Symbol.asyncDispose]()
    assert.deepEqual(at.ports(), [])
  })
})
