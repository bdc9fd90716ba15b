/** A bucket that somebody else runs, through the real command line: declared like an own one, behind its front, left when the app goes. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { suite, test } from 'node:test'
import { credential, servedStore } from '../src/objects/drivers/embedded-place.test-helper.ts'
import { ask, freePort, Workbench } from './command-line.ts'
import { needsRoot } from './needs.ts'

const app = (needs: string): Record<string, string> => ({
  'app.ts': `import { app, bucket, secret, service } from 'stead'
    export default app('small', () => {
      const url = secret('files-url', { from: 'operator' })
      const files = bucket('files', { hosted: url, needs: [${needs}] })
      const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { files: files.only('read') } })
      return { parts: { web }, public: { 'small.localhost': web, 'files.localhost': files } }
    })`,
  'web/server.js': `
    const { AWS_ENDPOINT_URL_S3, AWS_ACCESS_KEY_ID, BUCKET_NAME } = process.env
    const said = JSON.stringify([new URL(AWS_ENDPOINT_URL_S3).port, AWS_ACCESS_KEY_ID, BUCKET_NAME])
    require('node:http').createServer((question, answer) => question.url !== '/reach' ? answer.end(said) :
      fetch(AWS_ENDPOINT_URL_S3 + '/files/none').then((found) => answer.end(String(found.status)), (error) => answer.end(String(error.cause))),
    ).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))`,
})

suite('a bucket that is hosted elsewhere', { skip: needsRoot() }, () => {
  test('waits for its URL, is refused what its store does not do, and then is like an own one', async () => {
    await using store = await servedStore()
    const there = await store.objects.bucket('shop-files')
    await using bench = new Workbench()
    bench.write(app(`'versions'`))
    const way = await freePort()

    const first = bench.up('--port', String(way))
    await first.until(/weaker.* files: hosted elsewhere; it is in no checkpoint/)
    await first.until(/the secret files-url has no value yet/)
    const { child } = bench.start('secret', 'set', 'files-url')
    const key = `${credential.accessKeyId}:${encodeURIComponent(credential.secretAccessKey)}`
    child.stdin?.end(`http://${key}@127.0.0.1:${store.port}/shop-files`)
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0)
    await first.until(/bucket files does not do what is needed: versions: the bucket keeps no versions/)
    if (first.child.exitCode === null) await once(first.child, 'exit')
    assert.equal(first.child.exitCode, 1)

    bench.write(app(`'putIfAbsent', 'checksums'`))
    const up = bench.up('--port', String(way))
    await up.until(/small runs, after/)
    const said = JSON.parse((await ask(way, '/', { host: 'small.localhost' })).body) as string[]
    assert.deepEqual([said[0], said[2]], ['9000', 'files'])
    assert.notEqual(said[1], credential.accessKeyId, 'a key of its own')
    // Nobody has signed it; that it is the front that says so means that it is reached.
    assert.equal((await ask(way, '/reach', { host: 'small.localhost' })).body, '403')

    bench.write({ 'invoice.txt': 'first' })
    const objects = async (...words: readonly string[]): Promise<string> => {
      const { code, stdout, stderr } = await bench.stead('objects', ...words)
      assert.equal(code, 0, stderr)
      return stdout
    }
    await objects('cp', 'invoice.txt', 'files:2026/')
    assert.equal(await new Response((await there.get('2026/invoice.txt'))?.body).text(), 'first')
    assert.match(await objects('ls', 'files', '--recursive'), / 5 B {2}2026\/invoice\.txt\n$/)
    const url = new URL((await objects('presign', 'files:2026/invoice.txt', '--expires', '1m')).trim())
    const answer = await ask(way, `${url.pathname}${url.search}`, { host: url.host })
    assert.deepEqual([answer.status, answer.body], [200, 'first'])

    assert.equal((await up.stop()).code, 0)
    assert.equal((await bench.stead('down', '.', '--delete-data')).code, 0)
    assert.notEqual(await there.stat('2026/invoice.txt'), null, 'not ours to delete')
  })
})
