/** The face of `control`: desired state in, plans out. */
export { startControl } from './control.ts'
export type { Control, ControlOptions } from './control.ts'
export type { Apply } from './changes.ts'
export type { AppTraffic, EdgeTraffic, GroupTraffic } from './traffic.ts'
export type { AppView } from './view.ts'
export type { ResourceType } from './derive.ts'
export type { IncidentAct } from './incident-log.ts'
export type { DesiredApp, InstanceRecord } from './state.ts'
