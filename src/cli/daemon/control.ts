/** The process of control: keeps the records, decides, and answers what is asked of the daemon. */
import { createBundleStore } from '../../artifact/index.ts'
import { messageOf, systemClock, systemRandom } from '../../base/index.ts'
import { type Dashboard, serveDashboard } from '../../dashboard/index.ts'
import { serveOperator } from '../../operator/index.ts'
import { openEntrance } from '../remote/entrance.ts'
import { BackupKeeper } from '../backup-keeper.ts'
import { resourcePorts } from '../resource-types.ts'
import { startControlRole } from '../roles/control.ts'
import { version } from '../version.ts'
import { claim, claimPath, release, takeOver } from './claim.ts'
import { readDescription } from './description.ts'
import { daemonOperations } from './operations.ts'
import { graceMs, type RoleContext } from './context.ts'

export async function runControl({ home, port, tls, dashboardPort, stopped, say }: RoleContext): Promise<void> {
  const path = claimPath(home, 'control')
  await takeOver(path, graceMs)
  claim(path, version)
  const failed = Promise.withResolvers<unknown>()
  const bundles = await createBundleStore({ root: home.bundlesDir, clock: systemClock })
  {
    await using running = await startControlRole(home, resourcePorts, bundles, failed.resolve)
    let dashboard: Dashboard | null = null
    await using dashboards = new AsyncDisposableStack()
    await using backups = new BackupKeeper({ home, clock: systemClock, random: systemRandom, onNotice: say })
    const operations = daemonOperations({
      home,
      control: running.control,
      bundles,
      port,
      tls: tls !== null,
      machine: () => readDescription(home),
      dashboard: () => dashboard,
      backups,
    })
    await using entrance = await openEntrance(home, say)
    await using _operator = await serveOperator(home.operatorSocket, operations, entrance)
    backups.start()
    try {
      dashboard = dashboards.use(
        await serveDashboard({
          port: dashboardPort,
          operations,
          gate: entrance.gate,
          clock: systemClock,
          random: systemRandom,
          sessionsPath: home.sessionsPath,
        }),
      )
    } catch (error) {
      // Apps matter more than the look at them.
      say(`the dashboard is not served: ${messageOf(error)}`)
    }
    const fatal = await Promise.race([stopped.then(() => null), failed.promise])
    if (fatal !== null) {
      say(messageOf(fatal))
      process.exitCode = 1
    }
  }
  release(path)
}
