/** A loss of power at every flush while numbers are kept, and a checkpoint is taken, cloned and swapped: a few minutes. */
import { test } from 'node:test'
import { powerLossSkip, provePowerLossApart } from './power-loss/run.ts'

test(
  'a loss of power at any flush leaves the old or the new',
  { skip: powerLossSkip, timeout: 3_600_000 },
  async (context) => {
    context.diagnostic(await provePowerLossApart('all'))
  },
)
