/**
 * The suite that a ledger passes whatever database it lies in. It registers node:test cases for a factory of empty databases;
 * the processes that it kills and races are real. Nothing in it depends on speed.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { suite, test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { compensate, createTable, decide, look, pending, plan, run } from './effects.ts'
import { notSent } from './errors.ts'
import { modelCase } from './model.conformance.ts'
import { openConnection, receiverIn } from './place.conformance.ts'
import type { Connection, Opening, Receiver } from './place.conformance.ts'
import { sweep } from './sweep.ts'

/** What the suite is run against. */
export interface EffectsSubject {
  readonly name: string
  /** An empty database; disposed of after the case. */
  makeDatabase(): Promise<AsyncDisposable & { readonly opening: Opening }>
  /** How many random histories are compared with the model. */
  readonly histories: number
  readonly skip?: string | false
}

/** What a case works with: the database with the ledger and a table `orders`, one connection to it, and a receiver. */
export interface Bench {
  readonly opening: Opening
  readonly connection: Connection
  readonly receiver: Receiver
  readonly directory: string
}

const childTimeoutMs = 60_000
const mail = { kind: 'mail', what: 'confirmation of order 17', payload: { to: 'ada', lines: [1, 2.5, 'ü'] } } as const

/** Registers the suite for one kind of database. */
export function effectsConformance(subject: EffectsSubject): void {
  suite(`effects conformance: ${subject.name}`, { skip: subject.skip ?? false }, () => {
    const all = { ...cases, 'random histories are those of the model': modelCase(subject.histories) }
    for (const [name, work] of Object.entries(all)) test(name, () => withBench(subject, work))
  })
}

async function withBench(subject: EffectsSubject, work: (bench: Bench) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'stead-effects-'))
  try {
    await using database = await subject.makeDatabase()
    await using connection = await openConnection(database.opening)
    await createTable(connection.db)
    await connection.sql('create table orders (id integer primary key)')
    await work({ opening: database.opening, connection, receiver: receiverIn(directory), directory })
  } finally {
    await rm(directory, { recursive: true })
  }
}

