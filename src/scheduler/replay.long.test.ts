/** Ten thousand recorded runs, and generated runs against the reference for longer than every day. */
import { test } from 'node:test'
import { Dice } from '../../test/scheduler/dice.ts'
import { someEvent, someNode } from '../../test/scheduler/cases.ts'
import { Follower } from '../../test/scheduler/follow.ts'
import { replayRuns } from '../../test/scheduler/replay.ts'

test('ten thousand recorded runs give the same decisions again', () => {
  replayRuns(10_000, 25)
})

test('two thousand generated runs against the reference', () => {
  for (let seed = 10_000; seed < 12_000; seed++) {
    const dice = new Dice(seed)
    const follower = new Follower({ policy: dice.pick(['best-fit', 'spread', 'cost', 'fgd', 'compact'] as const) })
    const nodes = Array.from({ length: 2 + dice.number(4) }, (_, index) => someNode(dice, `n${index}`))
    try {
      follower.give({ atMs: 0, kind: 'add-nodes', nodes })
      for (let step = 0; step < 60; step++) {
        const names = [...follower.reference.nodes.keys()]
        const { running, arrays } = follower
        const known = { nodes: names, running, arrays, count: step * 10, nowMs: follower.reference.nowMs }
        follower.give(someEvent(dice, known))
      }
    } catch (error) {
      throw new Error(`seed ${seed}:\n${follower.log.join('\n')}`, { cause: error })
    }
  }
})
