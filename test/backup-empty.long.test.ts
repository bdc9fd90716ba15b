/**
 * A machine that has nothing but Stead, the place of the backups, and their key: one command brings the app up there, with its
 * code, its secrets and its data. The machine that made the backup is gone.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ask, eventually, withInput } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { readNumbers, useLedger } from './ledger-app.ts'
import { needsFile } from './needs.ts'
import { replaceApp } from './small-app.ts'

test(
  'an app comes back on an empty machine',
  { skip: needsFile('/usr/bin/restic', 'apt-get install restic'), timeout: 600_000 },
  async (t) => {
    const disk = mkdtempSync(join(tmpdir(), 'stead-backup-disk-'))
    t.after(() => rmSync(disk, { recursive: true, force: true }))
    const place = join(disk, 'b')
    const keep = async (port: number, number: number): Promise<void> => {
      const answer = await ask(port, `/${number}`, { method: 'POST', host: 'ledger.localhost' })
      assert.equal(answer.status, 201, answer.body)
    }
    let key = ''
    {
      await using first = await DaemonBench.start()
      const made = await first.bench.stead('backup', 'key', '--make')
      assert.equal(made.code, 0, made.stderr)
      key = made.stdout
      useLedger(first.bench, '', `backup: { to: '${place}', log: '10s' }`)
      await first.deploy('ledger')
      const standing = async (): Promise<{ readonly madeMs: number | null; readonly logMs: number | null }> => {
        const { stdout } = await first.bench.stead('status', 'ledger', '--json')
        return (JSON.parse(stdout) as { backup: { madeMs: number | null; logMs: number | null } }).backup
      }
      await eventually('a backup is made', standing, (found) => (found?.madeMs ?? null) !== null, 120_000)
      for (const number of [1, 2, 3]) await keep(first.port, number)
      const writtenMs = Date.now()
      await eventually('the log is carried', standing, ({ logMs }) => (logMs ?? 0) > writtenMs, 120_000)
    }

    await using second = await DaemonBench.start()
    const { bench, port } = second
    const before = await bench.stead('restore', 'ledger', '--from', place)
    assert.match(before.stderr, /key of backups cannot be read/)
    const set = await withInput(bench, key, 'backup', 'key', '--set')
    assert.equal(set.code, 0, set.stderr)
    const unknown = await bench.stead('restore', 'shop', '--from', place)
    assert.deepEqual([unknown.code, /there is no backup of shop/.test(unknown.stderr)], [1, true], unknown.stderr)
    second.adopt('ledger')
    const restored = await bench.stead('restore', 'ledger', '--from', place)
    assert.equal(restored.code, 0, restored.stderr)
    assert.match(restored.stdout, /ledger\.localhost/)
    assert.deepEqual(await readNumbers(port), [1, 2, 3])
    await keep(port, 4)
    const backedUp = async (): Promise<boolean> => {
      const { stdout } = await bench.stead('status', 'ledger', '--json')
      return ((JSON.parse(stdout) as { backup?: { madeMs: number | null } }).backup?.madeMs ?? null) !== null
    }
    await eventually('what it declares goes on here: a backup is made', backedUp, (made) => made, 120_000)
  },
)

/** An app that keeps no rows: what is posted goes into a queue, and files lie in a bucket. */
const store = {
  'app.ts': [
    `import { app, bucket, queue, service } from 'stead'`,
    `export default app('store', () => {`,
    `  const [mail, files] = [queue('mail'), bucket('files')]`,
    `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { mail, files } })`,
    `  return { parts: { web }, public: { 'store.localhost': web } }`,
    `})`,
  ].join('\n'),
  'web/server.js': `require('node:http').createServer(async (question, answer) => {
    if (question.method !== 'POST') return answer.end('ok')
    const { QUEUE_ENDPOINT: url, QUEUE_TOKEN: token } = process.env
    const headers = { 'content-type': 'application/json', authorization: 'Bearer ' + token }
    const value = question.url.slice(1)
    const sent = await fetch(url + '/messages', { method: 'POST', headers, body: JSON.stringify({ value }) })
    answer.writeHead(sent.ok ? 201 : 503).end(await sent.text())
  }).listen(process.env.PORT)
  process.on('SIGTERM', () => process.exit(0))`,
  'note.txt': 'written before',
}

test(
  'so do messages and objects, as they were in the backup',
  { skip: needsFile('/usr/bin/restic', 'apt-get install restic'), timeout: 600_000 },
  async (t) => {
    const disk = mkdtempSync(join(tmpdir(), 'stead-backup-disk-'))
    t.after(() => rmSync(disk, { recursive: true, force: true }))
    const place = join(disk, 'b')
    const ran = async ({ bench }: DaemonBench, ...words: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await bench.stead(...words)
      assert.equal(code, 0, `${words.join(' ')}: ${stderr}`)
      return stdout
    }
    const send = async ({ port }: DaemonBench, text: string): Promise<void> => {
      const answer = await ask(port, `/${text}`, { method: 'POST', host: 'store.localhost' })
      assert.equal(answer.status, 201, answer.body)
    }
    const waiting = async (daemon: DaemonBench): Promise<readonly string[]> => {
      const text = await ran(daemon, 'queue', 'peek', 'mail', '--app', 'store', '--json')
      return ['letter-one', 'letter-two', 'letter-three'].filter((word) => text.includes(word))
    }
    let key = ''
    {
      await using first = await DaemonBench.start()
      key = await ran(first, 'backup', 'key', '--make')
      replaceApp(first.bench, store)
      await first.deploy('store')
      await send(first, 'letter-one')
      await ran(first, 'objects', 'cp', join(first.bench.appDir, 'note.txt'), 'files:note.txt', '--app', 'store')
      await ran(first, 'backup', 'store', '--to', place)
      await send(first, 'letter-two')
      assert.deepEqual(await waiting(first), ['letter-one', 'letter-two'])
    }

    await using second = await DaemonBench.start()
    const set = await withInput(second.bench, key, 'backup', 'key', '--set')
    assert.equal(set.code, 0, set.stderr)
    second.adopt('store')
    await ran(second, 'restore', 'store', '--from', place)
    assert.deepEqual(await waiting(second), ['letter-one'])
    assert.equal(await ran(second, 'objects', 'cp', 'files:note.txt', '-', '--app', 'store'), 'written before')
    await send(second, 'letter-three')
    assert.deepEqual(await waiting(second), ['letter-one', 'letter-three'], 'it goes on from there')
    assert.match(await ran(second, 'backup', 'drill', 'store', '--from', place), /is proved/)
  },
)
