/**
 * The whole platform in one process: store, control, agent and gateway, wired by the same protocol and transport that
 * carry them between machines. What `up` runs.
 */
import type { CertificateDriver } from '../certificates/index.ts'
import type { Apply, AppView, Control } from '../control/index.ts'
import { vmStopMs } from '../model/index.ts'
import type { LogLine } from '../protocol/index.ts'
import type { Home } from './home.ts'
import type { Machine } from './machine.ts'
import { startAgentRole } from './roles/agent.ts'
import { startControlRole } from './roles/control.ts'
import { linkGateway, makeGateway } from './roles/gateway.ts'
import { localNode } from './roles/local.ts'
import { stopApp } from './stop-app.ts'

/** How long a stop waits for requests in flight and slow programs, before they are ended. */
const stopTimeoutMs = 2500

/** Systems on disks take longer to switch themselves off. */
function stopMsOf(view: AppView | null): number {
  const hasSystem = view?.app.graph.parts.some((part) => part.kind === 'service' && part.vm !== undefined) === true
  return hasSystem ? vmStopMs + stopTimeoutMs : stopTimeoutMs
}

/** How long the way in waits at the very end for requests that do not. */
const closeMs = 1000

export interface PlatformOptions {
  readonly home: Home
  readonly machine: Machine
  /** Null: no way in, for commands that only stop things. */
  readonly port: number | null
  /** Where the way in has its certificates; disposed of with the platform. Without them it speaks no TLS. */
  readonly certificates?: CertificateDriver | null
  readonly onNotice: (text: string) => void
  readonly onFatal: (error: unknown) => void
}

export interface Platform extends AsyncDisposable {
  /** Port of the way in; null without one. */
  readonly port: number | null
  /** Whether the way in speaks TLS. */
  readonly tls: boolean
  apply(apply: Omit<Apply, 'home'>): Promise<number>
  /** Stops an app: what uses comes down before what is used. Gives up waiting after a time; disposing then ends the rest. */
  stop(app: string): Promise<void>
  view(app: string): AppView | null
  apps(): readonly string[]
  onChange(run: () => void): Disposable
  logs: Control['logs']
  readonly faults: Control['faults']
  operate: Control['operate']
  administer: Control['administer']
  readonly batch: Control['batch']
  taskLogs: Control['taskLogs']
  open: Control['open']
  disks: Control['disks']
  bundles: Control['bundles']
  incidents: Control['incidents']
  readonly secrets: Control['secrets']
  readonly releases: Control['releases']
}

/** Starts everything, in the order that a failure leaves nothing behind: the port and the store are taken first. */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const { home, machine, port, certificates = null, onNotice, onFatal } = options
  await using stack = new AsyncDisposableStack()
  if (certificates !== null) stack.use(certificates)
  const gateway = stack.use(makeGateway(machine.network, { closeMs, host: '127.0.0.1', certificates, onNotice }))
  const bound = port === null ? null : await gateway.listen(port)
  const { control } = stack.use(await startControlRole(home, machine.providers.values(), machine.bundles, onFatal))
  stack.use(await startAgentRole(home, machine, onNotice))
  if (port !== null) stack.use(linkGateway(home, gateway, null, onNotice))

  const running = stack.move()
  return {
    port: bound?.port ?? null,
    tls: certificates !== null,
    apply: (apply) => control.apply({ ...apply, home: localNode }),
    async stop(app) {
      // The way in closes meanwhile: no new requests, and none that never ends.
      await Promise.all([gateway.close(), stopApp(control, app, stopMsOf(control.view(app)))])
    },
    view: (app) => control.view(app),
    apps: () => control.apps(),
    onChange: (run) => control.onChange(run),
    secrets: control.secrets,
    releases: control.releases,
    logs: (assignment, options): AsyncIterable<LogLine> => control.logs(assignment, options),
    faults: control.faults,
    operate: (order) => control.operate(order),
    batch: control.batch,
    taskLogs: (task, options) => control.taskLogs(task, options),
    administer: (app, part, order) => control.administer(app, part, order),
    open: (target) => control.open(target),
    disks: () => control.disks(),
    bundles: () => control.bundles(),
    incidents: (app, act) => control.incidents(app, act),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}
