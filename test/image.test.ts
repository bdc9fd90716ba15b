/** Parts that run from images, through the real command line: built without Docker, run, looked into, found again, refused. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { imageOptions, imageTree, needsImages } from './image-tree.ts'

function app(more: string): string {
  return `
import { app, service } from 'stead'
export default app('images', () => {
  const other = service('other', { image: 'oci:web:1', http: 80, limits: { memory: '64MB' } })
  const web = service('web', { image: 'oci:web:1', http: 8080, use: { other }, ${more} })
  return { parts: { other, web }, public: { 'images.localhost': web } }
})`
}

suite('parts from images', { skip: needsImages() }, () => {
  test('built, run, looked into, found again after the platform was killed', async () => {
    await using bench = new Workbench()
    const tree = join(bench.dir, 'tree')
    imageTree(tree)
    const built = await bench.stead(
      'image',
      'build',
      tree,
      'web:1',
      ...imageOptions,
      '--json',
      '--sbom',
      join(bench.dir, 'sbom'),
    )
    assert.equal(built.code, 0, built.stderr)
    const again = await bench.stead('image', 'build', tree, 'web:2', ...imageOptions, '--json')
    assert.equal(JSON.parse(again.stdout).digest, JSON.parse(built.stdout).digest)
    assert.equal(JSON.parse(readFileSync(join(bench.dir, 'sbom'), 'utf8')).specVersion, '1.6')
    const shown = JSON.parse((await bench.stead('image', 'inspect', 'web:1', '--json')).stdout)
    assert.deepEqual([shown.user, shown.ports, shown.volumes, shown.workdir], ['app', [8080], ['/data'], '/srv'])

    const port = await freePort()
    bench.write({ 'app.ts': app(`env: { MODE: 'set' }`) })
    const first = bench.up('--port', String(port))
    await first.until(/images runs, after/)
    const said = await ask(port, '/', { host: 'images.localhost' })
    assert.equal(said.body, 'user 1000|in /srv|mode set|root Read-only file system|data written|host hidden')
    assert.equal((await ask(port, '/other', { host: 'images.localhost' })).body.split('|')[0], 'user 1000')
    assert.match((await bench.stead('logs', 'web')).stdout, /serves as 1000/)
    const { parts } = JSON.parse((await bench.stead('graph', '--json')).stdout)
    const named = parts.map(({ image }: { image: { from: string; digest: string } }) => [image.from, image.digest])
    assert.deepEqual(named, [
      ['oci:web:1', JSON.parse(built.stdout).digest],
      ['oci:web:1', JSON.parse(built.stdout).digest],
    ])
    const inside = await bench.stead('exec', 'web', '--', 'sh', '-c', 'id -u; cat /data/new; ls /srv')
    assert.equal(inside.stdout, '1000\nserver.pl\n', inside.stderr)
    const before = JSON.parse((await bench.stead('status', '--json')).stdout)
    await first.stop('SIGKILL')
    const second = bench.up('--port', String(port))
    await second.until(/images runs, after|is up/)
    assert.equal((await ask(port, '/', { host: 'images.localhost' })).status, 200)
    const after = JSON.parse((await bench.stead('status', '--json')).stdout)
    const pids = (status: unknown): string[] =>
      [...JSON.stringify(status).matchAll(/"pid":(\d+)/g)].map(([, pid = '']) => pid)
    // The first is the platform's own.
    assert.deepEqual(pids(after).slice(1), pids(before).slice(1), 'the same processes')
    await second.stop()
  })

  test('what cannot run is said before anything is started', async () => {
    await using bench = new Workbench()
    mkdirSync(join(bench.dir, 'small'))
    writeFileSync(join(bench.dir, 'small/file'), 'x')
    const small = await bench.stead('image', 'build', join(bench.dir, 'small'), 'asks:1', '--entrypoint', '["/x"]')
    assert.equal(small.code, 0, small.stderr)
    const refused = async (image: string, words: RegExp): Promise<void> => {
      bench.write({
        'app.ts': `import { app, service } from 'stead'\nexport default app('images', () => ({ parts: { web: service('web', { image: '${image}', http: 80 }) } }))`,
      })
      const { code, stderr } = await bench.stead('up', '.')
      assert.notEqual(code, 0)
      assert.match(stderr, words)
      assert.doesNotMatch(stderr, /^ +at /m)
    }
    await refused('oci:asks:1', /web: asks:1 asks to run as root, for it names no user\./)
    await refused('web', /starts with 'oci:'/)
  })
})
