/** Outbox and inbox on real databases: what is committed is sent, what is rolled back is not, and an effect happens once. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, suite, test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { bytesCodec, jsonCodec } from './codec.ts'
import { openEmbeddedQueues } from './drivers/embedded.ts'
import { openMemoryQueues } from './drivers/memory.ts'
import { assertNothing, take, takeOne, until } from './helpers.conformance.ts'
import { SqliteInbox, SqliteOutbox } from './outbox-sqlite.ts'

suite('outbox and inbox in SQLite', () => {
  let folder = ''
  before(async () => void (folder = await mkdtemp(join(tmpdir(), 'stead-outbox-'))))
  after(() => rm(folder, { recursive: true }))

  test('what is committed is sent with all its options, what is rolled back is not', async () => {
    using db = new DatabaseSync(':memory:')
    db.exec('CREATE TABLE orders (n INTEGER) STRICT')
    const outbox = new SqliteOutbox(db)
    await using queues = await openMemoryQueues()
    const mail = await queues.declare('mail', jsonCodec)
    const blobs = await queues.declare('blobs', bytesCodec)
    const relay = queues.relay(outbox, { pollMs: 20 })
    const kept = await mail.prepare({ order: 1 }, { id: 'kept', headers: { tenant: '7' }, key: 'k' })
    const bytes = await blobs.prepare(Uint8Array.from([0, 255, 128]))
    const dropped = await mail.prepare({ order: 2 })
    db.exec('BEGIN; INSERT INTO orders VALUES (1)')
    outbox.add(kept)
    outbox.add(bytes)
    db.exec('COMMIT; BEGIN; INSERT INTO orders VALUES (2)')
    outbox.add(dropped)
    relay.hint()
    await new Promise((resolve) => void setTimeout(resolve, 50))
    db.exec('ROLLBACK')
    relay.hint()
    const message = await takeOne(mail)
    assert.deepEqual(
      [message.id, message.value, message.headers['tenant'], message.key],
      ['kept', { order: 1 }, '7', 'k'],
    )
    await message.ack()
    assert.deepEqual([...(await takeOne(blobs)).value], [0, 255, 128])
    await until('the table is empty', () => db.prepare('SELECT count(*) AS n FROM stead_outbox').get()?.['n'] === 0)
    await assertNothing(mail)
    await relay.close()
  })

  test('a message that its queue refuses is marked with the reason, and the others go on', async () => {
    using db = new DatabaseSync(':memory:')
    const outbox = new SqliteOutbox(db)
    await using queues = await openMemoryQueues()
    const mail = await queues.declare('mail', jsonCodec)
    const gone = await queues.declare('gone', jsonCodec)
    outbox.add(await gone.prepare(1))
    outbox.add(await mail.prepare(2))
    await queues.remove('gone')
    await using _relay = queues.relay(outbox, { pollMs: 20 })
    assert.equal((await takeOne(mail)).value, 2)
    const refused = (): unknown => db.prepare('SELECT refused FROM stead_outbox').get()?.['refused']
    await until('the other is marked', () => typeof refused() === 'string')
    assert.match(String(refused()), /no queue gone/)
  })

  test('a program killed between commit and sending: the next one sends what is committed', async () => {
    const path = join(folder, 'app.db')
    const program = join(folder, 'program.mts')
    const { writeFileSync } = await import('node:fs')
    writeFileSync(
      program,
      `import { DatabaseSync } from 'node:sqlite'
       import { openMemoryQueues, json, SqliteOutbox } from ${JSON.stringify(import.meta.resolve('./index.ts'))}
       const queues = await openMemoryQueues()
       const mail = await queues.declare('mail', json)
       const db = new DatabaseSync(${JSON.stringify(path)})
       db.exec('PRAGMA journal_mode = WAL; CREATE TABLE orders (n INTEGER) STRICT')
       const outbox = new SqliteOutbox(db)
       for (let n = 1; ; n += 1) {
         const message = await mail.prepare(n)
         db.exec('BEGIN')
         db.prepare('INSERT INTO orders VALUES (?)').run(n)
         outbox.add(message)
         if (n === 50) { console.log('now'); await new Promise(() => setInterval(() => {}, 1000)) }
         db.exec('COMMIT')
       }`,
    )
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { PATH: process.env.PATH },
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await once(child, 'close')
    using db = new DatabaseSync(path)
    const orders = db
      .prepare('SELECT n FROM orders ORDER BY n')
      .all()
      .map(({ n }) => n)
    assert.equal(orders.length, 49)
    await using queues = await openEmbeddedQueues({ path: join(folder, 'queues.db') })
    const mail = await queues.declare('mail', jsonCodec)
    await using _relay = queues.relay(new SqliteOutbox(db))
    const messages = await take(mail, 49)
    assert.deepEqual(
      messages.map(({ value }) => value),
      orders,
    )
    for (const message of messages) await message.ack()
    await assertNothing(mail)
  })

  test('the effect of a message that comes twice happens once, and not at all when it is rolled back', async () => {
    using db = new DatabaseSync(':memory:')
    db.exec('CREATE TABLE effects (n INTEGER) STRICT')
    const inbox = new SqliteInbox(db)
    await using queues = await openMemoryQueues()
    const mail = await queues.declare('mail', jsonCodec, { retry: { firstDelayMs: 0 } })
    await mail.send(1)
    const consumer = mail.consume(async ({ id, attempt, receipt }) => {
      db.exec('BEGIN')
      if (inbox.first('mail', id, systemClock.nowMs())) db.exec('INSERT INTO effects VALUES (1)')
      if (attempt === 1) {
        db.exec('ROLLBACK')
        throw new Error('after the effect, before the commit')
      }
      db.exec('COMMIT')
      if (attempt === 2) throw new Error(`after the commit, before the settlement of ${receipt}`)
    })
    await until('it is acknowledged', () => mail.metrics().acked === 1)
    await consumer.drain()
    assert.equal(mail.metrics().received, 3)
    assert.equal(db.prepare('SELECT count(*) AS n FROM effects').get()?.['n'], 1)
    inbox.forget(systemClock.nowMs() + 1)
    assert.equal(inbox.first('mail', 'again', systemClock.nowMs()), true)
  })
})
