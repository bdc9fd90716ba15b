/** A disk that really fills up: what runs goes on, nothing new is taken on, nothing acknowledged is lost, and it recovers. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger, writeNumbers } from './ledger-app.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { appFile, web } from './small-app.ts'

/** Noisy, with a database of its own. */
const notes = {
  'app.ts': appFile(
    `const db = postgres('db', { migrations: './migrations' })
     ${web('use: { db }')}`,
    `{ parts: { web }, public: { 'small.localhost': web }, data: '300MB' }`,
  ),
  'migrations/0001_notes.sql': `create table notes (id bigint generated always as identity, text text);`,
  'web/package.json': `{ "name": "web", "version": "1.0.0", "type": "module" }`,
  'web/server.js': `
    import { createServer } from 'node:http'
    import { createRequire } from 'node:module'
    console.log('x'.repeat(4000).replace(/^/, 'noise '))
    for (let line = 0; line < 2000; line += 1) console.log('noise ' + 'x'.repeat(4000))
    createServer((question, answer) => {
      console.log(question.method, question.url)
      answer.end('version 1')
    }).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))`,
}

/** Takes all room that is left, until disposed. */
function fill(directory: string): Disposable {
  const path = join(directory, 'filler')
  const { bavail, bsize } = statfsSync(directory)
  // Taken without being written, but for the last of it.
  spawnSync('fallocate', ['--length', String(Math.max(bsize, bavail * bsize - 8 * 1024 * 1024)), path])
  const fd = openSync(path, 'a')
  const block = Buffer.alloc(1024 * 1024)
  for (let size = block.length; size >= 4096;) {
    try {
      writeSync(fd, block, 0, size)
    } catch {
      size /= 2
    }
  }
  closeSync(fd)
  return { [Symbol.dispose]: () => rmSync(path, { force: true }) }
}

interface Status {
  readonly disks: readonly { readonly level: string; readonly freeBytes: number }[]
  readonly parts: readonly { readonly part: string; readonly phase: string; readonly instance: string | null }[]
}

const psql = '/usr/bin/psql'
const needs = needsAll(needsRoot(), needsFile(psql, 'install postgresql-client'))

