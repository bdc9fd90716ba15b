/** Config, settings, names and credentials: what is accepted, what comes of it, and that nothing becomes SQL. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { parseConfig, settingsText } from './config.ts'
import { namesOf, passwordVerifier, quoteName, quoteText, quoteUser } from './names.ts'
import { socketPathOf } from './programs.ts'

test('a config that says nothing gets defaults; what it says is checked by name', () => {
  const log = { ageMsMax: 604_800_000, bytesMax: 1_073_741_824 }
  const defaults = { version: null, memoryBytes: 268_435_456, maxConnections: 50, log }
  for (const config of [null, {}, { version: null, migrations: './m' }])
    assert.deepEqual(parseConfig('db', config), defaults)
  assert.equal(parseConfig('db', { version: '18' }).version, '18')
  const bad: readonly (readonly [Json, RegExp])[] = [
    ['x', /database db: the config is no object/],
    [[], /no object/],
    [{ memory: 1 }, /no option "memory"/],
    [{ version: 18 }, /version is 18/],
    [{ version: '18.4' }, /version is "18\.4"/],
    [{ memoryBytes: 1024 }, /memoryBytes is 1024/],
    [{ memoryBytes: 1e8 + 0.5 }, /memoryBytes/],
    [{ maxConnections: 0 }, /maxConnections is 0/],
    [{ maxConnections: '9' }, /maxConnections is "9"/],
  ]
  for (const [config, message] of bad) {
    assert.throws(() => parseConfig('db', config), { code: 'database.bad-config', message })
  }
})

test('settings: durable whatever the config, only a socket, and what the version knows', () => {
  const config = parseConfig('db', null)
  for (const major of [15, 17, 18]) {
    const text = settingsText(config, major)
    for (const line of [
      "fsync = 'on'",
      "full_page_writes = 'on'",
      "synchronous_commit = 'on'",
      "listen_addresses = ''",
    ]) {
      assert.ok(text.includes(`${line}\n`), line)
    }
    assert.equal(text.includes('io_method'), major >= 18)
    assert.equal(text.includes('allow_alter_system'), major >= 17)
    assert.ok(text.includes("shared_buffers = '65536kB'\n"))
  }
})

test('names: readable, never one that PostgreSQL keeps for itself', () => {
  assert.deepEqual(namesOf('my-shop'), { database: 'my_shop', owner: 'my_shop_owner', group: 'my_shop_users' })
  for (const app of ['postgres', 'template1', 'pg-x', 'stead-admin', 'stead']) {
    assert.match(namesOf(app).database, /^app_/)
  }
  for (const user of ['stead_admin', 'stead_migrator', 'shop_owner', 'shop_users', 'pg_monitor', 'public', 'none']) {
    assert.throws(() => quoteUser(user, namesOf('shop')), { code: 'database.bad-user' })
  }
  assert.throws(() => quoteName('x'.repeat(64)), { code: 'database.bad-name' })
  assert.throws(() => quoteName(''), { code: 'database.bad-name' })
  assert.throws(() => quoteName('a\0b'), { code: 'database.bad-name' })
})

test('quoting', () => {
  assert.equal(quoteName('a"; drop table b; --'), '"a""; drop table b; --"')
  assert.equal(quoteText("it's"), "'it''s'")
  assert.equal(quoteText("a\\'b"), " E'a\\\\''b'")
})

test('a verifier is that of RFC 5803 and does not hold the password', () => {
  const verifier = passwordVerifier('pencil', seededRandom(1))
  assert.match(verifier, /^SCRAM-SHA-256\$4096:[A-Za-z0-9+/]{22}==\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$/)
  assert.ok(!verifier.includes('pencil'))
})

test('a socket path that the kernel would not take is refused with its length', () => {
  assert.equal(socketPathOf('/run/s', 5432), '/run/s/.s.PGSQL.5432')
  assert.throws(() => socketPathOf(`/${'x'.repeat(100)}`, 5432), {
    code: 'database.socket-path-too-long',
    message: /has 115 bytes, and 103 is the most/,
  })
})
