/** What is done for backups without anybody asking: when, in what order, and what becomes of failures and lost time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterErrand, type Course, type Errand, newCourse, nextErrand, parseCourse } from './schedule.ts'

const [minute, hour, day] = [60_000, 3_600_000, 86_400_000]
const rhythm = { everyMs: day, logMs: 5 * minute, drillMs: 7 * day }
const begin = 1_000 * day
const next = (course: Course, nowMs: number, generation = 1) => nextErrand(course, rhythm, generation, nowMs)

/** A course on which all was done at `nowMs`. */
function done(nowMs: number): Course {
  const made = afterErrand(newCourse('/d'), 'backup', null, nowMs, { generation: 1, backup: 'b' })
  return afterErrand(afterErrand(made, 'log', null, nowMs), 'drill', null, nowMs)
}

test('a backup comes first, then its proof; the log follows it, and no log goes on from nothing', () => {
  const empty = newCourse('/d')
  assert.deepEqual(next(empty, begin), { errand: 'backup' })
  const made = afterErrand(empty, 'backup', null, begin, { generation: 1, backup: 'b' })
  assert.deepEqual(next(made, begin), { errand: 'drill' })
  const proved = afterErrand(made, 'drill', null, begin)
  assert.deepEqual(next(proved, begin), { errand: null, nextMs: begin + 5 * minute })
  assert.deepEqual(next(proved, begin + 5 * minute), { errand: 'log' })
})

test('what fell due while the machine was down is done once', () => {
  let course = done(begin)
  const did: Errand[] = []
  const nowMs = begin + 30 * day
  for (;;) {
    const { errand } = next(course, nowMs)
    if (errand === null) break
    did.push(errand)
    course = afterErrand(course, errand, null, nowMs)
  }
  assert.deepEqual(did, ['backup', 'drill'])
})

test('a return makes a backup due, because the log of now does not go on from the one before', () => {
  const course = done(begin)
  assert.deepEqual(next(course, begin + minute, 2), { errand: 'backup' })
  const again = afterErrand(course, 'backup', null, begin + minute, { generation: 2, backup: 'c' })
  assert.deepEqual(next(again, begin + minute, 2), { errand: null, nextMs: begin + 6 * minute })
})

test('what fails is tried again with growing pauses, up to an hour, and keeps nothing else waiting', () => {
  let course = done(begin)
  let nowMs = begin + day
  const pauses: number[] = []
  for (let times = 0; times < 12; times++) {
    course = afterErrand(afterErrand(course, 'log', null, nowMs), 'backup', 'the target is gone', nowMs)
    const found = next(course, nowMs)
    assert.ok(found.errand === null)
    const retryMs = [1, 2, 4, 8, 16, 32]
      .map((factor) => nowMs + factor * 10_000)
      .find((ms) => next(course, ms).errand === 'backup')
    pauses.push(retryMs === undefined ? Infinity : retryMs - nowMs)
    nowMs += hour
  }
  assert.deepEqual(pauses.slice(0, 6), [10_000, 20_000, 40_000, 80_000, 160_000, 320_000])
  assert.equal(course.did.backup.failures, 12)
  assert.deepEqual(next(course, nowMs), { errand: 'backup' }, 'after an hour at the latest')
  const mended = afterErrand(course, 'backup', null, nowMs)
  assert.deepEqual(mended.did.backup, { doneMs: nowMs, failures: 0, failedMs: null, failure: null })
})

test('a clock that is set back puts nothing off by more than its interval', () => {
  const course = done(begin)
  assert.deepEqual(next(course, begin - 100 * day), { errand: null, nextMs: begin - 100 * day + 5 * minute })
})

test('what was kept is read again; what cannot be, or is of another place, begins anew', () => {
  const course = done(begin)
  assert.deepEqual(parseCourse(JSON.parse(JSON.stringify(course)), '/d'), course)
  for (const [value, place] of [
    [course, '/e'],
    ['x', '/d'],
    [{ ...course, did: {} }, '/d'],
  ] as const)
    assert.deepEqual(parseCourse(value, place), newCourse(place))
})
