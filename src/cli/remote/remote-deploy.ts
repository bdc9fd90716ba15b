/**
 * `stead deploy ssh://HOST`: from a bare server to a running app, in named steps. Invariant: each step is whole or leaves
 * the server as it was, and running it again goes on from what has arrived.
 */
import { dirname, join } from 'node:path'
import { createBundleStore } from '../../artifact/index.ts'
import { isSteadError, SteadError, systemClock } from '../../base/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { platformOf } from '../../image/index.ts'
import type { Graph } from '../../model/index.ts'
import {
  checkVersion,
  connectServer,
  type Connection,
  directoryOf,
  installDebian,
  type Installing,
  listPackage,
  lookAtServer,
  type PackageList,
  packStead,
  parseServerAddress,
  planServer,
  putInForce,
  sendPackage,
  type ServerState,
  tidy,
} from '../../remote/index.ts'
import { bundleParts, readGraph } from '../bundling.ts'
import { type DeployWish, handOver } from '../deployment.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { ownPlatform, refuseMachineCode } from './foreign.ts'
import { daemonHome } from '../home.ts'
import { operatorOf } from './remote-target.ts'
import { runtimeThere, sendBundles } from './sending.ts'
import { megabytes, note, paint, Steps } from '../terminal.ts'
import { version } from '../version.ts'

export interface RemoteDeployOptions {
  /** `ssh://...` */
  readonly server: string
  readonly directory: string
  readonly json: boolean
  readonly wish: DeployWish
  readonly upgrade: boolean
  readonly packages: boolean
  /** Arguments for `stead serve` when it is started there for the first time. */
  readonly serveArguments: readonly string[]
}

/** How long the daemon may take to answer after it was started. */
const startSeconds = 60

export async function deployToServer(options: RemoteDeployOptions): Promise<ExitCode> {
  const { address, app } = parseServerAddress(options.server)
  const appFile = await findAppFile(options.directory)
  const steps = new Steps(options.json)
  const startMs = performance.now()
  const stop = new AbortController()
  const onSignal = (): void => stop.abort(new Error('stopped'))
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  let connection: Connection | null = null
  try {
    const graph = await steps.run('read the app file', () =>
      readGraph(appFile, note, { name: 'production', production: true }),
    )
    if (app !== null && app !== graph.app) {
      throw new SteadError({
        code: 'cli.other-app',
        message: `the app in ${dirname(appFile)} is called ${graph.app}, not ${app}`,
        hint: `Its name comes from the app file: stead deploy ${options.server.replace(/\/[^/]*$/, '')}`,
      })
    }
    const opened = await steps.run(`connect to ${options.server.slice('ssh://'.length)}`, () =>
      connectServer(address, { signal: stop.signal }),
    )
    connection = opened
    // What waits for an answer hears of it by the end of the connection.
    stop.signal.addEventListener('abort', () => opened[Symbol.dispose]())
    await prepare(opened, graph, options, steps, stop.signal)
    await bring(opened, graph, appFile, { ...options, startMs }, steps, stop.signal)
    return exitCodes.ok
  } catch (error) {
    if (isSteadError(error) && error.code === 'cli.follow-ended') throw goesOn(error, options.server)
    if (stop.signal.aborted) {
      note('Stopped. Nothing was left half done; run it again to go on.')
      return exitCodes.failed
    }
    const gone = isSteadError(error) && error.code === 'operator.not-running'
    throw (gone ? connection?.entranceFailure : null) ?? error
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
    connection?.[Symbol.dispose]()
  }
}

/** The app was handed over: what becomes of it is to be asked there. */
function goesOn({ code, message, retry }: SteadError, server: string): SteadError {
  const hint = `The deployment goes on: see \`stead status ${server}\`.`
  return new SteadError({ code, message, hint, retry })
}

