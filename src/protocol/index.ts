/** The face of `protocol`: what control, agents and gateways say to each other. Data and validators, no I/O. */
export { assignmentSchema, endpointSchema, hostUidMax, hostUidMin, planSchema } from './plan.ts'
export type { Assignment, Edge, InstanceAssignment, Plan, ResourceAssignment, VersionedGrant } from './plan.ts'
export {
  incidentSchema,
  lastEndSchema,
  levelOf,
  phases,
  statusDebuggersMax,
  statusMetricsMax,
  statusRefusalsMax,
  statusSchema,
} from './status.ts'
export type {
  AssignmentStatus,
  DebuggerStatus,
  DiskState,
  Incident,
  IncidentSummary,
  CoreFile,
  LastEnd,
  Phase,
  Wire,
} from './status.ts'
export { hopsMax, routeTableSchema } from './routes.ts'
export type {
  HopState,
  Route,
  RouteGroup,
  RouteHop,
  RouteLimits,
  RoutePriority,
  RouteSticky,
  RouteTable,
  RouteTarget,
  StreamRoute,
  StreamWay,
} from './routes.ts'
export type { InstanceTraffic, RouteTraffic, Traffic, TrafficReport } from './traffic.ts'
export { askSince, downwardSchema, protocolVersion, protocolVersionMin, upwardSchema } from './messages.ts'
export type { Ask, Downward, LogLine, Upward } from './messages.ts'
export { dataPlaceSchema, dataTaskSchema, preparePhases } from './data.ts'
export type {
  Comparison,
  DataAnswers,
  DataChange,
  DataCopy,
  DataEffect,
  DataPlace,
  DataResource,
  DataState,
  DataTask,
  Preview,
  RehearsedStatement,
  Rehearsal,
} from './data.ts'
export { faultLeaseMs, faultLeaseSchema, faultSchema, faultStatusSchema } from './faults.ts'
export type { Fault, FaultCounts, FaultLease, FaultStatus } from './faults.ts'
export {
  captureBounds,
  debugLookSchema,
  keptSnapshotsSchema,
  machineWays,
  snapshotDeeds,
  resumeSchema,
  streamEndSchema,
  streamLeaseMs,
  streamPieceBytesMax,
  streamWindowBytes,
  terminalSizeSchema,
  traceBounds,
} from './stream.ts'
export type {
  DebuggerOf,
  DebugLook,
  KeptSnapshot,
  MachineOrder,
  MachineWay,
  SnapshotDeed,
  RemoteStream,
  Resume,
  StreamEnd,
  StreamPiece,
  StreamTarget,
  TerminalSize,
  TraceWish,
} from './stream.ts'
export {
  poolBeatsInMessageMax,
  poolNodesInMessageMax,
  taskCpuTimeSchema,
  taskEgressSchema,
  tasksInMessageMax,
} from './tasks.ts'
export type {
  NodeOffer,
  PoolNode,
  PoolUpward,
  TaskCpuClass,
  TaskCpuTime,
  TaskEnd,
  TaskExit,
  TaskIsolation,
  TaskJob,
  TasksDownward,
  TaskStart,
  TaskStop,
  TasksUpward,
} from './tasks.ts'
