/** The face of `evaluate`: from an app file to the graph, in a process that has nothing but the file. */
export { evaluateAppFile } from './evaluate.ts'
export type { EvaluateOptions } from './evaluate.ts'
export { findAppFile } from './find.ts'
