/** What an app file cannot do, tried in real child processes, with each of the guards that this machine has. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdir, mkdtemp, readFile, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { SteadError } from '../base/index.ts'
import { needsAll, needsFile, needsRoot } from '../../test/needs.ts'
import { hasBubblewrap } from './guards.ts'
import { evaluateAppFile } from './index.ts'

const environment = { name: 'local', production: false }
const good = `import { app, service } from 'stead'\nexport default app('shop', () => ({ parts: { a: service('a', { run: ['a'] }) } }))\n`
const face = join(import.meta.dirname, 'index.ts')

/** A directory with `app/app.ts`, and beside it files that are none of its business. */
async function withApp<T>(source: string, use: (root: string) => Promise<T>): Promise<T> {
  const root = await realpath(await mkdtemp(join(tmpdir(), 'stead-guards-')))
  try {
    await mkdir(join(root, 'app'))
    await mkdir(join(root, 'app-of-another'))
    await writeFile(join(root, 'app', 'app.ts'), source)
    await writeFile(join(root, 'app', 'data.txt'), '')
    await writeFile(join(root, 'app-of-another', 'data.txt'), '')
    await symlink(join(root, 'app-of-another', 'data.txt'), join(root, 'app', 'link.txt'))
    await chmod(root, 0o755)
    return await use(root)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

const forbidden: readonly { name: string; source: string; message: RegExp }[] = [
  {
    name: 'read a file of the machine',
    source: `import { readFileSync } from 'node:fs'\nreadFileSync('/etc/hostname')`,
    message: /app\.ts:2:1 reads \/etc\/hostname, which an app file must not\./,
  },
  {
    name: 'read a directory whose name only begins like its own',
    source: `import { readFileSync } from 'node:fs'\nreadFileSync('../app-of-another/data.txt')`,
    message: /reads .*app-of-another\/data\.txt, which/,
  },
  {
    name: 'write, even beside itself',
    source: `import { writeFileSync } from 'node:fs'\nwriteFileSync('new.txt', '')`,
    message: /app\.ts:2:1 writes .*new\.txt, which an app file must not\./,
  },
  {
    name: 'connect',
    source: `import { connect } from 'node:net'\nconst socket = connect(65000, '127.0.0.1')\nawait new Promise((_, reject) => socket.on('error', reject))`,
    message: /opens a network connection, which/,
  },
  { name: 'fetch', source: `await fetch('http://127.0.0.1:65000/')`, message: /opens a network connection, which/ },
  {
    name: 'look up a name',
    source: `import { lookup } from 'node:dns/promises'\nawait lookup('example.com')`,
    message: /opens a network connection, which/,
  },
  {
    name: 'start a process',
    source: `import { execSync } from 'node:child_process'\nexecSync('id')`,
    message: /app\.ts:2:1 starts a process, which/,
  },
  {
    name: 'start a thread',
    source: `import { Worker } from 'node:worker_threads'\nnew Worker('0', { eval: true })`,
    message: /app\.ts:2:1 starts a thread, which/,
  },
  {
    name: 'load a native addon',
    source: `process.dlopen({ exports: {} }, 'x.node')`,
    message: /app\.ts:1:9 loads a native addon, which/,
  },
  {
    name: 'open the inspector',
    source: `import { open } from 'node:inspector'\nopen(0)`,
    message: /opens the inspector, which/,
  },
]

for (const { name, source, message } of forbidden) {
  test(`an app file cannot ${name}`, async () => {
    await withApp(source, async (root) => {
      const promise = evaluateAppFile(join(root, 'app'), { environment, timeoutMs: 60_000 })
      const error = await promise.then(
        () => assert.fail('it could'),
        (failure: SteadError) => failure,
      )
      assert.equal(error.code, 'evaluate.refused', error.message)
      assert.match(error.message, message)
    })
  })
}

test('an app file can read what is beside it', async () => {
  await withApp(`import { readFileSync } from 'node:fs'\nreadFileSync('data.txt')\n${good}`, async (root) => {
    assert.equal((await evaluateAppFile(join(root, 'app'), { environment, timeoutMs: 60_000 })).app, 'shop')
  })
})

test(
  'buffers count as memory',
  { skip: process.platform === 'linux' ? false : 'the data limit holds on Linux' },
  async () => {
    const source = `const all: Buffer[] = []\nfor (;;) all.push(Buffer.alloc(50_000_000, 1))`
    await withApp(source, async (root) => {
      const options = { environment, timeoutMs: 60_000, memoryBytes: 64_000_000 }
      await assert.rejects(evaluateAppFile(join(root, 'app'), options), { code: 'evaluate.out-of-memory' })
    })
  },
)

test('nothing runs on after the time is over', { skip: needsFile('/proc/self/cmdline', 'Linux') }, async () => {
  await withApp('for (;;);', async (root) => {
    const options = { environment, timeoutMs: 700 }
    await assert.rejects(evaluateAppFile(join(root, 'app'), options), { code: 'evaluate.timeout' })
    const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
    const lines = await Promise.all(processes.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')))
    assert.deepEqual(
      lines.filter((line) => line.includes(root)),
      [],
    )
  })
})

test(
  'with bubblewrap there is no network, no other process, and no way out by a link',
  { skip: hasBubblewrap() ? false : 'needs Linux, root and bubblewrap' },
  async () => {
    const source = `import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
const found = [process.pid < 10, Object.values(networkInterfaces()).flat().every((one) => one?.internal)]
try { readFileSync('link.txt'); found.push(false) } catch { found.push(true) }
try { process.kill(${process.pid}, 0); found.push(false) } catch { found.push(true) }
console.log(found.join())
${good}`
    await withApp(source, async (root) => {
      const printed: string[] = []
      const onOutput = (text: string): void => void printed.push(text)
      await evaluateAppFile(join(root, 'app'), { environment, timeoutMs: 60_000, onOutput })
      assert.deepEqual(printed, ['true,true,true,true\n'])
    })
  },
)

/** Evaluates in a process of its own, started by `argv`; prints what came of it. */
function elsewhere(root: string, prefix: readonly string[], ids: { uid?: number; gid?: number } = {}): string {
  const code = `import { evaluateAppFile } from ${JSON.stringify(face)}
const options = { environment: { name: 'local', production: false }, timeoutMs: 60_000 }
await evaluateAppFile(process.argv[1], options).then((graph) => console.log(graph.app), (error) => console.log(error.code))`
  const argv = [...prefix, process.execPath, '--input-type=module', '-e', code, join(root, 'app')]
  const result = spawnSync(argv[0] ?? '', argv.slice(1), {
    encoding: 'utf8',
    env: {},
    cwd: '/',
    ...ids,
    timeout: 120_000,
  })
  return result.stdout + result.stderr
}

function needsReadableSource(): string | false {
  const argv = ['-e', `require('node:fs').accessSync(${JSON.stringify(face)})`]
  const { status } = spawnSync(process.execPath, argv, { uid: 65_534, gid: 65_534, env: {}, cwd: '/' })
  return status === 0 ? false : 'needs a checkout that other users can read'
}

const nobody = needsRoot() || needsReadableSource()

test('as an ordinary user the permission model stands alone, and holds', { skip: nobody }, async () => {
  const ids = { uid: 65_534, gid: 65_534 }
  await withApp(good, async (root) => assert.equal(elsewhere(root, [], ids), 'shop\n'))
  const reading = `import { readFileSync } from 'node:fs'\nreadFileSync('/etc/hostname')`
  await withApp(reading, async (root) => assert.equal(elsewhere(root, [], ids), 'evaluate.refused\n'))
  await withApp(`await fetch('http://127.0.0.1:65000/')`, async (root) =>
    assert.equal(elsewhere(root, [], ids), 'evaluate.refused\n'),
  )
})

test(
  'where bubblewrap is there but may not make namespaces, the permission model stands alone',
  { skip: needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap')) },
  async () => {
    const without = ['/usr/bin/bwrap', '--unshare-user', '--disable-userns', '--dev-bind', '/', '/', '--']
    await withApp(good, async (root) => assert.equal(elsewhere(root, without), 'shop\n'))
    await withApp(`console.error('bwrap: no'); process.exit(1)`, async (root) =>
      assert.equal(elsewhere(root, without), 'evaluate.no-answer\n'),
    )
  },
)
