/**
 * Images that buildah makes, pushed to the registry of Debian packed with gzip and with zstd, and run from there unchanged: layers
 * that remove, owners, settings of every kind; the same image run by podman says the same.
 */
import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { Builders, run } from './image-builders.ts'
import { imageTree, needsImages } from './image-tree.ts'
import { needsBuilders, needsTool, RegistryServer } from './image-tools.ts'
import { needsAll } from './needs.ts'

const containerfile = `
FROM scratch
COPY tree /
RUN echo removed >/srv/gone && mkdir -p /srv/old/deep && echo x >/srv/old/deep/file && echo kept >/srv/kept
RUN rm -r /srv/gone /srv/old && mkdir /srv/old && chown 33:34 /srv/kept && chmod 600 /srv/kept
COPY --chown=33:34 extra /srv/extra
ENV MODE=built PORT=8080
WORKDIR /srv
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGQUIT
USER app
ENTRYPOINT ["/usr/bin/perl", "server.pl"]
`

const look = 'cat /srv/kept; stat -c "%u:%g %a %n" /srv/kept /srv/extra /srv/extra/file; ls /srv /srv/old; echo $MODE'

suite('images of buildah', { skip: needsAll(needsImages(), needsTool('docker-registry'), needsBuilders()) }, () => {
  test('built in a chroot, pushed with gzip and zstd, pulled and run; what podman sees in it is what we see', async () => {
    await using bench = new Workbench()
    await using registry = await RegistryServer.start(join(bench.dir, 'registry'))
    using builders = new Builders(join(bench.dir, 'builders'))
    const context = join(bench.dir, 'context')
    mkdirSync(join(context, 'extra'), { recursive: true })
    writeFileSync(join(context, 'extra/file'), 'extra')
    writeFileSync(join(context, 'Containerfile'), containerfile)
    imageTree(join(context, 'tree'))
    const policy = ['--signature-policy', builders.policy]
    builders.buildah('build', ...policy, '--layers', '--format', 'oci', '-t', 'localhost/web:1', context)
    for (const packing of ['gzip', 'zstd']) {
      const args = [...policy, '--tls-verify=false', '--compression-format', packing]
      builders.buildah('push', ...args, 'localhost/web:1', `docker://${registry.host}/team/web:${packing}`)
    }

    const shown = JSON.parse((await bench.stead('image', 'inspect', `${registry.host}/team/web:zstd`, '--json')).stdout)
    assert.deepEqual(
      [shown.user, shown.workdir, shown.volumes, shown.ports, shown.stopSignal, shown.env.MODE],
      ['app', '/srv', ['/data'], [8080], 'SIGQUIT', 'built'],
    )
    assert.ok(shown.layers.length >= 3, 'as many layers as it has steps that write')
    const port = await freePort()
    bench.write({
      'app.ts': `
import { app, service } from 'stead'
export default app('images', () => {
  const one = service('one', { image: 'oci:${registry.host}/team/web:gzip', http: 8080 })
  const all = service('all', { image: 'oci:${registry.host}/team/web:zstd', http: 8080, users: 'image', user: 'root' })
  return { parts: { one, all }, public: { 'one.localhost': one, 'all.localhost': all } }
})`,
    })
    const up = bench.up('--port', String(port))
    await up.until(/images runs, after/, 120_000)
    assert.match(
      (await ask(port, '/', { host: 'one.localhost' })).body,
      /^user 1000\|in \/srv\|mode built\|root Read-only/,
    )
    assert.match(
      (await ask(port, '/', { host: 'all.localhost' })).body,
      /^user 0\|in \/srv\|mode built\|root Read-only/,
    )
    const seen = (await bench.stead('exec', 'all', '--', 'sh', '-c', look)).stdout
    const mapped = (await bench.stead('exec', 'one', '--', 'sh', '-c', 'cat /srv/kept; stat -c "%u %a" /srv/kept'))
      .stdout
    assert.equal(mapped, 'kept\n1000 600\n')
    await up.stop()

    const [podman = '', ...args] = builders.podman()
    const limits = ['--network', 'none', '--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024']
    const image = `${registry.host}/team/web:gzip`
    const peer = [
      ...args,
      'run',
      '--rm',
      '--tls-verify=false',
      ...policy,
      ...limits,
      '--user',
      '0',
      '--entrypoint',
      '["sh","-c"]',
    ]
    assert.equal(run(podman, [...peer, image, look], builders.env), seen)
    assert.match(seen, /^kept\n33:34 600 \/srv\/kept\n33:34 \d+ \/srv\/extra\n33:34 \d+ \/srv\/extra\/file\n/)
    assert.doesNotMatch(seen, /gone|deep/)
  })
})
