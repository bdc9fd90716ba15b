/** What a person reads before a deployment. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, type Graph, postgres, secret, service, toGraph } from '../model/index.ts'
import { type Change, describeChange, restartsOf } from './change.ts'

function shop(greeting: string, replicas = 1): Graph {
  const made = app('shop', () => {
    const db = postgres('db')
    const key = secret('key')
    const web = service('web', {
      run: ['node', 'web.ts'],
      http: 3000,
      replicas,
      env: { GREETING: greeting },
      use: { db, key },
    })
    const mailer = service('mailer', { run: ['node', 'mailer.ts'], use: { db } })
    return { parts: { web, mailer }, public: { 'shop.localhost': web } }
  })
  return toGraph(made, { name: 'local', production: false })
}

const before = { graph: shop('hello'), bundles: { web: 'a', mailer: 'b' }, secrets: { key: 1 } }
const deploy: Change['deploy'] = {
  old: 7,
  new: 8,
  strategy: 'rolling',
  migrates: 'none',
  contracts: false,
  hasData: true,
  watchMs: 60_000,
}
const change: Change = { before, after: before, deploy, pending: [], holdMaxMs: 60_000 }

test('a deployment without a change says so', () => {
  assert.deepEqual(describeChange(change), [
    'release 7 -> 8',
    'nothing is declared differently',
    'nothing restarts',
    'steps: checkpoint, start, watch, confirm',
    'replaces one instance after another; requests do not wait',
    'watches it for 1m, and takes it back when an instance fails, or when from 50 requests on it surely has more than 1 % more errors than the old release, or stays 2 times as slow',
    'if it is taken back, only the code goes back: no write is lost',
  ])
})

test('parts restart for a reason, and another number of instances is none', () => {
  const after = { graph: shop('bonjour', 3), bundles: { web: 'a2', mailer: 'b' }, secrets: { key: 2 } }
  assert.deepEqual(restartsOf(before, after), [
    { part: 'web', why: 'its code has changed, its declaration has changed, key has a new version' },
  ])
  assert.deepEqual(restartsOf(before, { ...before, graph: shop('hello', 3) }), [])
})

test('statements are shown with when they run, and what a stop costs', () => {
  const pending: Change['pending'] = [
    {
      part: 'db',
      migrates: 'stop',
      statements: [
        { file: '0007_note.expand.sql', half: 'expand', text: 'ALTER TABLE orders\n  ADD note text' },
        { file: '0008_drop.sql', half: 'whole', text: 'DROP TABLE old' },
      ],
    },
  ]
  const lines = describeChange({ ...change, deploy: { ...deploy, migrates: 'stop', contracts: true }, pending }).join(
    '\n',
  )
  assert.match(lines, /db 0007_note\.expand\.sql \(runs while the app is stopped\): ALTER TABLE orders ADD note text\n/)
  assert.match(lines, /stops the app: a migration of db comes without halves.*longer than 1m are refused/)
  assert.match(lines, /the data goes back too/)
  assert.doesNotMatch(lines, /requests do not wait/)
  const halves = pending.map((item) => ({ ...item, migrates: 'expand' as const }))
  const shared = describeChange({
    ...change,
    deploy: { ...deploy, migrates: 'expand', contracts: true },
    pending: halves,
  })
  assert.ok(shared.some((line) => line.includes('(runs at once)')))
  assert.ok(shared.includes('once the second halves have run, going back to the old release needs its data too'))
})

test('long statements and long lists are cut, and it says by how much', () => {
  const statements = Array.from({ length: 60 }, () => ({
    file: 'a.sql',
    half: 'expand' as const,
    text: 'x'.repeat(500),
  }))
  const lines = describeChange({ ...change, pending: [{ part: 'db', migrates: 'expand', statements }] })
  assert.ok(lines.every((line) => line.length < 300))
  assert.ok(lines.includes('and 10 statements more'))
})

test('the first release is described as what it brings', () => {
  const lines = describeChange({ ...change, before: null, deploy: { ...deploy, old: null } })
  assert.equal(lines[0], 'release 8 is the first')
  assert.ok(lines.some((line) => line.startsWith('+ ') && line.includes('web')))
})
