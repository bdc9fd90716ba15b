/**
 * Whether the new release is worse than the old one, from the requests to both. Errors are judged with a bound on chance:
 * of releases that are as good as the old one, at most one in two thousand is taken back for its errors in a step, however
 * often it is looked at (requests independent of one another). A percentile has no such bound without its distribution;
 * slowness is therefore acted on only when it lasts (`slowMsMin`).
 *
 * Invariant: fewer requests to the new release than the judgement asks for are never `worse`.
 */
import { rateAtLeast, rateAtMost } from './chance.ts'
import type { Judgement, Sample } from './rollout.ts'

/** The chance, within a step, of taking back for its errors a release that has no more of them than the old one. */
export const chanceOfWrong: number = 1 / 2000

/** Of fewer requests the 99th percentile is but the slowest one or two. */
export const requestsForSpeedMin = 200

/** A release that surely fails more often than this is worse, with nothing to compare it with, unless the old one fails too. */
export const errorsAloneMax = 0.5

/** A difference that is smaller than this harms nobody, whatever the ratio. */
export const slowerMsMin = 10

export type Verdict =
  | { readonly verdict: 'too-few' | 'fine'; readonly why: string }
  | { readonly verdict: 'worse'; readonly in: 'errors' | 'speed'; readonly why: string }

/** Compares the new release with the old one. `why` is for a person to read. */
export function judge(old: Sample | null, young: Sample | null, judgement: Judgement): Verdict {
  const { requestsMin } = judgement
  if (young === null || young.requests < requestsMin) {
    const count = young?.requests ?? 0
    return { verdict: 'too-few', why: `${requests(count)} to the new release say nothing, ${requestsMin} would` }
  }
  if (old === null || old.requests < requestsMin) {
    const count = old?.requests ?? 0
    const few = `${requests(count)} to the old release are too few to compare with`
    if ((old?.errors ?? 0) > 0 || !surelyFails(young)) return { verdict: 'too-few', why: few }
    return { verdict: 'worse', in: 'errors', why: `${share(young)} of ${requests(young.requests)} failed; ${few}` }
  }
  const errors = `${share(young)} of ${requests(young.requests)} failed, of the old release's ${old.requests} ${share(old)}`
  if (surelyFailsMore(old, young, judgement.errorsAboveMax)) return { verdict: 'worse', in: 'errors', why: errors }
  const speed = comparedSpeed(old, young)
  const slower = speed !== null && speed.youngMs > speed.oldMs * judgement.slowerMax
  if (slower && speed.youngMs - speed.oldMs >= slowerMsMin) {
    return { verdict: 'worse', in: 'speed', why: speed.why }
  }
  return { verdict: 'fine', why: speed === null ? errors : `${errors}; ${speed.why}` }
}

function surelyFails(young: Sample): boolean {
  return rateAtLeast(young.errors, young.requests, chanceOfWrong) > errorsAloneMax
}

function surelyFailsMore(old: Sample, young: Sample, aboveMax: number): boolean {
  const alpha = chanceOfWrong / 2
  return rateAtLeast(young.errors, young.requests, alpha) > rateAtMost(old.errors, old.requests, alpha) + aboveMax
}

function comparedSpeed(old: Sample, young: Sample): { oldMs: number; youngMs: number; why: string } | null {
  if (old.p99Ms === null || young.p99Ms === null) return null
  if (Math.min(old.requests, young.requests) < requestsForSpeedMin) return null
  const why = `one request in a hundred takes longer than ${milliseconds(young.p99Ms)}, with the old release ${milliseconds(old.p99Ms)}`
  return { oldMs: old.p99Ms, youngMs: young.p99Ms, why }
}

function requests(count: number): string {
  return count === 1 ? '1 request' : `${count} requests`
}

function share({ errors, requests: all }: Sample): string {
  return `${((100 * errors) / Math.max(1, all)).toFixed(1)} %`
}

function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}
