/**
 * The table of a deployment: for every step, what is waited for, what follows, and what follows on a failure.
 *
 * A failure before anything was touched refuses the deployment. After the first halves of migrations, or without any, the
 * code alone is taken back, and nothing is lost. After a migration with a stop the data has to go back too: the deployment
 * is handed over to a return. From `confirm` on the new release stays.
 *
 * Invariants: nothing is decided by what was seen in an earlier step; with nothing new to see, and time standing still, the
 * record stays the same object.
 */
import { judge } from './judge.ts'
import { sharePatienceMax, slowMsMin } from './limits.ts'
import { all, end, enter, limited, linesOf, progress, routed, takeBack, task, type Wait } from './moves.ts'
import { checkpointName } from './names.ts'
import type { Deploy, Seen } from './rollout.ts'
import { hasReached, runsBeside, stepAfter } from './steps.ts'

/** The next record of a deployment that has no outcome yet. */
export function advanceDeploy(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  if (deploy.step === 'take-back') return waitForOld(deploy, deploy.takingBack ?? '', seen, nowMs)
  if (deploy.cancelledBy !== null) return turnBack(deploy, `${deploy.cancelledBy} has called it off`, nowMs)
  switch (deploy.step) {
    case 'rehearse':
      return when(deploy, rehearsed(seen), nowMs, linesOf(seen.task))
    case 'stop':
      // First the requests wait, then what would answer them stops: `routed` says that they do.
      return when(deploy, all(routed(seen), progress(seen.rest)), nowMs)
    case 'checkpoint':
      return checkpointed(deploy, seen, nowMs)
    case 'expand':
      return when(deploy, progress(seen.resources), nowMs)
    case 'start':
      return started(deploy, seen, nowMs)
    case 'shift':
      return shifted(deploy, seen, nowMs)
    case 'watch':
      return watched(deploy, seen, nowMs)
    case 'confirm':
      return confirmed(deploy, seen, nowMs)
    case 'contract':
      return contracted(deploy, seen, nowMs)
  }
}

/** On to the next step when everything is there; back when it will not be. */
function when(deploy: Deploy, wait: Wait, nowMs: number, lines: readonly string[] = []): Deploy {
  const now = limited(deploy, wait, nowMs)
  if (now.state === 'failed') return turnBack(deploy, now.reason, nowMs)
  return now.state === 'done' ? onward(deploy, nowMs, lines) : deploy
}

function onward(deploy: Deploy, nowMs: number, lines: readonly string[]): Deploy {
  const next = stepAfter(deploy, deploy.step)
  if (next === null) return end(deploy, { kind: 'confirmed', left: null }, nowMs, lines)
  return { ...enter(deploy, next, nowMs, lines), slowSinceMs: null }
}

/** A rehearsal that ran and found a reason against the deployment has failed. */
function rehearsed(seen: Seen): Wait {
  if (seen.task?.state !== 'done') return task(seen.task)
  const { result } = seen.task
  const refusals =
    typeof result === 'object' && result !== null && 'refusals' in result && Array.isArray(result.refusals)
      ? result.refusals.filter((refusal) => typeof refusal === 'string')
      : []
  return refusals.length === 0 ? { state: 'done' } : { state: 'failed', reason: refusals.join(' ') }
}

function checkpointed(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const next = when(deploy, task(seen.task), nowMs, linesOf(seen.task))
  return seen.task?.state === 'done' ? { ...next, checkpoint: checkpointName(deploy.new) } : next
}

/** All instances of the new release, with the resources that it needs. */
function ready(seen: Seen): Wait {
  return all(progress(seen.resources), progress(seen.instances))
}

function started(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  // Where instances are replaced one by one, both releases serve meanwhile and can be compared.
  const both = deploy.old !== null && deploy.migrates !== 'stop' && !runsBeside(deploy)
  const now = both ? judged(deploy, seen, nowMs) : deploy
  return isOff(now) ? now : when(now, all(ready(seen), routed(seen)), nowMs)
}

/** How long each share of a canary is judged; the last one is in force during the watch. Milliseconds. */
export function shareMs(deploy: Pick<Deploy, 'watchMs' | 'shares'>): number {
  return Math.ceil(deploy.watchMs / Math.max(1, deploy.shares.length))
}

function shifted(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const share = deploy.shares[deploy.share] ?? 100
  if (share >= 100) return when(deploy, all(ready(seen), routed(seen)), nowMs, ['100 % of the requests'])
  const now = judged(deploy, seen, nowMs)
  if (isOff(now)) return now
  const patienceMs = shareMs(deploy) * sharePatienceMax
  const wait = limited(now, all(ready(seen), routed(seen)), nowMs, patienceMs)
  if (wait.state === 'failed') return turnBack(now, wait.reason, nowMs)
  const verdict = judge(seen.old, seen.new, deploy.judgement)
  const sinceMs = nowMs - deploy.stepMs
  const known = sinceMs >= (verdict.verdict === 'fine' ? shareMs(deploy) : patienceMs)
  if (wait.state === 'pending' || !known || now.slowSinceMs !== null) return now
  const next = enter(now, 'shift', nowMs, [`${share} % of the requests: ${verdict.why}`])
  return { ...next, share: deploy.share + 1, slowSinceMs: null }
}

