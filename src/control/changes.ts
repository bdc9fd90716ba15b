/**
 * What people ask for, as changes of the records: which operations to write, and what to take over in memory once they are
 * durable. Pure but for `take`, which the caller runs after the write.
 */
import { jsonEqual, SteadError } from '../base/index.ts'
import { type Graph, showWay } from '../model/index.ts'
import type { DiskState } from '../protocol/index.ts'
import type { Operation } from '../store/index.ts'
import { nextNumber, placed } from './beginnings.ts'
import type { Credentials } from './credentials.ts'
import { keys, newIdentities, put, type Records } from './records.ts'
import { forgotten, releaseKey } from './kept.ts'
import type { DesiredApp, NodeView } from './state.ts'

/** What an app should be. */
export interface Apply {
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  /** Node that holds the app's data from now on. Without it control chooses; an app that has a home keeps it. */
  readonly home?: string
  /** Directory it comes from, where that is on this machine. */
  readonly origin?: string | null
  /** Who wants it; absent: the platform itself. */
  readonly by?: string
}

/** A change that is not written yet. */
export interface Change {
  readonly operations: readonly Operation[]
  /** Takes it over into the records in memory. */
  readonly take: () => void
}

/** The change that makes an app what it should be; null when it is that already. Throws `control.route-taken`, `control.backup-elsewhere`, `control.no-more-users`. */
export function applyChange(
  records: Records,
  { graph, bundles, home, origin = null, by = 'platform' }: Apply,
  { choose, backupsOn }: { readonly choose: () => string; readonly backupsOn: string | null },
  credentials: Credentials,
  nowMs: number,
): (Change & { readonly app: DesiredApp }) | null {
  const before = records.apps.get(graph.app)
  refuseTakenRoutes(records, graph)
  const same = before !== undefined && jsonEqual([before.graph, before.bundles], [graph, bundles])
  if (same && before.wanted) return null
  const app: DesiredApp = {
    graph,
    bundles,
    release: same ? before.release : nextNumber(records, graph.app),
    home: before?.home ?? home ?? choose(),
    origin,
    wanted: true,
    ...(before?.data === undefined ? {} : { data: before.data }),
    ...(before?.branch === undefined ? {} : { branch: before.branch }),
  }
  refuseBackupElsewhere(graph, app.home, backupsOn)
  const old = forgotten(records, graph.app, app.release)
  const release = placed(app, by, credentials, nowMs, app.release)
  const { identities, counters } = newIdentities(graph, records)
  return {
    app,
    operations: [
      put(keys.app(graph.app), app),
      put(keys.counters, counters),
      ...(same ? [] : [put(keys.release(graph.app, app.release), release)]),
      ...old.map(({ number }): Operation => ({ kind: 'delete', key: keys.release(graph.app, number) })),
      ...[...identities].map(([key, identity]) => put(keys.identity(key), identity)),
    ],
    take() {
      for (const [key, identity] of identities) records.identities.set(key, identity)
      records.counters = counters
      records.apps.set(graph.app, app)
      if (!same) records.releases.set(releaseKey(graph.app, app.release), release)
      for (const { number } of old) records.releases.delete(releaseKey(graph.app, number))
    },
  }
}

/**
 * The change that forgets an app as of a release. What was given out once (users, numbers) is not given out again. Throws
 * `control.still-runs` when it was deployed again meanwhile: what was told to be done is not forgotten.
 */
