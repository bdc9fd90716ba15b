/** The face of `dashboard`: what a person sees of a running platform in a browser. */
export type { Dashboard, DashboardOptions } from './server.ts'
export { serveDashboard } from './server.ts'