suite('a full disk', { skip: needs }, () => {
  test('what runs goes on, nothing new is taken on, and it recovers when there is room', async (t) => {
    await using bench = new Workbench()
    const state = join(bench.dir, 's')
    mkdirSync(state)
    const image = join(bench.dir, 'disk')
    for (const [command = '', ...args] of [
      ['truncate', '--size', '1900M', image],
      ['mkfs.ext4', '-q', '-m', '0', image],
      ['mount', '-o', 'loop', image, state],
    ]) {
      const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
      if (status !== 0) return t.skip(`needs ${command}: ${stderr}`)
    }
    try {
      bench.write(notes)
      const port = await freePort()
      const up = bench.up('--port', String(port))
      await up.until(/small runs, after/)
      const status = async (): Promise<Status> => {
        const said = JSON.parse((await bench.stead('status', '--json')).stdout) as Partial<Status>
        // Who gets no answer in time, on a busy machine, is told an error.
        return { disks: [], parts: [], ...said }
      }
      const page = async (): Promise<string> => (await ask(port, '/', { host: 'small.localhost' })).body
      const forward = bench.start('forward', 'db', '--json')
      await forward.until(/"url"/)
      const { url } = JSON.parse(forward.output()) as { url: string }
      const query = (sql: string): ReturnType<typeof spawnSync> =>
        spawnSync(psql, [url, '-Atc', sql], { encoding: 'utf8' })
      assert.equal(await page(), 'version 1')
      const usage = JSON.parse((await bench.stead('disk', '--json')).stdout) as {
        platforms: { apps: { app: string; dataBytes: number; dataBytesMax: number | null; logBytes: number }[] }[]
      }
      const [app] = usage.platforms.flatMap((platform) => platform.apps)
      assert.equal(app?.app, 'small')
      assert.ok(app.logBytes > 4_000_000, `output is counted: ${app.logBytes}`)
      assert.ok(app.dataBytes > 1_000_000, `data are counted: ${app.dataBytes}`)

      const logsOf = (await status()).parts.find(({ part }) => part === 'web')?.instance ?? ''
      const output = (): string[] => {
        const [home = ''] = readdirSync(join(state, 'apps'))
        const root = join(state, 'apps', home, 'agent', 'instances', logsOf)
        return readdirSync(root, { recursive: true })
          .map((name) => join(root, String(name)))
          .filter((path) => /@[0-9a-f]{24}\./.test(path) && statSync(path).isFile())
      }
      assert.ok(output().length > 0, 'there is rotated output')
      {
        using _filler = fill(state)
        const full = await eventually('it is seen', status, ({ disks }) => disks[0]?.level === 'critical')
        assert.ok(full.parts.every(({ phase }) => phase === 'ready'))
        await eventually(
          'old output goes first',
          async () => output().length,
          (count) => count === 0,
        )
        const { code, stdout } = await bench.stead('status')
        assert.equal(code, 4)
        assert.match(stdout, /disk critical .*nothing new is deployed/)
        using _again = fill(join(state, 'apps'))
        for (let times = 0; times < 20; times += 1) assert.equal(await page(), 'version 1')
        bench.write({ 'web/server.js': notes['web/server.js'].replace('version 1', 'version 2') })
        await up.until(/not taken up/)
        assert.equal(await page(), 'version 1')
        for (let note = 1; note <= 20; note += 1)
          assert.equal(query(`insert into notes (text) values ('${note}')`).status, 0, 'what was set aside is there')
        // Longer than control holds its lease without renewing it.
        await new Promise((resolve) => setTimeout(resolve, 17_000))
        assert.equal(await page(), 'version 1')
      }
      await eventually('it recovers', status, ({ disks }) => disks[0]?.level === 'ok')
      bench.write({ 'web/server.js': notes['web/server.js'].replace('version 1', 'version 3') })
      assert.equal(query('select count(*) from notes').stdout, '20\n')
      await eventually('changes are taken up again', page, (body) => body === 'version 3')
      assert.ok((await status()).parts.every(({ phase }) => phase === 'ready'))
      await forward.stop()
      assert.equal((await up.stop()).code, 0)

      const would = await bench.stead('prune', '--dry-run', '--unused', '10m')
      assert.match(would.stdout, /Would free 0 MB/, 'what was just made stays')
    } finally {
      await bench.stead('down', '.', '--delete-data')
      spawnSync('umount', ['-l', state])
    }
  })
})

/** Where the data of an app is mounted; null where it has no disk of its own. */
function mountOf({ dir }: Workbench): string | null {
  const mounts = readFileSync('/proc/mounts', 'utf8').split('\n')
  return (
    mounts
      .map((line) => line.split(' '))
      .find(([, path = '', type]) => path.startsWith(dir) && type === 'btrfs')?.[1] ?? null
  )
}

suite('data without room', { skip: needsRoot() }, () => {
  test('no copy is begun that would take the last of it: it is refused with what to do, and that helps', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    useLedger(bench, '', `data: '300MB'`)
    await daemon.deploy('ledger')
    await using load = writeNumbers(port, 1)
    const mount = mountOf(bench)
    if (mount === null) return t.skip('needs data with a disk of its own (btrfs)')
    const { bavail, bsize } = statfsSync(mount)
    const filler = join(mount, 'filler')
    {
      spawnSync('fallocate', ['--length', String(bavail * bsize - 12 * 1024 * 1024), filler])
      const kept = await bench.stead('checkpoint', 'now', '--app', 'ledger')
      assert.equal(kept.code, 1)
      assert.match(
        kept.stderr,
        /the data of ledger has \d+ MB of \d+ MB free, too little for another copy\n.*Delete copies that/,
      )
      useLedger(bench, 'version 2', `data: '300MB'`)
      const refused = await bench.stead('deploy', '.', '--watch', '0')
      assert.equal(refused.code, 1, refused.stdout)
      assert.match(
        refused.stderr,
        /release 2 of ledger was refused; nothing was changed: .*too little for another copy/,
      )
      useLedger(bench, 'version 2', `data: '400MB'`)
      const more = await bench.stead('deploy', '.', '--watch', '0')
      assert.equal(more.code, 0, more.stderr)
    }
    const { kept, answers } = await load.stop()
    assert.deepEqual([...answers.keys()], ['201'])
    const there = new Set(await readNumbers(port))
    assert.deepEqual(
      kept.filter((number) => !there.has(number)),
      [],
    )
  })
})
