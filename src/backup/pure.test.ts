/** What of backups needs no target: names of targets, keys, records, what is kept, and when a drill is due. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import type { Backup } from './backups.ts'
import {
  type Drills,
  type Proof,
  afterDrill,
  describeBackups,
  describeProof,
  drillDue,
  lastProof,
  noDrills,
} from './drill.ts'
import { failureOf } from './failure.ts'
import { planForget } from './keep.ts'
import { makeKeyText, parseKeyText } from './key.ts'
import { type Snapshot, dataTags, doubtfulFromMs, leftOver, parseSnapshots, recordTags, storedOf } from './records.ts'
import { parseCredentials, parseTarget, placeOf } from './target.ts'

const hourMs = 3_600_000
const dayMs = 24 * hourMs

function backup(id: string, atMs: number, more: Partial<Backup> = {}): Backup {
  const named = { app: 'shop', name: 'nightly', checkpoint: 'c-1', generation: 2, release: 5 }
  return { id, ...named, atMs, files: 3, bytes: 10, addedBytes: 4, extra: true, code: null, ...more }
}

function proof(id: string, endedMs: number, failure: string | null = null): Proof {
  return { backup: id, app: 'shop', atMs: 0, endedMs, tookMs: 10, checks: ['db: 3 tables'], failure }
}

test('targets as a person writes them', () => {
  assert.deepEqual(parseTarget('/mnt/disk/'), { kind: 'directory', path: '/mnt/disk' })
  const s3 = parseTarget('s3:https://s3.example.com:9000/my-bucket/a//b/', { region: 'eu-1' })
  assert.equal(placeOf(s3), 's3:https://s3.example.com:9000/my-bucket/a/b')
  const bad = [
    '',
    'backups',
    's3:nothing',
    's3:https://host',
    's3:https://host/B',
    's3:https://k:s@host/bucket',
    'ftp://h/b',
  ]
  for (const text of bad) assert.throws(() => parseTarget(text), { code: 'backup.bad-target' }, text)
  assert.throws(
    () => parseTarget('s3:https://key:hidden@host/bucket'),
    (error: Error) => !error.message.includes('hidden'),
  )
})

test('keys of S3 in the forms in which tools write them', () => {
  const keys = { accessKeyId: 'AK', secretAccessKey: 'a b=c', sessionToken: null }
  assert.deepEqual(parseCredentials('[default]\naws_access_key_id = AK\naws_secret_access_key = a b=c\n'), keys)
  assert.deepEqual(parseCredentials('export AWS_ACCESS_KEY_ID="AK"\nAWS_SECRET_ACCESS_KEY=\'a b=c\''), keys)
  assert.equal(parseCredentials('aws_access_key_id = AK'), null)
})

test('a key with any one character changed is not taken for one', () => {
  const key = makeKeyText(seededRandom(7))
  assert.equal(parseKeyText(key, 'here'), key)
  const letters = key.replaceAll('-', '').split('')
  const taken = letters.filter((_, at) => {
    const plain = [...letters]
    plain[at] = plain[at] === 'x' ? 'y' : 'x'
    try {
      return parseKeyText(plain.join(''), 'here') !== ''
    } catch {
      return false
    }
  })
  assert.deepEqual(taken, [])
  assert.throws(() => parseKeyText('short', 'the file /k'), { code: 'backup.bad-key', message: /the file \/k/ })
})

test('a backup is what has both data and record; all of it comes back from the tags', () => {
  const [one, two] = [backup('one', 2000), backup('two', 1000, { release: null, extra: false })]
  const snapshot = (id: string, tags: readonly string[]): Snapshot => ({ id, timeMs: 5 * dayMs, tags })
  const all = [
    snapshot('d1', dataTags('one', 'shop')),
    snapshot('r1', recordTags(one, 1234.5)),
    snapshot('d2', dataTags('two', 'shop')),
    snapshot('r2', recordTags(two, 1)),
    snapshot('d3', dataTags('half', 'shop')),
    snapshot('r4', recordTags(backup('other-half', 1), 1)),
    snapshot('s', ['somebody', 'else=1']),
  ]
  assert.deepEqual(storedOf(all, 'here'), [
    { backup: two, dataId: 'd2', recordId: 'r2', changedMs: 1 },
    { backup: one, dataId: 'd1', recordId: 'r1', changedMs: 1234.5 },
  ])
  assert.deepEqual(leftOver(all, 7 * dayMs, dayMs), ['d3', 'r4'])
  assert.deepEqual(leftOver(all, 5 * dayMs + 1, dayMs), [])
  assert.throws(() => storedOf([snapshot('n', ['stead=2', 'kind=record'])], 'here'), { code: 'backup.newer-version' })
  assert.equal(parseSnapshots('no list'), null)
  assert.deepEqual(parseSnapshots('null'), [])
})

test('a file that was written to around the checkpoint is not trusted to be unchanged', () => {
  const stored = (changedMs: number, atMs: number) => ({
    backup: backup('x', atMs),
    dataId: 'd',
    recordId: 'r',
    changedMs,
  })
  assert.equal(doubtfulFromMs(stored(50_000, 100_000)), null)
  assert.equal(doubtfulFromMs(stored(99_999, 100_000)), 99_979)
  assert.equal(doubtfulFromMs(stored(100_500, 100_000)), 100_480)
})

test('what the tool says becomes one sentence of our own', () => {
  const cases: readonly (readonly [string, string])[] = [
    ['Fatal: wrong password or no key found', 'wrong-key'],
    ['Fatal: unable to save snapshot: write /x: no space left on device', 'target-full'],
    ['unable to create lock in backend: repository is already locked exclusively by PID 12 on vm by root', 'busy'],
    [
      'Fatal: unable to open config file: Stat: Get "http://x/": dial tcp 1.2.3.4:1: connect: connection refused\nIs there',
      'target-gone',
    ],
    ['Fatal: unable to open config file: Access Denied.\nIs there a repository', 'target-refused'],
    [
      'Fatal: unable to open config file: stat /x/config: no such file or directory\nIs there a repository',
      'no-repository',
    ],
    ['Stat: The request signature we calculated does not match the signature you provided.', 'target-refused'],
    ['Load(<data/1>, 0, 0) returned error, retrying after 1s: <data/1> does not match', 'damaged'],
    ['Fatal: something that was never seen', 'tool-failed'],
  ]
  for (const [output, code] of cases) {
    assert.equal(failureOf({ what: 'w', place: '/p', exitCode: 1, output }).code, `backup.${code}`, output)
  }
})

test('a drill is due on the newest backup, after its time, and sooner after a failure', () => {
  const backups = [backup('new', 9 * dayMs), backup('old', dayMs)]
  const schedule = { everyMs: 7 * dayMs, retryMs: hourMs }
  const due = (drills: Drills, nowMs: number) => {
    const found = drillDue(drills, schedule, backups, nowMs)
    return found.due === null ? found.nextMs : found.due.id
  }
  assert.deepEqual(drillDue(noDrills, schedule, [], 0), { due: null, nextMs: null })
  assert.equal(due(noDrills, 10 * dayMs), 'new')
  const good = afterDrill(noDrills, proof('new', 10 * dayMs))
  assert.equal(due(good, 11 * dayMs), 17 * dayMs)
  assert.equal(due(good, 17 * dayMs), 'new')
  const failed = afterDrill(good, proof('new', 17 * dayMs, 'a flipped byte'))
  assert.equal(due(failed, 17 * dayMs + 1), 17 * dayMs + hourMs)
  assert.equal(due(failed, 18 * dayMs), 'new')
  // The clock was far ahead once: the next drill is a period away, not a period after that time.
  assert.equal(due(afterDrill(noDrills, proof('new', 900 * dayMs)), 10 * dayMs), 17 * dayMs)
})

test('the last good proof is remembered, however many drills fail after it', () => {
  const drills = Array.from({ length: 80 }, (_, n) => proof('b', n, n === 3 ? null : 'no')).reduce(afterDrill, noDrills)
  assert.equal(lastProof(drills)?.endedMs, 3)
  assert.ok(drills.proofs.length <= 50)
  assert.equal(lastProof(noDrills), null)
})

test('what is known of a backup, in words', () => {
  const nowMs = 10 * dayMs
  const [old, young] = [backup('old', 2 * dayMs), backup('young', 9 * dayMs)]
  const proved = afterDrill(noDrills, proof('old', 8 * dayMs))
  assert.deepEqual(describeProof(young, proved, nowMs), {
    state: 'unproved',
    sentence: 'unproved: no drill has restored it yet',
  })
  assert.deepEqual(describeProof(old, proved, nowMs), { state: 'proved', sentence: 'proved 2 days ago: db: 3 tables' })
  const failed = afterDrill(proved, proof('young', nowMs - 5 * 60_000, 'db did not start'))
  assert.deepEqual(describeProof(young, failed, nowMs), {
    state: 'failed',
    sentence: 'failed its drill 5 minutes ago: db did not start',
  })
  const say = (drills: Drills, everyMs: number) => describeBackups([old, young], drills, everyMs, nowMs)
  assert.equal(describeBackups([], noDrills, dayMs, nowMs).sentence, 'no backup')
  assert.equal(say(noDrills, dayMs).sentence, 'newest backup of 24 hours ago; none was ever proved')
  assert.deepEqual(say(proved, 7 * dayMs), {
    state: 'proved',
    sentence: 'newest backup of 24 hours ago; proved 2 days ago',
    overdue: false,
  })
  assert.equal(say(proved, dayMs).overdue, true)
  assert.match(
    say(failed, dayMs).sentence,
    /the last drill failed: db did not start; the last good proof is of 2 days ago/,
  )
})

test('what is kept: so many, so young, the newest, and the newest proved', () => {
  const backups = [1, 2, 3, 4, 5].map((day) => backup(`d${day}`, day * dayMs))
  const drills = afterDrill(afterDrill(noDrills, proof('d1', 1)), proof('d2', 2))
  const nowMs = 5 * dayMs + 1
  const plan = (keep: { count: number; withinMs: number }, known = drills) =>
    planForget(backups, keep, () => known, nowMs).toSorted()
  assert.deepEqual(plan({ count: 2, withinMs: 0 }), ['d1', 'd3'])
  assert.deepEqual(plan({ count: 2, withinMs: 0 }, noDrills), ['d1', 'd2', 'd3'])
  assert.deepEqual(plan({ count: 0, withinMs: 0 }, noDrills), ['d1', 'd2', 'd3', 'd4'])
  assert.deepEqual(plan({ count: 1, withinMs: 2 * dayMs + 2 }), ['d1'])
  const other = backup('other', 0, { app: 'blog' })
  assert.ok(!planForget([...backups, other], { count: 1, withinMs: 0 }, () => noDrills, nowMs).includes('other'))
})