/** Until the daemon of this version answers there. */
async function prepare(
  connection: Connection,
  graph: Graph,
  options: RemoteDeployOptions,
  steps: Steps,
  signal: AbortSignal,
): Promise<void> {
  const server = await steps.run('look at the server', async (detail) => {
    const found = await lookAtServer(connection, signal)
    detail(found === null ? 'the key opens its stead serve, and no shell' : describe(found))
    return found
  })
  if (server === null) {
    // What is installed there is others' affair.
    const { version: there } = await (await operatorOf(connection)).platform()
    return checkVersion(there, version, false, connection.place)
  }
  const list = await listPackage()
  const own = { version, build: list.build, ...ownPlatform() }
  const python = graph.parts.some((part) => part.kind !== 'resource' && part.run[0] === 'python3')
  const backups = graph.backup !== undefined
  const plan = planServer(server, own, { ...options, python, backups }, connection.place)
  for (const { name, why } of plan.without)
    steps.say(`  ${paint('yellow', 'without', process.stderr)} the Debian package ${name}: ${why}`)
  const installing = { connection, server, signal }
  if (plan.packages.length > 0) {
    for (const { name, why } of plan.packages) steps.say(`  will install the Debian package ${name}: ${why}`)
    const names = plan.packages.map(({ name }) => name)
    await steps.run(`install ${names.join(', ')}`, () => installDebian(installing, names))
  }
  if (plan.install) await install(installing, list, steps)
  const directory = plan.install
    ? directoryOf(list.version, list.build)
    : directoryOf(server.version ?? '', server.build ?? '')
  const name = plan.install && server.version !== null ? `put Stead ${version} in force` : 'see that stead serve runs'
  await steps.run(name, () =>
    putInForce(installing, { version, directory, serveArguments: options.serveArguments, waitSeconds: startSeconds }),
  )
  if (plan.install)
    await tidy(installing, server.version === null ? null : directoryOf(server.version, server.build ?? ''))
  if (!server.systemd)
    steps.say(
      '  there is no systemd: stead serve runs in the background, and a restart of the server does not start it',
    )
}

async function install(installing: Installing, list: PackageList, steps: Steps): Promise<void> {
  const packed = await steps.run(`pack Stead ${version} and its Node`, async (detail) => {
    const made = await packStead(list, join(daemonHome().stateRoot, 'packages'))
    detail(megabytes(made.sizeBytes))
    return made
  })
  await steps.run('send and unpack it', async (detail) => {
    const { sentBytes } = await sendPackage(installing, list, packed, (bytes) => detail(`${megabytes(bytes)} sent`))
    detail(`${megabytes(sentBytes)} sent`)
  })
}

function shortBytes(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`
}

function describe({ os, platform, arch, version: there }: ServerState): string {
  return `${os}, ${platform} ${arch}, ${there === null ? 'no Stead yet' : `Stead ${there}`}`
}

/** Brings the app to the daemon there, and sees it run. */
async function bring(
  connection: Connection,
  read: Graph,
  appFile: string,
  options: Pick<RemoteDeployOptions, 'json' | 'wish'> & { readonly startMs: number },
  steps: Steps,
  signal: AbortSignal,
): Promise<void> {
  const operator = await operatorOf(connection)
  const store = await createBundleStore({ root: daemonHome().bundlesDir, clock: systemClock })
  const { graph, bundles } = await steps.run('bundle the parts', async (detail) => {
    const there = await onItsDisk(connection.place, operator.runtimes(read.app))
    const runtimeOf = (program: string): ReturnType<typeof runtimeThere> =>
      runtimeThere(store, there, program, connection.place)
    const made = await bundleParts(store, read, appFile, {
      onProgress: detail,
      signal,
      runtimeOf,
      platform: platformOf(there.arch),
    })
    const here = ownPlatform()
    if (there.platform !== here.platform || there.arch !== here.arch) {
      const opened = await Promise.all(
        Object.entries(made.bundles).map(async ([part, digest]) => [part, await store.open(digest)] as const),
      )
      const whole = new Map(opened.flatMap(([part, bundle]) => (bundle === null ? [] : [[part, bundle] as const])))
      await refuseMachineCode(whole, `${there.platform} ${there.arch}`)
    }
    return made
  })
  await steps.run('send what the server lacks', async (detail) => {
    const onProgress = (bytes: number): void => detail(`${megabytes(bytes)} sent`)
    const sending = { store, operator, app: graph.app, onProgress }
    const sent = sendBundles(sending, Object.values(bundles))
    const { bytes, contents } = await onItsDisk(connection.place, sent)
    detail(contents === 0 ? 'nothing' : `${contents} ${contents === 1 ? 'file' : 'files'}, ${shortBytes(bytes)}`)
  })
  await handOver({ operator, graph, bundles, origin: null, steps, signal, ...options })
}

/** What a server says of a full disk is about its own; here it must say whose. Throws `cli.server-disk-full`. */
async function onItsDisk<T>(place: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (!isSteadError(cause) || !['artifact.disk-full', 'cli.no-room'].includes(cause.code)) throw cause
    throw new SteadError({
      code: 'cli.server-disk-full',
      message: `the disk of ${place} is ${cause.code === 'cli.no-room' ? 'nearly full' : 'full'}`,
      hint: 'Make room there, and run the same command again: it goes on from what has arrived.',
      retry: 'later',
      cause,
    })
  }
}
