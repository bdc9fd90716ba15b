/** The face of `batch`: jobs that are submitted, not declared: kept, scheduled, told to nodes. */
export { type Batch, type BatchOptions, openBatch } from './batch.ts'
export { BatchCore } from './core.ts'
export type { BatchEvent, NodeCame, NodeState } from './events.ts'
export type { Write } from './ledger.ts'
export type { Tell } from './outbox.ts'
export { hostsPath, scriptPath } from './environment.ts'
export { batchPrefix, defaultQueue } from './records.ts'
export type { AccountRecord, BatchRecords, JobRecord, QueueRecord, ReservationRecord, UsageRecord } from './records.ts'
export {
  type ArrayRange,
  indexesOf,
  requeueCode,
  type Submission,
  submissionDefaults,
  submissionSchema,
  warningSignals,
} from './submission.ts'
export { readSbatch, type SbatchScript } from './sbatch.ts'
export { optionsOfWords, type ScriptOption } from './sbatch-words.ts'
export type { TaskPhase, TaskRow } from './task-table.ts'
export type { JobPhase, JobView, NodeView, TaskView } from './view.ts'
