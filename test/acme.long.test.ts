/** `stead serve --tls acme:EMAIL` against Pebble: an app that is deployed has https, and keeps its certificate over a kill. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually, freePort } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { goPath, needsGo } from './needs.ts'
import { buildPebble, startPebble } from './pebble.ts'
import { appFile, server, web } from './small-app.ts'
import { askTls, openTls } from './tls-rig.ts'

test('https by ACME from the first deploy on', { skip: needsGo() }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'st-acme-'))
  try {
    const plain = await freePort()
    const path = await buildPebble(goPath ?? '')
    await using pebble = await startPebble({ path, dir, httpPort: plain, lifeS: 90 * 86_400, blocked: [] })
    const trusted = join(dir, 'roots.pem')
    writeFileSync(trusted, pebble.serverRoots)
    const env = { STEAD_ACME_URL: pebble.directoryUrl, NODE_EXTRA_CA_CERTS: trusted }
    await using daemon = await DaemonBench.start({ env }, [
      '--tls',
      'acme:ops@small.test',
      '--plain-port',
      String(plain),
    ])
    daemon.bench.write({ 'app.ts': appFile(web()), 'web/server.js': server })
    await daemon.deploy('small')
    const way = { port: daemon.port, roots: await pebble.roots() }
    const host = 'small.localhost'
    const asked = (): Promise<number> =>
      askTls(way, { host }).then(
        ({ status }) => status,
        () => 0,
      )
    await eventually('https answers', asked, (status) => status === 200)
    const serial = async (): Promise<string> => {
      const socket = await openTls(way, host)
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      return serialNumber
    }
    const before = await serial()
    await daemon.kill('gateway')
    await eventually('https answers again', asked, (status) => status === 200)
    assert.equal(await serial(), before, 'what was issued is kept')
  } finally {
    rmSync(dir, { recursive: true })
  }
})
