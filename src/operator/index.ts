/** The face of `operator`: what people, commands and the dashboard ask of a running platform, who may, and the record of it. */
export type {
  AppSummary,
  DashboardLogin,
  Deployment,
  EdgeTraffic,
  FaultRequest,
  DiskStatus,
  Intake,
  JobRunStatus,
  JobStatus,
  LogOptions,
  MachineRuntimes,
  OperatorBinding,
  Operations,
  ObjectDeed,
  PartOrderKind,
  PartStatus,
  PlatformInfo,
  BackupStatus,
  RolloutStatus,
  RunEvent,
  RuntimeName,
  Status,
  PartStreamOrder,
  StreamOrder,
  TraceOrder,
} from './operations.ts'
export type { Checkup, CheckupCause, CheckupFinding, CheckupSeverity } from './checkup.ts'
export { jobsShownMax, tasksShownMax } from './batch.ts'
export type { BatchOperations, Why } from './batch.ts'
export type { BatchClient } from './batch-client.ts'
export { lettersMax, queueShelves } from './queues.ts'
export type { QueueLetter, QueueName, QueueOperations, QueueShelf, QueueStanding } from './queues.ts'
export type { OpenedSecret, RotateAnswer, SealedSecret, SecretOperations, SecretStatus } from './secrets.ts'
export type {
  Adoption,
  BackPreview,
  BackWish,
  BranchStatus,
  CheckpointStatus,
  CopySchema,
  DeployPlan,
  ReleaseOperations,
  ReleaseState,
  ReleasesStatus,
  ReleaseStatus,
  ReplayWish,
  RestoreWish,
  RolloutWish,
} from './releases.ts'
export type { ReleaseClient } from './release-client.ts'
export { unknownApp } from './operations.ts'
export type { Caller, Right, Role } from './caller.ts'
export { isRight, isRole, owner, rights, roles } from './caller.ts'
export { answerOperation, type Carried, type Entrance, serveOperator } from './server.ts'
export { offersTo } from './routes.ts'
export { type OperatorClient, operatorClient } from './client.ts'
export { type Gate, type GateOptions, openGate } from './gate.ts'
export { type Grant, tokenLifeMs } from './people.ts'
export type { PersonSummary } from './access-routes.ts'
export type { Line as AuditLine, Verdict as AuditVerdict } from './audit.ts'
export type { LineFilter as AuditFilter } from './audit-file.ts'
export { keyIn } from './ssh-keys.ts'
export { contentsMax } from './intake-routes.ts'
export { drained } from './drained.ts'
