/** Runs that are recorded and played again: the same events must give the same decisions. */
import assert from 'node:assert/strict'
import { isSteadError } from '../../src/base/index.ts'
import { Scheduler, type Event, type SchedulerOptions } from '../../src/scheduler/index.ts'
import { someEvent, someNode } from './cases.ts'
import { Dice } from './dice.ts'

const variants: readonly SchedulerOptions[] = [
  {},
  { policy: 'spread', fairShareHalfLifeMs: 50 },
  { policy: 'cost' },
  { policy: 'fgd' },
  { policy: 'compact' },
  { order: 'easy' },
  { order: 'conservative', fairShareHalfLifeMs: 50 },
  { order: 'fcfs' },
]

/** Records a run: its events, and one text of everything that was decided. */
function record(seed: number, options: SchedulerOptions, steps: number): { events: Event[]; decided: string } {
  const dice = new Dice(seed)
  const scheduler = new Scheduler(options)
  const names = Array.from({ length: 2 + dice.number(4) }, (_, index) => `n${index}`)
  const events: Event[] = [{ atMs: 0, kind: 'add-nodes', nodes: names.map((name) => someNode(dice, name)) }]
  const decided = [answer(scheduler, events[0])]
  let nowMs = 0
  for (let step = 0; step < steps; step++) {
    const running = [...scheduler.running()].map(({ task }) => task)
    const event = someEvent(dice, { nodes: names, running, count: step * 10, nowMs })
    if (event.atMs > nowMs) nowMs = event.atMs
    events.push(event)
    decided.push(answer(scheduler, event))
  }
  return { events, decided: decided.join('\n') }
}

function answer(scheduler: Scheduler, event: Event | undefined): string {
  if (event === undefined) return ''
  try {
    return JSON.stringify(scheduler.apply(event))
  } catch (error) {
    if (!isSteadError(error)) throw error
    return error.code
  }
}

/** Records so many runs and plays each again. */
export function replayRuns(seeds: number, steps: number): void {
  for (let seed = 0; seed < seeds; seed++) {
    const options = variants[seed % variants.length] ?? {}
    const { events, decided } = record(seed, options, steps)
    const again = new Scheduler(options)
    assert.equal(events.map((event) => answer(again, event)).join('\n'), decided, `seed ${seed}`)
  }
}
