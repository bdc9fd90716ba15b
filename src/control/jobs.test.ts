/** Runs of jobs in virtual time: time zones, meetings, what was missed, retries, the history, and clocks that jump. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { app, job, type JobOptions, type JobPart, toGraph } from '../model/index.ts'
import type { Phase } from '../protocol/index.ts'
import { decide, nodeLostMs } from './decide.ts'
import { clockBackMaxMs, historyMax } from './jobs.ts'
import { type Order, orderChange } from './operate.ts'
import { dueBetween, nextDueMs } from './schedule.ts'
import type { ControlState, DesiredApp, InstanceRecord, JobRecord, JobRun, NodeView, PartOrder } from './state.ts'

const hourMs = 3_600_000
const key = 'shop/tidy'

/** A world with one job. Its runs last for `lastsMs`. */
class World {
  nowMs = Date.parse('2026-01-15T00:30:00Z')
  lastsMs = 1000
  readonly #jobs = new Map<string, JobRecord>()
  readonly #orders = new Map<string, PartOrder>()
  readonly #instances = new Map<string, InstanceRecord>()
  readonly #phases = new Map<string, { phase: Phase; sinceMs: number }>()
  readonly nodes = new Map<string, NodeView>()
  part: JobPart
  wanted = true
  #ids = 0

  constructor(options: Partial<JobOptions>) {
    this.part = partOf(options)
    this.nodes.set('n1', { connected: true, sinceMs: 0, toldRevision: 1, appliedRevision: 1, busy: [] })
    this.turn()
  }

  state(): ControlState {
    const graph = { version: 1, app: 'shop', parts: [this.part], routes: [] } as const
    const desired: DesiredApp = { graph, bundles: { tidy: 'b' }, release: 1, home: 'n1', wanted: this.wanted }
    const statuses = new Map(
      [...this.#phases].map(([id, { phase, sinceMs }]) => {
        const reason = phase === 'failed' ? 'ended with code 3' : null
        const exit = phase === 'failed' ? { exitCode: 3 } : {}
        const nothing = { restarts: 0, endpoint: null, pid: null, memoryBytes: null }
        return [id, { id, phase, reason, sinceMs, ...nothing, ...exit }] as const
      }),
    )
    return {
      apps: new Map([['shop', desired]]),
      instances: this.#instances,
      identities: new Map(),
      credentials: new Map(),
      jobs: this.#jobs,
      orders: this.#orders,
      nodes: this.nodes,
      gateways: new Map(),
      statuses,
      routeRevision: 1,
      startedMs: 0,
    }
  }

  readonly newId = (name: string, part: string): string => `${name}.${part}.${(this.#ids += 1)}`

  /** Lets runs end whose time it is, and decides until nothing is left to decide. */
  turn(end: 'succeeded' | 'failed' = 'succeeded'): void {
    for (const instance of this.#instances.values()) {
      const known = this.#phases.get(instance.id)
      const over = known !== undefined && known.phase !== 'starting'
      if (instance.phase === 'stopping') this.#phases.set(instance.id, { phase: 'stopped', sinceMs: this.nowMs })
      else if (!over && Math.abs(this.nowMs - instance.sinceMs) >= this.lastsMs)
        this.#phases.set(instance.id, { phase: end, sinceMs: this.nowMs })
      else if (known === undefined) this.#phases.set(instance.id, { phase: 'starting', sinceMs: this.nowMs })
    }
    for (let turns = 0; ; turns += 1) {
      assert.ok(turns < 50, 'decisions come to rest')
      const decision = decide(this.state(), this.nowMs, this.newId)
      for (const record of decision.put) this.#instances.set(record.id, record)
      for (const id of decision.remove) {
        this.#instances.delete(id)
        this.#phases.delete(id)
      }
      for (const { key: name, record } of decision.jobs) this.#jobs.set(name, record)
      if (decision.put.length + decision.remove.length + decision.jobs.length === 0) return
    }
  }

  /** Goes on by `byMs`, with a turn every `everyMs`. */
  advance(byMs: number, everyMs = 30_000): void {
    for (const endMs = this.nowMs + byMs; this.nowMs < endMs;) {
      this.nowMs = Math.min(this.nowMs + everyMs, endMs)
      this.turn()
    }
  }

  order(kind: 'stop' | 'start' | 'run'): string | null {
    const order: Order = { kind, app: 'shop', part: 'tidy', by: 'ada' }
    const records = {
      apps: new Map(),
      identities: new Map(),
      counters: { hostUid: 1, edges: {} },
      instances: this.#instances,
      jobs: this.#jobs,
      orders: this.#orders,
      incidents: new Map(),
      releases: new Map(),
      checkpoints: new Map(),
    }
    const done = orderChange(order, records, this.state(), this.nowMs, this.newId)
    done.take()
    this.turn()
    return done.instance
  }

  runs(): readonly JobRun[] {
    return this.#jobs.get(key)?.runs ?? []
  }

  /** Moments at which runs were due that have begun. */
  begun(): string[] {
    return this.runs()
      .filter((run) => run.instance !== null)
      .map((run) => new Date(run.dueMs).toISOString().slice(5, 16))
  }

  active(): number {
    return [...this.#instances.values()].filter(({ id, phase }) => {
      return phase === 'active' && ['starting', undefined].includes(this.#phases.get(id)?.phase)
    }).length
  }
}

