/** The driver whose programs run in containers of a server against the conformance suite. */
import { after } from 'node:test'
import { IncusTestServer, needsIncus } from '../../test/incus-server.ts'
import { conform } from './fixtures/conform.ts'
import { incusSocket } from './fixtures/drivers.ts'

if (needsIncus() === false) {
  const server = await IncusTestServer.start()
  process.env[incusSocket] = server.socketPath
  after(() => server.stop())
}

conform('incus')
