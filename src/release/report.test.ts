/** The report says all that was left behind, and what can be done about it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeReport, reportOf, type ReportOptions } from './report.ts'

const timeMs = Date.UTC(2026, 10, 29, 12)
const options: ReportOptions = {
  app: 'shop',
  from: 8,
  to: 7,
  reason: 'web: does not start',
  checkpoint: 'before-8',
  branch: 'left-by-9',
  compared: {
    changes: [
      { part: 'db', name: 'public.users', added: 0, removed: 1, changed: 2 },
      { part: 'db', name: 'public.orders', added: 3, removed: 0, changed: 0 },
      { part: 'db', name: 'public.quiet', added: 0, removed: 0, changed: 0 },
    ],
    effects: [
      { part: 'db', key: 'o-2', what: 'mail to b', state: 'possibly-sent', compensation: null, timeMs },
      { part: 'db', key: 'o-1', what: 'card charged', state: 'sent', compensation: 'refund o-1', timeMs },
    ],
    exact: true,
    gaps: ['db: a table without a primary key, public.log, was only counted'],
  },
  external: ['invoices'],
}

test('as lines for a terminal', () => {
  assert.deepEqual(describeReport(reportOf(options)), [
    'Gone back from release 8 to 7, with the data of before-8, because: web: does not start.',
    'Left behind:',
    '  db public.orders: 3 inserted; `stead replay left-by-9 db public.orders` brings the inserted ones back',
    '  db public.users: 2 updated, 1 deleted',
    'Sent, and not undone by going back:',
    '  2026-11-29T12:00:00.000Z db o-1: card charged; to undo it: refund o-1',
    'Possibly sent: ask whoever got it:',
    '  2026-11-29T12:00:00.000Z db o-2: mail to b; no compensation was given',
    'Not in the data of the app, so it stays as it is:',
    '  invoices',
    'Not compared:',
    '  db: a table without a primary key, public.log, was only counted',
    'Everything as it was until then is in the branch left-by-9: `stead branch NAME --from left-by-9` opens it.',
  ])
})

test('as a preview, before anything is left, nothing is offered yet', () => {
  const lines = describeReport(
    reportOf({ ...options, branch: null, reason: null, compared: { ...options.compared, exact: false } }),
  )
  assert.equal(lines[0], 'Going back from release 8 to 7, with the data of before-8:')
  assert.equal(lines[1], 'Would be left behind:')
  assert.ok(lines.includes('Counted, not compared:'))
  assert.doesNotMatch(lines.join('\n'), /replay|branch/)
})

test('nothing written is said too', () => {
  const compared = { changes: [], effects: [], exact: true, gaps: [] }
  assert.deepEqual(describeReport(reportOf({ ...options, compared, external: [], reason: null })), [
    'Gone back from release 8 to 7, with the data of before-8.',
    'Nothing was written since.',
    'Everything as it was until then is in the branch left-by-9: `stead branch NAME --from left-by-9` opens it.',
  ])
})

test('R26: lines are cut, the data is whole', () => {
  const changes = Array.from({ length: 50 }, (_, index) => ({
    part: 'db',
    name: `t${index}`,
    added: 1,
    removed: 0,
    changed: 0,
  }))
  const report = reportOf({ ...options, compared: { ...options.compared, changes } })
  assert.equal(report.left.length, 50)
  assert.ok(describeReport(report).includes('  and 30 more'))
})
