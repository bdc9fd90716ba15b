/** The table, row by row: which steps there are, and what follows when something fails in each of them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { advance, cancel, followUp, isOver } from './advance.ts'
import { beginReturn } from './begin.ts'
import type { Deploy, Migrates, Outcome, Seen, Step, Strategy } from './rollout.ts'
import { deployment, fine, going, quiet, seeing, until } from './seen.test-helper.ts'
import { shapeOf } from './shape.ts'
import { stepsOf } from './steps.ts'
import { taskOf } from './task.ts'

/** Steps of a deployment with data and second halves. */
const courses: readonly [Migrates, Strategy, string][] = [
  ['none', 'rolling', 'rehearse checkpoint start watch confirm contract'],
  ['none', 'blue-green', 'rehearse checkpoint start shift watch confirm contract'],
  ['none', 'canary', 'rehearse checkpoint start shift watch confirm contract'],
  ['expand', 'rolling', 'rehearse checkpoint expand start watch confirm contract'],
  ['expand', 'blue-green', 'rehearse checkpoint expand start shift watch confirm contract'],
  ['expand', 'canary', 'rehearse checkpoint expand start shift watch confirm contract'],
  ['stop', 'rolling', 'rehearse stop checkpoint expand start watch confirm'],
  ['stop', 'blue-green', 'rehearse stop checkpoint expand start watch confirm'],
  ['stop', 'canary', 'rehearse stop checkpoint expand start watch confirm'],
]

test('every deployment goes through its steps, in order, and is confirmed', () => {
  for (const [migrates, strategy, steps] of courses) {
    const begun = deployment({ migrates, strategy })
    assert.equal(stepsOf(begun).join(' '), steps)
    const { rollout } = until(begun, null)
    assert.deepEqual(rollout.outcome, { kind: 'confirmed', left: null })
    // Each share of a canary is a record of its own.
    const gone = rollout.steps.map((record) => record.step)
    assert.deepEqual([...new Set(gone)].join(' '), steps)
    assert.equal(
      gone.filter((step) => step === 'shift').length,
      steps.includes('shift') && strategy === 'canary' ? 3 : steps.includes('shift') ? 1 : 0,
    )
    assert.ok(rollout.steps.every((record) => record.endMs !== null))
  }
})

/** By kind of migration and step: what comes of a failure there. Not listed: there is no such step. */
const failures: Readonly<Record<Migrates, Readonly<Partial<Record<Step, Outcome['kind']>>>>> = {
  none: {
    rehearse: 'refused',
    checkpoint: 'refused',
    start: 'taken-back',
    shift: 'taken-back',
    watch: 'taken-back',
    confirm: 'confirmed',
    contract: 'confirmed',
  },
  expand: {
    rehearse: 'refused',
    checkpoint: 'refused',
    expand: 'taken-back',
    start: 'taken-back',
    shift: 'taken-back',
    watch: 'taken-back',
    confirm: 'confirmed',
    contract: 'confirmed',
  },
  stop: {
    rehearse: 'refused',
    stop: 'refused',
    checkpoint: 'refused',
    expand: 'handed-over',
    start: 'handed-over',
    watch: 'handed-over',
    confirm: 'confirmed',
  },
}

const failed = { state: 'failed', part: 'web', reason: 'does not start' } as const
const failing: Partial<Seen> = {
  task: { state: 'failed', reason: 'the disk is full', retry: 'never' },
  resources: failed,
  instances: failed,
  rest: failed,
}

test('R6: a failure in every step has one outcome, and the reason is in it', () => {
  for (const [migrates, strategy] of courses) {
    const begun = deployment({ migrates, strategy })
    for (const step of stepsOf(begun)) {
      const { rollout, nowMs } = until(begun, step)
      assert.equal(rollout.step, step)
      const { outcome } = seeing(rollout, failing, nowMs).rollout
      assert.equal(outcome?.kind, failures[migrates][step], `${migrates} ${strategy} ${step}`)
      assert.match(JSON.stringify(outcome), /does not start|the disk is full/)
    }
  }
})

test('R7: a step that never ends has a limit, and the same follows', () => {
  const never = { state: 'pending', waitsFor: 'node-2' } as const
  for (const [migrates, strategy] of courses) {
    const begun = deployment({ migrates, strategy })
    for (const step of stepsOf(begun)) {
      const { rollout, nowMs } = until(begun, step)
      const waiting = { task: { state: 'running' }, resources: never, instances: never, rest: never } as const
      const ended = seeing(rollout, waiting, nowMs).rollout
      assert.equal(ended.outcome?.kind, failures[migrates][step], `${migrates} ${strategy} ${step}`)
    }
  }
})

test('R9: called off in every step: before confirm it goes back, from there on it is too late', () => {
  for (const [migrates, strategy] of courses) {
    const begun = deployment({ migrates, strategy })
    for (const step of stepsOf(begun)) {
      const { rollout, nowMs } = until(begun, step)
      if (step === 'confirm' || step === 'contract') {
        assert.throws(() => cancel(rollout, 'bob'), { code: 'release.too-late' })
        continue
      }
      const ended = until(cancel(rollout, 'bob'), null, nowMs).rollout
      assert.equal(ended.outcome?.kind, failures[migrates][step], `${migrates} ${strategy} ${step}`)
      assert.match(JSON.stringify(ended.outcome), /bob has called it off/)
    }
  }
})

