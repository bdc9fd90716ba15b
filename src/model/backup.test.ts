/** Backups as an app declares them: what is usual, what is refused, what changes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, toGraph } from './app.ts'
import { describeDiff, diffGraphs } from './diff.ts'
import type { Graph } from './graph.ts'
import { parseGraph } from './parse.ts'
import { postgres, secret } from './resource.ts'
import type { BackupOptions } from './values.ts'

const db = postgres('db')
const graphOf = (backup?: BackupOptions): Graph =>
  toGraph(
    app('shop', () => ({ parts: { db }, ...(backup === undefined ? {} : { backup }) })),
    { name: 'local', production: false },
  )

test('only the place has to be said; the secrets that it names are parts of the app', async () => {
  const plain = graphOf({ to: '/mnt/disk/backups' })
  assert.deepEqual(plain.backup, {
    to: '/mnt/disk/backups',
    everyMs: 86_400_000,
    logMs: 300_000,
    keep: { count: 14, withinMs: 0 },
    drill: { everyMs: 604_800_000, probes: {} },
    key: null,
    credentials: null,
    region: null,
  })
  const full = graphOf({
    to: 's3:https://s3.example.com/bucket/shop',
    every: '6h',
    log: '30s',
    keep: { count: 3, within: '30d' },
    drill: { every: '1d', probe: { db: 'select true' } },
    key: secret('backup-key', { from: 'operator' }),
    credentials: secret('s3-keys', { from: 'operator' }),
    region: 'eu-1',
  })
  assert.deepEqual(
    full.parts.map(({ name }) => name),
    ['backup-key', 'db', 's3-keys'],
  )
  assert.deepEqual([full.backup?.key, full.backup?.drill.probes], ['backup-key', { db: 'select true' }])
  assert.deepEqual(await parseGraph(JSON.parse(JSON.stringify(full))), full)
})

test('what cannot be is refused by name', () => {
  const refuses = (backup: BackupOptions, code: string, message: RegExp): void => {
    assert.throws(() => graphOf(backup), { code, message })
  }
  refuses({ to: 's3:https://me:mine@host/bucket' }, 'model.bad-option', /backup\.to must be a place without keys/)
  refuses({ to: '/d', every: '1s' }, 'model.bad-option', /backup\.every must be a duration from 10m/)
  refuses({ to: '/d', keep: { count: 0 } }, 'model.bad-option', /backup\.keep\.count/)
  refuses({ to: '/d', drill: { probe: { db: '' } } }, 'model.bad-option', /backup\.drill\.probe\.db must be a question/)
  refuses({ to: '/d', drill: { probe: { web: 'select 1' } } }, 'model.bad-backup', /names 'web', which is no part/)
})

test('what changes is told, field by field', () => {
  const lines = (before: Graph, after: Graph): readonly string[] => describeDiff(diffGraphs(before, after))
  const [one, two] = [graphOf({ to: '/a' }), graphOf({ to: '/b', every: '2d' })]
  assert.deepEqual(lines(one, one), [])
  assert.deepEqual(lines(one, two), ['~ backup: everyMs: 1d -> 2d', '~ backup: to: /a -> /b'])
  assert.ok(lines(graphOf(), one).includes('~ backup: to is new: /a'))
  assert.ok(lines(one, graphOf()).includes('~ backup: to is gone: /a'))
})
