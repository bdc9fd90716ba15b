/** Day-to-day operation through the real command line: stop, start and restart under load, and jobs. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { appFile, web } from './small-app.ts'

const files = {
  'app.ts': appFile(
    `${web()}
     const once = job('once', { from: './jobs', run: ['node', 'job.js', '0'] })
     const bad = job('bad', { from: './jobs', run: ['node', 'job.js', '7'], schedule: '0 0 1 1 *', retry: { attempts: 2, pause: '100ms' } })
     const slow = job('slow', { from: './jobs', run: ['sleep', '1000'], schedule: { cron: '0 0 1 1 *', timeZone: 'Europe/Berlin' }, timeout: '2s', retry: { attempts: 1 } })`,
    `{ parts: { web, once, bad, slow }, public: { 'small.localhost': web } }`,
  ),
  // Slow to answer, so that requests are in flight whenever something happens; it ends what it has begun.
  'web/server.js': `
    const server = require('node:http').createServer((question, answer) =>
      setTimeout(() => answer.end(process.env.STEAD_INSTANCE), 50))
    server.listen(process.env.PORT)
    process.on('SIGTERM', () => server.close(() => process.exit(0)))`,
  'jobs/job.js': `console.log('works hard'); console.log('nearly there'); process.exitCode = Number(process.argv[2])`,
}

interface JobsAnswer {
  readonly jobs: readonly {
    readonly part: string
    readonly nextMs: number | null
    readonly stoppedBy: string | null
    readonly runs: readonly Record<string, unknown>[]
  }[]
}

suite('day-to-day operation', () => {
  test('a part is restarted without a lost request, stopped for good, and started again; jobs run on demand', async (t) => {
    await using bench = new Workbench()
    bench.write(files)
    const port = await freePort()
    const instance = async (): Promise<string> => (await ask(port, '/', { host: 'small.localhost' })).body
    const first = bench.up('--port', String(port))
    await first.until(/small runs, after/)

    await t.test('restart: new instances of the same release, every request answered', async () => {
      const before = await instance()
      let stopped = false
      const statuses: number[] = []
      const load = Array.from({ length: 4 }, async () => {
        while (!stopped) statuses.push((await ask(port, '/', { host: 'small.localhost' })).status)
      })
      const { code, stderr } = await bench.stead('restart', 'web')
      stopped = true
      await Promise.all(load)
      assert.equal(code, 0, stderr)
      assert.notEqual(await instance(), before)
      assert.ok(statuses.length > 0)
      assert.deepEqual([...new Set(statuses)], [200])
      assert.equal((JSON.parse((await bench.stead('status', '--json')).stdout) as { release: number }).release, 1)
    })

    await t.test('what an order cannot do is said', async () => {
      for (const [args, says] of [
        [['restart', 'once'], /once is a job, which you cannot restart/],
        [['stop', 'nothing'], /small has no part called nothing/],
        [['run', 'web'], /web is a service, which you cannot run/],
        [['stop'], /needs the name of a part/],
      ] as const) {
        const { code, stderr } = await bench.stead(...args)
        assert.match(stderr, says)
        assert.equal(code, args.length === 1 ? 2 : 1)
      }
    })

    await t.test('a job is run and followed to its exit code; the history says how each run ended', async () => {
      const good = await bench.stead('run', 'once')
      assert.deepEqual([good.code, good.stdout], [0, 'works hard\nnearly there\n'])
      const bad = await bench.stead('run', 'bad')
      assert.equal(bad.code, 7)
      assert.match(bad.stderr, /bad ended with code 7 \(2 times\)/)
      const slow = await bench.stead('run', 'slow')
      assert.equal(slow.code, 1)
      assert.match(slow.stderr, /slow was ended after its time limit of 2s/)
      const { code, stdout } = await bench.stead('jobs', '--json')
      assert.equal(code, 4)
      const jobs = new Map((JSON.parse(stdout) as JobsAnswer).jobs.map((job) => [job.part, job]))
      assert.deepEqual(
        jobs.get('once')?.runs.map(({ cause, by, outcome, exitCode }) => [cause, by, outcome, exitCode]),
        [
          ['person', 'owner', 'succeeded', 0],
          ['release', null, 'succeeded', 0],
        ],
      )
      const [failed] = jobs.get('bad')?.runs ?? []
      assert.deepEqual([failed?.['outcome'], failed?.['exitCode']], ['failed', 7])
      const next = new Date(jobs.get('slow')?.nextMs ?? 0).toISOString()
      assert.ok(next.endsWith('-12-31T23:00:00.000Z'), `New Year in Berlin, not ${next}`)
      const text = (await bench.stead('jobs', '--job', 'bad')).stdout
      assert.match(text, /bad {2}"0 0 1 1 \*" UTC {2}next .*\n.*failed.*by owner.*ended with code 7/)
    })

    await t.test('a stopped part stays stopped over a restart of the platform, and says by whom', async () => {
      assert.equal((await bench.stead('stop', 'web')).code, 0)
      const page = await ask(port, '/', { host: 'small.localhost' })
      assert.ok(page.status >= 500)
      assert.match(page.body, /stopped by owner/)
      assert.equal((await bench.stead('stop', 'bad')).code, 0)
      assert.match((await bench.stead('run', 'bad')).stderr, /bad was stopped by owner/)
      assert.equal((await first.stop()).code, 0)
      const second = bench.up('--port', String(port))
      await second.until(/small runs, after/)
      assert.match(second.output(), /web \(service\) is kept stopped/)
      const { code, stdout } = await bench.stead('status')
      assert.match(stdout, /web +service +stopped .*stopped by owner/)
      assert.equal(code, 0, 'as it was ordered is well')
      assert.equal((await bench.stead('start', 'web')).code, 0)
      await eventually('it serves', instance, (body) => body.startsWith('small.web.'))
    })
  })
})
