/** The face of `protocol`: what control, agents and gateways say to each other. Data and validators, no I/O. */
export { assignmentSchema, endpointSchema, planSchema } from './plan.ts'
export type { Assignment, Edge, InstanceAssignment, Plan, ResourceAssignment } from './plan.ts'
export { phases, statusSchema } from './status.ts'
export type { AssignmentStatus, Phase } from './status.ts'
export { routeTableSchema } from './routes.ts'
export type { Route, RouteLimits, RouteTable, RouteTarget } from './routes.ts'
export { askSince, downwardSchema, protocolVersion, protocolVersionMin, upwardSchema } from './messages.ts'
export type { Ask, Downward, LogLine, Upward } from './messages.ts'