const cases: Readonly<Record<string, (bench: Bench) => Promise<void>>> = {
  async 'an effect is planned with its data, sent once, and marked'({ connection, receiver }) {
    const { db } = connection
    await planned(connection, 'a', async () => void (await connection.sql('insert into orders values (1)')))
    const first = await look(db, 'a')
    assert.deepEqual(
      { ...first, createdAtMs: 0 },
      {
        ...mail,
        key: 'a',
        compensation: null,
        state: 'planned',
        generation: 1,
        createdAtMs: 0,
        sendingAtMs: null,
        sentAtMs: null,
        attempts: 0,
        result: null,
        abandonedByGeneration: null,
      },
    )
    assert.ok((first?.createdAtMs ?? 0) > 1.7e12, 'milliseconds since 1970')
    const sent = await run(db, 'a', receiver.send())
    assert.deepEqual([sent.state, sent.attempts, sent.result], ['sent', 1, { receipt: 'a' }])
    assert.ok((sent.sentAtMs ?? 0) >= (first?.createdAtMs ?? 0))
    assert.deepEqual(await run(db, 'a', receiver.send()), sent)
    assert.equal(await receiver.calls('a'), 1)
    assert.deepEqual(await pending(db), [])
  },

  async 'what is rolled back was never planned'({ connection, receiver }) {
    await connection.sql('begin')
    await plan(connection.db, { key: 'a', ...mail })
    await connection.sql('rollback')
    assert.equal(await look(connection.db, 'a'), null)
    await assert.rejects(run(connection.db, 'a', receiver.send()), code('effects.unknown-key'))
    assert.deepEqual(await receiver.taken(), [])
  },

  async 'planning is for inside a transaction, sending for outside'({ connection, receiver }) {
    await assert.rejects(plan(connection.db, { key: 'a', ...mail }), code('effects.no-transaction'))
    await planned(connection, 'a')
    await connection.sql('begin')
    await assert.rejects(run(connection.db, 'a', receiver.send()), code('effects.in-transaction'))
    await connection.sql('rollback')
    assert.deepEqual(await receiver.taken(), [])
  },

  async 'a connection whose commits are not durable sends nothing'({ connection, opening, receiver }) {
    await planned(connection, 'a')
    await connection.sql(opening.kind === 'sqlite' ? 'pragma synchronous = normal' : 'set synchronous_commit = off')
    await assert.rejects(run(connection.db, 'a', receiver.send()), code('effects.not-durable'))
    assert.equal((await look(connection.db, 'a'))?.state, 'planned')
  },

  async 'a key is that of one effect'({ connection, receiver }) {
    await planned(connection, 'a')
    await run(connection.db, 'a', receiver.send())
    // JSON is compared by what it says, not by how it is written.
    const again = { ...mail, key: 'a', payload: { lines: [1, 2.5, 'ü'], to: 'ada' } }
    assert.equal((await inTransaction(connection, () => plan(connection.db, again))).state, 'sent')
    for (const other of [{ kind: 'call' }, { payload: { to: 'bob' } }, { payload: null }])
      await assert.rejects(
        inTransaction(connection, () => plan(connection.db, { ...mail, key: 'a', ...other })),
        code('effects.key-taken'),
      )
  },

  async 'what cannot be kept is refused before anything is written'({ connection }) {
    for (const bad of [
      { key: '' },
      { key: 'x'.repeat(201) },
      { key: 'a\nb' },
      { key: 'a:undo' },
      { kind: 'mail:undo' },
      { what: '' },
      { compensation: '' },
      { payload: 'x'.repeat(65_536) },
      { payload: ['\0'] },
    ])
      await assert.rejects(
        inTransaction(connection, () => plan(connection.db, { ...mail, key: 'a', ...bad })),
        code('effects.bad-effect'),
      )
    assert.deepEqual(await pending(connection.db), [])
  },

  async 'an error says that it is possibly sent; notSent says that it is not'({ connection, receiver }) {
    const { db } = connection
    await planned(connection, 'a')
    const lost = new Error('connection reset')
    await assert.rejects(
      run(db, 'a', () => Promise.reject(lost)),
      code('effects.possibly-sent'),
    )
    const unheard = await look(db, 'a')
    assert.deepEqual([unheard?.state, unheard?.sendingAtMs], ['sending', null])
    assert.deepEqual(unheard?.result, { error: 'connection reset' })
    assert.equal((await run(db, 'a', receiver.send(), { possiblySent: 'leave' })).state, 'sending')
    await assert.rejects(
      run(db, 'a', () => Promise.reject(notSent('no such address'))),
      code('effects.not-sent'),
    )
    assert.equal((await look(db, 'a'))?.state, 'failed')
    assert.equal((await run(db, 'a', receiver.send())).attempts, 3)
  },

  async 'an answer that cannot be kept is left out, and the effect is sent'({ connection }) {
    const { db } = connection
    for (const [key, answer] of Object.entries({ long: 'x'.repeat(70_000), nul: 'a\0b' })) {
      await planned(connection, key)
      assert.deepEqual(Object.keys((await run(db, key, async () => answer)).result ?? {}), ['omitted'])
    }
    await planned(connection, 'error')
    await assert.rejects(
      run(db, 'error', () => Promise.reject(new Error('a\0b'))),
      code('effects.possibly-sent'),
    )
  },

  async 'who is at it is left alone until he counts as dead, and what he then says of it holds'({
    connection,
    opening,
  }) {
    await using other = await openConnection(opening)
    await planned(connection, 'a')
    const slow = Promise.withResolvers<string>()
    const begun = Promise.withResolvers<void>()
    const first = run(connection.db, 'a', () => (begun.resolve(), slow.promise))
    await begun.promise
    assert.equal((await run(other.db, 'a', async () => 'second')).state, 'sending')
    // He is taken for dead, and the second is told no; then it turns out that the first was taken.
    const refused = run(other.db, 'a', () => Promise.reject(notSent('seen before')), { staleMs: 0 })
    await assert.rejects(refused, code('effects.not-sent'))
    slow.resolve('first')
    const settled = await first
    assert.deepEqual([settled.state, settled.result, settled.attempts], ['sent', 'first', 2])
  },

  async 'an attempt that was given up for dead cannot say that nothing was sent'({ connection, opening }) {
    await using other = await openConnection(opening)
    await planned(connection, 'a')
    const slow = Promise.withResolvers<string>()
    const begun = Promise.withResolvers<void>()
    const first = run(connection.db, 'a', () => (begun.resolve(), slow.promise))
    await begun.promise
    const later = Promise.withResolvers<string>()
    const laterBegun = Promise.withResolvers<void>()
    const second = run(other.db, 'a', () => (laterBegun.resolve(), later.promise), { staleMs: 0 })
    await laterBegun.promise
    slow.reject(notSent('refused'))
    await assert.rejects(first, code('effects.not-sent'))
    assert.equal((await look(connection.db, 'a'))?.state, 'sending')
    later.resolve('second')
    assert.equal((await second).state, 'sent')
  },

  async 'a person decides what is possibly sent'({ connection }) {
    const { db } = connection
    for (const key of ['a', 'b']) {
      await planned(connection, key)
      await assert.rejects(
        run(db, key, () => Promise.reject(new Error('lost'))),
        code('effects.possibly-sent'),
      )
    }
    assert.equal((await decide(db, 'a', 'sent')).state, 'sent')
    assert.equal((await decide(db, 'b', 'not-sent')).state, 'failed')
    await assert.rejects(decide(db, 'b', 'sent'), code('effects.nothing-to-decide'))
    await assert.rejects(decide(db, 'c', 'sent'), code('effects.unknown-key'))
  },

  async 'a compensation is an effect of its own'({ connection, receiver }) {
    const { db } = connection
    await planned(connection, 'a')
    await assert.rejects(compensate(db, 'a', receiver.send()), code('effects.nothing-to-undo'))
    await run(db, 'a', receiver.send())
    await assert.rejects(
      compensate(db, 'a', () => Promise.reject(new Error('lost'))),
      code('effects.possibly-sent'),
    )
    assert.equal((await look(db, 'a'))?.state, 'sent')
    assert.equal((await look(db, 'a:undo'))?.state, 'sending')
    // Also a sweep completes it.
    const handlers = { 'mail:undo': { send: receiver.send(), possiblySent: 'send-again' } } as const
    assert.deepEqual(await sweep(db, handlers), { sent: ['a:undo'], left: [], more: false })
    assert.equal((await look(db, 'a'))?.state, 'compensated')
    assert.equal((await compensate(db, 'a', receiver.send())).state, 'compensated')
    assert.equal(await receiver.calls('a:undo'), 1)
    await assert.rejects(planned(connection, 'a'), code('effects.key-taken'))
  },

  async 'what data that was gone back from has planned is not sent, unless it is planned again'({
    connection,
    receiver,
  }) {
    const { db, table } = connection
    for (const key of ['lost', 'planned', 'sent']) await planned(connection, key)
    await run(db, 'sent', receiver.send())
    await assert.rejects(
      run(db, 'lost', () => Promise.reject(new Error('lost'))),
      code('effects.possibly-sent'),
    )
    await connection.sql(`update ${table} set abandoned_by_generation = 2`)
    const handlers = { mail: { send: receiver.send(), possiblySent: 'send-again' } } as const
    const left = ['lost', 'planned'].map((key) => ({ key, because: 'abandoned' as const }))
    assert.deepEqual(await sweep(db, handlers), { sent: [], left, more: false })
    await assert.rejects(run(db, 'planned', receiver.send()), code('effects.abandoned'))
    for (const key of ['planned', 'sent']) await planned(connection, key)
    for (const key of ['planned', 'sent']) assert.equal((await run(db, key, receiver.send())).state, 'sent')
    assert.equal(await receiver.calls('sent'), 1)
    // One that is possibly sent and forgotten can be undone; so can one that is sent.
    assert.equal((await compensate(db, 'lost', receiver.send())).state, 'compensated')
  },

  async 'a sweep does what it can and names the rest'({ connection, receiver }) {
    const { db } = connection
    for (const key of ['failed', 'planned', 'unheard']) await planned(connection, key)
    await inTransaction(connection, () => plan(db, { ...mail, key: 'call', kind: 'call' }))
    await inTransaction(connection, () => plan(db, { ...mail, key: 'odd', kind: 'constructor' }))
    await assert.rejects(
      run(db, 'failed', () => Promise.reject(notSent('no'))),
      code('effects.not-sent'),
    )
    await assert.rejects(
      run(db, 'unheard', () => Promise.reject(new Error('lost'))),
      code('effects.possibly-sent'),
    )
    const report = await sweep(db, { mail: { send: receiver.send(), possiblySent: 'leave' } })
    assert.deepEqual(report, {
      sent: ['planned'],
      left: [
        { key: 'call', because: 'no-handler' },
        { key: 'failed', because: 'failed' },
        { key: 'odd', because: 'no-handler' },
        { key: 'unheard', because: 'possibly-sent' },
      ],
      more: false,
    })
  },

  async 'a sweep goes through more than one page, past what stays'({ connection, receiver }) {
    await inTransaction(connection, async () => {
      for (let number = 0; number < 230; number += 1) {
        const key = `m${String(number).padStart(3, '0')}`
        await plan(connection.db, { ...mail, key, kind: number % 2 === 0 ? 'mail' : 'call' })
      }
    })
    const report = await sweep(connection.db, { mail: { send: receiver.send(), possiblySent: 'leave' } })
    assert.deepEqual([report.sent.length, report.left.length, report.more], [115, 115, false])
  },

  async 'processes that sweep at once send each effect once'({ connection, opening, receiver, directory }) {
    const keys = Array.from({ length: 60 }, (_, number) => `m${number}`)
    await inTransaction(connection, async () => {
      for (const key of keys) await plan(connection.db, { ...mail, key })
    })
    const children = [1, 2].map(() => spawnChild('sweep', opening, directory))
    await Promise.all(
      children.map(({ stdout }) => once(stdout, 'data', { signal: AbortSignal.timeout(childTimeoutMs) })),
    )
    const ends = children.map((child) => Promise.all([text(child.stdout), once(child, 'close')]))
    for (const child of children) child.stdin.end('go\n')
    const sent = (await Promise.all(ends)).map(([output]) => Number(/sent (\d+)/.exec(output)?.[1]))
    for (const key of keys) assert.equal(await receiver.calls(key), 1, `calls for ${key}`)
    assert.ok(
      sent.every((count) => count >= 0 && count <= 60),
      String(sent),
    )
    assert.deepEqual(await pending(connection.db), [])
  },

  async 'a kill between any two steps leaves nothing sent without a row, and a sweep brings all to its end'(bench) {
    const { connection } = bench
    const whole = await dieAtStep(bench, 0)
    const total = Number(/done after (\d+) steps/.exec(whole)?.[1])
    assert.ok(total > 15 && total < 60, whole)
    const seen = new Set<string>()
    for (let step = 1; step <= total; step += 1) {
      await connection.sql(`delete from ${connection.table}`)
      await connection.sql('delete from orders')
      const directory = await mkdtemp(join(bench.directory, 'receiver-'))
      const acknowledged = await dieAtStep({ ...bench, directory }, step)
      const last = acknowledged.trim().split('\n').at(-1) ?? ''
      seen.add(last)
      await checkAfterDeath({ ...bench, directory, receiver: receiverIn(directory) }, last, step)
    }
    assert.deepEqual([...seen], ['', 'committed', 'sent', 'compensated'])
  },
}

