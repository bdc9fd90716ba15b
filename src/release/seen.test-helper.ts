/** What tests let a rollout see, and a driver that brings it to a step or to its end. */
import { advance } from './advance.ts'
import { beginDeploy, beginReturn, type DeployOptions, type ReturnOptions } from './begin.ts'
import type { Deploy, Return, Rollout, Seen, Step } from './rollout.ts'
import { taskOf } from './task.ts'

/** Everything is as the shape asks, and no request was made. */
export const quiet: Seen = {
  task: null,
  resources: { state: 'done' },
  instances: { state: 'done' },
  rest: { state: 'done' },
  routed: true,
  old: null,
  new: null,
}

/** Nothing is known yet. */
export const blank: Seen = {
  ...quiet,
  resources: { state: 'pending', waitsFor: null },
  instances: { state: 'pending', waitsFor: null },
  rest: { state: 'pending', waitsFor: null },
  routed: false,
}

/** What is seen where all goes well: its task is done as well. */
export function fine(rollout: Rollout): Seen {
  return taskOf(rollout) === null ? quiet : { ...quiet, task: { state: 'done', lines: ['done'], result: null } }
}

export function deployment(options: Partial<DeployOptions> = {}): Deploy {
  return beginDeploy({
    id: 'shop.8',
    app: 'shop',
    by: 'ann',
    nowMs: 0,
    old: 7,
    new: 8,
    strategy: 'rolling',
    migrates: 'expand',
    contracts: true,
    hasData: true,
    watchMs: 60_000,
    ...options,
  })
}

export function going(options: Partial<ReturnOptions> = {}): Return {
  return beginReturn({
    id: 'shop.9',
    app: 'shop',
    by: 'ann',
    nowMs: 0,
    old: 8,
    new: 9,
    target: 7,
    checkpoint: 'before-8',
    ...options,
  })
}

/** Lets all go well, a second a look, until the rollout is in that step or over. Gives the record and the time. */
export function until(start: Rollout, step: Step | null, from = 0): { rollout: Rollout; nowMs: number } {
  let rollout = start
  let nowMs = from
  for (let looks = 0; looks < 10_000; looks += 1) {
    if (rollout.step === step || rollout.outcome !== null) return { rollout, nowMs }
    nowMs += 1000
    rollout = advance(rollout, fine(rollout), nowMs)
  }
  throw new Error(`it never ends: ${JSON.stringify(rollout)}`)
}

/** The same, with one thing that is seen at every look from now on. */
export function seeing(start: Rollout, seen: Partial<Seen>, from = 0): { rollout: Rollout; nowMs: number } {
  let rollout = start
  let nowMs = from
  for (let looks = 0; looks < 10_000 && rollout.outcome === null; looks += 1) {
    nowMs += 1000
    rollout = advance(rollout, { ...fine(rollout), ...(rollout.step === start.step ? seen : {}) }, nowMs)
  }
  return { rollout, nowMs }
}
