/** The example shop through the real command line: the first five minutes of a new user. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, eventually, freePort, Workbench } from './command-line.ts'

interface Status {
  readonly running: boolean
  readonly release: number
  readonly pid: number
  readonly weaker: readonly string[]
  readonly parts: readonly {
    readonly part: string
    readonly phase: string
    readonly instance: string | null
    readonly restarts: number
    readonly pid: number | null
  }[]
}

async function status(bench: Workbench): Promise<Status> {
  return JSON.parse((await bench.stead('status', '--json')).stdout) as Status
}

async function order(port: number, product: string, customer: string): Promise<string> {
  const page = await ask(port, `/products/${product}`)
  assert.equal(page.status, 200)
  const token = /name="token" value="([^"]+)"/.exec(page.body)?.[1] ?? ''
  const answer = await ask(port, '/orders', { form: { product, quantity: '2', customer, token } })
  assert.equal(answer.status, 303, answer.body)
  return String(answer.headers['location'])
}

suite('the shop', () => {
  test('comes up, sells, is seen, changes while it runs, stops cleanly, and keeps its data', async (t) => {
    await using bench = new Workbench()
    bench.useExample('shop')
    const port = await freePort()
    const first = bench.up('--port', String(port))
    await first.until(/shop runs, after/)
    for (const step of [
      'read the app file',
      'bundle the parts',
      `take port ${port}`,
      'db (postgres) is ready',
      'web (service) is ready',
    ]) {
      assert.ok(first.output().includes(step), `names the step "${step}"`)
    }
    await first.until(new RegExp(`http://shop.localhost:${port}`))

    await t.test('pages, an order, and the worker that handles it', async () => {
      assert.match((await ask(port, '/')).body, /Enamel kettle/)
      const location = await order(port, 'lamp', 'Ada <b>')
      const page = await eventually(
        'the order is handled',
        () => ask(port, location),
        (answer) => answer.body.includes('accepted'),
      )
      assert.ok(page.body.includes('Ada &#60;b&#62;'), 'what a customer types is escaped')
      // The page links the invoice, under a host of the bucket's own; without what the link says it is nobody's.
      const seen = await ask(port, location, { host: `shop.localhost:${port}` })
      const link = new URL((/href="(http:[^"]+)"/.exec(seen.body)?.[1] ?? '').replaceAll('&#38;', '&'))
      assert.equal(link.host, `invoices.localhost:${port}`)
      const invoice = await ask(port, `${link.pathname}${link.search}`, { host: link.host })
      assert.deepEqual([invoice.status, invoice.headers['content-type']], [200, 'text/plain; charset=utf-8'])
      assert.match(invoice.body, /^Invoice 1\n\nAda <b>\n2 x .*lamp/i)
      assert.equal((await ask(port, link.pathname, { host: link.host })).status, 403)
      assert.equal(
        (await ask(port, '/orders', { form: { product: 'lamp', quantity: '2', customer: 'Eve', token: 'forged' } }))
          .status,
        400,
      )
      assert.equal((await ask(port, '/nowhere')).status, 404)
      assert.equal((await ask(port, '/', { host: 'other.localhost' })).status, 404)
    })

    await t.test('status, logs and graph, for people and as JSON', async () => {
      const seen = await status(bench)
      assert.deepEqual(
        seen.parts.filter(({ part }) => part !== 'report').map(({ part, phase }) => `${part} ${phase}`),
        ['db ready', 'form-key ready', 'invoices ready', 'orders ready', 'web ready', 'worker ready'],
      )
      const people = await bench.stead('status')
      assert.equal(people.code, 0)
      assert.match(people.stdout, /worker +service +ready/)
      assert.ok(!people.stdout.includes('\u001b'), 'no colours when it is not a terminal')
      const logs = await bench.stead('logs', 'worker')
      assert.match(logs.stdout, /worker +order 1: accepted/)
      const line = JSON.parse((await bench.stead('logs', 'worker', '--json', '-n', '1')).stdout) as {
        timeMs: number
        text: string
      }
      assert.ok(line.timeMs > 1_700_000_000_000)
      const graph = JSON.parse((await bench.stead('graph', '--json')).stdout) as { parts: { name: string }[] }
      assert.deepEqual(
        graph.parts.map((part) => part.name),
        ['db', 'form-key', 'invoices', 'orders', 'report', 'web', 'worker'],
      )
      assert.match(
        (await bench.stead('graph')).stdout,
        /web .*→ db, form-key, invoices \(only presign\), orders \(only send\)/,
      )
    })

    await t.test('the scheduled job runs when it is due', { timeout: 120_000 }, async () => {
      await eventually(
        'a report of after the order',
        () => ask(port, '/orders'),
        ({ body }) => /\b1 orders\s+accepted/.test(body),
        90_000,
      )
      assert.match((await bench.stead('logs', 'report')).stdout, /1 orders accepted/)
      const report = (await status(bench)).parts.find(({ part }) => part === 'report')
      assert.ok(['succeeded', 'scheduled', 'starting', 'waiting'].includes(report?.phase ?? ''), JSON.stringify(report))
    })

    await t.test('logs -f goes on as it comes, until the app stops', async () => {
      const follow = bench.start('logs', 'worker', '-f', '--json')
      await follow.until(/order 1: accepted/)
      const location = await order(port, 'stool', 'Grace')
      await eventually(
        'the order is handled',
        () => ask(port, location),
        (answer) => answer.body.includes('accepted'),
      )
      await follow.until(/order 2: accepted/)
      // A client that never finishes its request does not hold up the stop.
      const hanging = connect(port, '127.0.0.1').on('error', () => {})
      hanging.write('POST /orders HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 100\r\n\r\npart')
      const end = await first.stop()
      assert.equal(end.code, 0)
      // Seconds where nothing else runs; what hangs would be waited for much longer.
      assert.ok(end.tookMs < 20_000, `stops at once, took ${end.tookMs}`)
      hanging.destroy()
      await follow.stop()
    })
  })

  test('Ctrl-C while it starts ends it, and an unknown part is refused', async () => {
    await using bench = new Workbench()
    bench.useExample('shop')
    const first = bench.up('--port', String(await freePort()))
    await first.until(/bundle the parts/)
    const end = await first.stop('SIGINT')
    assert.equal(end.code, 0, first.output())
    assert.ok(!first.output().includes('bug in stead'), first.output())
    const second = bench.up('--port', String(await freePort()))
    await second.until(/shop runs, after/)
    const logs = await bench.stead('logs', 'nosuch')
    assert.equal(logs.code, 1)
    assert.match(logs.stderr, /shop has no part called nosuch/)
  })

  test('a change is rolled out while it runs; a broken one is told and changes nothing; kill -9 of the platform loses nothing', async (t) => {
    await using bench = new Workbench()
    bench.useExample('shop')
    const port = await freePort()
    const first = bench.up('--port', String(port))
    await first.until(/shop runs, after/)
    const location = await order(port, 'kettle', 'Alan')
    const before = await status(bench)
    const pages = join(bench.appDir, 'web', 'pages.ts')

    await t.test('new code takes over without a failed request', async () => {
      let failures = 0
      let done = false
      const load = (async () => {
        while (!done) if ((await ask(port, '/')).status !== 200) failures += 1
      })()
      writeFileSync(pages, readFileSync(pages, 'utf8').replaceAll('Things for the house', 'New things for the house'))
      await eventually(
        'the new page',
        () => ask(port, '/'),
        (answer) => answer.body.includes('New things'),
      )
      await first.until(/rolled out: web: code changed/)
      await eventually(
        'one web instance is left',
        () => status(bench),
        (seen) => seen.parts.filter(({ part }) => part === 'web').length === 1,
      )
      done = true
      await load
      assert.equal(failures, 0)
      const after = await status(bench)
      assert.notEqual(
        after.parts.find(({ part }) => part === 'web')?.instance,
        before.parts.find(({ part }) => part === 'web')?.instance,
      )
      assert.equal(
        after.parts.find(({ part }) => part === 'worker')?.instance,
        before.parts.find(({ part }) => part === 'worker')?.instance,
      )
    })

    await t.test('an app file that does not compile is told with its place, and the app goes on', async () => {
      const file = join(bench.appDir, 'app.ts')
      const good = readFileSync(file, 'utf8')
      writeFileSync(file, good.replace('const db =', 'const db = ='))
      await first.until(/not taken up: .*app\.ts:\d+:14/)
      assert.equal((await ask(port, '/')).status, 200)
      writeFileSync(file, good)
    })

    await t.test(
      'a bad migration is told with its place, and the app goes on, also a part that is started again',
      async () => {
        const bad = join(bench.appDir, 'migrations', '0003_bad.sql')
        writeFileSync(bad, 'CREAT TABLE y ();')
        await first.until(/db gave up: [^]*0003_bad\.sql:1/)
        const web = (await status(bench)).parts.find(({ part }) => part === 'web')
        process.kill(web?.pid ?? 0, 'SIGKILL')
        await eventually(
          'web is back',
          () => status(bench),
          (seen) => {
            const back = seen.parts.find(({ part }) => part === 'web')
            return back?.phase === 'ready' && back.restarts === (web?.restarts ?? 0) + 1
          },
        )
        for (let round = 0; round < 10; round += 1) assert.equal((await ask(port, location)).status, 200)
        rmSync(bad)
        await eventually(
          'all is well again',
          () => status(bench),
          (seen) => seen.parts.every(({ phase }) => phase !== 'gave-up'),
        )
      },
    )

    await t.test('two platforms on one directory: the second says who has it and changes nothing', async () => {
      const second = await bench.stead('up', '.', '--port', String(await freePort()))
      assert.equal(second.code, 1)
      assert.match(second.stderr, /shop already runs .*process \d+/)
    })

    await t.test('a killed platform leaves its instances running, and the next one adopts them', async () => {
      const running = await status(bench)
      await first.stop('SIGKILL')
      const second = bench.up('--port', String(port))
      await second.until(/shop runs, after/)
      const adopted = await status(bench)
      for (const { part, instance, restarts } of running.parts.filter((candidate) => candidate.instance !== null)) {
        const same = adopted.parts.find((candidate) => candidate.part === part)
        assert.deepEqual([same?.instance, same?.restarts], [instance, restarts], `${part} was not restarted`)
      }
      assert.match((await ask(port, location)).body, /Alan/)
      const end = await second.stop('SIGINT')
      assert.equal(end.code, 0)
      assert.ok(end.tookMs < 5000, `stops within 5 s, took ${end.tookMs}`)
    })

    await t.test('data is there after a stop and a start', async () => {
      const third = bench.up('--port', String(port))
      await third.until(/shop runs, after/)
      assert.match((await ask(port, location)).body, /Alan/)
      const down = await bench.stead('down')
      assert.equal(down.code, 0)
      assert.equal((await bench.stead('status')).code, 3)
      assert.equal((await bench.stead('down')).code, 3)
    })
  })
})
