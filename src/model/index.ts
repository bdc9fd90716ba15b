/** The face of `model`. */
export { graphVersion } from './graph.ts'
export type { Graph, JobPart, Limits, Part, Ready, ResourcePart, Route, Runnable, ServicePart, Use } from './graph.ts'
