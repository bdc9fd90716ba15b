/**
 * Secrets through the real command line: an app waits for one, gets it, gets a new one; nothing on the disk and in no log
 * shows a value; a wrong key is refused.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, globSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import { ask, eventually, freePort, type Running, withInput, Workbench } from './command-line.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'

const skip = needsAll(needsRoot(), needsFile('/usr/bin/bwrap', 'apt-get install bubblewrap'))

const appFile = `
import { app, secret, service } from 'stead'

export default app('safe', () => {
  const mail = secret('mail', { from: 'operator' })
  const key = secret('key', { rotate: '30d' })
  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { mail, key } })
  const live = service('live', { from: './live', run: ['node', 'main.js'], use: { key }, onSecretChange: 'SIGHUP' })
  return { parts: { web, live }, public: { 'safe.localhost': web } }
})
`

/** Tells everybody what it knows, as careless programs do. */
const web = `
const { readFileSync } = require('node:fs')
const { createHash } = require('node:crypto')
const read = (name) => readFileSync(process.env.STEAD_SECRETS + '/' + name, 'utf8')
const mail = read('mail')
console.log('plain ' + mail)
console.log('json ' + JSON.stringify({ mail }))
console.log('base64 ' + Buffer.from('user:' + mail).toString('base64'))
console.log('url smtp://me:' + encodeURIComponent(mail) + '@mail')
process.stdout.write('cut ' + mail.slice(0, 8))
setTimeout(() => console.log(mail.slice(8) + ' end'), 300)
const sha = (text) => createHash('sha256').update(text).digest('hex')
require('node:http').createServer((question, answer) => answer.end(sha(mail) + ' ' + sha(read('key')))).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit(0))
`

const live = `
const { readFileSync, statSync } = require('node:fs')
const { createHash } = require('node:crypto')
const path = process.env.STEAD_SECRETS + '/key'
const tell = (why) => {
  const value = readFileSync(path, 'utf8')
  console.log(why + ' ' + createHash('sha256').update(value).digest('hex') + ' mode ' + (statSync(path).mode & 0o777).toString(8))
  console.log('and the value is ' + value)
}
tell('start')
process.on('SIGHUP', () => tell('signal'))
setInterval(() => {}, 1000)
`

const sha = (value: string): string => createHash('sha256').update(value).digest('hex')

/** The files of the state directory, but for the bundles' code, that hold one of these values in any form. */
function filesShowing(bench: Workbench, values: readonly string[]): readonly string[] {
  const forms = values.flatMap((value) => [
    value,
    encodeURIComponent(value),
    Buffer.from(value).toString('hex'),
    Buffer.from(value).toString('base64').slice(0, -4),
    Buffer.from(`user:${value}`).toString('base64').slice(8, -4),
  ])
  const root = bench.env['STEAD_STATE'] ?? ''
  return globSync('**/*', { cwd: root }).filter((path) => {
    const found = statSync(join(root, path))
    // The image of a domain is a disk; the files on it are looked at by themselves.
    if (!found.isFile() || found.size > 2 ** 30) return false
    const bytes = readFileSync(join(root, path))
    return forms.some((form) => bytes.includes(form))
  })
}

interface Listed {
  readonly name: string
  readonly current: number
  readonly rotation: string | null
  readonly users: readonly { readonly instance: string; readonly version: number }[]
}

async function list(bench: Workbench): Promise<readonly Listed[]> {
  const { stdout } = await bench.stead('secret', 'list', '--json')
  return (JSON.parse(stdout) as { secrets: readonly Listed[] }).secrets
}

const isDone = (name: string, version: number) => (secrets: readonly Listed[]) => {
  const found = secrets.find((secret) => secret.name === name)
  return found?.current === version && found.rotation === null
}

