/** The example with Redis of Debian, unmodified, from an image: probed by the image's own health check, limited, found again. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { needsRedisRoot, redisRoot } from './image-tools.ts'
import { needsImages } from './image-tree.ts'
import { needsAll } from './needs.ts'

const host = { host: 'visits.localhost' }

suite('a program of others', { skip: needsAll(needsImages(), needsRedisRoot()) }, () => {
  test('Redis of Debian from its root tree: counted in, killed, counted on from nothing, its bill complete', async () => {
    await using bench = new Workbench()
    bench.useExample('image')
    const sbom = join(bench.dir, 'sbom.json')
    const health = ['--health', '["redis-cli","ping"]']
    const built = await bench.stead(
      'image',
      'build',
      redisRoot,
      'redis:7',
      '--user',
      'redis',
      ...health,
      '--sbom',
      sbom,
    )
    assert.equal(built.code, 0, built.stderr)
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/visits runs, after/)
    // A GET that finds no answer is asked again by the gateway: it may count twice, but never less.
    const visits = async (): Promise<number> => Number((await ask(port, '/', host)).body.replace('visit ', ''))
    const first = await visits()
    const second = await visits()
    assert.ok(first >= 1 && second > first, `${first}, then ${second}`)
    assert.match((await bench.stead('logs', 'cache')).stdout, /Ready to accept connections/)
    const inside = await bench.stead('exec', 'cache', '--', 'redis-cli', 'info', 'server')
    assert.match(inside.stdout, /redis_version:7/, inside.stderr)
    const who = await bench.stead('exec', 'cache', '--', 'id', '-un')
    assert.equal(who.stdout, 'redis\n')
    await up.stop('SIGKILL')
    const again = bench.up('--port', String(port))
    await again.until(/visits runs, after|is up/)
    assert.ok((await visits()) > second, 'it went on without the platform')
    await again.stop()
    const { components } = JSON.parse(readFileSync(sbom, 'utf8'))
    assert.ok(components.some(({ purl = '' }: { purl?: string }) => purl.startsWith('pkg:deb/debian/redis-server@')))
    assert.ok(components.length > 100)
  })
})
