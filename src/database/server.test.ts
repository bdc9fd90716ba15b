/** Roles and rights on a real server: what a consumer can do, what it cannot, and who owns what it makes. */
import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { messageOf } from '../base/index.ts'
import { makeTestPostgres } from './conformance.ts'
import type { TestPostgres } from './conformance.ts'
import { withSession } from './drivers/connection.ts'
import { asAdmin } from './server.ts'

suite('a consumer of an app with migrations', () => {
  const shared: { postgres?: TestPostgres } = {}
  const postgres = (): TestPostgres => {
    assert.ok(shared.postgres !== undefined)
    return shared.postgres
  }
  before(async () => {
    shared.postgres = await makeTestPostgres({ config: { memoryBytes: 128 * 1024 * 1024, maxConnections: 5 } })
    await shared.postgres.resource.start()
    await shared.postgres.migrations({
      '0001_a.sql': `create extension pg_trgm; create table a (id int generated always as identity, b int);
        create function one() returns int language sql return 1;`,
    })
    await shared.postgres.provider.prepare(shared.postgres.resource.context)
  })
  after(() => shared.postgres?.[Symbol.asyncDispose]())

  test('uses what is there and what comes later', async () => {
    await postgres().asConsumer('web', async (client) => {
      await client.query('insert into a (b) values (1); update a set b = 2; delete from a where b = 1; select one()')
    })
    await postgres().migrations({
      '0001_a.sql': `create extension pg_trgm; create table a (id int generated always as identity, b int);
        create function one() returns int language sql return 1;`,
      '0002_b.sql': 'create table later (id serial, b int); create function two() returns int language sql return 2;',
    })
    await postgres().provider.prepare(postgres().resource.context)
    await postgres().asConsumer('web', async (client) => {
      await client.query('insert into later (b) values (two())')
    })
  })

  for (const statement of [
    'create table c (d int)',
    'create schema s',
    'create extension hstore',
    'drop table a',
    'truncate a',
    'alter table a add column c int',
    'create role other',
    'create database other',
    'alter role stead_admin password null',
    'set role shop_1_owner',
    'set role stead_migrator',
    'set session authorization stead_admin',
    'select * from stead.migrations',
    `copy a to program 'true'`,
    `select pg_read_file('/etc/passwd')`,
    'select rolpassword from pg_authid',
    'alter system set fsync = off',
    'checkpoint',
  ]) {
    test(`cannot: ${statement}`, async () => {
      await postgres().asConsumer('web', async (client) => {
        await assert.rejects(client.query(statement), /permission denied|must be owner|not allowed/)
      })
    })
  }

  test('cannot connect to another database of the server', async () => {
    const { resource, provider } = postgres()
    const grant = resource.grantFor('web')
    await provider.grant(resource.context, grant)
    for (const database of ['postgres', 'template1']) {
      await assert.rejects(
        withSession(postgres().server, { ...grant, database }, (session) => session.query('select 1')),
        /permission denied for database/,
      )
    }
  })

  test('a server that ends in the middle of something is asked again, and one that refuses is not', async () => {
    const { server } = postgres()
    const ended = asAdmin(server, 'postgres', (session) =>
      session.query('select pg_terminate_backend(pg_backend_pid())'),
    )
    await assert.rejects(ended, { code: 'database.unreachable', retry: 'later' })
    const refused = asAdmin(server, 'postgres', (session) => session.query('select 1 / 0'))
    await assert.rejects(refused, { code: 'database.refused', retry: 'never' })
    const full = `do $$ begin raise exception 'no space left' using errcode = '53100'; end $$`
    await assert.rejects(
      asAdmin(server, 'postgres', (session) => session.query(full)),
      { code: 'database.refused', retry: 'later' },
    )
  })

  test('names of consumers are quoted, whatever they hold', async () => {
    const { resource, provider } = postgres()
    const user = `we"b'; drop table a; --\\`
    await provider.grant(resource.context, { consumer: 'web', user, password: `pa'ss\\"ä😀` })
    assert.equal((await postgres().admin("select 1 from pg_tables where tablename = 'a'")).length, 1)
    await provider.revoke(resource.context, user)
    assert.deepEqual(await postgres().admin(`select 1 from pg_roles where rolname like 'we"%'`), [])
  })

  test('when consumers have taken all connections, the administrator still gets in', async () => {
    const nested = async (left: number): Promise<void> => {
      if (left > 0) return await postgres().asConsumer(`web${left}`, () => nested(left - 1))
      assert.deepEqual(await postgres().admin('select 1 as one'), [{ one: 1 }])
      await assert.rejects(
        postgres().asConsumer('more', () => Promise.resolve()),
        (error) => /too many clients|remaining connection slots/.test(messageOf(error)),
      )
    }
    await nested(5)
  })

  test('no password is in the output of the server', async () => {
    const { resource, provider } = postgres()
    const grant = { ...resource.grantFor('web'), password: 'a-password-to-look-for' }
    await provider.grant(resource.context, grant)
    await assert.rejects(provider.grant(resource.context, { ...grant, user: 'x'.repeat(64) }), {
      code: 'database.bad-name',
    })
    assert.ok(!resource.process().output().includes('a-password-to-look-for'))
    assert.doesNotMatch(resource.process().output(), /WARNING/)
  })
})

test('in an app without migrations consumers make the tables, and the app owns them', async () => {
  await using postgres = await makeTestPostgres({ ownsSchema: true })
  const { resource, provider } = postgres
  await resource.start()
  await provider.prepare(resource.context)
  await postgres.asConsumer('web', (client) => client.query('create table a (b int); insert into a values (1)'))
  await postgres.asConsumer('mailer', async (client) => {
    await client.query('alter table a add column c int; insert into a values (2, 2)')
    await assert.rejects(client.query('create role other'), /permission denied/)
  })
  await provider.revoke(resource.context, resource.grantFor('web').user)
  const rows = await postgres.admin(
    `select (select count(*)::int from a) as count, tableowner as owner from pg_tables where tablename = 'a'`,
  )
  assert.deepEqual(rows, [{ count: 2, owner: 'shop_1_owner' }])
  // From the first release with migrations on, the schema is theirs.
  const withMigrations = { ...resource.context, filesDir: `${postgres.host.dir}/migrations` }
  const grant = resource.grantFor('mailer')
  await provider.grant(withMigrations, grant)
  await withSession(postgres.server, { ...grant, database: 'shop_1' }, async (session) => {
    await session.query('insert into a values (3, 3)')
    await assert.rejects(session.query('create table b (c int)'), /permission denied/)
  })
})

test('errors of a server that is not there are told by name', async () => {
  await using postgres = await makeTestPostgres()
  const { resource, provider } = postgres
  for (const step of [
    () => provider.grant(resource.context, resource.grantFor('web')),
    () => provider.prepare(resource.context),
    () => provider.quiesce(resource.context),
    () => provider.metrics(resource.context),
  ]) {
    await assert.rejects(step, {
      code: 'database.unreachable',
      retry: 'later',
      message: /^database db: .*\.s\.PGSQL\.5432/,
    })
  }
})
