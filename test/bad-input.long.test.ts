/** Mistakes that take their time: parts that give up after several starts, migrations over real data, and a machine without root. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { ask, examplesDir, freePort, Workbench } from './command-line.ts'
import { needsRoot } from './needs.ts'
import { appFile, assertRefused, failedUp, leftBehind, type Refusal, server, web } from './small-app.ts'

function shopFile(name: string): string {
  return readFileSync(join(examplesDir, 'shop', 'web', name), 'utf8')
}

const quick = `ready: { http: '/', timeout: '3s' }`

suite('a service that never gets ready is told with the reason and its last lines', () => {
  const cases: readonly (readonly [string, string, string, Refusal, RegExp])[] = [
    [
      'crashes at once',
      web(quick),
      `console.log('I am up'); throw new Error('no luck')`,
      { says: /service 'web' gave up: ended with code 1 \(5 times\)/, hint: /last lines above/ },
      /last lines of web:[^]*Error: no luck\n +at .*\/server\.js:1:/,
    ],
    [
      'listens on another port',
      web(quick),
      `console.log('I am up'); require('node:http').createServer().listen(4444)`,
      { says: /service 'web' gave up: .*nothing listens on its port/, hint: /Within 3s.*the port in PORT/ },
      /last lines of web:\n +I am up/,
    ],
    [
      'is a program that the bundle does not have',
      `const web = service('web', { from: './web', run: ['nope'], http: 3000 })`,
      '',
      { says: /service 'web' gave up: .*program was not found/, hint: /\["nope"\].*path in web/ },
      /nope: not found/,
    ],
  ]
  for (const [name, declaration, program, refusal, printed] of cases) {
    test(`one that ${name}`, async () => {
      await using bench = new Workbench()
      bench.write({ 'app.ts': appFile(declaration), 'web/server.js': program })
      const result = await failedUp(bench)
      assertRefused(result, refusal)
      assert.match(result.stderr, printed)
      assert.deepEqual(leftBehind(bench), [])
    })
  }

  test('one that reaches its memory limit', { skip: needsRoot() }, async () => {
    await using bench = new Workbench()
    const hog = `const all = []; setInterval(() => { for (let i = 0; i < 20; i++) all.push(Buffer.alloc(1e6, 1)) }, 1)`
    bench.write({ 'app.ts': appFile(web(`${quick}, limits: { memory: '64MB' }`)), 'web/server.js': hog })
    assertRefused(await failedUp(bench), {
      says: /service 'web' gave up: killed: it reached its memory limit of 64 MB/,
      hint: /more than 64MB with limits: \{ memory/,
    })
    assert.deepEqual(leftBehind(bench), [])
  })
})

test('a migration that fails leaves data and schema as they were, and the next good one works', async () => {
  await using bench = new Workbench()
  // Answers with the rows and columns of the table. Its dependencies are those of the shop.
  const reader = `
    const { Client } = require('pg')
    require('node:http').createServer(async (question, answer) => {
      const client = new Client({ connectionString: process.env.DATABASE_URL })
      await client.connect()
      const { rows } = await client.query('select * from goods order by n')
      await client.end()
      answer.end(JSON.stringify(rows))
    }).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))`
  const database = `const db = postgres('db', { migrations: './migrations' })`
  bench.write({
    'app.ts': appFile(`${database}\n${web('use: { db }')}`),
    'web/server.js': reader,
    'web/package.json': shopFile('package.json').replace('"module"', '"commonjs"'),
    'web/package-lock.json': shopFile('package-lock.json'),
    'migrations/0001_goods.sql': 'create table goods (n int);\ninsert into goods values (1), (2);\n',
  })
  const rows = async (): Promise<unknown> => {
    const port = await freePort()
    const up = bench.up('--port', String(port))
    await up.until(/small runs, after/)
    const { body } = await ask(port, '/', { host: 'small.localhost' })
    assert.equal((await up.stop()).code, 0)
    return JSON.parse(body)
  }
  assert.deepEqual(await rows(), [{ n: 1 }, { n: 2 }])

  bench.write({
    'migrations/0002_price.sql':
      'alter table goods add column price int;\ndelete from goods;\n\nselect broken from goods;\n',
  })
  assertRefused(await failedUp(bench), {
    says: /postgres 'db' gave up: 0002_price\.sql:4: column "broken" does not exist/,
    hint: /select broken from goods[^]*Nothing was changed/,
  })
  assert.deepEqual(leftBehind(bench), [])

  bench.write({ 'migrations/0002_price.sql': 'select 1;\n' })
  assert.deepEqual(await rows(), [{ n: 1 }, { n: 2 }])

  bench.write({ 'migrations/0001_goods.sql': 'create table goods (n bigint);\n' })
  assertRefused(await failedUp(bench), {
    says: /0001_goods\.sql has been applied, and has been changed since/,
    hint: /write the change as a new migration/,
  })
  bench.write({
    'migrations/0001_goods.sql': 'create table goods (n int);\ninsert into goods values (1), (2);\n',
    'migrations/0003_price.sql': 'alter table goods add column price int default 5;\n',
  })
  assert.deepEqual(await rows(), [
    { n: 1, price: 5 },
    { n: 2, price: 5 },
  ])
})

test('without root it runs with weaker drivers, and says of each what is weaker', { skip: needsRoot() }, async () => {
  await using bench = new Workbench({ uid: 65_534 })
  bench.write({ 'app.ts': appFile(`const key = secret('key')\n${web('use: { key }')}`), 'web/server.js': server })
  const doctor = await bench.stead('doctor', '--json')
  assert.equal(doctor.code, 4, doctor.stderr)
  const report = JSON.parse(doctor.stdout) as {
    readonly network: { readonly driver: string }
    readonly domain: { readonly driver: string }
    readonly weaker: readonly string[]
  }
  assert.deepEqual([report.network.driver, report.domain.driver], ['host', 'copy'])
  for (const words of [
    /run as root to give each its own/,
    /no limit groups.*run as root/,
    /network namespaces need root/,
  ])
    assert.ok(
      report.weaker.some((line) => words.test(line)),
      `${words} in ${report.weaker.join('\n')}`,
    )

  const port = await freePort()
  const up = bench.up('--port', String(port))
  await up.until(/small runs, after/)
  for (const line of report.weaker) assert.ok(up.output().includes(`weaker ${line}\n`), line)
  assert.equal((await ask(port, '/', { host: 'small.localhost' })).body, 'ok')
  assert.equal((await bench.stead('status')).code, 0)
  assert.equal((await up.stop()).code, 0)
  assert.deepEqual(leftBehind(bench), [])
  assert.ok(existsSync(join(bench.dir, 's', 'apps')))
})
