/** The face of `release`: how a release takes the place of another, and how that is taken back. Pure. */
export { advance, cancel, followUp, isOver } from './advance.ts'
export type { FollowUp } from './advance.ts'
export { beginDeploy, beginReturn, judgementDefault, sharesDefault } from './begin.ts'
export type { DeployOptions, ReturnOptions } from './begin.ts'
export { describeChange, restartsOf } from './change.ts'
export type { Change, Content, PendingChange } from './change.ts'
export { judge } from './judge.ts'
export type { Verdict } from './judge.ts'
export { branchName, checkpointName, cloneName, contractCheckpointName, rehearsalName } from './names.ts'
export { assertCodeOnly, checkpointFor, historyOf, liveOf, previousOf, releaseOf } from './history.ts'
export type { Kept, Release, ReleaseState } from './history.ts'
export { describeReport, reportOf } from './report.ts'
export type { Compared, LeftBehind, Report, ReportedChange, ReportedEffect, ReportOptions } from './report.ts'
export { retain, retentionDefault } from './retain.ts'
export type { Copy, Expired, Retention } from './retain.ts'
export { deploySteps, returnSteps, strategies, takeBackStep } from './rollout.ts'
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
export { shapeOf } from './shape.ts'
export { stepsOf } from './steps.ts'
export { taskOf } from './task.ts'
