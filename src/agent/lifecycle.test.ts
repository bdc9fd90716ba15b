/** The life of an instance: every event in every phase, and a few lives from birth to end. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { phases } from '../protocol/index.ts'
import type { Exit } from '../sandbox/index.ts'
import {
  foundLife,
  jobPolicy,
  type Life,
  type LifeEvent,
  type LifePolicy,
  newLife,
  servicePolicy,
  step,
} from './lifecycle.ts'

const ok: Exit = { cause: 'code', code: 0, signal: null, sentence: 'ended with code 0' }
const bad: Exit = { cause: 'code', code: 3, signal: null, sentence: 'ended with code 3' }

const events: readonly LifeEvent[] = [
  { kind: 'possible' },
  { kind: 'blocked', reason: 'waits for db' },
  { kind: 'start-failed', reason: 'no bundle', retry: 'later' },
  { kind: 'start-failed', reason: 'disk full', retry: 'now' },
  { kind: 'start-failed', reason: 'no program', retry: 'never' },
  { kind: 'probe-ok' },
  { kind: 'probe-failed', reason: 'answered 500' },
  { kind: 'ready-timeout' },
  { kind: 'exited', exit: ok },
  { kind: 'exited', exit: bad },
  { kind: 'timer' },
  { kind: 'stop' },
  { kind: 'frozen', reason: 'it touched a decoy' },
  { kind: 'thawed' },
  { kind: 'discard', reason: 'ended by a person' },
]

/** Plays events and answers the phases passed through, with the commands given. */
function play(policy: LifePolicy, ...played: readonly LifeEvent[]): { life: Life; story: string[] } {
  let life = newLife
  const story: string[] = []
  for (const event of played) {
    const next = step(life, event, policy)
    life = next.life
    story.push(
      [
        life.phase,
        ...next.commands.map((command) => (command.kind === 'pause' ? `pause ${command.forMs}` : command.kind)),
      ].join(' '),
    )
  }
  return { life, story }
}