function partOf(options: Partial<JobOptions>): JobPart {
  const declared = app('shop', () => ({ parts: { tidy: job('tidy', { run: ['true'], ...options }) } }))
  const [part] = toGraph(declared, { name: 'test', production: false }).parts
  assert.ok(part?.kind === 'job')
  return part
}

const utc = (...texts: string[]): number[] => texts.map((text) => Date.parse(`${text}:00Z`))

suite('schedules in time zones', () => {
  const berlin = (schedule: string): { schedule: string; timeZone: string } => ({ schedule, timeZone: 'Europe/Berlin' })
  const next = (schedule: string, from: string, count: number): number[] => {
    const found: number[] = []
    let afterMs = Date.parse(from)
    for (let index = 0; index < count; index += 1) found.push((afterMs = nextDueMs(berlin(schedule), afterMs) ?? 0))
    return found
  }

  test('the hour of the clock is that of the zone, in winter and in summer', () => {
    assert.deepEqual(next('0 3 * * *', '2026-01-01T12:00:00Z', 1), utc('2026-01-02T02:00'))
    assert.deepEqual(next('0 3 * * *', '2026-07-01T12:00:00Z', 1), utc('2026-07-02T01:00'))
  })

  test('what falls into the hour that is skipped is due at its end, once; what runs every half hour goes on', () => {
    const night = next('30 2 * * *', '2026-03-28T12:00:00Z', 2)
    assert.deepEqual(night, utc('2026-03-29T01:00', '2026-03-30T00:30'))
    const halves = next('*/30 * * * *', '2026-03-29T00:29:00Z', 3)
    assert.deepEqual(halves, utc('2026-03-29T00:30', '2026-03-29T01:00', '2026-03-29T01:30'))
  })

  test('what falls into the hour that comes twice is due once; what runs every half hour is due in both', () => {
    const night = next('30 2 * * *', '2026-10-24T12:00:00Z', 2)
    assert.deepEqual(night, utc('2026-10-25T00:30', '2026-10-26T01:30'))
    const halves = next('*/30 * * * *', '2026-10-25T00:00:00Z', 4)
    assert.deepEqual(halves, utc('2026-10-25T00:30', '2026-10-25T01:00', '2026-10-25T01:30', '2026-10-25T02:00'))
  })

  test('looking back finds the same moments as going forward, over both changes of the clock', () => {
    for (const [from, to] of [
      ['2026-03-28T20:00:00Z', '2026-03-30T08:00:00Z'],
      ['2026-10-24T20:00:00Z', '2026-10-26T08:00:00Z'],
    ] as const) {
      for (const schedule of ['30 2 * * *', '15 */3 * * *', '*/20 * * * *']) {
        const forward: number[] = []
        for (let ms = nextDueMs(berlin(schedule), Date.parse(from)); ms !== null && ms <= Date.parse(to);) {
          forward.push(ms)
          ms = nextDueMs(berlin(schedule), ms)
        }
        assert.deepEqual(dueBetween(berlin(schedule), Date.parse(from), Date.parse(to), 1000), forward, schedule)
      }
    }
  })
})

