/** A history of releases that nobody made, for tests of what shows one: every way in which a release can end. */
import { systemClock } from '../base/index.ts'
import { app, postgres, service, toGraph } from '../model/index.ts'
import type { ReleasesStatus, ReleaseStatus } from '../operator/index.ts'
import {
  beginDeploy,
  beginReturn,
  type Deploy,
  type Outcome,
  type Return,
  type Rollout,
  type Step,
} from '../release/index.ts'

const minuteMs = 60_000

function graphOf(replicas: number, token: string): ReleaseStatus['graph'] {
  const file = app('shop', () => {
    const db = postgres('db', { migrations: './migrations' })
    const web = service('web', {
      from: './web',
      run: ['node', 'server.js'],
      http: 3000,
      use: { db },
      replicas,
      env: { TOKEN: token },
    })
    return { parts: { web }, public: { 'shop.localhost': web } }
  })
  return toGraph(file, { name: 'test', production: false })
}

function stepped(step: Step, startMs: number, tookMs: number | null, ...lines: readonly string[]) {
  return { step, startMs, endMs: tookMs === null ? null : startMs + tookMs, lines }
}

function deployment(number: number, old: number, atMs: number, how: Partial<Deploy> = {}): Deploy {
  const begun = beginDeploy({
    id: `r${number}`,
    app: 'shop',
    by: 'ann',
    nowMs: atMs,
    old,
    new: number,
    strategy: 'rolling',
    migrates: 'none',
    contracts: false,
    hasData: true,
    watchMs: 15_000,
  })
  return { ...begun, ...how }
}

function returning(number: number, old: number, target: number, atMs: number, how: Partial<Return> = {}): Return {
  const begun = beginReturn({
    id: `r${number}`,
    app: 'shop',
    by: 'ann',
    nowMs: atMs,
    old,
    new: number,
    target,
    checkpoint: `before-${target + 1}`,
    reason: null,
    stopped: false,
  })
  return { ...begun, ...how }
}

const steps = (atMs: number): Deploy['steps'] => [
  stepped('checkpoint', atMs, 140, 'before-N, in 140 ms'),
  stepped('start', atMs + 140, 2300),
  stepped('watch', atMs + 2440, 15_000, '1 of 2104 requests failed with the new release, 1 of 1998 with the old one'),
  stepped('confirm', atMs + 17_440, 600),
]

