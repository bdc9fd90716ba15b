/** The same events give the same decisions, under every policy and order. */
import { test } from 'node:test'
import { replayRuns } from '../../test/scheduler/replay.ts'

test('a recorded run gives the same decisions again', () => {
  replayRuns(200, 25)
})