/** The new connection of a successor finds one of the states that a crash may leave, and brings it to its end. */
async function checkAfterDeath({ connection, receiver }: Bench, last: string, step: number): Promise<void> {
  const { db } = connection
  const at = `killed at step ${step}, after ${last === '' ? 'nothing' : last}`
  const row = await look(db, 'order-17')
  const orders = await connection.sql('select id from orders')
  assert.equal(orders.length, row === null ? 0 : 1, `${at}: the order and its effect stand or fall together`)
  const taken = await receiver.taken()
  if (row === null) {
    assert.deepEqual([last, taken], ['', []], at)
    return
  }
  if (taken.includes('order-17')) assert.ok(row.state !== 'planned' && row.state !== 'failed', `${at}: ${row.state}`)
  if (last === 'sent') assert.ok(['sent', 'compensated'].includes(row.state), `${at}: ${row.state}`)
  if (row.state === 'sent') assert.ok(taken.includes('order-17'), at)
  const wanted = (await look(db, 'order-17:undo')) !== null
  const again = { send: receiver.send(), possiblySent: 'send-again' } as const
  // Its maker is dead, and the test knows: nothing is left alone for his sake.
  const report = await sweep(db, { mail: again, 'mail:undo': again }, { staleMs: 0 })
  assert.deepEqual(report.left, [], at)
  if (wanted) await compensate(db, 'order-17', receiver.send())
  assert.equal((await look(db, 'order-17'))?.state, wanted ? 'compensated' : 'sent', at)
  assert.deepEqual(await receiver.taken(), wanted ? ['order-17', 'order-17:undo'] : ['order-17'], at)
  for (const key of await receiver.taken()) assert.ok((await receiver.calls(key)) <= 2, at)
}