/** Seven releases, the last of them under way, as they are now. */
export function storyOf(nowMs: number = systemClock.nowMs()): ReleasesStatus {
  const at = (minutes: number): number => nowMs - minutes * minuteMs
  const over = (outcome: Outcome): Pick<Rollout, 'outcome'> => ({ outcome })
  const make = (number: number, more: Partial<ReleaseStatus>): ReleaseStatus => ({
    number,
    state: 'confirmed',
    live: false,
    backTo: null,
    createdAtMs: 0,
    by: 'ann',
    generation: 1,
    graph: graphOf(1, 'never told'),
    bundles: { web: `sha256:${number}`, db: 'sha256:1' },
    secrets: { token: number > 3 ? 2 : 1 },
    schemas: { db: '002_note.sql' },
    rollout: null,
    report: null,
    ...more,
  })
  const report: NonNullable<ReleaseStatus['report']> = {
    before: 'before-4',
    after: 'left-by-6',
    exact: true,
    changes: [
      { part: 'db', name: 'public.orders', added: 12, removed: 0, changed: 3 },
      { part: 'db', name: 'public.visits', added: 4031, removed: 17, changed: 0 },
    ],
    effects: [
      {
        part: 'web',
        key: 'order-17',
        what: 'a mail to ada@example.com',
        state: 'sent',
        compensation: 'write that the order was taken back',
        timeMs: at(43),
      },
      {
        part: 'web',
        key: 'order-18',
        what: 'a payment of 14 EUR',
        state: 'possibly-sent',
        compensation: null,
        timeMs: at(42),
      },
    ],
    gaps: ['db: large objects are not compared'],
  }
  const canary = deployment(7, 6, at(0.4), {
    strategy: 'canary',
    shares: [10, 50, 100],
    share: 1,
    step: 'shift',
    stepMs: at(0.1),
    checkpoint: 'before-7',
    steps: [
      stepped('checkpoint', at(0.4), 120, 'before-7, in 120 ms'),
      stepped('start', at(0.39), 2900),
      stepped('shift', at(0.3), 9000, '10 % of the requests: 0 of 212 requests failed with the new release'),
      stepped('shift', at(0.1), null),
    ],
  })
  return {
    app: 'shop',
    live: 6,
    generation: 2,
    releases: [
      make(1, { createdAtMs: at(3000) }),
      make(2, {
        createdAtMs: at(1500),
        graph: graphOf(2, 'another'),
        rollout: deployment(2, 1, at(1500), { ...over({ kind: 'confirmed', left: null }), steps: steps(at(1500)) }),
      }),
      make(3, {
        state: 'refused',
        createdAtMs: at(200),
        by: 'bert',
        rollout: deployment(3, 2, at(200), {
          migrates: 'stop',
          steps: [stepped('rehearse', at(200), 1900, '003_bad.sql:1: relation "no_such_table" does not exist')],
          ...over({ kind: 'refused', reason: '003_bad.sql:1: relation "no_such_table" does not exist' }),
        }),
      }),
      make(4, {
        createdAtMs: at(120),
        graph: graphOf(3, 'another'),
        schemas: { db: '003_total.sql' },
        rollout: deployment(4, 2, at(120), {
          strategy: 'blue-green',
          migrates: 'stop',
          checkpoint: 'before-4',
          steps: steps(at(120)),
          ...over({ kind: 'confirmed', left: null }),
        }),
      }),
      make(5, {
        state: 'taken-back',
        createdAtMs: at(60),
        graph: graphOf(3, 'another'),
        rollout: deployment(5, 4, at(60), {
          checkpoint: 'before-5',
          takingBack: 'web: it ended with code 7, and again',
          step: 'take-back',
          steps: [
            stepped('checkpoint', at(60), 120),
            stepped('start', at(60) + 120, 4100, 'web: it ended with code 7, and again'),
            stepped('take-back', at(60) + 4220, 800),
          ],
          ...over({ kind: 'taken-back', reason: 'web: it ended with code 7, and again' }),
        }),
      }),
      make(6, {
        state: 'returned',
        live: true,
        backTo: 2,
        createdAtMs: at(41),
        generation: 2,
        graph: graphOf(2, 'another'),
        rollout: returning(6, 4, 2, at(41), {
          branch: 'left-by-6',
          checkpoint: 'before-4',
          step: 'report',
          steps: [
            stepped('prepare', at(41), 90),
            stepped('exchange', at(41) + 90, 1400),
            stepped('report', at(41) + 1490, 700, '2 tables differ'),
          ],
          ...over({ kind: 'returned' }),
        }),
        report,
      }),
      make(7, {
        state: 'rolling-out',
        createdAtMs: at(0.4),
        graph: graphOf(4, 'another'),
        generation: 2,
        rollout: canary,
      }),
    ],
    checkpoints: [
      { name: 'before-4', release: 2, generation: 1, createdAtMs: at(120), by: 'ann', before: 4 },
      { name: 'monday', release: 4, generation: 1, createdAtMs: at(90), by: 'bert', before: null },
      { name: 'before-5', release: 4, generation: 1, createdAtMs: at(60), by: 'ann', before: 5 },
      { name: 'before-7', release: 6, generation: 2, createdAtMs: at(0.4), by: 'ann', before: 7 },
    ].map((checkpoint) => ({ ...checkpoint, schema: { bundles: {}, phase: 'all', parts: ['db'] } })),
    branches: [
      {
        name: 'try',
        app: 'shop--try',
        purpose: 'branch',
        by: 'bert',
        from: 'left-by-6',
        urls: ['http://try.shop.localhost:8080'],
      },
    ],
    counted: { old: { requests: 1411, errors: 0, p99Ms: 34 }, new: { requests: 1388, errors: 2, p99Ms: 38 } },
  }
}
