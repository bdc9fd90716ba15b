/**
 * What the app is to be, in every step and after every outcome. Total. Invariants: `exchanged` never goes back within a
 * rollout; requests wait only while nothing serves, and never after an outcome that leaves somebody to look.
 */
import type { Deploy, Return, Rollout, Shape } from './rollout.ts'
import { hasReached, runsBeside } from './steps.ts'

/** What the app is to be as long as this record holds. */
export function shapeOf(rollout: Rollout): Shape {
  return rollout.kind === 'deploy' ? shapeOfDeploy(rollout) : shapeOfReturn(rollout)
}

const before: Shape = { runs: 'old', newShare: 0, schema: 'old', hold: false, exchanged: false }
const after: Shape = { runs: 'new', newShare: 100, schema: 'new', hold: false, exchanged: false }
const nothing: Shape = { runs: 'none', newShare: 0, schema: 'old', hold: true, exchanged: false }

function shapeOfDeploy(deploy: Deploy): Shape {
  const { outcome } = deploy
  if (deploy.old === null) return after
  if (outcome?.kind === 'confirmed') return { ...after, schema: secondHalvesLeft(deploy) ? 'expanded' : 'new' }
  if (outcome?.kind === 'refused') return before
  return shapeOfStep(deploy)
}

/** What the first halves made stays: the old release works with it, and it may hold what the new one has written. */
function takenBack(deploy: Deploy): Shape {
  const schema = hasReached(deploy, 'start') ? 'expanded' : 'old'
  // Where everything was stopped, requests wait until the old release is there.
  const hold = deploy.migrates === 'stop' && deploy.outcome === null
  return { ...before, schema, hold }
}

/** Second halves that failed must not be tried on and on. */
function secondHalvesLeft(deploy: Deploy): boolean {
  return deploy.contracts && deploy.outcome?.kind === 'confirmed' && deploy.outcome.left !== null
}

function shapeOfStep(deploy: Deploy): Shape {
  const stops = deploy.migrates === 'stop'
  const schema = stops ? 'new' : 'expanded'
  switch (deploy.step) {
    case 'rehearse':
      return before
    case 'stop':
      return nothing
    case 'checkpoint':
      return stops ? nothing : before
    case 'expand':
      return stops ? { ...nothing, schema } : { ...before, schema }
    case 'start':
      // A deployment that was handed over runs nothing until its return has exchanged the data.
      if (deploy.outcome !== null) return { ...nothing, schema }
      return runsBeside(deploy) ? { ...before, runs: 'both', schema } : { ...after, schema, hold: stops }
    case 'shift':
      return { ...before, runs: 'both', newShare: deploy.shares[deploy.share] ?? 100, schema }
    case 'watch':
      return { ...after, runs: runsBeside(deploy) ? 'both' : 'new', schema }
    case 'confirm':
      return { ...after, schema }
    case 'contract':
      return after
    case 'take-back':
      return takenBack(deploy)
  }
}

/** Of a return, `old` is what served when it began, and `new` has the graph and the bundles of the release it goes back to. */
function shapeOfReturn(back: Return): Shape {
  const { outcome, withData } = back
  const prepared = back.step === 'exchange' || back.step === 'report'
  // Without the commit point nothing has changed. A return that is stuck there lets nobody wait for it.
  if (!prepared) return back.stopped ? { ...nothing, hold: outcome === null } : before
  return { ...after, hold: withData && back.step === 'exchange' && outcome === null, exchanged: withData }
}