suite('runs of jobs', () => {
  test('each moment is run once, and the history says how it went', () => {
    const world = new World({ schedule: '0 * * * *' })
    world.advance(3 * hourMs)
    assert.deepEqual(world.begun(), ['01-15T01:00', '01-15T02:00', '01-15T03:00'])
    const [first] = world.runs()
    assert.deepEqual(
      [first?.outcome, first?.cause, first?.sentence, first?.times],
      ['succeeded', 'schedule', 'ended with code 0', 1],
    )
    assert.ok(first !== undefined && first.startMs !== null && first.endMs !== null && first.endMs > first.startMs)
    world.nowMs += hourMs
    world.turn()
    world.nowMs += world.lastsMs
    world.turn('failed')
    const last = world.runs().at(-1)
    assert.deepEqual([last?.outcome, last?.exitCode, last?.sentence], ['failed', 3, 'ended with code 3'])
  })

  test('skip: what falls due meanwhile is left out, and several in a row are one entry', () => {
    const world = new World({ schedule: '*/10 * * * *' })
    world.lastsMs = 35 * 60_000
    world.advance(hourMs)
    assert.deepEqual(world.begun(), ['01-15T00:40', '01-15T01:20'])
    const left = world.runs().filter((run) => run.outcome === 'left-out')
    assert.deepEqual(
      left.map(({ times, sentence }) => [times, sentence]),
      [
        [3, 'was left out: a run of it had not ended'],
        [1, 'was left out: a run of it had not ended'],
      ],
    )
  })

  test('queue: one waits, and begins when there is room', () => {
    const world = new World({ schedule: { cron: '*/10 * * * *', overlap: 'queue' } })
    world.lastsMs = 25 * 60_000
    world.advance(hourMs)
    assert.deepEqual(world.begun(), ['01-15T00:40', '01-15T00:50', '01-15T01:10'])
    assert.equal(world.active(), 1)
  })

  test('atMost: so many at once', () => {
    const world = new World({ schedule: { cron: '*/10 * * * *', overlap: { atMost: 2 } } })
    world.lastsMs = 25 * 60_000
    for (let step = 0; step < 120; step += 1) {
      world.advance(30_000)
      assert.ok(world.active() <= 2)
    }
    assert.deepEqual(world.begun(), ['01-15T00:40', '01-15T00:50', '01-15T01:10', '01-15T01:20'])
  })

  test('missed: one is made up for when it is not too long ago; none; or the last so many, one after another', () => {
    const after = (missed: NonNullable<Extract<JobOptions['schedule'], object>['missed']>): World => {
      const world = new World({ schedule: { cron: '0 * * * *', missed } })
      // The machine is off until 05:20.
      world.nowMs += 4 * hourMs + 50 * 60_000
      world.advance(5 * 60_000)
      return world
    }
    assert.deepEqual(after({ once: '2h' }).begun(), ['01-15T05:00'])
    assert.equal(
      after({ once: '2h' })
        .runs()
        .find((run) => run.instance !== null)?.cause,
      'missed',
    )
    assert.deepEqual(after({ once: '10m' }).begun(), [])
    assert.deepEqual(after('skip').begun(), [])
    assert.deepEqual(after({ last: 3 }).begun(), ['01-15T03:00', '01-15T04:00', '01-15T05:00'])
    const [told] = after('skip').runs()
    assert.deepEqual([told?.outcome, told?.times, told?.sentence?.startsWith('was missed')], ['left-out', 5, true])
  })

  test('while no node is there a run waits for one', () => {
    const world = new World({ schedule: '0 * * * *' })
    const [node] = world.nodes.values()
    world.nodes.clear()
    world.advance(hourMs)
    assert.deepEqual(world.begun(), [])
    if (node !== undefined) world.nodes.set('n1', node)
    world.advance(60_000)
    assert.deepEqual(world.begun(), ['01-15T01:00'])
  })

  test('a run on a node that went away is given up, and the schedule goes on', () => {
    const world = new World({ schedule: '0 * * * *' })
    const there: NodeView = { connected: true, sinceMs: 0, toldRevision: 1, appliedRevision: 1, busy: [] }
    world.lastsMs = 10 * hourMs
    world.advance(40 * 60_000)
    assert.equal(world.active(), 1)
    world.nodes.set('n1', { ...there, connected: false, sinceMs: world.nowMs })
    world.nodes.set('n2', there)
    world.advance(nodeLostMs)
    assert.match(world.runs()[0]?.sentence ?? '', /its node n1 went away/)
    world.advance(hourMs)
    assert.deepEqual(world.begun(), ['01-15T01:00', '01-15T02:00'])
  })

  test('a stopped job does not run, and makes up for nothing when it is started again', () => {
    const world = new World({ schedule: '0 * * * *' })
    world.lastsMs = 10 * hourMs
    world.advance(40 * 60_000)
    world.order('stop')
    world.advance(60_000)
    assert.deepEqual([world.active(), world.runs()[0]?.outcome], [0, 'stopped'])
    world.advance(3 * hourMs)
    world.order('start')
    world.advance(10 * 60_000)
    assert.equal(world.runs().length, 1)
    world.advance(hourMs)
    assert.equal(world.runs().length, 2)
  })

  test('a run that a person asks for is one of them: beyond the overlap it is refused', () => {
    const world = new World({})
    assert.deepEqual(
      world.runs().map((run) => run.cause),
      ['release'],
    )
    assert.throws(() => world.order('run'), { code: 'control.job-running' })
    world.advance(60_000)
    assert.notEqual(world.order('run'), null)
    const last = world.runs().at(-1)
    assert.deepEqual([last?.cause, last?.by, last?.outcome], ['person', 'ada', 'running'])
    world.advance(60_000)
    assert.equal(world.runs().length, 2, 'the release is not run again')
  })

  test('another schedule begins when it is declared', () => {
    const world = new World({ schedule: '0 3 * * *' })
    world.advance(10 * hourMs)
    assert.equal(world.begun().length, 1)
    world.part = partOf({ schedule: { cron: '0 9 * * *', timeZone: 'Europe/Berlin' } })
    world.advance(hourMs)
    assert.equal(world.begun().length, 1, 'nine o’clock was before it was declared')
  })

  test('the history is bounded', () => {
    const world = new World({ schedule: '* * * * *' })
    world.advance((historyMax + 20) * 60_000)
    assert.equal(world.runs().length, historyMax)
  })
})