suite('life of an instance', () => {
  test('waits, starts, gets ready, ends, comes back', () => {
    const { story } = play(
      servicePolicy,
      { kind: 'blocked', reason: 'waits for db' },
      { kind: 'possible' },
      { kind: 'probe-ok' },
      { kind: 'exited', exit: bad },
      { kind: 'timer' },
      { kind: 'possible' },
      { kind: 'probe-ok' },
    )
    assert.deepEqual(story, [
      'waiting',
      'starting start',
      'ready',
      'backing-off pause 500',
      'waiting check',
      'starting start',
      'ready',
    ])
  })

  test('pauses grow, are capped, and what has never been ready is given up with the reason', () => {
    const round: LifeEvent[] = [{ kind: 'possible' }, { kind: 'exited', exit: bad }, { kind: 'timer' }]
    const { life, story } = play(servicePolicy, ...round, ...round, ...round, ...round, ...round)
    assert.deepEqual(
      story.filter((line) => line.includes('pause')),
      ['backing-off pause 500', 'backing-off pause 1000', 'backing-off pause 2000', 'backing-off pause 4000'],
    )
    assert.equal(life.phase, 'gave-up')
    assert.equal(life.reason, 'ended with code 3 (5 times)')
  })

  test('what has served once is tried for ever, with pauses up to the cap', () => {
    const first: LifeEvent[] = [{ kind: 'possible' }, { kind: 'probe-ok' }]
    const round: LifeEvent[] = [{ kind: 'exited', exit: bad }, { kind: 'timer' }, { kind: 'possible' }]
    const { life, story } = play(servicePolicy, ...first, ...Array.from({ length: 20 }, () => round).flat())
    assert.equal(life.phase, 'starting')
    assert.equal(story.filter((line) => line.includes('pause')).at(-1), 'backing-off pause 30000')
  })

  test('what is found is tried for ever only where it has served, and one start more at least where it has not', () => {
    const ends = (life: Life): LifeEvent => {
      assert.equal(life.phase, 'starting')
      return { kind: 'exited', exit: bad }
    }
    for (const starts of [1, 3, 5, 40]) {
      const never = foundLife({ starts, served: false, everServed: false }, servicePolicy)
      const after = step(never, ends(never), servicePolicy).life
      assert.equal(after.phase, starts < servicePolicy.failuresMax ? 'backing-off' : 'gave-up', `${starts} starts`)
      const once = foundLife({ starts, served: false, everServed: true }, servicePolicy)
      assert.deepEqual([once.everReady, once.failures, once.restarts], [true, 0, starts - 1])
      assert.equal(step(once, ends(once), servicePolicy).life.phase, 'backing-off')
    }
    assert.equal(foundLife({ starts: 2, served: true, everServed: true }, servicePolicy).phase, 'ready')
    const job = foundLife({ starts: 3, served: false, everServed: false }, jobPolicy)
    assert.equal(step(job, ends(job), jobPolicy).life.phase, 'failed')
  })

  test('what is frozen stands still until a person decides, and is never started again once it is ended', () => {
    const up: LifeEvent[] = [{ kind: 'possible' }, { kind: 'probe-ok' }]
    const frozen: LifeEvent = { kind: 'frozen', reason: 'frozen: it read the decoy' }
    const quiet: LifeEvent[] = [
      { kind: 'probe-ok' },
      { kind: 'probe-failed', reason: 'no answer' },
      { kind: 'ready-timeout' },
    ]
    const held = play(servicePolicy, ...up, frozen, ...quiet)
    assert.deepEqual(held.story, ['starting start', 'ready', ...Array.from({ length: 4 }, () => 'unready')])
    assert.equal(held.life.reason, 'frozen: it read the decoy')
    const released = play(servicePolicy, ...up, frozen, { kind: 'thawed' }, { kind: 'probe-ok' })
    assert.equal(released.life.phase, 'ready')
    const ended = play(
      servicePolicy,
      ...up,
      frozen,
      { kind: 'discard', reason: 'ended' },
      { kind: 'exited', exit: bad },
    )
    assert.deepEqual(ended.story.slice(-2), ['unready kill', 'gave-up'])
    assert.equal(ended.life.reason, 'ended')
    const stopped = play(servicePolicy, ...up, frozen, { kind: 'stop' }, { kind: 'exited', exit: bad })
    assert.deepEqual(stopped.story.slice(-2), ['stopping kill', 'stopped'])
    assert.equal(play(servicePolicy, ...up, { kind: 'discard', reason: 'x' }).life.phase, 'ready')
    assert.equal(play(jobPolicy, { kind: 'possible' }, frozen, { kind: 'exited', exit: bad }).life.phase, 'failed')
  })

  test('never ready in time: killed, given up, and the last answer is the reason', () => {
    const { life, story } = play(
      servicePolicy,
      { kind: 'possible' },
      { kind: 'probe-failed', reason: 'GET / answered 500' },
      { kind: 'ready-timeout' },
      { kind: 'probe-failed', reason: 'read ECONNRESET' },
      { kind: 'exited', exit: bad },
    )
    assert.deepEqual(story, ['starting start', 'starting', 'starting kill', 'starting', 'gave-up'])
    assert.equal(life.reason, 'did not get ready in time: GET / answered 500')
  })

  test('a ready instance that misses three probes gets no requests until it answers again', () => {
    const miss: LifeEvent = { kind: 'probe-failed', reason: 'no answer' }
    const { story } = play(servicePolicy, { kind: 'possible' }, { kind: 'probe-ok' }, miss, miss, miss, {
      kind: 'probe-ok',
    })
    assert.deepEqual(story.slice(1), ['ready', 'ready', 'ready', 'unready', 'ready'])
  })

  test('a job succeeds with code 0, and fails after three tries', () => {
    assert.equal(play(jobPolicy, { kind: 'possible' }, { kind: 'exited', exit: ok }).life.phase, 'succeeded')
    const round: LifeEvent[] = [{ kind: 'possible' }, { kind: 'exited', exit: bad }, { kind: 'timer' }]
    assert.equal(play(jobPolicy, ...round, ...round, ...round).life.phase, 'failed')
  })

  test('a start that something outside holds up is tried for ever; one that cannot succeed is not tried again', () => {
    const held = Array.from({ length: 20 }, (): LifeEvent[] => [
      { kind: 'possible' },
      { kind: 'start-failed', reason: 'no bundle', retry: 'later' },
      { kind: 'timer' },
    ]).flat()
    for (const policy of [servicePolicy, jobPolicy]) {
      assert.equal(play(policy, ...held).life.phase, 'waiting')
      const never: LifeEvent = { kind: 'start-failed', reason: 'no program', retry: 'never' }
      const { life } = play(policy, { kind: 'possible' }, never)
      assert.equal(life.phase, policy.kind === 'job' ? 'failed' : 'gave-up')
    }
  })

  test('every event in every phase: no program is started twice, stopped is final, a stop always ends it', () => {
    for (const policy of [servicePolicy, jobPolicy]) {
      for (const phase of phases) {
        for (const event of events) {
          const { life, commands } = step({ ...newLife, phase }, event, policy)
          const where = `${policy.kind} ${phase} ${event.kind}`
          assert.ok(phases.includes(life.phase), where)
          assert.ok(
            !commands.some((command) => command.kind === 'start') || phase === 'waiting',
            `${where}: starts only from waiting`,
          )
          if (phase === 'stopped') assert.deepEqual([life.phase, commands], ['stopped', []], where)
          if (
            ['starting', 'ready', 'unready', 'stopping'].includes(phase) &&
            !['exited', 'start-failed', 'stop'].includes(event.kind)
          ) {
            assert.ok(
              ['starting', 'ready', 'unready', 'stopping'].includes(life.phase),
              `${where}: a running program is left only by its end`,
            )
          }
        }
        const stopping = step({ ...newLife, phase }, { kind: 'stop' }, policy).life
        const ended = step(stopping, { kind: 'exited', exit: ok }, policy).life
        assert.ok(['stopped', 'succeeded', 'failed'].includes(ended.phase), `${phase} can be stopped`)
        // Asked to stop while it was started, which fails: then there is no program whose end could be waited for.
        const unstarted: LifeEvent = { kind: 'start-failed', reason: 'no kernel', retry: 'now' }
        const over = step(stopping, unstarted, policy).life
        assert.ok(
          ['stopped', 'succeeded', 'failed'].includes(over.phase),
          `${phase}: a start that fails is stopped too`,
        )
      }
    }
  })
})
