/** A part whose image is run by a container runtime that it names; where that is not installed, its start says so. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { imageOptions, imageTree, needsImages } from './image-tree.ts'

const places: Readonly<Record<string, readonly string[]>> = {
  runc: ['/usr/sbin/runc', '/usr/bin/runc'],
  crun: ['/usr/bin/crun'],
}

suite('images run by runtimes of others', { skip: needsImages() }, () => {
  for (const [runtime, paths] of Object.entries(places)) {
    const installed = paths.some((path) => existsSync(path))
    test(`${runtime}: ${installed ? 'run, looked into, found again after the platform was killed' : 'not installed, and said to be so'}`, async () => {
      await using bench = new Workbench()
      imageTree(join(bench.dir, 'tree'))
      const built = await bench.stead('image', 'build', join(bench.dir, 'tree'), 'web:1', ...imageOptions)
      assert.equal(built.code, 0, built.stderr)
      bench.write({
        'app.ts': `
import { app, service } from 'stead'
export default app('images', () => {
  const web = service('web', { image: 'oci:web:1', runtime: '${runtime}', http: 8080, limits: { memory: '64MB' } })
  return { parts: { web }, public: { 'images.localhost': web } }
})`,
      })
      const port = await freePort()
      const up = bench.up('--port', String(port))
      if (!installed) {
        await up.until(new RegExp(`${runtime} is not installed on this machine`))
        await up.stop()
        return
      }
      await up.until(/images runs, after/)
      const host = { host: 'images.localhost' }
      const body = (await ask(port, '/', host)).body
      assert.match(body, /^user 1000\|in \/srv\|mode plain\|root Read-only file system\|data written\|host hidden$/)
      assert.equal((await bench.stead('exec', 'web', '--', 'id', '-u')).stdout, '1000\n')
      assert.match((await bench.stead('logs', 'web')).stdout, /serves as 1000/)
      const pids = async (): Promise<string[]> => {
        const status = (await bench.stead('status', '--json')).stdout
        return [...status.matchAll(/"pid":(\d+)/g)].map(([, pid = '']) => pid).slice(1)
      }
      const before = await pids()
      await up.stop('SIGKILL')
      const again = bench.up('--port', String(port))
      await again.until(/images runs, after|is up/)
      assert.equal((await ask(port, '/', host)).body, body)
      assert.deepEqual(await pids(), before, 'the same process')
      await again.stop()
      assert.ok(!existsSync(`/proc/${before[0]}`), 'it is gone')
    })
  }
})
