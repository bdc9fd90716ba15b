/** A platform that is not there, for tests of what looks at one: an app of any number of parts, which the test moves. */
import { setTimeout as pause } from 'node:timers/promises'
import { assert, systemClock } from '../base/index.ts'
import { app, type Graph, type Part, service, toGraph } from '../model/index.ts'
import type { DataCopy, DataState } from '../protocol/index.ts'
import {
  type Caller,
  type CheckupFinding,
  type Operations,
  type PartStatus,
  type ReleaseOperations,
  type ReleasesStatus,
  type Status,
  unknownApp,
} from '../operator/index.ts'

/** A service with the defaults of the model. The name may be one that no app file can say. */
function named(name: string, uses: readonly string[]): Part {
  const template = app('shop', () => {
    const web = service('web', {
      from: './web',
      run: ['node', 'server.js'],
      http: 3000,
      env: { TELL_TALE: 'never told' },
    })
    return { parts: { web } }
  })
  const [part] = toGraph(template, { name: 'test', production: false }).parts
  assert(part?.kind === 'service', 'the template has one service')
  return { ...part, name, uses: uses.map((use) => ({ as: use, part: use })) }
}

const noReleases = (): ReleasesStatus => ({
  app: 'shop',
  live: 1,
  generation: 1,
  releases: [],
  checkpoints: [],
  branches: [],
  counted: null,
})

function dataOf({ generation, checkpoints, releases }: ReleasesStatus): DataState {
  const left = releases.flatMap(({ report, createdAtMs }) =>
    report === null ? [] : [{ name: report.after, createdAtMs }],
  )
  const copies = [...checkpoints, ...left].map(({ name, createdAtMs }, index): DataCopy => ({
    name,
    kind: name.startsWith('left') ? 'branch' : 'checkpoint',
    path: '/',
    createdAtMs,
    generation,
    ownBytes: 4_000_000 * (index + 1),
  }))
  return { generation, driver: 'reflink', totalBytes: 8_000_000_000, freeBytes: 6_400_000_000, copies }
}

export interface Synthetic {
  readonly operations: Operations
  /** Changes the status that is told, and says so. */
  move(change: (status: Status) => Status): void
  /** What was asked that changes something, and every checkup. */
  readonly asked: string[]
}

export interface SyntheticOptions {
  readonly count?: number
  /** Names of the first parts, where others than `part-N`. */
  readonly names?: readonly string[]
  readonly apps?: readonly string[]
  /** What is told of releases; left out, there are none. */
  readonly releases?: () => ReleasesStatus
}

/** Some seconds of a program, with code of its own, of a package and of the runtime. */
function profileOf(kind: string): object {
  const outer = ['processTimers node:internal/timers:520', 'handle /app/web.js:4']
  const stacks = [
    { frames: ['(garbage collector)'], weight: 200_000 },
    { frames: outer, weight: 400_000 },
    { frames: [...outer, 'render /app/page.js:12', 'escape /app/node_modules/html/index.js:9'], weight: 900_000 },
    { frames: [...outer, 'render /app/page.js:12', 'rows <b>/app/page.js:40'], weight: 1_500_000 },
    { frames: [...outer, 'store /app/db.js:7', 'write node:internal/streams:88'], weight: 600_000 },
  ]
  return { kind, unit: kind === 'heap' ? 'bytes' : 'microseconds', stacks, raw: { extension: 'x', text: 'never told' } }
}

