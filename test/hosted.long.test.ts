/** A database that somebody else runs, through the real command line: declared like an own one, and what it cannot do is said. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { suite, test } from 'node:test'
import { Client } from 'pg'
import { needsPostgres, PostgresServer } from './postgres-server.ts'
import { ask, eventually, freePort, Workbench } from './command-line.ts'
import { needsAll, needsRoot } from './needs.ts'
import { appFile, web } from './small-app.ts'

const [psql] = globSync('/usr/lib/postgresql/*/bin/psql')
const noPsql = psql === undefined ? 'needs psql: install postgresql-client' : false

const files = (migration: string): Record<string, string> => ({
  'app.ts': appFile(
    `const url = secret('db-url', { from: 'operator' })
     const db = postgres('db', { hosted: url, database: 'shop', tls: 'off', migrations: './migrations' })
     ${web('use: { db }')}`,
  ),
  'migrations/0001_visits.sql': migration,
  'web/server.js': `
    const { execFile } = require('node:child_process')
    const sql = 'insert into visits default values; select count(*), current_user from visits group by 2'
    require('node:http').createServer((question, answer) => question.url !== '/visit' ? answer.end('ok') :
      execFile('${psql}', [process.env.DATABASE_URL, '-qAtc', sql], (error, out, err) => answer.end(out + err)),
    ).listen(process.env.PORT)
    process.on('SIGTERM', () => process.exit(0))`,
})

suite('a database that is hosted elsewhere', { skip: needsAll(needsRoot(), needsPostgres(), noPsql) }, () => {
  test('waits for its URL, is migrated, lets consumers in under their own names, and stays when the app goes', async () => {
    const port = await freePort()
    await using _server = await PostgresServer.start(['listen_addresses=127.0.0.1', `port=${port}`])
    const query = async (database: string, sql: string): Promise<Record<string, unknown>[]> => {
      const client = new Client({ host: '127.0.0.1', port, user: 'stead', database })
      await client.connect()
      try {
        return (await client.query<Record<string, unknown>>(sql)).rows
      } finally {
        await client.end()
      }
    }
    await query('postgres', `create role keeper login password 'open'`)
    await query('postgres', 'create database shop owner keeper')
    await query('shop', 'alter schema public owner to keeper')
    await using bench = new Workbench()
    bench.write(files('create table visits (id bigint generated always as identity);'))
    const way = await freePort()

    const first = bench.up('--port', String(way))
    await first.until(/weaker.* db: hosted elsewhere; it is in no checkpoint/)
    await first.until(/the secret db-url has no value yet/)
    const { child } = bench.start('secret', 'set', 'db-url')
    child.stdin?.end(`postgresql://keeper:open@127.0.0.1:${port}`)
    assert.equal(await new Promise((resolve) => child.on('close', resolve)), 0)
    await first.until(/the role keeper may not make roles, and web is to have one of its own/)
    if (first.child.exitCode === null) await once(first.child, 'exit')
    assert.equal(first.child.exitCode, 1)

    await query('postgres', 'alter role keeper createrole')
    const up = bench.up('--port', String(way))
    await up.until(/small runs, after/)
    const visit = async (): Promise<string> => (await ask(way, '/visit', { host: 'small.localhost' })).body
    assert.equal(await visit(), '1|small_web\n')
    assert.equal(await visit(), '2|small_web\n')
    assert.deepEqual(await query('shop', 'select name from stead.migrations'), [{ name: '0001_visits.sql' }])

    // What its own keeper changes is there for the app; what the app changes is there for him.
    assert.deepEqual(await query('shop', 'select count(*)::int as visits from visits'), [{ visits: 2 }])
    bench.write({ 'migrations/0002_bad.sql': 'create table broken (id nonsense);' })
    await up.until(/0002_bad.sql.*type "nonsense" does not exist/)
    assert.equal(await visit(), '3|small_web\n', 'what was there before goes on')

    bench.write({ 'migrations/0002_bad.sql': 'create table fine (id bigint);' })
    await eventually(
      'a migration that is mended',
      () => query('shop', `select to_regclass('fine') is not null as there`),
      ([row]) => row?.['there'] === true,
    )
    assert.equal((await up.stop()).code, 0)
    assert.equal((await bench.stead('down', '.', '--delete-data')).code, 0)
    assert.deepEqual(
      await query('shop', 'select count(*)::int as visits from visits'),
      [{ visits: 3 }],
      'not ours to delete',
    )
  })
})
