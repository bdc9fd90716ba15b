/** A good release is not taken back by chance, however often it is looked at, and a bad one is. With simulated traffic. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { rateAtLeast, rateAtMost } from './chance.ts'
import { chanceOfWrong, judge } from './judge.ts'
import { slowMsMin } from './limits.ts'
import type { Judgement, Sample } from './rollout.ts'

const judgement: Judgement = { requestsMin: 50, errorsAboveMax: 0, slowerMax: 2 }

/** Uniform numbers between 0 and 1, exclusive. */
function uniform(seed: number): () => number {
  const dice = seededRandom(seed)
  return () => {
    const [a = 0, b = 0, c = 0, d = 0] = dice.bytes(4)
    return (a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24 + 0.5) / 2 ** 32
  }
}

/** Looks after every ten requests of the new release, until it is judged worse or `looks` have passed. */
function looksUntilWorse(
  next: () => number,
  rates: { old: number; new: number },
  share: number,
  looks: number,
): number | null {
  const counts = { old: 0, oldErrors: 0, new: 0, newErrors: 0 }
  for (let look = 1; look <= looks; look += 1) {
    while (counts.new < look * 10) {
      const young = next() < share
      const error = next() < (young ? rates.new : rates.old) ? 1 : 0
      if (young) [counts.new, counts.newErrors] = [counts.new + 1, counts.newErrors + error]
      else [counts.old, counts.oldErrors] = [counts.old + 1, counts.oldErrors + error]
    }
    const old: Sample = { requests: counts.old, errors: counts.oldErrors, p99Ms: null }
    const young: Sample = { requests: counts.new, errors: counts.newErrors, p99Ms: null }
    if (judge(old, young, judgement).verdict === 'worse') return look
  }
  return null
}

test('R20: of equal releases, at most the promised share is taken back, with a look after every ten requests', () => {
  const next = uniform(11)
  const runs = 900
  let wrong = 0
  for (let run = 0; run < runs; run += 1) {
    const rate = [0.002, 0.02, 0.3][run % 3] ?? 0
    if (looksUntilWorse(next, { old: rate, new: rate }, [0.1, 0.5][run % 2] ?? 0.5, 60) !== null) wrong += 1
  }
  // The bound allows 0.45 on average; four would have a chance of about one in a thousand.
  assert.ok(wrong < 4 && chanceOfWrong * runs < 1, `${wrong} of ${runs}`)
})

test('a release that fails much more is found soon', () => {
  const next = uniform(12)
  const worst = (rates: { old: number; new: number }): number =>
    Math.max(...Array.from({ length: 50 }, () => looksUntilWorse(next, rates, 0.1, 1000) ?? Number.POSITIVE_INFINITY))
  assert.ok(worst({ old: 0.01, new: 1 }) <= 5, 'at the smallest number of requests')
  assert.ok(worst({ old: 0.01, new: 0.3 }) <= 12)
  assert.ok(worst({ old: 0.01, new: 0.1 }) <= 60)
})

test('R21: fewer requests than asked for say nothing, of either release', () => {
  const bad: Sample = { requests: 49, errors: 49, p99Ms: 9000 }
  const good: Sample = { requests: 1000, errors: 0, p99Ms: 5 }
  const sad: Sample = { requests: 500, errors: 100, p99Ms: 9000 }
  assert.equal(judge(good, bad, judgement).verdict, 'too-few')
  assert.equal(judge(good, null, judgement).verdict, 'too-few')
  assert.equal(judge(null, sad, judgement).verdict, 'too-few')
  assert.equal(judge({ ...good, requests: 49 }, sad, judgement).verdict, 'too-few')
})

test('R21: a release that surely fails half of its requests is worse without a measure, unless the old one fails too', () => {
  const failing: Sample = { requests: 50, errors: 45, p99Ms: null }
  assert.deepEqual(judge(null, failing, judgement), {
    verdict: 'worse',
    in: 'errors',
    why: '90.0 % of 50 requests failed; 0 requests to the old release are too few to compare with',
  })
  assert.equal(judge({ requests: 3, errors: 0, p99Ms: null }, failing, judgement).verdict, 'worse')
  assert.equal(judge({ requests: 3, errors: 3, p99Ms: null }, failing, judgement).verdict, 'too-few')
  // Half of them, by chance a little more: not surely.
  assert.equal(judge(null, { requests: 50, errors: 30, p99Ms: null }, judgement).verdict, 'too-few')
})

test('what it may have above the old release is granted', () => {
  const old: Sample = { requests: 100_000, errors: 100, p99Ms: null }
  const young: Sample = { requests: 100_000, errors: 2000, p99Ms: null }
  assert.equal(judge(old, young, judgement).verdict, 'worse')
  assert.equal(judge(old, young, { ...judgement, errorsAboveMax: 0.05 }).verdict, 'fine')
})

test('slower counts with enough requests, above the ratio, and by more than nobody notices', () => {
  const at = (requests: number, p99Ms: number | null): Sample => ({ requests, errors: 0, p99Ms })
  assert.deepEqual(judge(at(500, 100), at(500, 250), judgement), {
    verdict: 'worse',
    in: 'speed',
    why: 'one request in a hundred takes longer than 250 ms, with the old release 100 ms',
  })
  assert.equal(judge(at(500, 100), at(500, 190), judgement).verdict, 'fine')
  assert.equal(judge(at(500, 1), at(500, 5), judgement).verdict, 'fine')
  assert.equal(judge(at(500, 100), at(150, 900), judgement).verdict, 'fine')
  assert.equal(judge(at(500, null), at(500, 900), judgement).verdict, 'fine')
})

test('R22: equal releases with long tails are not slow for long: below one in a hundred watches', () => {
  const next = uniform(13)
  // Log-normal durations, sigma 1: the 99th percentile is ten times the median. 40 requests a second, windows of 5 s.
  const p99 = (): number => {
    const durations = Array.from(
      { length: 200 },
      () => 30 * Math.exp(Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next())),
    )
    return durations.toSorted((a, b) => a - b)[197] ?? 0
  }
  let wrong = 0
  for (let watch = 0; watch < 300; watch += 1) {
    let slow = 0
    for (let window = 0; window < 12; window += 1) {
      const old: Sample = { requests: 200, errors: 0, p99Ms: p99() }
      slow = judge(old, { ...old, p99Ms: p99() }, judgement).verdict === 'worse' ? slow + 1 : 0
      // The first look starts the clock: so long after it, it has been slow in all windows between.
      if (slow > slowMsMin / 5000) {
        wrong += 1
        break
      }
    }
  }
  assert.ok(wrong <= 2, `${wrong} of 300`)
})

test('the bounds hold their known values', () => {
  assert.equal(rateAtLeast(0, 100, 0.001), 0)
  assert.equal(rateAtMost(0, 0, 0.001), 1)
  // All of n fail: (n + 1) * p^n reaches 1 / alpha on the way down.
  const p = rateAtLeast(20, 20, 0.001)
  assert.ok(Math.abs(21 * p ** 20 - 0.001) < 1e-9, String(p))
  for (const [errors, requests] of [
    [1, 10],
    [30, 1000],
    [999, 1000],
    [5, 1_000_000],
  ] as const) {
    const [low, high] = [rateAtLeast(errors, requests, 0.001), rateAtMost(errors, requests, 0.001)]
    assert.ok(low < errors / requests && errors / requests < high && high <= 1 && low >= 0)
  }
})
