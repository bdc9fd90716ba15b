/** The face of `scheduler`: placement and batch, pure. Events in, decisions out. */
export { Scheduler } from './scheduler.ts'
export type { RunningTask, SchedulerOptions } from './scheduler.ts'
export type { Explanation, NearMiss } from './explain.ts'
export type { Move } from './proposals.ts'
export type { PolicyName } from './policies.ts'
export type {
  AccountUse,
  Affinity,
  Capacity,
  Decision,
  Dependency,
  Event,
  ExpectedLoad,
  JobSpec,
  Level,
  Needs,
  NodeSpec,
  Order,
  Quantity,
  Quota,
  Reservation,
  RestoredJob,
  Selector,
  Spread,
  StopReason,
  Subject,
  Taint,
  Toleration,
} from './model.ts'

// Simulation in virtual time.
export { compressed, readSwf, readTrace } from './simulation/trace.ts'
export type { Trace, TraceJob } from './simulation/trace.ts'
export { simulate } from './simulation/simulate.ts'
export type { Sample, Simulation } from './simulation/simulate.ts'
export { simulationSvg, simulationTable } from './simulation/show.ts'

// Capacity over time.
export { forecast } from './forecast.ts'
export type { Forecast } from './forecast.ts'
export { scaleOut, scaleUp } from './autoscale.ts'
export type { HorizontalDecision, HorizontalOptions, VerticalDecision } from './autoscale.ts'
