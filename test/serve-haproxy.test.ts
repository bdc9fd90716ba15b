/** The daemon with HAProxy as its way in: routes change without a lost request, and a killed gateway comes back with its HAProxy. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventually } from './command-line.ts'
import { DaemonBench } from './daemon-bench.ts'
import { needsAll, needsFile, needsRoot } from './needs.ts'
import { replaceApp, server } from './small-app.ts'

function appFiles(code: string): Record<string, string> {
  return {
    'app.ts': [
      `import { app, service } from 'stead'`,
      `export default app('red', () => {`,
      `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000 })`,
      `  return { parts: { web }, public: { 'red.localhost': web } }`,
      `})`,
    ].join('\n'),
    'web/server.js': code,
  }
}

const skip = needsAll(needsRoot(), needsFile('/usr/sbin/haproxy', 'apt-get install haproxy'))

test('the daemon with HAProxy', { skip, timeout: 300_000 }, async (t) => {
  await using daemon = await DaemonBench.start({}, ['--engine', 'haproxy'])
  replaceApp(daemon.bench, appFiles(server))
  await daemon.deploy('red')
  const answers = async (): Promise<number | null> => daemon.answer('red.localhost')
  await eventually('it answers', answers, (status) => status === 200)

  await t.test('a changed part is replaced without a lost request', async () => {
    replaceApp(daemon.bench, appFiles(`${server}\n// newer`))
    const load = daemon.load('red.localhost')
    await daemon.deploy('red')
    assert.deepEqual([...(await load.stop()).keys()], ['200'])
  })

  await t.test('kill -9 of the gateway: its HAProxy goes with it, and the next one serves the same', async () => {
    const { pid } = await daemon.ready('red', 'web')
    await daemon.kill('gateway')
    await eventually('it answers again', answers, (status) => status === 200)
    assert.equal((await daemon.ready('red', 'web')).pid, pid)
  })

  await t.test('what it cannot do is refused before anything starts', async () => {
    const { code, stderr } = await daemon.bench.stead('serve', '--engine', 'haproxy', '--tls', 'local')
    assert.equal(code, 2)
    assert.match(stderr, /--engine haproxy cannot serve TLS/)
  })
})
