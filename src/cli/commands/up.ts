/** `stead up`: runs the app in a directory until Ctrl-C or `stead down`, and again from fresh bundles whenever it changes. */
import { dirname, join } from 'node:path'
import { messageOf, SteadError, systemClock, systemRandom } from '../../base/index.ts'
import { type Dashboard, serveDashboard } from '../../dashboard/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { operatorClient, owner, serveOperator } from '../../operator/index.ts'
import { BackupKeeper } from '../backup-keeper.ts'
import { bundleParts, readGraph } from '../bundling.ts'
import type { Command } from '../command.ts'
import { startDetached } from '../detach.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { partFailure } from '../failure.ts'
import { checkSpace, type Home, homeOf, prepareHome } from '../home.ts'
import { describe, lookAtMachine } from '../machine.ts'
import { operationsOf } from '../operations.ts'
import { type Platform, startPlatform } from '../platform.ts'
import { localNode } from '../roles/local.ts'
import { watchForChanges } from '../rollout.ts'
import { announce, followStart, showLastLines } from '../starting.ts'
import { urlsOf } from '../status.ts'
import { duration, note, paint, print, Steps } from '../terminal.ts'
import { localAuthorityDir, openWayInCertificates } from '../way-in-certificates.ts'

export const upCommand: Command = {
  name: 'up',
  usage: '[DIR]',
  summary: 'run the app in DIR and keep it running',
  help: `  --port N             port of the way in (default 8080)
  --tls                serve https, with certificates of this machine's own authority (plain http is sent on to it)
  --dashboard-port N   port of the dashboard (default 8090, or the next that is free)
  --detach             run in the background; stop it with \`stead down\`
  --json               one JSON object a line instead of text

  DIR is here when it is left out. Ctrl-C stops everything; the data stays. Changed files are bundled and rolled
  out by themselves.
  Example: stead up examples/shop --port 8081`,
  options: {
    port: { type: 'string' },
    tls: { type: 'boolean' },
    'dashboard-port': { type: 'string' },
    detach: { type: 'boolean' },
  },
  argumentsMax: 1,
  run: (input) =>
    up({
      directory: input.arguments[0] ?? '.',
      port: input.number('port', 0, 65_535) ?? 8080,
      dashboardPort: input.number('dashboard-port', 0, 65_535),
      tls: input.flag('tls'),
      json: input.json,
      detach: input.flag('detach'),
    }),
}

interface UpOptions {
  readonly directory: string
  readonly port: number
  /** Null: the usual one, or the next that is free. */
  readonly dashboardPort: number | null
  readonly tls: boolean
  readonly json: boolean
  readonly detach: boolean
}

