/** The face of `operator`: what people, commands and the dashboard ask of a running platform, and how it is carried. */
export type {
  AppSummary,
  Deployment,
  DiskStatus,
  JobRunStatus,
  JobStatus,
  LogOptions,
  OperatorBinding,
  Operations,
  PartOrderKind,
  PartStatus,
  PlatformInfo,
  RunEvent,
  Status,
  StreamOrder,
} from './operations.ts'
export type { RotateAnswer, SecretOperations, SecretStatus } from './secrets.ts'
export { unknownApp } from './operations.ts'
export type { Caller, Right } from './caller.ts'
export { owner, rights } from './caller.ts'
export { serveOperator } from './server.ts'
export { type OperatorClient, operatorClient } from './client.ts'
