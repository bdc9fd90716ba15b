/** What the platform knows of an app, in the form that people and scripts are shown. */
import type { AppView } from '../control/index.ts'
import type { PartStatus, Status } from '../operator/index.ts'
import type { Rollout } from '../release/index.ts'
import type { MachineDescription } from './machine.ts'
import type { Platform } from './platform.ts'

/** The URLs under which the app answers on this machine: of HTTP first, then of connections that are carried as they are. */
export function urlsOf({ port, tls, view }: Pick<Platform, 'port' | 'tls' | 'view'>, app: string): string[] {
  const { parts = [], routes = [], streams = [] } = view(app)?.app.graph ?? {}
  // What a person looks at comes before a bucket, which answers to signed requests.
  const isResource = (name: string): boolean => parts.some((part) => part.kind === 'resource' && part.name === name)
  const inOrder = routes.toSorted((a, b) => Number(isResource(a.part)) - Number(isResource(b.part)))
  const scheme = tls ? 'https' : 'http'
  return [
    ...inOrder.map((route) => `${scheme}://${route.host}:${port}${route.path === '/' ? '' : route.path}`),
    ...streams.map(({ way }) => (way.kind === 'tcp' ? `tcp://127.0.0.1:${way.port}` : `tls://${way.host}:${port}`)),
  ]
}

/** Everything of an app at this moment. */
export function statusOf(
  platform: Pick<Platform, 'port' | 'tls' | 'view' | 'disks' | 'releases'>,
  machine: MachineDescription,
  app: string,
): Status {
  const view = platform.view(app)
  return {
    app,
    release: view?.app.release ?? 0,
    wanted: view?.app.wanted ?? false,
    urls: urlsOf(platform, app),
    pid: process.pid,
    parts: view === null ? [] : partsOf(view),
    faults: view?.faults ?? [],
    traffic: view?.traffic.edges ?? [],
    disks: [...platform.disks()].map(([node, disk]) => ({ node, ...disk })),
    ...machine,
    ...(view === null ? {} : rolloutOf(platform.releases.book(app).releases.at(-1)?.rollout ?? null)),
  }
}

function rolloutOf(rollout: Rollout | null): Pick<Status, 'rollout'> {
  const { outcome } = rollout ?? { outcome: null }
  if (rollout === null || (outcome !== null && outcome.kind !== 'stuck')) return {}
  const stuck = outcome === null ? null : outcome.reason
  return { rollout: { release: rollout.new, step: rollout.step, sinceMs: rollout.stepMs, stuck } }
}

function partsOf(view: AppView): PartStatus[] {
  return view.app.graph.parts.flatMap((part): PartStatus[] => {
    const stopped = view.orders.get(part.name)?.stopped ?? null
    const isolation = part.kind === 'resource' || part.isolation === undefined ? {} : { isolation: part.isolation }
    const system = part.kind === 'service' && part.vm !== undefined ? { disk: part.vm.disk } : {}
    const common = { part: part.name, kind: part.kind, stoppedBy: stopped?.by ?? null, ...isolation, ...system }
    if (part.kind === 'resource') {
      const found = view.resources.find((resource) => resource.part === part.name)
      return [{ ...common, instance: null, current: found?.current ?? false, ...shown(found?.status ?? null) }]
    }
    const own = view.instances
      .filter(({ record }) => record.part.name === part.name)
      .toSorted((a, b) => a.record.sinceMs - b.record.sinceMs)
    const latest = part.kind === 'job' ? own.slice(-1) : own
    if (stopped !== null && latest.length === 0) {
      const reason = `stopped by ${stopped.by}`
      return [
        {
          ...common,
          instance: null,
          current: true,
          ...shown(null),
          phase: 'stopped',
          reason,
          sinceMs: stopped.sinceMs,
        },
      ]
    }
    if (latest.length === 0) {
      const phase = part.kind === 'job' ? 'scheduled' : 'waiting'
      const reason = part.kind === 'job' ? `due at "${part.schedule}" ${part.timeZone}` : null
      return [{ ...common, instance: null, current: true, ...shown(null), phase, reason }]
    }
    return latest.map(({ record, current, status }) => ({ ...common, instance: record.id, current, ...shown(status) }))
  })
}

function shown(
  status: AppView['resources'][number]['status'],
): Omit<PartStatus, 'part' | 'kind' | 'instance' | 'stoppedBy' | 'current'> {
  return {
    phase: status?.phase ?? 'waiting',
    reason: status?.reason ?? null,
    restarts: status?.restarts ?? 0,
    pid: status?.pid ?? null,
    sinceMs: status?.sinceMs ?? null,
    memoryBytes: status?.memoryBytes ?? null,
    cpuSeconds: status?.cpuSeconds ?? null,
    refused: status?.refused ?? [],
    ...(status?.heldSinceMs === undefined ? {} : { heldSinceMs: status.heldSinceMs }),
    ...(status?.lastEnd === undefined ? {} : { lastEnd: status.lastEnd }),
    ...(status?.debuggers === undefined ? {} : { debuggers: status.debuggers }),
    ...(status?.durability === undefined ? {} : { durability: status.durability }),
    ...(status?.metrics === undefined ? {} : { metrics: status.metrics }),
    ...(status?.log === undefined ? {} : { log: status.log }),
  }
}