export function removeChange(records: Records, name: string, release: number): Change {
  const now = records.apps.get(name)
  if (now !== undefined && (now.wanted || now.release !== release)) throw stillRuns(name)
  const under = (known: ReadonlyMap<string, unknown>): string[] =>
    [...known.keys()].filter((key) => key.startsWith(`${name}/`))
  const instances = [...records.instances.values()].filter(({ app }) => app === name).map(({ id }) => id)
  const gone = {
    identities: under(records.identities),
    jobs: under(records.jobs),
    orders: under(records.orders),
    releases: under(records.releases),
    checkpoints: under(records.checkpoints),
    incidents: [...records.incidents.values()].filter(({ app }) => app === name).map(({ id }) => id),
  }
  const stored = [
    ...gone.identities.map((key) => keys.identity(key)),
    ...gone.jobs.map((key) => keys.job(key)),
    ...gone.orders.map((key) => keys.order(key)),
    ...gone.releases.map((key) => `release/${key}`),
    ...gone.checkpoints.map((key) => `checkpoint/${key}`),
    ...instances.map((id) => keys.instance(id)),
    ...gone.incidents.map((id) => keys.incident(id)),
    // Last: as long as the app is there, removing it can be asked for again.
    keys.app(name),
  ]
  return {
    operations: stored.map((key): Operation => ({ kind: 'delete', key })),
    take() {
      for (const key of gone.identities) records.identities.delete(key)
      for (const key of gone.jobs) records.jobs.delete(key)
      for (const key of gone.orders) records.orders.delete(key)
      for (const key of gone.releases) records.releases.delete(key)
      for (const key of gone.checkpoints) records.checkpoints.delete(key)
      for (const id of gone.incidents) records.incidents.delete(id)
      for (const id of instances) records.instances.delete(id)
      records.apps.delete(name)
    },
  }
}

/** A node without room would only half start it, and what runs there needs the rest. Throws `control.disk-critical`. */
export function refuseOnFullDisk(disks: ReadonlyMap<string, DiskState>, app: string): void {
  const full = [...disks].find(([, { level }]) => level === 'critical')
  if (full === undefined) return
  const [node, { freeBytes }] = full
  throw new SteadError({
    code: 'control.disk-critical',
    message: `${app} is not deployed: the disk of node ${node} has only ${Math.round(freeBytes / 1e6)} MB free`,
    hint: '`stead disk` shows who uses what; `stead prune` removes what nothing needs. What runs goes on.',
    retry: 'later',
  })
}

/**
 * Backups that an app declares are made where `maker` works, from data that lies there; null: wherever the data is. Refused when it is
 * declared: a backup that can never be made is no failure to be told of every hour. Throws `control.backup-elsewhere`.
 */
export function refuseBackupElsewhere({ app, backup }: Graph, home: string, maker: string | null): void {
  if (backup === undefined || maker === null || home === maker) return
  throw new SteadError({
    code: 'control.backup-elsewhere',
    message: `${app} declares backups, which are made on the node ${maker}, and its data is on the node ${home}`,
    hint: `Leave \`backup\` out of the app file and run \`stead backup ${app}\` on ${home}, or give ${app} its home on ${maker}.`,
  })
}

export function stillRuns(app: string): SteadError {
  return new SteadError({
    code: 'control.still-runs',
    message: `${app} has not stopped, so its data is not deleted`,
    hint: `Stop it with \`stead down ${app}\` first.`,
    retry: 'later',
  })
}

/** Two apps cannot have one way in: the gateway would have to refuse every table. */
function refuseTakenRoutes(records: Records, graph: Graph): void {
  for (const other of records.apps.values()) {
    if (other.graph.app === graph.app || !other.wanted) continue
    const theirs = new Set(waysOf(other.graph))
    const taken = waysOf(graph).find((way) => theirs.has(way))
    if (taken === undefined) continue
    throw new SteadError({
      code: 'control.route-taken',
      message: `${taken} leads to the app ${other.graph.app} already`,
      hint: 'Stop that app, or give one of them another host or port.',
    })
  }
}

function waysOf({ routes, streams = [] }: Graph): string[] {
  return [...routes.map(({ host, path }) => `${host}${path}`), ...streams.map(({ way }) => showWay(way))]
}

/** The connected node that is home to the fewest apps. Throws `control.no-node`. */
export function chooseHome(records: Records, known: ReadonlyMap<string, NodeView>, app: string): string {
  const apps = [...records.apps.values()]
  const load = (node: string): number => apps.filter((other) => other.home === node).length
  const nodes = [...known].filter(([, view]) => view.connected).map(([name]) => name)
  const [home] = nodes.toSorted((a, b) => load(a) - load(b) || (a < b ? -1 : 1))
  if (home !== undefined) return home
  throw new SteadError({
    code: 'control.no-node',
    message: `no node is connected that could be the home of ${app}`,
    hint: 'Start an agent, or name the node.',
    retry: 'later',
  })
}
