/** Answers what is asked of the daemon, in the process of control. */
import type { BundleStore } from '../../artifact/index.ts'
import { SteadError } from '../../base/index.ts'
import type { Control } from '../../control/index.ts'
import type { Dashboard } from '../../dashboard/index.ts'
import type { Deployment, Operations } from '../../operator/index.ts'
import type { BackupKeeper } from '../backup-keeper.ts'
import type { Home } from '../home.ts'
import { diskOf, intakeOf } from '../remote/intake.ts'
import type { MachineDescription } from '../machine.ts'
import { operationsOf } from '../operations.ts'
import { rolloutOf } from '../release-operations.ts'
import { localNode } from '../roles/local.ts'
import { stopApp } from '../stop-app.ts'
import { claimPath, holderOf, roles } from './claim.ts'

/** How long an app may take to stop before the asker is told that it still does. */
const stopMs = 90_000

export interface DaemonOptions {
  readonly home: Home
  readonly control: Control
  readonly bundles: BundleStore
  readonly port: number
  readonly tls: boolean
  readonly machine: () => MachineDescription
  /** Null while none is served. */
  readonly dashboard: () => Dashboard | null
  readonly backups: BackupKeeper
}

export function daemonOperations(options: DaemonOptions): Operations {
  const { home, control, bundles, port, tls, machine, dashboard, backups } = options
  const platform = {
    port,
    tls,
    view: (app: string) => control.view(app),
    logs: control.logs.bind(control),
    incidents: control.incidents.bind(control),
    secrets: control.secrets,
    releases: control.releases,
    onChange: (run: () => void) => control.onChange(run),
    faults: control.faults,
    operate: control.operate.bind(control),
    administer: control.administer.bind(control),
    batch: control.batch,
    taskLogs: control.taskLogs.bind(control),
    open: control.open.bind(control),
    disks: () => control.disks(),
    bundles: () => control.bundles(),
  }
  return operationsOf({
    mode: 'serve',
    node: localNode,
    platform,
    machine,
    processes: () =>
      (['supervisor', ...roles] as const).map((role) => ({ role, pid: holderOf(claimPath(home, role))?.pid ?? null })),
    // What is only being tried is nobody's app.
    apps: () =>
      control
        .apps()
        .filter((app) => control.view(app)?.app.branch?.purpose !== 'rehearsal')
        .map((app) => ({ app, origin: control.view(app)?.app.origin ?? null })),
    intake: intakeOf(bundles, diskOf(home.bundlesDir)),
    deploy(deployment: Deployment, by) {
      const { graph, bundles, origin } = deployment
      return control.releases.deploy({ graph, bundles, origin, home: localNode }, rolloutOf(deployment, by))
    },
    async down(app) {
      if (await stopApp(control, app, stopMs)) return
      throw new SteadError({
        code: 'cli.does-not-stop',
        message: `${app} has not stopped after ${stopMs / 1000} s, and still does`,
        hint: `See \`stead status ${app}\`.`,
        retry: 'later',
      })
    },
    remove: (app) => control.remove(app),
    dashboard,
    backups,
  })
}
