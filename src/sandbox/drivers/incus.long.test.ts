/** Servers and what happens to them: one that cannot do everything, one behind TLS, one that is killed; a supervisor that is. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { after, before, suite, test } from 'node:test'
import { text } from 'node:stream/consumers'
import { IncusTestServer, needsIncus } from '../../../test/incus-server.ts'
import { freePort } from '../../../test/command-line.ts'
import { systemClock } from '../../base/index.ts'
import { describeCapabilities } from '../capabilities.ts'
import { until, within } from '../bench.conformance.ts'
import type { SandboxDriver, SandboxSpec } from '../driver.ts'
import { incusSocket, served } from '../fixtures/drivers.ts'
import { incusDriver, incusDriverWithoutServer } from './incus.ts'
import { detectLimitGroups } from './cgroups.ts'

const skip = needsIncus()
const firstVersion = existsSync('/sys/fs/cgroup/memory')
  ? false
  : 'needs groups of the first version, of which one can be hidden'

suite('servers of containers', { skip, timeout: 400_000 }, () => {
  let dir = ''
  let alive: NodeJS.Timeout | null = null
  let count = 0
  before(() => {
    dir = mkdtempSync(`${tmpdir()}/stead-servers-`)
    chmodSync(dir, 0o711)
    mkdirSync(`${dir}/data`)
    chmodSync(`${dir}/data`, 0o777)
    alive = setInterval(() => undefined, 1000)
  })
  after(() => {
    clearInterval(alive ?? undefined)
    rmSync(dir, { recursive: true, force: true })
  })
  const groups = detectLimitGroups(systemClock, 'stead-test')
  const spec = (script: string, change: Partial<SandboxSpec> = {}): SandboxSpec => ({
    id: `served-${process.pid}-${count}`,
    argv: ['sh', '-c', script],
    env: { PATH: '/usr/bin:/bin' },
    cwd: '/tmp',
    mounts: [{ source: `${dir}/data`, target: '/data', access: 'read-write' }],
    files: [],
    hostUid: 231_078,
    limits: { memoryBytes: null, cpuCores: null, pidsMax: null, tmpBytes: 2 ** 20 },
    syscalls: 'strict',
    isolation: 'container',
    network: null,
    recordDir: `${dir}/records-${count++}`,
    outputBytesMax: 2 ** 20,
    ...change,
  })
  const linesOf = async (driver: SandboxDriver, recordDir: string): Promise<readonly string[]> =>
    (await Array.fromAsync(driver.output(recordDir))).map((line) => line.text)
  const runs = async (driver: SandboxDriver, asked: SandboxSpec): Promise<readonly string[]> => {
    const sandbox = await driver.start(asked)
    assert.equal((await within(sandbox.exited, 'the end')).sentence, 'ended with code 0')
    const lines = await linesOf(driver, asked.recordDir)
    await driver.remove(asked.recordDir)
    return lines
  }

  test(
    'what a server cannot do on its host is refused with its own reason, and the rest runs',
    { skip: firstVersion },
    async () => {
      await using server = await IncusTestServer.start({ without: 'memory' })
      const driver = await incusDriver({ clock: systemClock, groups, address: { socketPath: server.socketPath } })
      const { memoryLimit, cpuLimit, pidsLimit, weaker } = driver.capabilities
      assert.deepEqual([memoryLimit, cpuLimit, pidsLimit], ['refused', 'native', 'native'])
      assert.match(weaker.join('\n'), /limits of memory are refused: the server cannot hold them here: .+/)
      const limits = { memoryBytes: 2 ** 26, cpuCores: null, pidsMax: null, tmpBytes: null }
      await assert.rejects(driver.start(spec('true', { limits })), { code: 'sandbox.refused' })
      assert.deepEqual(await runs(driver, spec('id -u')), ['1000'])
      assert.deepEqual(await server.names(), [])
    },
  )

  test('the table of containers is what the driver says', async () => {
    await using server = await IncusTestServer.start()
    const { name, capabilities } = await incusDriver({
      clock: systemClock,
      groups,
      address: { socketPath: server.socketPath },
    })
    const readme = readFileSync(`${import.meta.dirname}/../README.md`, 'utf8')
    const shown = /<!-- containers -->\n([\s\S]*?)\n<!-- \/containers -->/.exec(readme)?.[1]
    assert.equal(shown?.trim(), describeCapabilities([{ name, capabilities: { ...capabilities, weaker: [] } }]))
  })

  test('a user whom the server may not map is told with what to do, and nothing is left', async () => {
    await using server = await IncusTestServer.start()
    const driver = await incusDriver({ clock: systemClock, groups, address: { socketPath: server.socketPath } })
    const asked = spec('true', { hostUid: 150_000 })
    await assert.rejects(driver.start(asked), (error: { code?: string; hint?: string }) => {
      assert.equal(error.code, 'sandbox.start-failed')
      assert.match(error.hint ?? '', /\/etc\/subuid .*root:150000:1/)
      return true
    })
    assert.ok(!existsSync(asked.recordDir))
    assert.deepEqual(await server.names(), [])
  })

  test('a server is reached by TLS with a certificate that it trusts, and with no other', async () => {
    await using server = await IncusTestServer.start()
    const port = await freePort()
    await server.api.put('/1.0', { config: { 'core.https_address': `127.0.0.1:${port}` } })
    const pem = (name: string): { certificate: string; key: string } => {
      const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
      const made = ['-subj', `/CN=${name}`, '-keyout', `${dir}/${name}.key`, '-out', `${dir}/${name}.crt`]
      assert.equal(spawnSync('openssl', [...args, ...made]).status, 0)
      return {
        certificate: readFileSync(`${dir}/${name}.crt`, 'utf8'),
        key: readFileSync(`${dir}/${name}.key`, 'utf8'),
      }
    }
    const known = pem('known')
    const body = known.certificate.replace(/-----[A-Z ]+-----|\n/g, '')
    await server.api.post('/1.0/certificates', { type: 'client', name: 'known', certificate: body })
    const said = (await server.api.get('/1.0')) as { environment: { certificate: string } }
    const at = { url: `https://127.0.0.1:${port}`, serverCertificate: said.environment.certificate }
    const driver = await incusDriver({ clock: systemClock, groups, address: { ...at, ...known } })
    assert.deepEqual(await runs(driver, spec('echo by TLS')), ['by TLS'])
    const stranger = { clock: systemClock, groups, address: { ...at, ...pem('stranger') } }
    await assert.rejects(incusDriver(stranger), { code: 'sandbox.unavailable', message: /does not trust this client/ })
    const impostor = { clock: systemClock, groups, address: { ...at, ...known, serverCertificate: known.certificate } }
    await assert.rejects(incusDriver(impostor), { code: 'sandbox.unavailable' })
  })

  test('a program outlives its server: its output goes on, its exit is kept, and the next server is rid of it', async () => {
    await using server = await IncusTestServer.start()
    const driver = await incusDriver({ clock: systemClock, groups, address: { socketPath: server.socketPath } })
    const asked = spec('echo one; while ! [ -e /data/go ]; do sleep 0.05; done; echo two; exit 6')
    const sandbox = await driver.start(asked)
    await until('the program', async () => (await linesOf(driver, asked.recordDir)).includes('one'))
    await server.crash()
    const without = incusDriverWithoutServer({ clock: systemClock, groups, address: { socketPath: server.socketPath } })
    const found = (await without.adopt(asked.recordDir)) ?? assert.fail('no record')
    await assert.rejects(without.start(spec('true')), { code: 'sandbox.unavailable' })
    writeFileSync(`${dir}/data/go`, '')
    for (const one of [sandbox, found])
      assert.equal((await within(one.exited, 'the end')).sentence, 'ended with code 6')
    assert.deepEqual(await linesOf(driver, asked.recordDir), ['one', 'two'])
    await server.restart()
    await driver.remove(asked.recordDir)
    assert.deepEqual(await server.names(), [])
  })

  test('what waits for a container whose supervisor was killed while it asked for it ends when it is found', async () => {
    await using server = await IncusTestServer.start()
    process.env[incusSocket] = server.socketPath
    const driver = (await served['incus']?.()) ?? assert.fail('no driver')
    const asked = spec('exec sleep 600')
    const supervisor = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        `${import.meta.dirname}/../fixtures/supervisor.ts`,
        'incus',
        JSON.stringify(asked),
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    // Its record is there before the server is asked, which takes it much longer.
    await until('its record', () => existsSync(`${asked.recordDir}/guest.json`))
    await until('what waits', () => /"program":/.test(readQuietly(`${asked.recordDir}/record.json`)))
    supervisor.kill('SIGKILL')
    await Promise.all([once(supervisor, 'exit'), text(supervisor.stdout)])
    await until(
      'the server to be done with it',
      async () => (await server.names()).length === 0 || (await isRunning(server)),
    )
    const found = (await driver.adopt(asked.recordDir)) ?? assert.fail('no record')
    if ((await server.names()).length > 0) await found.kill()
    await within(found.exited, 'the end')
    await driver.remove(asked.recordDir)
    assert.deepEqual(await server.names(), [])
  })
})

async function isRunning(server: IncusTestServer): Promise<boolean> {
  const [name = ''] = await server.names()
  const state = (await server.api.find(`/1.0/instances/${name}/state`)) as { status?: string } | null
  return state?.status === 'Running'
}

function readQuietly(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}
