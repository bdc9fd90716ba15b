/** The face of `effects`: the ledger of what an app has done to the outside world, in the app's own database. */
export { compensate, createTable, decide, look, pending, plan, run } from './effects.ts'
export type { EffectsDatabase, RunOptions, Send, Sending } from './effects.ts'
export { sweep, sweepMax } from './sweep.ts'
export type { Handler, LeftBecause, SweepReport } from './sweep.ts'
export { jsonBytesMax } from './effect.ts'
export type { Effect, EffectPlan, EffectState } from './effect.ts'
export { notSent } from './errors.ts'
export type { PostgresClient } from './drivers/postgres.ts'