/** Apps with services that use one another, in layers of many. */
export function synthetic({
  count = 3,
  names = [],
  apps = ['shop'],
  releases = noReleases,
}: SyntheticOptions = {}): Synthetic {
  const all = Array.from({ length: count }, (_, index) => names[index] ?? `part-${index}`)
  const parts = all.map((name, index) =>
    named(
      name,
      // Like a tree with some ways across, so that there are layers of many.
      [2 * index + 1, 2 * index + 2, index + 7].flatMap((other) => all[other] ?? []),
    ),
  )
  const graph = { version: 1, app: 'shop', parts, routes: [{ host: 'shop.localhost', path: '/', part: all[0] ?? '' }] }
  let status = {
    app: 'shop',
    release: 1,
    wanted: true,
    urls: ['http://shop.localhost:8080'],
    pid: 1,
    parts: all.map(
      (part): PartStatus =>
        ({
          part,
          kind: 'service',
          instance: `shop.${part}.1`,
          phase: 'ready',
          reason: null,
          restarts: 0,
          pid: 1,
          sinceMs: systemClock.nowMs(),
          memoryBytes: 30_000_000,
          cpuSeconds: 1,
        }) as PartStatus,
    ),
    faults: [],
    traffic: [],
    disks: [],
    weaker: [],
    drivers: { sandbox: 'none', network: 'none', domain: 'none' },
  } as Status
  const asked: string[] = []
  let version = 0
  const known = (app: string): void => {
    if (!apps.includes(app)) throw unknownApp(app, apps)
  }
  const releaseOperations: Partial<ReleaseOperations> = {
    list(app) {
      known(app)
      return releases()
    },
    data: () => Promise.resolve(dataOf(releases())),
    preview(_app, { target, withData, checkpoint }) {
      const changes = [{ part: 'db', name: 'orders', added: 12, removed: 0, changed: 3 }]
      const preview = { positions: {}, changes, gaps: ['db: sequences are not counted'] }
      const to = target ?? 1
      return Promise.resolve(
        withData === true
          ? { target: to, checkpoint: checkpoint ?? `before-${to + 1}`, preview }
          : { target: to, checkpoint: null, preview: null },
      )
    },
    back(_app, { target, withData }) {
      asked.push(`back to ${target} ${withData === true ? 'with data' : 'code only'}`)
      return Promise.resolve(releases().releases.length)
    },
    cancel() {
      asked.push('take back')
      return Promise.resolve()
    },
    checkpoint(_app, name) {
      asked.push(`checkpoint ${name}`)
      return Promise.resolve({ tookMs: 12 })
    },
    deleteCopies(_app, copies) {
      asked.push(`delete ${copies.join(', ')}`)
      return Promise.resolve(copies)
    },
    branch(app, name, from) {
      asked.push(`branch ${name} from ${from}`)
      return Promise.resolve(`${app}--${name}`)
    },
    removeBranch(_app, name) {
      asked.push(`remove branch ${name}`)
      return Promise.resolve()
    },
    restoreAt(_app, { copy, target }) {
      asked.push(`restore ${copy} ${target.kind}`)
      const parts = [{ part: 'db', position: '0/3A1B2C0', lastChangeMs: null }]
      return Promise.resolve({ from: 'before-6', parts, gaps: ['mail does not follow'], clockErrorMs: 3 })
    },
    replay(_app, { from, part, table }) {
      asked.push(`replay ${from} ${part} ${table}`)
      return Promise.resolve(12)
    },
  }
  const operations: Partial<Operations> = {
    releases: releaseOperations as ReleaseOperations,
    platform: () =>
      ({
        version: '0.0.0',
        mode: 'serve',
        pid: 1,
        apps: apps.map((app) => ({ app, release: 1, wanted: true, origin: null, urls: status.urls })),
        weaker: [],
        drivers: status.drivers,
      }) as unknown as ReturnType<Operations['platform']>,
    status(app) {
      known(app)
      return { ...status, app }
    },
    graph(app) {
      known(app)
      return graph as Graph
    },
    checkup(app) {
      known(app)
      asked.push(`checkup of release ${status.release}`)
      const severity = 'high'
      const finding = (index: number): CheckupFinding => ({
        rule: 'security.plain-secret',
        severity,
        message: `KEY_${index} <b>stands</b> in plain text`,
        reason: 'Whoever can read the file can use it, and the history keeps it.',
        advice: "Put it into secret('name'), and make a new one.",
        parts: all.slice(0, 20),
        moreParts: Math.max(0, all.length - 20),
      })
      return Promise.resolve({
        release: status.release,
        availability: 0.994_71,
        downtimeSecondsPerYear: 166_925,
        singlePointsOfFailure: all.slice(0, 2),
        beneath: ['the machine', 'name resolution'],
        causes: [{ title: 'Secrets stand in plain text', severity, findings: [1, 2, 3, 4].map(finding), more: 2 }],
      })
    },
    async *logs(_app, part, { follow, signal }) {
      for (let line = 0; line < 3; line += 1)
        yield { assignment: `shop.${part ?? all[0]}.1`, timeMs: systemClock.nowMs(), text: `line ${line} <b>bold</b>` }
      while (follow && !signal.aborted) await pause(20, undefined, { signal }).catch(() => {})
    },
    async *changes(intervalMs, signal) {
      let seen = version
      while (!signal.aborted) {
        await pause(Math.min(intervalMs, 20), undefined, { signal }).catch(() => {})
        if (seen === version) continue
        seen = version
        yield
      }
    },
    open(_app, part, order) {
      asked.push(`${order.kind === 'debug' ? order.look.what : order.kind} of ${part}`)
      const found =
        order.kind === 'debug' && order.look.what === 'profile'
          ? profileOf(order.look.profile)
          : {
              threads: [
                { name: 'main', state: 'running', frames: [{ name: 'handle <b>', file: '/app/web.js', line: 4 }] },
              ],
              waitingFor: ['2 sockets'],
              stoppedMs: 3.2,
            }
      return {
        pieces: (async function* () {
          await pause(20)
          yield { to: 'out' as const, bytes: Buffer.from(JSON.stringify(found)) }
        })(),
        ended: Promise.resolve({ code: 0, signal: null, sentence: 'ended' }),
        write: async () => {},
        end() {},
        resize() {},
        seen() {},
        close() {},
      }
    },
    breakPart(app, { fault }) {
      known(app)
      asked.push(`break ${fault.kind}`)
      return Promise.resolve('f1')
    },
    heal(_app, fault) {
      asked.push(`heal ${fault}`)
      return Promise.resolve()
    },
  }
  return {
    operations: operations as Operations,
    asked,
    move(change) {
      status = change(status)
      version += 1
    },
  }
}

export const everybody: Caller = { name: 'somebody', from: 'a test', may: () => true }
export const reader: Caller = { name: 'a reader', from: 'a test', may: (right) => right === 'read' }
