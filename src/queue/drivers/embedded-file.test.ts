/** What the embedded queues refuse to open or to take, and that a generation of the data ends what was held before it. */
import assert from 'node:assert/strict'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, suite, test } from 'node:test'
import { jsonCodec } from '../codec.ts'
import { refuses, takeOne, values } from '../helpers.conformance.ts'
import { openEmbeddedQueues } from './embedded.ts'
import { openEmbeddedHost } from './embedded/host.ts'

suite('the file of embedded queues', () => {
  let folder = ''
  let count = 0
  before(async () => void (folder = await mkdtemp(join(tmpdir(), 'stead-queue-file-'))))
  after(() => rm(folder, { recursive: true }))
  const place = (): string => join(folder, `${(count += 1)}.db`)

  test('belongs to one process', async () => {
    const path = place()
    await using _queues = await openEmbeddedQueues({ path })
    await refuses('queue.in-use', () => openEmbeddedQueues({ path }))
  })

  test('is refused when it is foreign, newer, damaged or cannot be opened, and is left as it is', async () => {
    const foreign = place()
    using db = new DatabaseSync(foreign)
    db.exec('CREATE TABLE theirs (x)')
    db.close()
    const newer = place()
    await (await openEmbeddedQueues({ path: newer })).close()
    using other = new DatabaseSync(newer)
    other.exec('PRAGMA user_version = 7')
    other.close()
    const damaged = place()
    {
      await using queues = await openEmbeddedQueues({ path: damaged })
      const queue = await queues.declare('mail', jsonCodec)
      await queue.sendMany(values(500).map((value) => ({ value: [value, 'x'.repeat(200)] })))
    }
    const bytes = readFileSync(damaged)
    bytes.fill(0xab, 8192, 40_960)
    writeFileSync(damaged, bytes)
    for (const [path, code] of [
      [foreign, 'queue.foreign'],
      [newer, 'queue.newer-version'],
      [damaged, 'queue.corrupt'],
      [join(folder, 'nowhere', 'x.db'), 'queue.cannot-open'],
    ] as const) {
      await refuses(code, () => openEmbeddedQueues({ path }))
    }
    assert.deepEqual(readFileSync(damaged), bytes)
    await refuses('queue.bad-input', () => openEmbeddedQueues({ path: place(), generation: 0 }))
  })

  test('of an older copy refuses what was held before the data went back', async () => {
    const path = place()
    const copy = place()
    {
      await using queues = await openEmbeddedQueues({ path, generation: 1 })
      const queue = await queues.declare('mail', jsonCodec)
      await queue.send('before', { id: 'a' })
    }
    copyFileSync(path, copy)
    const before = await openEmbeddedHost({ path, generation: 1, messagesMax: 100, bytesMax: 2 ** 30 })
    const want = { max: 1, waitMs: 0, leaseMs: 60_000, keepMs: 0 }
    const [held] = await before.receive('mail', want, new AbortController().signal)
    assert.ok(held !== undefined)
    await before.close()

    // The data goes back to the copy: the same numbers would be given again, under another generation.
    const now = await openEmbeddedHost({ path: copy, generation: 2, messagesMax: 100, bytesMax: 2 ** 30 })
    const [again] = await now.receive('mail', want, new AbortController().signal)
    assert.deepEqual([again?.id, again?.attempt], ['a', 1])
    const ack = { kind: 'ack' } as const
    const outcomes = await now.settle('mail', [
      { receipt: held.receipt, decision: ack },
      { receipt: 'nonsense', decision: ack },
      { receipt: again?.receipt ?? '', decision: ack },
    ])
    assert.deepEqual(outcomes, ['lost', 'lost', 'done'])
    await now.close()
    await refuses('queue.stale-generation', () => openEmbeddedQueues({ path: copy, generation: 1 }))
    await (await openEmbeddedQueues({ path: copy, generation: 2 })).close()
  })

  test('that is opened again gives back what was held, and receipts of the last opening are void', async () => {
    const path = place()
    const options = { path, generation: 1, messagesMax: 100, bytesMax: 2 ** 30 }
    const want = { max: 1, waitMs: 0, leaseMs: 60_000, keepMs: 60_000 }
    const first = await openEmbeddedHost(options)
    await first.declare('mail')
    const plain = { body: '1', headers: {}, key: null, priority: 0, delayMs: 0, dedup: null }
    await first.send('mail', [{ id: 'a', ...plain }])
    const [held] = await first.receive('mail', want, new AbortController().signal)
    await first.close()
    const second = await openEmbeddedHost(options)
    const [again] = await second.receive('mail', want, new AbortController().signal)
    assert.equal(again?.attempt, 2)
    const decision = { kind: 'ack' } as const
    assert.deepEqual(await second.settle('mail', [{ receipt: held?.receipt ?? '', decision }]), ['lost'])
    await second.close()
  })

  test('that has as many bytes as it may refuses more, and takes more when there is room', async () => {
    await using queues = await openEmbeddedQueues({ path: place(), bytesMax: 2 ** 20, patienceMs: 200 })
    const queue = await queues.declare('mail', jsonCodec)
    const body = 'x'.repeat(300_000)
    const results = await Promise.allSettled(values(8).map((value) => queue.send([value, body])))
    assert.ok(results.some(({ status }) => status === 'fulfilled'))
    await refuses('queue.full', () => queue.send(1))
    await queue.purge()
    await queue.send('again')
    assert.equal((await takeOne(queue)).value, 'again')
  })

  test('lets the process end when nobody waits for it', async () => {
    const { execFileSync } = await import('node:child_process')
    const program = `
      const { openEmbeddedQueues, json } = await import(${JSON.stringify(import.meta.resolve('../index.ts'))})
      const queues = await openEmbeddedQueues({ path: ${JSON.stringify(place())} })
      const queue = await queues.declare('mail', json)
      await queue.send(1)
      console.log(await queue.counts())
    `
    const flags = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program]
    assert.match(execFileSync(process.execPath, flags, { encoding: 'utf8', timeout: 60_000 }), /ready: 1/)
  })
})
