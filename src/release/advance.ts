/**
 * The machine itself: the next record of a rollout, from the record and what is seen. Pure and total.
 *
 * Invariants: an outcome is final; steps only go forward; the same object comes back when nothing changes, so that whoever
 * holds the record writes only what is new.
 */
import { SteadError } from '../base/index.ts'
import type { ReturnOptions } from './begin.ts'
import { advanceDeploy } from './deploy.ts'
import { advanceReturn } from './return.ts'
import type { Rollout, Seen } from './rollout.ts'
import { hasReached } from './steps.ts'

/**
 * The next record; the same object when nothing changes. `seen` is about the step that the rollout is in. Called again
 * whenever something new is seen and at least every second, because steps have limits. A change is one transaction with
 * what follows from it: a return that enters `exchange` with data writes the new generation, a deployment that is handed
 * over begins the return of `followUp`.
 */
export function advance(rollout: Rollout, seen: Seen, nowMs: number): Rollout {
  if (rollout.outcome !== null) return rollout
  return rollout.kind === 'deploy' ? advanceDeploy(rollout, seen, nowMs) : advanceReturn(rollout, seen, nowMs)
}

/** Whether it has ended, in whatever way. A deployment that was handed over goes on as a return. */
export function isOver(rollout: Rollout): boolean {
  return rollout.outcome !== null
}

/**
 * Writes down that a person wants it taken back; `advance` does it. Throws `release.too-late` when it is over, cannot go
 * back, or has passed the point from which it does.
 */
export function cancel(rollout: Rollout, by: string): Rollout {
  const late = whyTooLate(rollout)
  if (late !== null) {
    throw new SteadError({
      code: 'release.too-late',
      message: `the ${rollout.kind === 'deploy' ? 'deployment' : 'return'} of ${rollout.app} cannot be called off: ${late.because}`,
      hint: late.hint,
    })
  }
  return rollout.cancelledBy === null && rollout.takingBack === null ? { ...rollout, cancelledBy: by } : rollout
}

function whyTooLate(rollout: Rollout): { because: string; hint: string } | null {
  if (rollout.outcome !== null)
    return { because: 'it is over', hint: 'Go back to an earlier release with `stead rollback`.' }
  if (rollout.kind === 'return') {
    if (rollout.reason !== null)
      return { because: 'its deployment has failed', hint: 'Wait until it is back, and deploy again.' }
    return rollout.withData && rollout.step !== 'prepare'
      ? { because: 'the data is being exchanged', hint: `What was live is kept as ${rollout.branch}.` }
      : null
  }
  if (rollout.old === null) return { because: 'there is no release before it', hint: 'Stop the app with `stead down`.' }
  return hasReached(rollout, 'confirm')
    ? { because: 'the new release is confirmed', hint: 'Go back with `stead rollback` when it has ended.' }
    : null
}

/** What a return needs beyond its id, its number and the time. */
export type FollowUp = Omit<ReturnOptions, 'id' | 'new' | 'nowMs'>

/** The return that a deployment was handed over to; null where there is none. Begun in the transaction that hands over. */
export function followUp(rollout: Rollout): FollowUp | null {
  if (rollout.kind !== 'deploy' || rollout.outcome?.kind !== 'handed-over' || rollout.old === null) return null
  return {
    app: rollout.app,
    by: rollout.by,
    old: rollout.new,
    target: rollout.old,
    checkpoint: rollout.checkpoint,
    reason: rollout.outcome.reason,
    // Once requests have been let through to the new release it serves on until the exchange.
    stopped: !hasReached(rollout, 'watch'),
  }
}