function watched(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const now = judged(deploy, seen, nowMs)
  if (isOff(now)) return now
  const plannedMs = shareMs(deploy)
  const wait = limited(now, ready(seen), nowMs, plannedMs)
  if (wait.state === 'failed') return turnBack(now, wait.reason, nowMs)
  const early = nowMs - deploy.stepMs < plannedMs
  if (wait.state === 'pending' || early || now.slowSinceMs !== null) return now
  return onward(now, nowMs, [judge(seen.old, seen.new, deploy.judgement).why])
}

/** Compares the releases and turns back when the new one is worse: in errors at once, in slowness when that lasts. */
function judged(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const verdict = judge(seen.old, seen.new, deploy.judgement)
  if (verdict.verdict !== 'worse') return deploy.slowSinceMs === null ? deploy : { ...deploy, slowSinceMs: null }
  const sinceMs = nowMs - (deploy.slowSinceMs ?? nowMs)
  if (verdict.in === 'errors' || sinceMs >= slowMsMin) return turnBack(deploy, verdict.why, nowMs)
  return deploy.slowSinceMs === null ? { ...deploy, slowSinceMs: nowMs } : deploy
}

/** Whether it does not go on any more. */
function isOff(deploy: Deploy): boolean {
  return deploy.outcome !== null || deploy.takingBack !== null
}

/** The old release ends. What is left over of it keeps second halves from running, and nothing else. */
function confirmed(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const contracts = stepAfter(deploy, 'confirm') === 'contract'
  const guarded = contracts && deploy.hasData ? task(seen.task) : ({ state: 'done' } as const)
  const wait = limited(deploy, all(progress(seen.rest), guarded), nowMs)
  if (wait.state === 'pending') return deploy
  if (wait.state === 'done') return onward(deploy, nowMs, linesOf(seen.task))
  const left = contracts
    ? `the second halves of the migrations have not run: ${wait.reason}; they run with the next deployment`
    : `not everything of release ${deploy.old} has ended: ${wait.reason}`
  return end(deploy, { kind: 'confirmed', left }, nowMs, [left])
}

/**
 * A second half that fails leaves the new release where it has been all through the watch: on the first halves, with which
 * it works. Going back with data would throw away what was written since, to undo what has not happened.
 */
function contracted(deploy: Deploy, seen: Seen, nowMs: number): Deploy {
  const wait = limited(deploy, progress(seen.resources), nowMs)
  if (wait.state === 'pending') return deploy
  if (wait.state === 'done') return onward(deploy, nowMs, [])
  const left = `the second halves of the migrations have failed: ${wait.reason}; the release serves without them, and they run with the next deployment`
  return end(deploy, { kind: 'confirmed', left }, nowMs, [left])
}

/** The one place that decides how a deployment that cannot go on goes back. */
function turnBack(deploy: Deploy, reason: string, nowMs: number): Deploy {
  if (deploy.old === null) {
    const whole = `release ${deploy.new} is the first, so there is none to go back to, and it does not serve: ${reason}; deploy it again when that is mended`
    return end(deploy, { kind: 'stuck', reason: whole }, nowMs, [reason])
  }
  if (deploy.migrates === 'stop' && hasReached(deploy, 'expand')) {
    return end(deploy, { kind: 'handed-over', reason }, nowMs, [reason])
  }
  // Until then the old release runs as ever, and there is nothing to wait for.
  const disturbed = deploy.migrates === 'stop' ? hasReached(deploy, 'stop') : hasTouched(deploy)
  return disturbed ? takeBack(deploy, reason, nowMs) : end(deploy, { kind: 'refused', reason }, nowMs, [reason])
}

/** Whether the deployment has changed anything that the old release can see. */
export function hasTouched(deploy: Deploy): boolean {
  return hasReached(deploy, deploy.migrates === 'none' ? 'start' : 'expand')
}

function waitForOld(deploy: Deploy, reason: string, seen: Seen, nowMs: number): Deploy {
  // Not the resources: what has failed may be one that only the new release has.
  const wait = limited(deploy, all(progress(seen.instances), routed(seen)), nowMs)
  if (wait.state === 'pending') return deploy
  if (wait.state === 'done') return end(deploy, { kind: hasTouched(deploy) ? 'taken-back' : 'refused', reason }, nowMs)
  const whole = `release ${deploy.new} was taken back (${reason}), and release ${deploy.old}, which serves again as far as it can, is not whole: ${wait.reason}; mend that, or deploy a release that works`
  return end(deploy, { kind: 'stuck', reason: whole }, nowMs, [wait.reason])
}
