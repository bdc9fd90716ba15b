/** Whether an instance is ready that is asked by its port, with what runs a machine in between, which accepts whatever comes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { after, before, suite, test } from 'node:test'
import { systemRandom, systemClock } from '../base/index.ts'
import { createHostDriver } from '../network/index.ts'
import type { SandboxDriver } from '../sandbox/index.ts'
import { probeBy, type ProbeResult } from './probe.ts'

suite('a port is asked', () => {
  const network = createHostDriver('a test')
  let server: Server
  let closes = false
  before(async () => {
    server = createServer((socket) => {
      socket.on('error', () => {})
      if (closes) socket.end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  after(async () => {
    server.close()
    await network[Symbol.asyncDispose]()
  })

  function asked(accepts: ((port: number) => Promise<boolean>) | null): Promise<ProbeResult> {
    const { port } = server.address() as AddressInfo
    // Neither is asked for a port.
    const rest = { sandbox: {} as SandboxDriver, stateDir: '/none', clock: systemClock, random: systemRandom }
    return probeBy(
      { network, ...rest },
      { kind: 'tcp', port, timeoutMs: 1000 },
      { kind: 'tcp', host: '127.0.0.1', port },
      null,
      accepts === null ? null : { accepts },
    )
  }

  test('of a program: it is ready when it accepts', async () => {
    closes = false
    assert.equal(await asked(null), null)
  })

  test('of a machine: when something inside has taken the stream', async () => {
    const ports: number[] = []
    const accepts = (port: number): Promise<boolean> => Promise.resolve(ports.push(port) > 2)
    assert.equal(await asked(accepts), null)
    assert.deepEqual(
      ports,
      Array.from({ length: 3 }, () => (server.address() as AddressInfo).port),
    )
  })

  test('of a machine: it is not, while nothing inside takes it, or it is closed, or the machine does not answer', async () => {
    assert.equal(await asked(() => Promise.resolve(false)), 'the port does not answer')
    assert.equal(await asked(() => Promise.reject(new Error('the machine is gone'))), 'the machine is gone')
    closes = true
    assert.equal(await asked(() => Promise.resolve(false)), 'nothing listens on its port yet')
  })
})
