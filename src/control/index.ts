/** The face of `control`: desired state in, plans out. */
export { startControl } from './control.ts'
export type { Control, ControlOptions } from './control.ts'
export type { Apply } from './changes.ts'
export type { Made, Order } from './operate.ts'
export type { AppView, JobView } from './view.ts'
export type { ResourceType } from './derive.ts'
export { operatorConsumer } from './state.ts'
export type { DesiredApp, InstanceRecord, JobRun } from './state.ts'
