/** The face of `protocol`: what control, agents and gateways say to each other. Data and validators, no I/O. */
export { assignmentSchema, endpointSchema, planSchema } from './plan.ts'
export type { Assignment, Edge, InstanceAssignment, Plan, ResourceAssignment, VersionedGrant } from './plan.ts'
export { incidentSchema, phases, statusRefusalsMax, statusSchema } from './status.ts'
export type { AssignmentStatus, Incident, IncidentSummary, Phase, Wire } from './status.ts'
export { routeTableSchema } from './routes.ts'
export type { Route, RouteLimits, RouteTable, RouteTarget } from './routes.ts'
export { askSince, downwardSchema, protocolVersion, protocolVersionMin, upwardSchema } from './messages.ts'
export type { Ask, Downward, LogLine, Upward } from './messages.ts'
