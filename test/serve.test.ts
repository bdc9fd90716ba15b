/** The daemon as its owner meets it: several apps, killed processes, a new version, a reboot; with load on the way in all the time. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { eventually } from './command-line.ts'
import { DaemonBench, isAlive } from './daemon-bench.ts'
import { replaceApp, server } from './small-app.ts'

/** An app of one service, and one more line for its parts. */
function appFiles(name: string, code = server): Record<string, string> {
  return {
    'app.ts': [
      `import { app, service } from 'stead'`,
      `export default app('${name}', () => {`,
      `  const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000 })`,
      `  return { parts: { web }, public: { '${name}.localhost': web } }`,
      `})`,
    ].join('\n'),
    'web/server.js': code,
  }
}

const onlyAnswers = (seen: ReadonlyMap<string, number>): void => {
  assert.deepEqual([...seen.keys()], ['200'], `every request was answered: ${JSON.stringify([...seen])}`)
  assert.ok((seen.get('200') ?? 0) > 0, 'there was load')
}

test('the daemon', { timeout: 600_000 }, async (t) => {
  await using daemon = await DaemonBench.start()
  const { bench } = daemon

  await t.test('runs several apps beside each other', async () => {
    for (const name of ['red', 'blue']) {
      replaceApp(bench, appFiles(name))
      await daemon.deploy(name)
      assert.equal(await daemon.answer(`${name}.localhost`), 200)
    }
    const { code, stdout } = await bench.stead('status', '--all')
    assert.equal(code, 0)
    assert.match(stdout, /blue .*well/)
    assert.match(stdout, /red .*well/)
  })

  await t.test('a host that is another app’s is refused, and the app goes on', async () => {
    replaceApp(bench, {
      ...appFiles('thief'),
      'app.ts': (appFiles('thief')['app.ts'] ?? '').replace('thief.localhost', 'red.localhost'),
    })
    const { code, stderr } = await bench.stead('deploy', '.', '--watch', '0')
    assert.equal(code, 1)
    assert.match(stderr, /red\.localhost\/ leads to the app red already/)
    assert.equal(await daemon.answer('red.localhost'), 200)
  })

  await t.test('a changed part is replaced without a lost request', async () => {
    replaceApp(bench, appFiles('red', `${server}\n// newer`))
    const before = await daemon.ready('red', 'web')
    const load = daemon.load('red.localhost')
    await daemon.deploy('red')
    onlyAnswers(await load.stop())
    assert.notEqual((await daemon.ready('red', 'web')).instance, before.instance)
  })

  for (const role of ['control', 'gateway', 'agent', 'supervisor'] as const) {
    await t.test(`kill -9 of ${role}: every request is answered, and what ran goes on`, async () => {
      const before = await daemon.ready('red', 'web')
      const load = daemon.load('red.localhost')
      await daemon.kill(role, role === 'supervisor' ? () => daemon.serve() : undefined)
      const after = await daemon.ready('red', 'web')
      const seen = await load.stop()
      // What a killed gateway had begun is cut; everything else waits for the next one.
      if (role !== 'gateway') onlyAnswers(seen)
      else assert.ok((seen.get('null') ?? 0) <= 4, JSON.stringify([...seen]))
      assert.deepEqual([after.pid, after.instance], [before.pid, before.instance])
    })
  }

  await t.test('with control away, what was deployed is served, also by a gateway that starts then', async () => {
    const control = daemon.pidOf('control')
    process.kill(control, 'SIGSTOP')
    try {
      await daemon.kill('gateway')
      const load = daemon.load('red.localhost')
      for (let more = 0; more < 60; more += 1) assert.equal(await daemon.answer('blue.localhost'), 200)
      onlyAnswers(await load.stop())
    } finally {
      process.kill(control, 'SIGCONT')
    }
    await daemon.ready('red', 'web')
  })

  await t.test(
    'all of it killed at once: instances go on, and what they said and how they ended meanwhile is kept',
    async () => {
      replaceApp(
        bench,
        appFiles('red', `${server}\nprocess.on('SIGUSR2', () => { console.log('said in the gap'); process.exit(7) })`),
      )
      await daemon.deploy('red')
      const red = await daemon.ready('red', 'web')
      const blue = await daemon.ready('blue', 'web')
      for (const role of ['supervisor', 'agent', 'gateway', 'control'] as const)
        process.kill(daemon.pidOf(role), 'SIGKILL')
      assert.ok(red.pid !== null && blue.pid !== null && isAlive(blue.pid))
      process.kill(red.pid, 'SIGUSR2')
      await eventually(
        'it has ended',
        async () => isAlive(red.pid ?? 0),
        (alive) => !alive,
      )
      await daemon.serve()
      assert.equal((await daemon.ready('blue', 'web')).pid, blue.pid)
      const again = await daemon.ready('red', 'web')
      assert.notEqual(again.pid, red.pid)
      assert.equal(again.instance, red.instance)
      assert.match((await bench.stead('logs', 'web', 'red')).stdout, /said in the gap/)
    },
  )

  await t.test('a new version is taken up under the same process id, without a lost request', async () => {
    const before = (['supervisor', 'control', 'agent', 'gateway'] as const).map((role) => daemon.pidOf(role))
    const red = await daemon.ready('red', 'web')
    const load = daemon.load('red.localhost')
    process.kill(daemon.pidOf('supervisor'), 'SIGHUP')
    const changed = async (): Promise<number> =>
      (['control', 'agent', 'gateway'] as const).filter((role, index) => daemon.pidOf(role) !== before[index + 1])
        .length
    await eventually(
      'all processes are new',
      () => changed().catch(() => 0),
      (count) => count === 3,
    )
    const after = await daemon.ready('red', 'web')
    onlyAnswers(await load.stop())
    assert.equal(daemon.pidOf('supervisor'), before[0])
    assert.equal(after.pid, red.pid)
  })

  await t.test('after a reboot everything is there again', async () => {
    const pids = (['supervisor', 'control', 'agent', 'gateway'] as const).map((role) => daemon.pidOf(role))
    for (const app of ['red', 'blue']) pids.push((await daemon.ready(app, 'web')).pid ?? 0)
    for (const pid of pids) process.kill(pid, 'SIGKILL')
    await eventually(
      'all have ended',
      async () => pids.filter(isAlive),
      (left) => left.length === 0,
    )
    rmSync(bench.env['STEAD_RUN'] ?? '', { recursive: true })
    await daemon.serve()
    for (const app of ['red', 'blue']) {
      await daemon.ready(app, 'web')
      await eventually(
        `${app} answers`,
        () => daemon.answer(`${app}.localhost`),
        (status) => status === 200,
      )
    }
  })

  await t.test('an app is taken down, and deleted, while the other goes on', async () => {
    const load = daemon.load('blue.localhost')
    assert.equal((await bench.stead('down', 'red')).code, 0)
    assert.equal(await daemon.answer('red.localhost'), 404)
    assert.equal((await bench.stead('status', 'red')).code, 3)
    assert.equal((await bench.stead('down', 'red', '--delete-data')).code, 0)
    const { stdout } = await bench.stead('status', '--all')
    assert.doesNotMatch(stdout, /red/)
    onlyAnswers(await load.stop())
  })

  await t.test('data of a newer version is refused by name', async () => {
    const path = join(bench.env['STEAD_STATE'] ?? '', 'serve', 'format.json')
    const kept = readFileSync(path, 'utf8')
    writeFileSync(path, '{"version":99}')
    try {
      const { code, stderr } = await bench.stead('serve', '--host', '127.0.0.1', '--port', '1')
      assert.equal(code, 1)
      assert.match(stderr, /another version of Stead \(format 99, this one reads 2\)/)
    } finally {
      writeFileSync(path, kept)
    }
    await daemon.ready('blue', 'web')
  })
})
