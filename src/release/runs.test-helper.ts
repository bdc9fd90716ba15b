/** The rollouts that are explored, and how. */
import { type Exploration, explore } from './explore.test-helper.ts'
import { deployment, going } from './seen.test-helper.ts'
import { type Start, World } from './world.test-helper.ts'
import type { Mutation } from './node.test-helper.ts'

const statesMax = 1_000_000

/** Visits everything that can happen with at most so many faults in a run. */
export function run(start: Start, faultsMax: number, mutation: Mutation | null = null): Exploration {
  const world = new World(start, faultsMax, mutation)
  return explore(
    world.start,
    (state) => world.eventsOf(state),
    (state) => world.wrongWith(state),
    statesMax,
  )
}

const short = { watchMs: 1000, shares: [50, 100] }
/** By name. */
export const starts: Readonly<Record<string, Start>> = {
  'deploy, no migration, rolling': { rollout: deployment({ ...short, migrates: 'none', contracts: false }) },
  'deploy, no migration, canary': {
    rollout: deployment({ ...short, migrates: 'none', contracts: false, strategy: 'canary' }),
  },
  'deploy, halves, rolling': { rollout: deployment({ ...short, migrates: 'expand' }) },
  'deploy, halves, blue-green': { rollout: deployment({ ...short, migrates: 'expand', strategy: 'blue-green' }) },
  'deploy, halves, canary': { rollout: deployment({ ...short, migrates: 'expand', strategy: 'canary' }) },
  'deploy, with a stop': {
    rollout: deployment({ ...short, migrates: 'stop' }),
    fields: { tokens: 0, acknowledged: 0 },
  },
  'return with data': {
    rollout: going(),
    fields: { a: 0, farA: 0, b: 1, schema: 2, checkpoint: 2 },
  },
  'return, code only': { rollout: going({ checkpoint: null }), fields: { a: 0, farA: 0, b: 1, schema: 1 } },
}
