/** A job as it is given back to a new scheduler. Pure. */
import type { RestoredJob } from '../scheduler/index.ts'
import type { BatchJob } from './job.ts'
import { isOver } from './task-table.ts'

/** `lost`: positions that ran on a node that is not known any more. */
export function restoredJob(
  job: BatchJob,
  isKnown: (node: string) => boolean,
): { readonly restored: Omit<RestoredJob, 'spec'>; readonly lost: readonly number[] } {
  const { tasks } = job
  const touched = [...tasks.touched()]
  const fresh = touched.reduce((most, position) => Math.max(most, position + 1), 0)
  const waiting: number[] = []
  const running: RestoredJob['running'][number][] = []
  const lost: number[] = []
  let failed = 0
  for (let position = 0; position < fresh; position++) {
    const { phase, node, startedMs, gpus, core, stopping } = tasks.at(position)
    // Of what is being stopped the scheduler has given the place away, unless it was not the scheduler that stopped it.
    const isGiven = phase === 'stopping' && (stopping === 'waiting' || stopping === 'cancelled')
    if (isGiven && !isKnown(node)) lost.push(position)
    if (phase === 'waiting' || isGiven) waiting.push(position)
    else if (isOver(phase)) failed += phase === 'succeeded' ? 0 : 1
    else if (isKnown(node)) {
      const devices = { ...(gpus.length === 0 ? {} : { gpus }), ...(core === null ? {} : { core }) }
      running.push({ position, node, startedMs, ...devices })
    } else {
      waiting.push(position)
      lost.push(position)
    }
  }
  // The scheduler gives back the position that was added last first.
  waiting.reverse()
  return { restored: { fresh, waiting, running, failed }, lost }
}