async function dieAtStep({ opening, directory }: Bench, step: number): Promise<string> {
  const child = spawnChild('once', opening, directory, String(step))
  const [output, [, signal]] = await Promise.all([
    text(child.stdout),
    once(child, 'close') as Promise<[number, string]>,
  ])
  assert.equal(signal, step === 0 ? null : 'SIGKILL', output)
  return output
}

function spawnChild(what: string, opening: Opening, directory: string, ...more: readonly string[]) {
  const script = join(
    import.meta.dirname,
    `crash-child.conformance${import.meta.filename.endsWith('.ts') ? '.ts' : '.js'}`,
  )
  const args = ['--disable-warning=ExperimentalWarning', script, what, JSON.stringify(opening), directory, ...more]
  return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], timeout: childTimeoutMs })
}

async function inTransaction<T>(connection: Connection, work: () => Promise<T>): Promise<T> {
  await connection.sql('begin')
  try {
    const result = await work()
    await connection.sql('commit')
    return result
  } catch (error) {
    await connection.sql('rollback')
    throw error
  }
}

async function planned(connection: Connection, key: string, beside?: () => Promise<void>): Promise<void> {
  await inTransaction(connection, async () => {
    await beside?.()
    await plan(connection.db, { key, ...mail })
  })
}

/** Checks that a failure is the foreseen one of that code, for `assert.rejects`. */
function code(expected: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(isSteadError(error), `not a foreseen failure: ${String(error)}`)
    assert.equal(error.code, expected)
    assert.match(error.message, /^[^\n]+$/, 'a message is one sentence')
    return true
  }
}
