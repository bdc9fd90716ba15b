/** The face of `protocol`: messages between processes, as data and validators. No I/O. */
export { routeTableSchema } from './routes.ts'
export type { Route, RouteEndpoint, RouteLimits, RouteTable, RouteTarget } from './routes.ts'
