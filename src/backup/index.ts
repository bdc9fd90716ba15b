/** The face of `backup`: copies of a directory tree in another place, encrypted and incremental, and the drills that prove them. */
export type {
  Backup,
  BackUpOptions,
  BackupOf,
  Backups,
  CarriedLog,
  LogOf,
  Progress,
  RestoreOptions,
  Verified,
} from './backups.ts'
export { ensureNames } from './records.ts'
export { parseTarget, placeOf } from './target.ts'
export type { Target } from './target.ts'
export { openBackups } from './drivers/restic.ts'
export type { BackupsOptions } from './drivers/restic.ts'
export { findTool } from './drivers/tool.ts'
export { exportKey, writeKey } from './drivers/key-file.ts'
export {
  afterDrill,
  describeBackups,
  describeProof,
  drillDue,
  lastProof,
  newestOf,
  noDrills,
  parseDrills,
} from './drill.ts'
export type { DrillSchedule, Drills, Proof, Standing } from './drill.ts'
export { runDrill } from './drivers/run-drill.ts'
export type { DrillOptions } from './drivers/run-drill.ts'
export { afterErrand, errands, nextErrand, parseCourse } from './schedule.ts'
export type { Attempts, Course, Errand, Next, Rhythm } from './schedule.ts'
export { planForget } from './keep.ts'
export type { Keep } from './keep.ts'