suite('secrets', { skip }, () => {
  test('wait for a person, reach programs, change under them, and show nowhere', async (t) => {
    await using bench = new Workbench()
    bench.write({ 'app.ts': appFile, 'web/server.js': web, 'live/main.js': live })
    const port = await freePort()
    const [first, second] = ['hunter2 & the "first" one', 'correct-horse-battery-staple']
    const answer = async (): Promise<string> => (await ask(port, '/', { host: 'safe.localhost' })).body
    const logsOf = async (part: string): Promise<string> => (await bench.stead('logs', part)).stdout
    let up: Running = bench.up('--port', String(port))

    await t.test('a part that uses one which was never set waits, and says what to do', async () => {
      await up.until(/mail has no value: stead secret set mail/)
      const { stdout } = await bench.stead('status')
      assert.match(stdout, /web .*waiting.*mail has no value: stead secret set mail/)
    })

    await t.test('a value as an argument is refused without being repeated', async () => {
      for (const args of [
        ['mail', second],
        [`mail=${second}`],
        ['mail', '--value', second],
        ['mail', `--value=${second}`],
      ]) {
        const refused = await bench.stead('secret', 'set', ...args)
        assert.equal(refused.code, 2, refused.stderr)
        assert.doesNotMatch(refused.stdout + refused.stderr, /correct-horse/)
      }
      assert.match((await bench.stead('secret', 'set', 'mail', second)).stderr, /a value is never an argument/)
    })

    await t.test('bad values are refused, and nothing is set', async () => {
      for (const [input, says] of [
        ['', /has 0 bytes/],
        ['x'.repeat(65_537), /has 65537 bytes/],
        ['x'.repeat(200_000), /too large/],
        [Buffer.from([0xff, 0xfe, 0x00]), /not text in UTF-8/],
      ] as const) {
        const refused = await withInput(bench, input, 'secret', 'set', 'mail')
        assert.equal(refused.code, 1)
        assert.match(refused.stderr, says)
      }
      assert.match((await withInput(bench, 'x', 'secret', 'set', 'other')).stderr, /safe has no secret "other"/)
      assert.equal((await list(bench)).find(({ name }) => name === 'mail')?.current, 0)
    })

    await t.test('once it is set the app starts, with the value in a file', async () => {
      const set = await withInput(bench, `${first}\n`, 'secret', 'set', 'mail')
      assert.equal(set.code, 0, set.stderr)
      await up.until(/safe runs, after/)
      assert.ok((await answer()).startsWith(sha(first)))
    })

    await t.test('what programs print of it is kept without it, in every form and over cuts', async () => {
      const logs = await eventually(
        'the last line',
        () => logsOf('web'),
        (text) => text.includes(' end'),
      )
      for (const line of ['plain [secret]', 'url smtp://me:[secret]@mail', 'cut [secret] end'])
        assert.ok(logs.includes(line), logs)
      assert.match(logs, /json \{"mail":"\[secret\]"\}/)
      assert.match(await logsOf('live'), /and the value is \[secret\]/)
      assert.deepEqual(filesShowing(bench, [first]), [])
    })

    await t.test('a new value replaces who uses it, without a failed request', async () => {
      const before = (await list(bench)).find(({ name }) => name === 'mail')?.users[0]?.instance
      const statuses = new Set<number>()
      let loading = true
      const load = (async () => {
        while (loading) statuses.add((await ask(port, '/', { host: 'safe.localhost' })).status)
      })()
      await withInput(bench, second, 'secret', 'set', 'mail')
      const after = await eventually('the change', () => list(bench), isDone('mail', 2))
      loading = false
      await load
      assert.deepEqual([...statuses], [200])
      assert.ok((await answer()).startsWith(sha(second)))
      assert.notEqual(after.find(({ name }) => name === 'mail')?.users[0]?.instance, before)
      assert.deepEqual(filesShowing(bench, [first, second]), [])
    })

    await t.test('a part that takes a signal keeps running and reads the new value', async () => {
      const before = (await list(bench)).find(({ name }) => name === 'key')
      const rotated = await bench.stead('secret', 'rotate', 'key')
      assert.equal(rotated.code, 0, rotated.stderr)
      const after = (await eventually('the change', () => list(bench), isDone('key', 2))).find(
        ({ name }) => name === 'key',
      )
      const ofLive = (listed: Listed | undefined): string | undefined =>
        listed?.users.find(({ instance }) => instance.startsWith('safe.live.'))?.instance
      assert.equal(ofLive(after), ofLive(before))
      const logs = await eventually(
        'the signal',
        () => logsOf('live'),
        (text) => text.includes('signal '),
      )
      const [, told] = /signal (\w+) mode 400/.exec(logs) ?? []
      assert.equal(told, (await answer()).split(' ')[1], 'both have the same value')
      assert.equal(logs.match(/and the value is \[secret\]/g)?.length, 2, logs)
    })

    await t.test('people share one with age, and nobody else reads it', async () => {
      const identity = await generateX25519Identity()
      const identityFile = join(bench.dir, 'key.txt')
      writeFileSync(identityFile, `${identity}\n`)
      const exported = await bench.stead('secret', 'export', 'mail', '--to', await identityToRecipient(identity))
      assert.match(exported.stdout, /^-----BEGIN AGE ENCRYPTED FILE-----/)
      assert.doesNotMatch(exported.stdout, /correct-horse/)
      const imported = await withInput(bench, exported.stdout, 'secret', 'import', 'mail', '--identity', identityFile)
      assert.equal(imported.code, 0, imported.stderr)
      await eventually('the change', () => list(bench), isDone('mail', 3))
      assert.ok((await answer()).startsWith(sha(second)))
      const refused = await bench.stead('secret', 'export', 'mail', '--to', identity)
      assert.match(refused.stderr, /a secret key was given as recipient/)
      assert.ok(!refused.stderr.includes(identity))
    })

    await t.test('the key is changed while everything runs; after kill -9 all is there', async () => {
      assert.equal((await bench.stead('secret', 'rekey')).code, 0)
      await up.stop('SIGKILL')
      up = bench.up('--port', String(port))
      await up.until(/safe runs, after/)
      assert.ok((await answer()).startsWith(sha(second)))
    })

    await t.test(
      'a key that others can read, a wrong one and none are refused in a sentence; with the right one all is there',
      async () => {
        assert.equal((await up.stop()).code, 0)
        const [keyPath = ''] = globSync('keys/*/vault.key', { cwd: bench.env['STEAD_STATE'] ?? '' })
        const path = join(bench.env['STEAD_STATE'] ?? '', keyPath)
        const refuses = async (says: RegExp): Promise<void> => {
          const refused = await bench.stead('up', '.', '--port', '0')
          assert.equal(refused.code, 1)
          assert.match(refused.stderr, says)
          assert.doesNotMatch(refused.stderr, /bug in stead/)
        }
        copyFileSync(path, `${path}.kept`)
        writeFileSync(path, `stead-key-1 ${Buffer.alloc(32, 1).toString('base64url')}\n`)
        await refuses(/is not the key file of this store/)
        rmSync(path)
        await refuses(/the key file .* is not there/)
        writeFileSync(path, readFileSync(`${path}.kept`), { mode: 0o644 })
        await refuses(/can be read or written by others/)
        chmodSync(path, 0o600)
        up = bench.up('--port', String(port))
        await up.until(/safe runs, after/)
        assert.ok((await answer()).startsWith(sha(second)))
        assert.deepEqual(filesShowing(bench, [first, second]), [])
      },
    )

    await t.test('every opening of a value is on record, without the value', () => {
      const state = bench.env['STEAD_STATE'] ?? ''
      const [logPath = ''] = globSync('apps/*/secrets.log', { cwd: state })
      const lines = readFileSync(join(state, logPath), 'utf8').trim().split('\n')
      const reads = lines.map((line) => JSON.parse(line) as { name: string; version: number; by: string })
      assert.ok(reads.some(({ name, version, by }) => name === 'mail' && version === 2 && by === 'export for owner'))
      assert.doesNotMatch(lines.join('\n'), /hunter2|correct-horse/)
    })

    await t.test(
      'a value that is typed is not shown',
      { skip: needsFile('/usr/bin/script', 'apt-get install bsdutils') },
      async () => {
        const words = bench.command(['secret', 'set', 'mail']).map((word) => `'${word}'`)
        const child = spawn('/usr/bin/script', ['-qec', words.join(' '), '/dev/null'], {
          env: bench.env,
          cwd: bench.appDir,
        })
        let shown = ''
        child.stdout.on('data', (chunk: Buffer) => {
          if (!shown.includes('not shown') && (shown + chunk.toString()).includes('not shown'))
            child.stdin.write('typed-bu\u007fy-hand\r')
          shown += chunk.toString()
        })
        const code = await new Promise((resolve) => child.once('close', resolve))
        assert.equal(code, 0, shown)
        assert.doesNotMatch(shown, /typed|hand/)
        await eventually('the change', answer, (body) => body.startsWith(sha('typed-by-hand')))
      },
    )

    await t.test('what is to be deleted needs no key', async () => {
      assert.equal((await up.stop()).code, 0)
      const state = bench.env['STEAD_STATE'] ?? ''
      for (const path of globSync('keys/*/vault.key', { cwd: state })) rmSync(join(state, path))
      const down = await bench.stead('down', '.', '--delete-data')
      assert.equal(down.code, 0, down.stderr)
      assert.deepEqual(globSync('{apps,keys}/*', { cwd: state }), [])
    })
  })
})
