/** Images against the registry and the tools of others: what we build they read, what they build we run; with a password, by tag and digest. */
import assert from 'node:assert/strict'
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, freePort, Workbench } from './command-line.ts'
import { imageOptions, imageTree, needsImages } from './image-tree.ts'
import { needsTool, RegistryServer, runTool } from './image-tools.ts'
import { needsAll } from './needs.ts'

const skip = needsAll(needsImages(), needsTool('docker-registry'), needsTool('skopeo'), needsTool('umoci'))
/** `ann` with the password `secret`, as htpasswd -B writes it. */
const passwords = 'ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n'

function app(image: string): string {
  return `
import { app, service } from 'stead'
export default app('images', () => {
  const web = service('web', { image: 'oci:${image}', http: 8080 })
  return { parts: { web }, public: { 'images.localhost': web } }
})`
}

suite('images and a registry of Debian', { skip }, () => {
  test('what is built here is pushed by skopeo, pulled from there and run; a moved tag changes nothing that runs', async () => {
    await using bench = new Workbench()
    await using registry = await RegistryServer.start(join(bench.dir, 'registry'))
    const tree = join(bench.dir, 'tree')
    imageTree(tree)
    const layout = join(bench.dir, 'layout')
    const built = await bench.stead('image', 'build', tree, 'web:1', ...imageOptions, '--output', layout, '--json')
    assert.equal(built.code, 0, built.stderr)
    const { digest } = JSON.parse(built.stdout)
    const there = `${registry.host}/team/web`
    const push = (from: string, tag: string): string =>
      runTool(
        'skopeo',
        '--insecure-policy',
        'copy',
        '--dest-tls-verify=false',
        `oci:${from}`,
        `docker://${there}:${tag}`,
      )
    push(layout, '1')
    const told = JSON.parse(runTool('skopeo', 'inspect', '--tls-verify=false', `docker://${there}:1`))
    assert.equal(told.Digest, digest)

    // As umoci makes one: over ours, with a layer that removes and adds.
    const other = join(bench.dir, 'other')
    cpSync(layout, other, { recursive: true })
    const index = JSON.parse(readFileSync(join(other, 'index.json'), 'utf8'))
    index.manifests[0].annotations = { 'org.opencontainers.image.ref.name': 'base' }
    writeFileSync(join(other, 'index.json'), JSON.stringify(index))
    const bundle = join(bench.dir, 'bundle')
    runTool('umoci', 'unpack', '--image', `${other}:base`, bundle)
    const server = readFileSync(join(bundle, 'rootfs/srv/server.pl'), 'utf8')
    writeFileSync(join(bundle, 'rootfs/srv/server.pl'), server.replace('"user $<"', '"changed $<"'))
    runTool('umoci', 'repack', '--image', `${other}:changed`, bundle)
    const changed = join(bench.dir, 'changed')
    runTool('skopeo', '--insecure-policy', 'copy', `oci:${other}:changed`, `oci:${changed}`)

    const port = await freePort()
    bench.write({ 'app.ts': app(`${there}:1`) })
    const up = bench.up('--port', String(port))
    await up.until(/images runs, after/)
    assert.match((await ask(port, '/', { host: 'images.localhost' })).body, /^user 1000/)
    push(changed, '1')
    const restarted = await bench.stead('restart', 'web')
    assert.equal(restarted.code, 0, restarted.stderr)
    assert.match((await ask(port, '/', { host: 'images.localhost' })).body, /^user 1000/, 'what was settled stays')
    const settled = JSON.parse((await bench.stead('graph', '--json')).stdout)
    assert.equal(settled.parts[0].image.digest, digest, 'the graph names the bytes')
    await up.stop()
    const again = bench.up('--port', String(port))
    await again.until(/images runs, after|is up|rolled out/)
    await until(async () =>
      (await ask(port, '/', { host: 'images.localhost' }).catch(() => ({ body: '' }))).body.startsWith('changed 1000'),
    )
    await again.stop()

    // An archive of docker save, and Docker's own types.
    const archive = join(bench.dir, 'saved.tar')
    runTool('skopeo', '--insecure-policy', 'copy', `oci:${layout}`, `docker-archive:${archive}:web:1`)
    const saved = await bench.stead('image', 'inspect', archive, '--json')
    assert.equal(saved.code, 0, saved.stderr)
    assert.equal(JSON.parse(saved.stdout).user, 'app')
    runTool(
      'skopeo',
      '--insecure-policy',
      'copy',
      '--format',
      'v2s2',
      '--dest-tls-verify=false',
      `oci:${layout}`,
      `docker://${there}:docker`,
    )
    const docker = await bench.stead('image', 'inspect', `${there}:docker`, '--json')
    assert.equal(docker.code, 0, docker.stderr)
    assert.deepEqual(JSON.parse(docker.stdout).entrypoint, ['/usr/bin/perl', 'server.pl'])
    const missing = await bench.stead('image', 'inspect', `${there}:nothing`)
    assert.match(missing.stderr, /has no .*team\/web:nothing/)
  })

  test('a registry with a password is entered with that of docker login, and says so without', async () => {
    await using bench = new Workbench()
    const place = join(bench.dir, 'registry')
    mkdirSync(place)
    writeFileSync(join(place, 'passwords'), passwords)
    await using registry = await RegistryServer.start(place, join(place, 'passwords'))
    const refused = await bench.as({ HOME: bench.dir }, 'image', 'inspect', `${registry.host}/team/web:1`)
    assert.match(refused.stderr, /asks for a name and a password/)
    mkdirSync(join(bench.dir, '.docker'))
    const auth = Buffer.from('ann:wrong').toString('base64')
    writeFileSync(join(bench.dir, '.docker/config.json'), JSON.stringify({ auths: { [registry.host]: { auth } } }))
    const wrong = await bench.as({ HOME: bench.dir }, 'image', 'inspect', `${registry.host}/team/web:1`)
    assert.match(wrong.stderr, /does not give .*answered 401/)
    const right = Buffer.from('ann:secret').toString('base64')
    writeFileSync(
      join(bench.dir, '.docker/config.json'),
      JSON.stringify({ auths: { [registry.host]: { auth: right } } }),
    )
    const entered = await bench.as({ HOME: bench.dir }, 'image', 'inspect', `${registry.host}/team/web:1`)
    assert.match(entered.stderr, /has no .*team\/web:1/)
  })
})

async function until(done: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await done()) return
    await new Promise((resolve) => void setTimeout(resolve, 100))
  }
  assert.fail('waited in vain')
}
