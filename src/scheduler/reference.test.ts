/** Generated runs, every step held against a reference that looks at everything (test/scheduler). */
import { test } from 'node:test'
import { someEvent, someNode, type CaseOptions } from '../../test/scheduler/cases.ts'
import { Dice } from '../../test/scheduler/dice.ts'
import { Follower } from '../../test/scheduler/follow.ts'
import type { SchedulerOptions } from './index.ts'

function run(seed: number, steps: number, options: SchedulerOptions, cases: CaseOptions): void {
  const dice = new Dice(seed)
  const follower = new Follower(options)
  const nodes = Array.from({ length: 2 + dice.number(4) }, (_, index) => someNode(dice, `n${index}`))
  try {
    follower.give({ atMs: 0, kind: 'add-nodes', nodes })
    for (let step = 0; step < steps; step++)
      follower.give(
        someEvent(
          dice,
          {
            nodes: [...follower.reference.nodes.keys()],
            running: follower.running,
            count: step * 10,
            nowMs: follower.reference.nowMs,
            arrays: follower.arrays,
          },
          cases,
        ),
      )
  } catch (error) {
    throw new Error(`seed ${seed}:\n${follower.log.join('\n')}`, { cause: error })
  }
}

for (const policy of ['best-fit', 'spread', 'cost'] as const)
  test(`every rule, policy ${policy}`, () => {
    for (let seed = 0; seed < 40; seed++) run(seed, 60, { policy }, {})
  })

test('amounts and priorities alone, which crowds nodes more', () => {
  for (let seed = 1000; seed < 1040; seed++) run(seed, 80, {}, { plain: true })
})
