/**
 * The face of `model`, in two halves. App files import the builders and their types; the platform imports the graph.
 * Loading this loads no schema library: `parseGraph` does, when it is called.
 */

// What app files import.
export { app } from './app.ts'
export { bucket } from './bucket.ts'
export type { BucketNeed, BucketOptions, HostedBucketOptions, OwnBucketOptions } from './bucket.ts'
export { job, service } from './service.ts'
export type { JobOptions, ServiceOptions, WithSystem } from './service.ts'
export type { RetryOptions, ScheduleOptions } from './schedule.ts'
export type { LimitOptions, ProgramOptions, WithProgram } from './program.ts'
export { postgres, resource, secret } from './resource.ts'
export type { HostedPostgresOptions, OwnPostgresOptions, PostgresOptions, SecretOptions } from './resource.ts'
export type { Narrowable, NarrowableType, RightOf } from './rights.ts'
export { queue } from './queue.ts'
export type { MessageOf, Queue, QueueOptions, QueueRetryOptions } from './queue.ts'
export type { StateOptions } from './state.ts'
export type { VmKernelOptions, VmOptions } from './vm.ts'
export type { ReadyOption } from './ready.ts'
export type { Bytes, Duration } from './units.ts'
export type {
  App,
  AppContext,
  BackupOptions,
  Declaration,
  Environment,
  HttpWay,
  HttpWayOptions,
  Job,
  Resource,
  RightsUse,
  Service,
  TcpService,
  Usable,
  Uses,
  Way,
} from './values.ts'

// What the platform imports.
export { toGraph } from './app.ts'
export { parseGraph } from './parse.ts'
export { describeDiff, diffGraphs } from './diff.ts'
export type { Change, FieldChange } from './diff.ts'
export { dataBytesDefault, graphVersion, secretChanges } from './graph.ts'
export type {
  BackupPlan,
  Graph,
  JobPart,
  ImageUse,
  Limits,
  Missed,
  Overlap,
  Part,
  Ready,
  ResourcePart,
  RetryPolicy,
  Route,
  Runnable,
  SecretChange,
  ServicePart,
  StreamRoute,
  StreamWay,
  Tripwire,
  Use,
  VmUse,
} from './graph.ts'
export { jobDefaults } from './schedule.ts'
export { stateConfigOf, stateType } from './state.ts'
export type { StateConfig, StateHook } from './state.ts'
export { vmStopMs } from './vm.ts'
export { portOf } from './invariants.ts'
export { showWay } from './routes.ts'
export { envPrefix } from './patterns.ts'
export { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'
export { describePart } from './values.ts'