async function up(options: UpOptions): Promise<ExitCode> {
  const appFile = await findAppFile(options.directory)
  const home = homeOf(dirname(appFile))
  const steps = new Steps(options.json)
  const running = await (await operatorClient(home.operatorSocket))?.platform()
  if (running !== undefined) {
    throw new SteadError({
      code: 'cli.already-running',
      message: `${running.apps[0]?.app ?? 'the app'} already runs from ${dirname(appFile)} (process ${running.pid})`,
      hint: `Stop it with \`stead down ${options.directory}\`; changes to its files are taken up by themselves.`,
    })
  }
  if (options.detach) {
    // What is wrong with the file is said here and now, before anything is made.
    await readGraph(appFile, note)
    return startDetached(options, home, steps)
  }

  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => stop.abort(new Error(signal))
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  try {
    return await run(options, appFile, home, steps, stop)
  } catch (error) {
    // A step that Ctrl-C cut short has not failed.
    if (stop.signal.aborted && error === stop.signal.reason) return exitCodes.ok
    throw error
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

async function run(
  options: UpOptions,
  appFile: string,
  home: Home,
  steps: Steps,
  stop: AbortController,
): Promise<ExitCode> {
  const startMs = performance.now()
  const onOutput = (text: string): void => steps.say(text.trimEnd())
  const read = await steps.run('read the app file', () => readGraph(appFile, onOutput))
  checkSpace(home)
  prepareHome(home)
  const machine = await steps.run('look at this machine', async (detail) => {
    const found = await lookAtMachine(home)
    detail(`${found.sandbox.name}, ${found.network.name}, ${found.domain.name}`)
    return found
  })
  announce(read, machine, steps)
  const { graph, bundles } = await steps.run('bundle the parts', (detail) =>
    bundleParts(machine.bundles, read, appFile, { onProgress: detail, signal: stop.signal }),
  )
  let fatal: unknown = null
  const onFatal = (error: unknown): void => {
    fatal = error
    stop.abort(error)
  }
  const certificates = options.tls
    ? await steps.run('open the local authority', (detail) => {
        // Browsers and programs that do not trust it refuse: said each time.
        detail(`trust ${join(localAuthorityDir(home), 'ca.pem')}`)
        return openWayInCertificates('local', home, (text) => steps.say(text))
      })
    : null
  const platform = await steps.run(`take port ${options.port}`, () =>
    startPlatform({ home, machine, port: options.port, certificates, onNotice: (text) => steps.say(text), onFatal }),
  )
  let dashboard: Dashboard | null = null
  const onNotice = (text: string): void => steps.say(text)
  await using backups = new BackupKeeper({ home, clock: systemClock, random: systemRandom, onNotice })
  const operations = operationsOf({
    mode: 'up',
    node: localNode,
    platform,
    machine: () => describe(machine),
    processes: () => [{ role: 'platform', pid: process.pid }],
    apps: () => [
      { app: graph.app, origin: dirname(appFile) },
      ...branchesOf(platform, graph.app).map((app) => ({ app, origin: null })),
    ],
    down: () => {
      // Not before the answer is out: the end closes the connection that it goes over.
      setImmediate(() => stop.abort(new Error('stead down')))
      return Promise.resolve()
    },
    intake: null,
    deploy: () => Promise.reject(drivenByFiles(graph.app)),
    remove: () => Promise.reject(drivenByFiles(graph.app)),
    dashboard: () => dashboard,
    backups,
  })
  try {
    await using dashboards = new AsyncDisposableStack()
    await using _operator = await serveOperator(home.operatorSocket, operations)
    const { dashboardPort } = options
    try {
      const opened = await serveDashboard({
        port: dashboardPort,
        operations,
        gate: null,
        clock: systemClock,
        random: systemRandom,
        sessionsPath: home.sessionsPath,
      })
      dashboard = dashboards.use(opened)
    } catch (error) {
      // The app matters more than the look at it, unless the port was asked for by name.
      if (dashboardPort !== null) throw error
      steps.say(`the dashboard is not served: ${messageOf(error)}`)
    }
    await platform.apply({ graph, bundles })
    backups.start()
    const failed = await followStart(platform, graph, steps, stop.signal)
    if (failed !== null) {
      await showLastLines(platform, graph.app, failed.part, steps)
      throw partFailure(failed.part, failed.reason)
    }
    if (!stop.signal.aborted) {
      announceReady(options, platform, dashboard, graph.app, performance.now() - startMs)
      await using _watching = watchForChanges({ graph, bundles }, appFile, machine, platform, steps, stop.signal)
      await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve(), { once: true }))
    }
    if (fatal !== null) throw fatal
    return exitCodes.ok
  } finally {
    await steps.run('stop everything', async () => {
      try {
        for (const app of [...branchesOf(platform, graph.app), graph.app]) await platform.stop(app)
      } catch (error) {
        // What ended the platform is what the user must hear, not that it could not be stopped in order after that.
        if (fatal === null) throw error
      } finally {
        await platform[Symbol.asyncDispose]()
      }
    })
  }
}

/** The branches of the app, which are apps of the same platform; what is only being tried is none of them. */
function branchesOf(platform: Platform, app: string): readonly string[] {
  return platform.apps().filter((other) => {
    const branch = platform.view(other)?.app.branch
    return branch !== undefined && branch.app === app && branch.purpose !== 'rehearsal'
  })
}

function drivenByFiles(app: string): SteadError {
  return new SteadError({
    code: 'cli.driven-by-files',
    message: `${app} is run by \`stead up\`, which follows the files in its directory`,
    hint: 'Change the files, or run it with `stead serve` and `stead deploy`. `stead down --delete-data` deletes its data.',
  })
}

function announceReady(
  options: UpOptions,
  platform: Platform,
  dashboard: Dashboard | null,
  app: string,
  tookMs: number,
): void {
  const urls = urlsOf(platform, app)
  if (options.json)
    return print(JSON.stringify({ ready: true, urls, dashboard: dashboard?.url ?? null, tookMs: Math.round(tookMs) }))
  // From a checkout the command is the script beside the README.
  const command = process.argv[1]?.endsWith('.ts') === true ? './stead' : 'stead'
  const here = options.directory
  note(`\n  ${paint('bold', app, process.stderr)} runs, after ${duration(tookMs)}:`)
  for (const url of urls) print(`  ${paint(['bold', 'cyan'], url)}`)
  if (dashboard !== null) note(`\n  Its dashboard, for you, once: ${wayIn(dashboard, command, here)}`)
  note(
    paint(
      'dim',
      `\n  Ctrl-C stops it. In another terminal: ${command} status ${here}, or dashboard, logs, graph, down`,
      process.stderr,
    ),
  )
}

/** Only a terminal is told the address that lets somebody in: what is written to a file or a pipe may be read by others. */
function wayIn(dashboard: Dashboard, command: string, here: string): string {
  return process.stderr.isTTY
    ? paint('cyan', dashboard.login(owner()).url, process.stderr)
    : `\`${command} dashboard ${here}\` prints the address`
}
