/**
 * A bucket of an app on the real daemon, through the command line and as programs see it: objects in and out, signed URLs
 * through the way in, and a return that takes them along and lets nothing of the time that was left do harm.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { bucketCapabilities, type ObjectStore, openS3Store } from '../src/objects/index.ts'
import { ask } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'

function useKeep(daemon: DaemonBench, mark: string): void {
  daemon.bench.write({
    'app.ts': `import { app, bucket, service } from 'stead'
      export default app('keep', () => {
        const files = bucket('files', { versions: true, quota: '1MB' })
        const hidden = bucket('hidden')
        const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { files: files.only('read'), hidden } })
        return { parts: { web }, public: { 'keep.localhost': web, 'files.localhost': files } }
      })`,
    'web/server.js': `
      const names = ['FILES_AWS_ENDPOINT_URL_S3', 'FILES_BUCKET_NAME', 'HIDDEN_BUCKET_NAME', 'BUCKET_NAME']
      const env = JSON.stringify(names.map((name) => process.env[name] ?? null))
      require('node:http').createServer((question, answer) => answer.end(env)).listen(process.env.PORT)
      process.on('SIGTERM', () => process.exit(0)) // ${mark}`,
  })
}

suite('objects of an app', { timeout: 300_000 }, () => {
  test('in and out, by name and by URL; a return takes them along, and old tags change nothing', async (t) => {
    await using daemon = await DaemonBench.start()
    const { bench, port } = daemon
    useKeep(daemon, 'first')
    await daemon.deploy('keep')
    const objects = async (...words: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await bench.stead('objects', ...words, '--app', 'keep')
      assert.equal(code, 0, stderr)
      return stdout
    }

    await t.test('a part that uses two has the variables of each under its own name', async () => {
      const [endpoint, files, hidden, plain] = JSON.parse(
        (await ask(port, '/', { host: 'keep.localhost' })).body,
      ) as string[]
      assert.match(endpoint ?? '', /^http:\/\/[\d.]+:\d+$/)
      assert.deepEqual([files, hidden, plain], ['files', 'hidden', null])
    })

    await t.test('files go in and come out whole; what is not there is said', async () => {
      bench.write({ 'invoice.txt': 'first' })
      await objects('cp', 'invoice.txt', 'files:2026/')
      await objects('cp', 'files:2026/invoice.txt', 'files:kept')
      await objects('cp', 'files:kept', 'copied.txt')
      assert.equal(readFileSync(join(bench.appDir, 'copied.txt'), 'utf8'), 'first')
      assert.match(await objects('ls', 'files'), /2026\/\n.* 5 B  kept\n$/)
      const keys = (await objects('ls', 'files', '--recursive', '--json')).trim().split('\n')
      assert.deepEqual(
        keys.map((line) => (JSON.parse(line) as { key: string }).key),
        ['2026/invoice.txt', 'kept'],
      )
      const refusals: readonly (readonly [readonly string[], number, RegExp])[] = [
        [['cp', 'files:none', '-'], 1, /files has no object none/],
        [['presign', 'hidden:x'], 1, /nothing outside the app reaches hidden.*\n.*'hidden\.localhost': hidden/],
      ]
      for (const [words, code, says] of refusals) {
        const answer = await bench.stead('objects', ...words, '--app', 'keep')
        assert.equal(answer.code, code, words.join(' '))
        assert.match(answer.stderr, says)
      }
    })

    await t.test('a signed URL works from outside, and only as it was signed', async () => {
      const url = new URL((await objects('presign', 'files:kept', '--expires', '1m')).trim())
      assert.equal(url.host, `files.localhost:${port}`)
      const answer = await ask(port, `${url.pathname}${url.search}`, { host: url.host })
      assert.deepEqual([answer.status, answer.body], [200, 'first'])
      assert.equal((await ask(port, url.pathname, { host: url.host })).status, 403)
      assert.equal((await ask(port, `${url.pathname}x${url.search}`, { host: url.host })).status, 403)
    })

    await t.test('going back takes objects along and names those that it leaves', async () => {
      const forward = bench.start('forward', 'files', 'keep', '--json')
      await forward.until(/"env"/)
      const { env } = JSON.parse(forward.output()) as { env: Record<string, string> }
      await using store = storeOf(env)
      const first = await store.stat('kept')
      useKeep(daemon, 'second')
      const second = await bench.stead('deploy', '.', '--watch', '1s')
      assert.equal(second.code, 0, second.stderr)
      const later = await store.put('kept', 'of a time that is left')
      await store.put('lost/1', 'lost')
      await store.delete('2026/invoice.txt')

      const back = await bench.stead('rollback', '--with-data', '--app', 'keep')
      assert.equal(back.code, 0, back.stderr)
      assert.match(back.stdout, /files 2026\/invoice\.txt: 1 deleted/)
      assert.match(back.stdout, /files kept: 1 updated/)
      assert.match(back.stdout, /files lost\/1: 1 inserted; `stead replay left-by-3 files lost\/1`/)

      assert.equal(await store.get('lost/1'), null)
      assert.equal(await new Response((await store.get('2026/invoice.txt'))?.body).text(), 'first')
      assert.equal(
        await store.putIfMatch('kept', 'would be wrong', later.etag),
        null,
        'a tag of the time that was left',
      )
      const put = await store.putIfMatch('kept', 'goes on', first?.etag ?? '')
      assert.match(put?.version ?? '', /^2\./, 'of the second generation')

      const replayed = await bench.stead('replay', 'left-by-3', 'files', 'lost/1', '--app', 'keep')
      assert.equal(replayed.code, 0, replayed.stderr)
      assert.equal(await new Response((await store.get('lost/1'))?.body).text(), 'lost')
      await forward.stop()
    })

    await t.test('what a person did with objects is in the record', async () => {
      await objects('rm', '-r', 'files:lost/')
      const { stdout } = await bench.stead('audit', '--json')
      for (const deed of ['list', 'read', 'write', 'delete', 'presign'])
        assert.match(stdout, new RegExp(`parts/:part/objects/${deed}"`))
    })
  })
})

function storeOf(env: Readonly<Record<string, string>>): ObjectStore {
  return openS3Store({
    endpoint: env['AWS_ENDPOINT_URL_S3'] ?? '',
    bucket: env['BUCKET_NAME'] ?? '',
    accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    capabilities: bucketCapabilities,
  })
}
