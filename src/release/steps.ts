/**
 * Which steps a rollout goes through. Invariant: a deployment goes through a part of `deploySteps` in their order, and
 * through all of `start`, `watch` and `confirm` where there was a release before.
 */
import { type Deploy, deploySteps, type Step } from './rollout.ts'

/** A step on the way forward. */
export type OwnStep = (typeof deploySteps)[number]

/** What decides on the steps of a deployment. */
export type Course = Pick<Deploy, 'old' | 'migrates' | 'strategy' | 'hasData' | 'contracts'>

/** The steps that a deployment goes through, in order. At the very first release there is nothing to protect: it starts. */
export function stepsOf(course: Course): readonly OwnStep[] {
  if (course.old === null) return ['start']
  return deploySteps.filter((step) => isNeeded(course, step))
}

function isNeeded(course: Course, step: OwnStep): boolean {
  const { migrates, strategy } = course
  switch (step) {
    // Without migrations the step `start` tries the same thing, on live data that the old release shares anyway.
    case 'rehearse':
      return migrates !== 'none' || course.contracts
    case 'expand':
      return migrates !== 'none'
    case 'stop':
      return migrates === 'stop'
    case 'checkpoint':
      return course.hasData
    case 'shift':
      return runsBeside({ migrates, strategy })
    case 'contract':
      // With a stop, all of a file has run.
      return course.contracts && migrates !== 'stop'
    case 'start':
    case 'watch':
    case 'confirm':
      return true
  }
}

/** Whether all of the new release runs beside all of the old one for a while. */
export function runsBeside({ migrates, strategy }: Pick<Course, 'migrates' | 'strategy'>): boolean {
  return migrates !== 'stop' && strategy !== 'rolling'
}

/** The step after this one; null: it was the last. */
export function stepAfter(course: Course, step: Step): OwnStep | null {
  const steps: readonly Step[] = stepsOf(course)
  return stepsOf(course)[steps.indexOf(step) + 1] ?? null
}

/** Whether a deployment has come as far as a step, or past it, also when it is being taken back since. */
export function hasReached(deploy: Pick<Deploy, 'steps'>, step: OwnStep): boolean {
  return deploy.steps.some((record) => position(record.step) >= position(step))
}

/** -1 for a step that is not one of a deployment's own. */
function position(step: Step): number {
  return (deploySteps as readonly Step[]).indexOf(step)
}
