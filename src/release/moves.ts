/**
 * The moves that the tables are made of: a line is written down, the next step is entered, the rollout ends. Invariants: of
 * a rollout without an outcome the last step record is open and is of its step; with one, none is open. An outcome is final.
 */
import { stepLimitsMs } from './limits.ts'
import type { Outcome, Progress, Rollout, Seen, StepRecord, TaskState } from './rollout.ts'

/** Ends the step under way, with what was found, and enters another one (or the same one anew). */
export function enter<R extends Rollout>(rollout: R, step: R['step'], nowMs: number, lines: readonly string[] = []): R {
  const opened: StepRecord = { step, startMs: nowMs, endMs: null, lines: [] }
  return { ...rollout, step, stepMs: nowMs, steps: [...closed(rollout.steps, nowMs, lines), opened] }
}

/** Ends the rollout. */
export function end<R extends Rollout>(rollout: R, outcome: Outcome, nowMs: number, lines: readonly string[] = []): R {
  return { ...rollout, outcome, steps: closed(rollout.steps, nowMs, lines) }
}

/** Begins to bring back, code only, what served before. */
export function takeBack<R extends Rollout>(rollout: R, reason: string, nowMs: number): R {
  return { ...enter(rollout, 'take-back', nowMs, [reason]), takingBack: reason }
}

function closed(steps: readonly StepRecord[], nowMs: number, lines: readonly string[]): StepRecord[] {
  return steps.map((record) =>
    record.endMs === null ? { ...record, endMs: nowMs, lines: [...record.lines, ...lines] } : record,
  )
}

/** What a step waits for, put together: the first that failed, else the first that is missing. */
export type Wait =
  | { readonly state: 'done' }
  | { readonly state: 'pending'; readonly waitsFor: string | null }
  | { readonly state: 'failed'; readonly reason: string }

/** Everything of it has to be done. */
export function all(...parts: readonly Wait[]): Wait {
  return (
    parts.find((part) => part.state === 'failed') ?? parts.find((part) => part.state === 'pending') ?? { state: 'done' }
  )
}

/** Progress as something to wait for. */
export function progress(seen: Progress): Wait {
  return seen.state === 'failed' ? { state: 'failed', reason: `${seen.part}: ${seen.reason}` } : seen
}

/** Gateways, as something to wait for. */
export function routed(seen: Seen): Wait {
  return seen.routed ? { state: 'done' } : { state: 'pending', waitsFor: 'a gateway' }
}

/** A task, as something to wait for. What can be tried again later is: whoever runs it asks again, until the step's limit. */
export function task(state: TaskState | null): Wait {
  if (state === null) return { state: 'pending', waitsFor: null }
  if (state.state === 'done') return { state: 'done' }
  if (state.state === 'running') return { state: 'pending', waitsFor: 'the node with the data' }
  return state.retry === 'never'
    ? { state: 'failed', reason: state.reason }
    : { state: 'pending', waitsFor: `another try (${state.reason})` }
}

/** What a task that is done has said. */
export function linesOf(state: TaskState | null): readonly string[] {
  return state?.state === 'done' ? state.lines : []
}

/** A wait that has lasted longer than its step may is a failure. `extraMs` is added to the limit of the step. */
export function limited(rollout: Rollout, wait: Wait, nowMs: number, extraMs = 0): Wait {
  const limitMs = stepLimitsMs[rollout.step] + extraMs
  if (wait.state !== 'pending' || nowMs - rollout.stepMs < limitMs) return wait
  const waiting = wait.waitsFor === null ? '' : `, waiting for ${wait.waitsFor}`
  return { state: 'failed', reason: `${rollout.step} took longer than ${Math.round(limitMs / 60_000)} min${waiting}` }
}