suite('clocks that jump', () => {
  test('forward by hours: one run at most; back by hours: no run twice', () => {
    const world = new World({ schedule: '*/10 * * * *' })
    world.advance(hourMs)
    const before = world.begun().length
    world.nowMs += 7 * hourMs
    world.advance(60_000)
    assert.ok(world.begun().length <= before + 1, 'no storm')
    world.nowMs -= 7 * hourMs
    world.advance(6 * hourMs)
    assert.equal(new Set(world.begun()).size, world.begun().length, 'nothing twice')
    world.advance(2 * hourMs)
    assert.ok(world.begun().length > before + 1, 'it goes on')
  })

  test('a clock that was years ahead does not silence a job for years', () => {
    const world = new World({ schedule: '0 * * * *' })
    world.nowMs += 1000 * 24 * hourMs
    world.advance(2 * hourMs)
    world.nowMs -= 1000 * 24 * hourMs
    const before = world.begun().length
    world.advance(3 * hourMs)
    assert.equal(world.begun().length, before + 3)
  })

  test('a clock that begins in 1970 and is then set right runs nothing again', () => {
    const world = new World({ schedule: '0 3 * * *' })
    world.advance(4 * hourMs)
    assert.deepEqual(world.begun(), ['01-15T03:00'])
    const rightMs = world.nowMs
    world.nowMs = 0
    world.turn()
    world.nowMs = rightMs + 60_000
    world.advance(hourMs)
    assert.deepEqual(world.begun(), ['01-15T03:00'])
  })

  test('whatever the clock does: never more at once than allowed, no moment twice, and it comes to rest', () => {
    for (let seed = 1; seed <= 25; seed += 1) {
      const random = seededRandom(seed)
      const roll = (sides: number): number => (random.bytes(1)[0] ?? 0) % sides
      const atMost = 1 + roll(3)
      const missed = ([{ once: '3h' }, { last: 4 }, 'skip'] as const)[roll(3)] ?? 'skip'
      const world = new World({ schedule: { cron: '*/15 * * * *', overlap: { atMost }, missed } })
      for (let step = 0; step < 40; step += 1) {
        world.lastsMs = 1000 + roll(40) * 60_000
        const jump = roll(8)
        if (jump === 0) world.nowMs += roll(20) * hourMs
        else if (jump === 1) world.nowMs -= roll(20) * hourMs
        else if (jump === 2) world.wanted = roll(3) > 0
        const before = world.runs().length
        world.turn()
        assert.ok(world.runs().length <= before + atMost + 5, `seed ${seed}: a storm`)
        for (let minute = 0; minute < 10; minute += 1) {
          world.advance(60_000)
          assert.ok(world.active() <= atMost, `seed ${seed}: ${world.active()} at once`)
        }
      }
      const due = world.runs().filter((run) => run.instance !== null && run.cause !== 'person')
      assert.equal(new Set(due.map((run) => run.dueMs)).size, due.length, `seed ${seed}: a moment twice`)
    }
    assert.ok(clockBackMaxMs > 20 * hourMs, 'the jumps of this test are waited out')
  })
})
