/** Answers what is asked of the platform in this process, for `up` and for the daemon alike. */
import { assert, SteadError } from '../base/index.ts'
import type { Dashboard } from '../dashboard/index.ts'
import { type Deployment, type Intake, type Operations, unknownApp } from '../operator/index.ts'
import type { BackupKeeper } from './backup-keeper.ts'
import { batchOperations } from './batch-operations.ts'
import { changeTurns } from './change-turns.ts'
import { Checkups } from './checking/checkup.ts'
import { jobsOf, runJob } from './jobs.ts'
import { logsOf } from './log-streams.ts'
import type { MachineDescription } from './machine.ts'
import { orderPart } from './orders.ts'
import { queueOperations } from './queue-operations.ts'
import { releaseOperations } from './release-operations.ts'
import type { Platform } from './platform.ts'
import { statusOf, urlsOf } from './status.ts'
import { bindOperator, openStream } from './streams.ts'
import { version } from './version.ts'

export interface Answering {
  readonly mode: 'up' | 'serve'
  readonly platform: Pick<
    Platform,
    | 'port'
    | 'tls'
    | 'view'
    | 'logs'
    | 'onChange'
    | 'operate'
    | 'administer'
    | 'batch'
    | 'taskLogs'
    | 'open'
    | 'disks'
    | 'bundles'
    | 'secrets'
    | 'incidents'
    | 'faults'
    | 'releases'
  >
  /** The node that is the home of new apps. */
  readonly node: string
  readonly machine: () => MachineDescription
  /** The processes of the platform, by what they do; null where one does not run. */
  readonly processes: () => readonly { readonly role: string; readonly pid: number | null }[]
  readonly apps: () => readonly { readonly app: string; readonly origin: string | null }[]
  readonly intake: Intake | null
  readonly deploy: (deployment: Deployment, by: string) => Promise<number>
  readonly down: (app: string) => Promise<void>
  readonly remove: (app: string) => Promise<void>
  /** Null while none is served. */
  readonly dashboard: () => Dashboard | null
  /** Looks after the backups of the apps. */
  readonly backups: Pick<BackupKeeper, 'standing'>
}

export function operationsOf(answering: Answering): Operations {
  const { mode, platform, machine, apps, deploy } = answering
  const known = (app: string): string => {
    if (apps().some((candidate) => candidate.app === app)) return app
    throw unknownApp(
      app,
      apps().map((candidate) => candidate.app),
    )
  }
  const viewOf = (app: string): NonNullable<ReturnType<Platform['view']>>['app'] => {
    const view = platform.view(known(app))?.app
    if (view !== undefined) return view
    throw new SteadError({ code: 'cli.only-starting', message: `${app} is only starting`, retry: 'later' })
  }
  const checkups = new Checkups()
  const status = (app: string): ReturnType<typeof statusOf> => {
    const found = statusOf(platform, machine(), known(app))
    const backup = answering.backups.standing(app)
    return backup === null ? found : { ...found, backup }
  }
  return {
    platform: () => ({
      version,
      mode,
      pid: process.pid,
      apps: apps().map(({ app, origin }) => {
        const view = platform.view(app)?.app
        return { app, origin, release: view?.release ?? 0, wanted: view?.wanted ?? true, urls: urlsOf(platform, app) }
      }),
      processes: answering.processes(),
      ...machine(),
    }),
    bundles: () => [...platform.bundles()],
    status,
    graph: (app) => viewOf(app).graph,
    async checkup(app) {
      const { release, graph } = viewOf(app)
      return checkups.of(app, release, graph)
    },
    logs: (app, part, options) => logsOf(platform, known(app), part, options),
    order: (app, part, kind, by) => orderPart(platform, { app: known(app), part, kind, by }),
    jobs: (app, part) => jobsOf(platform, known(app), part),
    run: (app, part, by, signal) => runJob(platform, { app: known(app), part, by }, signal),
    open: (app, part, order, by, onAsked) => openStream(platform, { app: known(app), part, order, by }, onAsked),
    trace: (order) => platform.open(order),
    bind: (app, part, host, port) => bindOperator(platform, { app: known(app), part, host, port }),
    changes: (pauseMs, signal) => changeTurns(platform, { first: false, pauseMs }, signal),
    incidents: async (app) => platform.incidents(known(app)),
    async settle(app, incident, how) {
      const [settled] = await platform.incidents(known(app), { kind: how, incident })
      assert(settled !== undefined, 'a node answers with the incident that it has settled')
      return settled
    },
    intake: answering.intake,
    deploy,
    down: (app) => answering.down(known(app)),
    async remove(app) {
      await answering.remove(known(app))
      // Another app of that name counts its releases anew.
      checkups.forget(app)
    },
    breakPart: async (app, { fault, leaseMs }) => platform.faults.break(known(app), fault, leaseMs),
    heal: async (app, fault) => platform.faults.heal(known(app), fault),
    dashboardLogin(caller) {
      const dashboard = answering.dashboard()
      if (dashboard !== null) return dashboard.login(caller)
      throw new SteadError({ code: 'cli.no-dashboard', message: 'this platform serves no dashboard', retry: 'later' })
    },
    secrets: platform.secrets,
    queues: queueOperations(platform, viewOf),
    batch: batchOperations(platform),
    releases: releaseOperations(platform.releases, answering.node, (app) => urlsOf(platform, app)),
  }
}
