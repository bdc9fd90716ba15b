/** The face of `release`: how a release takes the place of another, and how that is taken back. Pure. */
export { deploySteps, returnSteps, strategies } from './rollout.ts'
export type {
  Deploy,
  Judgement,
  Migrates,
  Outcome,
  Progress,
  Return,
  Rollout,
  Sample,
  Seen,
  Shape,
  Step,
  StepRecord,
  Strategy,
  Task,
  TaskState,
} from './rollout.ts'
