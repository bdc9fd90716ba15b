/**
 * The table of a return to an earlier release. With data, entering `exchange` is the commit point: control writes the new
 * generation in the same transaction. Before it everything can still be refused; after it there is only forward.
 *
 * Invariant: `exchange` is entered at most once, and never without the copy that is to become the live data.
 */
import { all, end, enter, limited, linesOf, progress, routed, takeBack, task } from './moves.ts'
import type { Return, Seen } from './rollout.ts'

/** The next record of a return that has no outcome yet. */
export function advanceReturn(back: Return, seen: Seen, nowMs: number): Return {
  switch (back.step) {
    case 'prepare':
      return prepared(back, seen, nowMs)
    case 'exchange':
      return back.withData ? exchanged(back, seen, nowMs) : replaced(back, seen, nowMs)
    case 'take-back':
      return stayed(back, back.takingBack ?? '', seen, nowMs)
    case 'report':
      return reported(back, seen, nowMs)
  }
}

function prepared(back: Return, seen: Seen, nowMs: number): Return {
  if (back.cancelledBy !== null) return refused(back, `${back.cancelledBy} has called it off`, nowMs)
  if (!back.withData) return enter(back, 'exchange', nowMs)
  const wait = limited(back, task(seen.task), nowMs)
  if (wait.state === 'pending') return back
  return wait.state === 'done' ? enter(back, 'exchange', nowMs, linesOf(seen.task)) : refused(back, wait.reason, nowMs)
}

/** Nothing has been exchanged. Who asked is told so; where the platform had to go back, a person has to look. */
function refused(back: Return, why: string, nowMs: number): Return {
  if (back.reason === null) return end(back, { kind: 'refused', reason: why }, nowMs, [why])
  const serves = back.stopped ? 'nothing serves' : `release ${back.old} serves`
  const reason = `release ${back.old} has to go (${back.reason}), and its data cannot go back to ${back.checkpoint}: ${why}; ${serves}; when that is mended, go back to release ${back.target} with its data, or deploy one that works`
  return end(back, { kind: 'stuck', reason }, nowMs, [why])
}

function exchanged(back: Return, seen: Seen, nowMs: number): Return {
  const ready = all(progress(seen.resources), progress(seen.instances), routed(seen))
  const wait = limited(back, ready, nowMs)
  if (wait.state === 'pending') return back
  if (wait.state === 'done') return enter(back, 'report', nowMs)
  const reason = `release ${back.target} with the data of ${back.checkpoint} is what there is now, and it does not serve: ${wait.reason}; it is tried on; what was live until then is kept whole as ${back.branch}`
  return end(back, { kind: 'stuck', reason }, nowMs, [wait.reason])
}

/** Code only: instances are replaced, and where that fails, what served goes on serving. */
function replaced(back: Return, seen: Seen, nowMs: number): Return {
  if (back.cancelledBy !== null) return takeBack(back, `${back.cancelledBy} has called it off`, nowMs)
  const wait = limited(back, all(progress(seen.resources), progress(seen.instances), routed(seen)), nowMs)
  if (wait.state === 'pending') return back
  return wait.state === 'done' ? end(back, { kind: 'returned' }, nowMs) : takeBack(back, wait.reason, nowMs)
}

function stayed(back: Return, why: string, seen: Seen, nowMs: number): Return {
  const wait = limited(back, all(progress(seen.instances), routed(seen)), nowMs)
  if (wait.state === 'pending') return back
  if (wait.state === 'done') return end(back, { kind: 'refused', reason: why }, nowMs)
  const reason = `the return to release ${back.target} failed (${why}), and release ${back.old}, which serves again as far as it can, is not whole: ${wait.reason}; mend that, or deploy a release that works`
  return end(back, { kind: 'stuck', reason }, nowMs, [wait.reason])
}

/** The old release serves already: a report that cannot be made changes nothing about that. */
function reported(back: Return, seen: Seen, nowMs: number): Return {
  const wait = limited(back, task(seen.task), nowMs)
  if (wait.state === 'pending') return back
  const lines =
    wait.state === 'done'
      ? linesOf(seen.task)
      : [`the report could not be made: ${wait.reason}; nothing is lost, it is all in ${back.branch}`]
  const outcome =
    back.reason === null ? { kind: 'returned' as const } : { kind: 'taken-back' as const, reason: back.reason }
  return end(back, outcome, nowMs, lines)
}