test('R8: a deployment that is handed over changes nothing before its return does', () => {
  for (const step of ['expand', 'start', 'watch'] as const) {
    const { rollout, nowMs } = until(deployment({ migrates: 'stop' }), step)
    const over = advance(rollout, { ...fine(rollout), ...failing }, nowMs)
    const next = followUp(over)
    assert.ok(next !== null && isOver(over))
    const back = beginReturn({ ...next, id: 'shop.9', new: 9, nowMs })
    const [was, is] = [shapeOf(over), shapeOf(back)]
    assert.equal(is.hold, was.hold)
    assert.equal(is.runs, was.runs === 'new' ? 'old' : was.runs)
    const { rollout: done } = until(back, null, nowMs)
    assert.deepEqual(done.outcome, { kind: 'taken-back', reason: 'web: does not start' })
    assert.deepEqual([back.target, back.checkpoint, back.branch], [7, 'before-8', 'left-by-9'])
  }
})

test('R10: the very first release has nothing to go back to, and says so', () => {
  const begun = deployment({ old: null, migrates: 'stop' })
  assert.deepEqual(stepsOf(begun), ['start'])
  assert.equal(until(begun, null).rollout.outcome?.kind, 'confirmed')
  const { outcome } = seeing(begun, failing).rollout
  assert.equal(outcome?.kind, 'stuck')
  assert.match(JSON.stringify(outcome), /release 8 is the first/)
  assert.throws(() => cancel(begun, 'bob'), { code: 'release.too-late' })
})

test('R6: a return: every step, every failure', () => {
  const rows: readonly [Parameters<typeof going>[0], Step, Outcome['kind']][] = [
    [{}, 'prepare', 'refused'],
    [{ reason: 'worse' }, 'prepare', 'stuck'],
    [{ reason: 'worse', stopped: true }, 'prepare', 'stuck'],
    [{}, 'exchange', 'stuck'],
    [{ reason: 'worse' }, 'exchange', 'stuck'],
    [{}, 'report', 'returned'],
    [{ reason: 'worse' }, 'report', 'taken-back'],
    [{ checkpoint: null }, 'exchange', 'refused'],
  ]
  for (const [options, step, kind] of rows) {
    const { rollout, nowMs } = until(going(options), step)
    assert.equal(rollout.step, step)
    assert.equal(seeing(rollout, failing, nowMs).rollout.outcome?.kind, kind, JSON.stringify([options, step]))
  }
  assert.equal(until(going(), null).rollout.outcome?.kind, 'returned')
  assert.equal(until(going({ checkpoint: null }), null).rollout.outcome?.kind, 'returned')
  assert.deepEqual(
    until(going(), null).rollout.steps.map((record) => record.step),
    ['prepare', 'exchange', 'report'],
  )
})

test('R9: after the commit point a return with data cannot be called off; before it, it is refused', () => {
  assert.equal(until(cancel(going(), 'bob'), null).rollout.outcome?.kind, 'refused')
  assert.throws(() => cancel(until(going(), 'exchange').rollout, 'bob'), { code: 'release.too-late' })
  assert.throws(() => cancel(going({ reason: 'worse' }), 'bob'), { code: 'release.too-late' })
  const codeOnly = until(going({ checkpoint: null }), 'exchange').rollout
  assert.equal(until(cancel(codeOnly, 'bob'), null).rollout.outcome?.kind, 'refused')
})

test('R5: names and ids follow from the record, so that asking again asks for the same', () => {
  const tasks = (['rehearse', 'checkpoint', 'confirm'] as const).map((step) =>
    taskOf(until(deployment(), step).rollout),
  )
  assert.deepEqual(tasks, [
    { kind: 'rehearse', id: 'shop.8.rehearse', copy: 'rehearse-8' },
    { kind: 'checkpoint', id: 'shop.8.checkpoint', name: 'before-8' },
    { kind: 'checkpoint', id: 'shop.8.confirm', name: 'contract-8' },
  ])
  assert.deepEqual(taskOf(going()), { kind: 'clone', id: 'shop.9.prepare', name: 'return-9', from: 'before-8' })
  assert.deepEqual(taskOf(until(going(), 'report').rollout), {
    kind: 'report',
    id: 'shop.9.report',
    before: 'before-8',
    after: 'left-by-9',
  })
})

test('R11: a rehearsal that found a reason against it refuses the deployment in those words', () => {
  const refusals = ['add-index.sql:3 keeps others from orders for 4 s (ShareLock).', 'And another.']
  const seen: Seen = { ...quiet, task: { state: 'done', lines: [], result: { refusals } } }
  const rollout: Deploy = deployment()
  assert.deepEqual(advance(rollout, seen, 1).outcome, { kind: 'refused', reason: refusals.join(' ') })
})

test('what can be tried later is waited for, until the limit of the step', () => {
  const { rollout, nowMs } = until(deployment(), 'checkpoint')
  const seen: Seen = { ...quiet, task: { state: 'failed', reason: 'node-1 is away', retry: 'later' } }
  assert.equal(advance(rollout, seen, nowMs + 60_000), rollout)
  const ended = advance(rollout, seen, nowMs + 600_000)
  assert.match(JSON.stringify(ended.outcome), /refused.*node-1 is away/)
})
