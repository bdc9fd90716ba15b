/** How long a step may take, where waiting for ever is possible. Milliseconds. Invariant: every step has a limit. */
import type { Step } from './rollout.ts'

const secondMs = 1000
const minuteMs = 60 * secondMs

/** What follows when the limit has passed is in the table of `deploy.ts` and `return.ts`. */
export const stepLimitsMs: Readonly<Record<Step, number>> = {
  rehearse: 60 * minuteMs,
  // Requests wait meanwhile: instances that do not end by then are killed long before.
  stop: minuteMs,
  checkpoint: 10 * minuteMs,
  expand: 60 * minuteMs,
  start: 10 * minuteMs,
  // For the gateways to route by a share; how long a share is in force is said by the watch.
  shift: 2 * minuteMs,
  // Beyond the watch itself, for instances that are not ready at its end.
  watch: 5 * minuteMs,
  confirm: 10 * minuteMs,
  contract: 60 * minuteMs,
  // For the old release to serve again, before a person has to look.
  'take-back': 10 * minuteMs,
  prepare: 10 * minuteMs,
  exchange: 10 * minuteMs,
  report: 60 * minuteMs,
}

/** How many times as long as planned a share of a canary may wait for enough requests to judge by. */
export const sharePatienceMax = 3

/** The new release must be slower than it may be for so long without a break: one look at a percentile says little. */
export const slowMsMin: number = 20 * secondMs
