/** Ways back: which checkpoint, which code, and what is refused in which words. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advance } from './advance.ts'
import {
  assertCodeOnly,
  checkpointFor,
  historyOf,
  type Kept,
  liveOf,
  previousOf,
  type Release,
  releaseOf,
} from './history.ts'
import { deployment, fine, going, until } from './seen.test-helper.ts'

function release(number: number, given: Partial<Release> = {}): Release {
  return {
    number,
    checkpoint: `before-${number}`,
    migrates: 'none',
    contracted: false,
    state: 'replaced',
    reason: null,
    after: number === 1 ? null : number - 1,
    backTo: null,
    withData: false,
    ...given,
  }
}

const first = release(1, { checkpoint: null })
const all = new Set(['before-2', 'before-3', 'before-4', 'left-by-4', 'left-by-5'])

test('R23: with data it goes back to what was kept when the release gave way', () => {
  const releases = [first, release(2), release(3, { state: 'live' })]
  assert.equal(checkpointFor(releases, 1, all), 'before-2')
  assert.equal(checkpointFor(releases, 2, all), 'before-3')
})

test('a return can be returned from: what it left is what was kept', () => {
  const back = release(4, {
    state: 'live',
    after: 3,
    backTo: 2,
    withData: true,
    checkpoint: 'left-by-4',
  })
  const releases = [first, release(2), release(3), back]
  assert.equal(checkpointFor(releases, 3, all), 'left-by-4')
  assert.equal(checkpointFor(releases, 2, all), 'before-3')
})

test('a release that was taken back with its data is no way, what was there before it is', () => {
  const bad = release(3, { state: 'taken-back', reason: 'it fails' })
  const back = release(4, {
    state: 'live',
    after: 3,
    backTo: 2,
    withData: true,
    checkpoint: 'left-by-4',
  })
  const releases = [first, release(2), bad, back]
  assert.equal(checkpointFor(releases, 2, all), 'before-3')
  assert.throws(() => checkpointFor(releases, 3, all), {
    code: 'release.not-served',
    message: 'release 3 was taken back: it fails',
  })
})

test('code was taken back only: the live release can still get its data from before', () => {
  const bad = release(3, { state: 'taken-back', reason: 'it fails' })
  assert.equal(checkpointFor([first, release(2, { state: 'live' }), bad], 2, all), 'before-3')
  const later = release(4, { state: 'live', after: 2 })
  assert.equal(checkpointFor([first, release(2), bad, later], 2, all), 'before-4')
})

test('what is not there is refused, with a code and a sentence', () => {
  const releases = [first, release(2), release(3, { state: 'live' }), release(4, { state: 'refused', after: 3 })]
  assert.throws(() => checkpointFor(releases, 9, all), {
    code: 'release.unknown',
    message: 'there is no release 9: there are 1 to 4',
  })
  assert.throws(() => releaseOf([], 1), {
    code: 'release.unknown',
    message: 'there is no release 1: there is none yet',
  })
  assert.throws(() => checkpointFor(releases, 4, all), { code: 'release.not-served' })
  assert.throws(() => checkpointFor(releases, 3, all), { code: 'release.already-live' })
  assert.throws(() => checkpointFor(releases, 2, new Set()), {
    code: 'release.data-gone',
    message: 'the data of release 2 is gone: before-3 was deleted',
  })
  const kept = [first, release(2, { checkpoint: null, state: 'live' })]
  assert.throws(() => checkpointFor(kept, 1, all), { code: 'release.data-gone' })
})

test('R24: code alone goes back over what both can work with, and over nothing else', () => {
  const live = release(4, { state: 'live' })
  assert.doesNotThrow(() => assertCodeOnly([first, release(2), release(3, { migrates: 'expand' }), live], 1))
  const stopped = [first, release(2), release(3, { migrates: 'stop' }), live]
  assert.doesNotThrow(() => assertCodeOnly(stopped, 3))
  assert.throws(() => assertCodeOnly(stopped, 2), {
    code: 'release.schema-moved',
    message: /release 3 has changed the schema/,
  })
  const contracted = [first, release(2), release(3, { migrates: 'expand', contracted: true }), live]
  assert.throws(() => assertCodeOnly(contracted, 1), { code: 'release.schema-moved' })
  assert.throws(() => assertCodeOnly(contracted, 4), { code: 'release.already-live' })
})

test('after a return with data, the schema is that of the release it went back to', () => {
  const back = release(4, { state: 'live', after: 3, backTo: 2, withData: true })
  const releases = [first, release(2), release(3, { migrates: 'stop' }), back]
  assert.doesNotThrow(() => assertCodeOnly(releases, 1))
  assert.throws(() => assertCodeOnly(releases, 3), { code: 'release.schema-moved' })
})

test('without a name it is the one before; after a return, the one before what it went back to', () => {
  const back = release(4, { state: 'live', after: 3, backTo: 2 })
  assert.equal(previousOf([first, release(2), release(3, { state: 'live' })]).number, 2)
  assert.equal(previousOf([first, release(2), release(3), back]).number, 1)
  assert.throws(() => previousOf([{ ...first, state: 'live' }]), { code: 'release.none-before' })
  assert.throws(() => previousOf([]), { code: 'release.none-before' })
  assert.equal(liveOf([first]), null)
})

test('what became of a release follows from its rollout', () => {
  const done = (rollout: Kept['rollout']): Kept['rollout'] => (rollout === null ? null : until(rollout, null).rollout)
  const two = done(deployment({ old: 1, new: 2 }))
  const begun = until(deployment({ old: 2, new: 3, migrates: 'stop' }), 'start')
  const failed = { state: 'failed', part: 'web', reason: 'does not start' } as const
  const three = advance(begun.rollout, { ...fine(begun.rollout), instances: failed }, begun.nowMs)
  const four = done(going({ old: 3, new: 4, target: 2, checkpoint: 'before-3', reason: 'web: does not start' }))
  const kept: Kept[] = [
    { number: 4, backTo: 2, rollout: four },
    { number: 1, backTo: null, rollout: null },
    { number: 2, backTo: null, rollout: two },
    { number: 3, backTo: null, rollout: three },
    { number: 5, backTo: null, rollout: deployment({ old: 4, new: 5 }) },
  ]
  const history = historyOf(kept, 4)
  assert.deepEqual(
    history.map(({ number, state, after, checkpoint }) => [number, state, after, checkpoint]),
    [
      [1, 'replaced', null, null],
      [2, 'replaced', 1, 'before-2'],
      [3, 'taken-back', 2, 'before-3'],
      [4, 'live', 3, 'left-by-4'],
      [5, 'rolling-out', 4, null],
    ],
  )
  assert.equal(history[1]?.contracted, true)
  assert.equal(checkpointFor(history, 2, all), 'before-3')
  assert.throws(() => assertCodeOnly(history, 1), { code: 'release.schema-moved' })
  assert.equal(previousOf(history).number, 1)
})

test('put in place without a rollout, a release comes after the last one that served', () => {
  const refused = until(deployment({ old: 1, new: 2 }), 'rehearse').rollout
  const ended: Kept['rollout'] = { ...refused, outcome: { kind: 'refused', reason: 'no' } }
  const history = historyOf(
    [
      { number: 1, backTo: null, rollout: null },
      { number: 2, backTo: null, rollout: ended },
      { number: 3, backTo: null, rollout: null },
    ],
    3,
  )
  assert.deepEqual(
    history.map(({ state, after }) => [state, after]),
    [
      ['replaced', null],
      ['refused', 1],
      ['live', 1],
    ],
  )
})
