/** Whatever is seen, in whatever order: the table has an answer, only goes forward, and comes to an end. Seeded, so repeatable. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { jsonEqual } from '../base/index.ts'
import { advance, cancel, followUp } from './advance.ts'
import { beginReturn } from './begin.ts'
import { Dice } from './dice.test-helper.ts'
import {
  deploySteps,
  type Progress,
  returnSteps,
  type Rollout,
  type Sample,
  type Seen,
  strategies,
  type TaskState,
} from './rollout.ts'
import { blank, deployment, going } from './seen.test-helper.ts'
import { shapeOf } from './shape.ts'
import { stepsOf } from './steps.ts'
import { taskOf } from './task.ts'

function anyRollout(dice: Dice): Rollout {
  if (dice.below(3) === 0) {
    const reason = dice.of([null, 'it fails'])
    if (reason === null) return going({ checkpoint: dice.of(['before-8', null]) })
    return going({ reason, stopped: dice.below(2) === 0 })
  }
  return deployment({
    strategy: dice.of(strategies),
    migrates: dice.of(['none', 'expand', 'stop']),
    contracts: dice.below(2) === 0,
    hasData: dice.below(4) > 0,
    old: dice.below(8) === 0 ? null : 7,
    watchMs: dice.of([0, 1000, 60_000]),
  })
}

function anySeen(dice: Dice): Seen {
  const progress = (): Progress =>
    dice.of<Progress>([
      { state: 'pending', waitsFor: 'node-1' },
      { state: 'done' },
      { state: 'done' },
      { state: 'done' },
      ...(dice.below(6) === 0 ? [{ state: 'failed', part: 'web', reason: 'does not start' } as const] : []),
    ])
  const sample = (): Sample | null =>
    dice.of([null, { requests: dice.below(2000), errors: dice.below(20), p99Ms: dice.of([null, dice.below(300)]) }])
  const task = dice.of<TaskState | null>([
    null,
    { state: 'running' },
    {
      state: 'done',
      lines: ['it is done'],
      result: dice.of([null, 7, { refusals: [] }, { refusals: dice.below(9) === 0 ? ['no'] : [] }]),
    },
    { state: 'failed', reason: 'the disk is full', retry: dice.below(6) === 0 ? 'never' : 'later' },
  ])
  const [resources, instances, rest] = [progress(), progress(), progress()]
  return { task, resources, instances, rest, routed: dice.below(4) > 0, old: sample(), new: sample() }
}

/** Grows with every change of the record that is not only a note. */
function rank(rollout: Rollout): readonly number[] {
  const order: readonly string[] = rollout.kind === 'deploy' ? deploySteps : returnSteps
  const place = rollout.step === 'take-back' ? order.length : order.indexOf(rollout.step)
  return [rollout.outcome === null ? 0 : 1, place, rollout.kind === 'deploy' ? rollout.share : 0]
}

function isBehind(a: readonly number[], b: readonly number[]): boolean {
  for (const [index, value] of a.entries()) if (value !== b[index]) return value < (b[index] ?? 0)
  return false
}

function check(was: Rollout, is: Rollout): void {
  const text = JSON.stringify([was, is])
  if (is === was) return
  assert.ok(
    !jsonEqual(JSON.parse(JSON.stringify(is)), JSON.parse(JSON.stringify(was))),
    `another object for nothing: ${text}`,
  )
  assert.equal(was.outcome, null, `an outcome has changed: ${text}`)
  assert.ok(!isBehind(rank(is), rank(was)), `a step back: ${text}`)
  const [before, after] = [shapeOf(was), shapeOf(is)]
  assert.ok(!before.exchanged || after.exchanged, `exchanged, and then not: ${text}`)
  assert.ok(!after.hold || is.outcome === null || is.outcome.kind === 'handed-over', `held after the end: ${text}`)
  assert.ok(
    after.runs !== 'none' || after.hold || is.outcome?.kind === 'stuck',
    `nothing serves, and nobody waits: ${text}`,
  )
  assert.equal(is.steps.filter((record) => record.endMs === null).length, is.outcome === null ? 1 : 0, text)
  assert.equal(is.steps.at(-1)?.step, is.step)
  assert.deepEqual(is.steps.slice(0, was.steps.length - 1), was.steps.slice(0, -1), 'what is over stays')
  assert.equal(followUp(is) !== null, is.outcome?.kind === 'handed-over')
}

