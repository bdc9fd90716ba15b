/** A loss of power at one flush of each kind: keeping, checkpoint, clone, swap; all of them are in the long suite. */
import { test } from 'node:test'
import { powerLossSkip, provePowerLossApart } from './power-loss/run.ts'

test('a loss of power leaves the old or the new', { skip: powerLossSkip }, async (context) => {
  context.diagnostic(await provePowerLossApart('one of each kind'))
})
