/**
 * Parts in containers of the machine's Incus server, through the real command line: `isolation: 'container'` and nothing else is
 * changed. The database beside it is a common sandbox.
 */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { freePort, Workbench } from './command-line.ts'
import { diallingFiles, isAnyPart } from './dialling-part.ts'
import { IncusTestServer, needsIncus } from './incus-server.ts'

const files = diallingFiles(
  "require('node:fs').readFileSync('/proc/1/cmdline', 'utf8')",
  "isolation: 'container', ready: { http: '/', timeout: '2m' }, limits: { processes: 64, memory: '256MB' }",
)
const startMs = 150_000

suite('a part in a container of a server', { skip: needsIncus(), timeout: 400_000 }, () => {
  test('edges, egress, logs, exec and status are those of any part', async (t) => {
    await using incus = await IncusTestServer.start()
    await using bench = new Workbench({ env: { STEAD_INCUS: incus.socketPath } })
    bench.write(files)
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/, startMs)
    assert.equal((await incus.names()).length, 1)

    await isAnyPart(t, bench, port, {
      isWhere: (seen) => assert.match(seen, /\/sbin\/init/),
      status: /web: each instance in a container of its node’s Incus server/,
    })

    assert.equal((await up.stop()).code, 0)
    assert.deepEqual(await incus.names(), [])
  })

  test('a machine without a server says what is missing, with the name of the part', async () => {
    await using bench = new Workbench({ env: { STEAD_INCUS: '/no/such/unix.socket' } })
    bench.write(files)
    const up = bench.up('--port', '0')
    await up.until(/web[^]*Incus server at \/no\/such\/unix\.socket does not answer/, startMs)
    assert.equal((await up.stop()).code, 0)
  })
})