test('R1, R2, R19: five thousand random histories: total, forward only, holding only while nothing serves, and each ends', () => {
  const dice = new Dice(42)
  const outcomes = new Map<string, number>()
  for (let history = 0; history < 5000; history += 1) {
    let rollout = anyRollout(dice)
    let nowMs = 0
    let looks = 0
    while (rollout.outcome === null) {
      looks += 1
      assert.ok(looks < 2000, `it does not end: ${JSON.stringify(rollout)}`)
      nowMs += dice.of([0, 1, 1000, 30_000, dice.below(20) === 0 ? 4_000_000 : 5000])
      const was = rollout
      if (dice.below(100) === 0) {
        try {
          rollout = cancel(rollout, 'bob')
        } catch (error) {
          assert.match(String(error), /cannot be called off/)
        }
      }
      rollout = advance(rollout, anySeen(dice), nowMs)
      check(was, rollout)
    }
    assert.equal(advance(rollout, anySeen(dice), nowMs + 1e9), rollout)
    assert.equal(taskOf(rollout), null)
    const followed = followUp(rollout)
    if (followed !== null) shapeOf(beginReturn({ ...followed, id: 'back', new: 9, nowMs }))
    const kind = rollout.outcome.kind
    outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
  }
  // The dice reach every kind of end.
  assert.equal(outcomes.size, 6, JSON.stringify([...outcomes]))
})

test('R4: the same record and the same sight give the same answer, and nothing that goes in is changed', () => {
  const dice = new Dice(7)
  for (let round = 0; round < 2000; round += 1) {
    const rollout = anyRollout(dice)
    const seen = anySeen(dice)
    const before = JSON.stringify([rollout, seen])
    assert.deepEqual(advance(rollout, seen, 5), advance(rollout, seen, 5))
    assert.equal(JSON.stringify([rollout, seen]), before)
  }
})

test('R4: a record that went through the store as JSON goes on as if it had not', () => {
  const dice = new Dice(9)
  for (let round = 0; round < 2000; round += 1) {
    const rollout = anyRollout(dice)
    const stored = JSON.parse(JSON.stringify(rollout)) as Rollout
    assert.deepEqual([stored, shapeOf(stored), taskOf(stored)], [rollout, shapeOf(rollout), taskOf(rollout)])
    const seen = anySeen(dice)
    assert.deepEqual(advance(stored, seen, 9), advance(rollout, seen, 9))
  }
})

test('R3: with nothing to see, nothing changes until a limit has passed, and then something does, in every step', () => {
  for (const migrates of ['none', 'expand', 'stop'] as const) {
    for (const strategy of strategies) {
      const begun = deployment({ migrates, strategy })
      for (const step of stepsOf(begun)) {
        const rollout: Rollout = { ...begun, step, steps: [{ step, startMs: 0, endMs: null, lines: [] }] }
        assert.equal(advance(rollout, blank, 1000), rollout, step)
        assert.notEqual(advance(rollout, blank, 1e9), rollout, step)
      }
    }
  }
  for (const step of returnSteps) {
    const rollout: Rollout = { ...going(), step, steps: [{ step, startMs: 0, endMs: null, lines: [] }] }
    assert.equal(advance(rollout, blank, 1000), rollout, step)
    assert.notEqual(advance(rollout, blank, 1e9), rollout, step)
  }
})

test('R12: the data is exchanged only from the copy: no return with data enters the exchange before its clone is there', () => {
  const dice = new Dice(11)
  for (let round = 0; round < 2000; round += 1) {
    const rollout = going()
    const seen = anySeen(dice)
    const next = advance(rollout, seen, dice.of([0, 1000, 1e9]))
    if (next.step === 'exchange') assert.equal(seen.task?.state, 'done')
    assert.equal(shapeOf(next).exchanged, next.step === 'exchange')
  }
})
