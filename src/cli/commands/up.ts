/** `stead up`: runs the app in a directory until Ctrl-C or `stead down`, and again from fresh bundles whenever it changes. */
import { existsSync, watch } from 'node:fs'
import { dirname, join } from 'node:path'
import { isSteadError, messageOf, SteadError } from '../../base/index.ts'
import type { AppView } from '../../control/index.ts'
import { findAppFile } from '../../evaluate/index.ts'
import { describeDiff, diffGraphs, type Graph, type Part } from '../../model/index.ts'
import { bundleParts, type Built, readGraph, sourcesOf } from '../bundling.ts'
import { startDetached } from '../detach.ts'
import { type ExitCode, exitCodes } from '../exit-codes.ts'
import { partFailure } from '../failure.ts'
import { checkSpace, type Home, homeOf, prepareHome } from '../home.ts'
import { lookAtMachine, type Machine } from '../machine.ts'
import { askJson, serveOperator, type Status } from '../operator.ts'
import { type Platform, startPlatform } from '../platform.ts'
import { statusOf, urlsOf } from '../status.ts'
import { duration, note, paint, print, Steps } from '../terminal.ts'

export const upHelp = `stead up [DIR]     run the app in DIR (default: here) and keep it running

  --port N      port of the way in (default 8080)
  --detach      run in the background; stop it with \`stead down\`
  --json        one JSON object a line instead of text

  Ctrl-C stops everything; the data stays. Changed files are bundled and rolled out by themselves.
  Example: stead up examples/shop --port 8081`

export interface UpOptions {
  readonly directory: string
  readonly port: number
  readonly json: boolean
  readonly detach: boolean
}

/** How long after a change the files must be quiet. */
const quietMs = 80
/** How many last lines of output are shown of a part that does not get ready. */
const tailLines = 20

export async function up(options: UpOptions): Promise<ExitCode> {
  const appFile = await findAppFile(options.directory)
  const home = homeOf(dirname(appFile))
  const steps = new Steps(options.json)
  const running = await askJson<Status>(home.operatorSocket, 'GET', '/status')
  if (running !== null) {
    throw new SteadError({
      code: 'cli.already-running',
      message: `${running.app} already runs from ${dirname(appFile)} (process ${running.pid})`,
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
  const graph = await steps.run('read the app file', () => readGraph(appFile, onOutput))
  checkSpace(home)
  prepareHome(home)
  const machine = await steps.run('look at this machine', async (detail) => {
    const found = await lookAtMachine(home)
    detail(`${found.sandbox.name}, ${found.network.name}, ${found.domain.name}`)
    return found
  })
  announce(graph, machine, steps)
  const bundles = await steps.run('bundle the parts', (detail) =>
    bundleParts(machine.bundles, graph, appFile, { onProgress: detail, signal: stop.signal }),
  )
  let fatal: unknown = null
  const onFatal = (error: unknown): void => {
    fatal = error
    stop.abort(error)
  }
  const platform = await steps.run(`take port ${options.port}`, () =>
    startPlatform({ home, machine, port: options.port, onNotice: (text) => steps.say(text), onFatal }),
  )
  const status = (): Status => statusOf(platform, machine, graph.app)
  const operations = {
    status,
    graph: () => platform.view(graph.app)?.app.graph ?? graph,
    logs: (part: string | null, how: { tail: number | null; follow: boolean; signal: AbortSignal }) =>
      logsOf(platform, graph.app, part, how),
    down: () => stop.abort(new Error('stead down')),
  }
  try {
    await using _operator = await serveOperator(home.operatorSocket, operations)
    await platform.apply({ graph, bundles })
    const failed = await followStart(platform, graph, steps, stop.signal)
    if (failed !== null) {
      await showLastLines(platform, graph.app, failed.part, steps)
      throw partFailure(failed.part, failed.reason)
    }
    if (!stop.signal.aborted) {
      announceReady(options, platform, graph.app, performance.now() - startMs)
      await using _watching = watchForChanges({ graph, bundles }, appFile, machine, platform, steps, stop.signal)
      await new Promise<void>((resolve) => stop.signal.addEventListener('abort', () => resolve(), { once: true }))
    }
    if (fatal !== null) throw fatal
    return exitCodes.ok
  } finally {
    await steps.run('stop everything', async () => {
      await platform.stop(graph.app)
      await platform[Symbol.asyncDispose]()
    })
  }
}

/** Says what will be started, and what is weaker than it could be, before anything is. */
function announce(graph: Graph, machine: Machine, steps: Steps): void {
  const names = (kind: string): string =>
    graph.parts
      .filter((part) => part.kind === kind)
      .map((part) => part.name)
      .join(', ')
  const resources = graph.parts.flatMap((part) => (part.kind === 'resource' ? [`${part.name} (${part.type})`] : []))
  const all = [
    ['services', names('service')],
    ['jobs', names('job')],
    ['resources', resources.join(', ')],
  ].flatMap(([kind, list]) => (list === '' ? [] : [`${kind} ${list}`]))
  steps.say(`  ${paint('bold', graph.app, process.stderr)} will start: ${all.join('; ')}`)
  for (const line of machine.weaker) steps.say(`  ${paint('yellow', 'weaker', process.stderr)} ${line}`)
}

interface Failed {
  readonly part: Part
  readonly reason: string
}

/** Prints a line for each part as it gets ready, and for what goes wrong meanwhile. Answers what failed, or null when all are ready. */
async function followStart(
  platform: Platform,
  graph: Graph,
  steps: Steps,
  signal: AbortSignal,
): Promise<Failed | null> {
  const startMs = performance.now()
  const told = new Set<string>()
  const troubles = new Map<string, string>()
  const { promise, resolve } = Promise.withResolvers<Failed | null>()
  const look = (): void => {
    const view = platform.view(graph.app)
    if (view === null) return
    for (const part of graph.parts) {
      if (told.has(part.name)) continue
      const state = stateOf(view, part.name)
      const trouble = troubleOf(view, part.name)
      if (state === 'failed') return resolve({ part, reason: trouble ?? 'it ended' })
      if (state !== 'ready') {
        const first = trouble?.split('\n')[0]
        if (first === undefined || troubles.get(part.name) === first) continue
        troubles.set(part.name, first)
        steps.say(`  ${paint('yellow', part.name, process.stderr)} ${first}; trying again`)
        continue
      }
      told.add(part.name)
      const what = part.kind === 'resource' ? part.type : part.kind
      steps.done(
        `${part.name} (${what}) ${part.kind === 'job' ? 'is scheduled' : 'is ready'}`,
        performance.now() - startMs,
      )
    }
    if (told.size === graph.parts.length) resolve(null)
  }
  using _listening = platform.onChange(look)
  signal.addEventListener('abort', () => resolve(null), { once: true })
  look()
  // Awaited here, so that it listens until then.
  return await promise
}

/** Why a part that has tried to run does not, in the agent's words. */
function troubleOf(view: AppView, part: string): string | null {
  const statuses = [
    ...view.instances.filter(({ record }) => record.part.name === part).map(({ status }) => status),
    view.resources.find((resource) => resource.part === part)?.status ?? null,
  ]
  const phases: readonly (string | undefined)[] = ['backing-off', 'gave-up', 'failed']
  return statuses.find((status) => phases.includes(status?.phase))?.reason ?? null
}

function stateOf(view: AppView, part: string): 'ready' | 'failed' | 'coming' {
  const declared = view.app.graph.parts.find((candidate) => candidate.name === part)
  const resource = view.resources.find((candidate) => candidate.part === part)
  const own = view.instances.filter(({ record }) => record.part.name === part && record.phase === 'active')
  const phases = declared?.kind === 'resource' ? [resource?.status?.phase] : own.map(({ status }) => status?.phase)
  if (phases.some((phase) => phase === 'gave-up' || phase === 'failed')) return 'failed'
  if (declared?.kind === 'job') return declared.schedule !== null || phases.includes('succeeded') ? 'ready' : 'coming'
  const wanted = declared?.kind === 'service' ? declared.replicas : 1
  return phases.filter((phase) => phase === 'ready').length >= wanted ? 'ready' : 'coming'
}

/** The last lines of a program that failed. Those of a resource's server are in its reason where they say something. */
async function showLastLines(platform: Platform, app: string, part: Part, steps: Steps): Promise<void> {
  if (part.kind === 'resource') return
  const lines: string[] = []
  const signal = AbortSignal.timeout(2000)
  for await (const line of logsOf(platform, app, part.name, { tail: tailLines, follow: false, signal }))
    lines.push(line.text)
  if (lines.length === 0) return steps.say(`  ${part.name} printed nothing.`)
  steps.say(`  The last lines of ${part.name}:`)
  for (const line of lines.slice(-tailLines)) steps.say(`    ${line}`)
}

function announceReady(options: UpOptions, platform: Platform, app: string, tookMs: number): void {
  const urls = urlsOf(platform, app)
  if (options.json) print(JSON.stringify({ ready: true, urls, tookMs: Math.round(tookMs) }))
  else note(`\n  ${paint('bold', app, process.stderr)} runs, after ${duration(tookMs)}:`)
  if (!options.json) for (const url of urls) print(`  ${paint(['bold', 'cyan'], url)}`)
  if (!options.json)
    note(
      paint(
        'dim',
        '\n  Ctrl-C stops it. In another terminal: stead status, stead logs -f, stead graph',
        process.stderr,
      ),
    )
}

/** Bundles and rolls out again when the app file or a part's directory has changed. A mistake is told, and the app goes on as it was. */
function watchForChanges(
  built: Built,
  appFile: string,
  machine: Machine,
  platform: Platform,
  steps: Steps,
  signal: AbortSignal,
): AsyncDisposable {
  let current = built
  let watchers: Disposable[] = []
  let timer: NodeJS.Timeout | null = null
  let work: Promise<void> = Promise.resolve()

  const changed = (): void => {
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(() => {
      work = work.then(rollOut)
    }, quietMs)
  }
  const rollOut = async (): Promise<void> => {
    if (signal.aborted) return
    const startMs = performance.now()
    try {
      const graph = await readGraph(appFile, (text) => steps.say(text.trimEnd()))
      if (graph.app !== current.graph.app) {
        throw new SteadError({
          code: 'cli.renamed',
          message: `the app is now called ${graph.app}, it was ${current.graph.app}`,
          hint: 'Stop it and start it again to run it under the new name, with data of its own.',
        })
      }
      const bundles = await bundleParts(machine.bundles, graph, appFile, {
        onProgress: () => {},
        signal,
      })
      const parts = Object.keys(bundles).filter(
        (name) => current.bundles[name] !== undefined && bundles[name] !== current.bundles[name],
      )
      const lines = [...describeDiff(diffGraphs(current.graph, graph)), ...parts.map((name) => `${name}: code changed`)]
      if (lines.length === 0) return
      current = { graph, bundles }
      await platform.apply(current)
      rewatch()
      steps.done(`rolled out: ${lines.join('; ')}`, performance.now() - startMs)
    } catch (error) {
      steps.say(`${paint('red', '✗', process.stderr)} not taken up: ${messageOf(error)}`)
      if (isSteadError(error) && error.hint !== undefined) steps.say(`  ${error.hint}`)
    }
  }
  const rewatch = (): void => {
    for (const watcher of watchers) watcher[Symbol.dispose]()
    const directories = new Set([...sourcesOf(current.graph, appFile).values()].map(({ from }) => from))
    const file = watch(dirname(appFile), (_event, name) => {
      if (name === null || join(dirname(appFile), name) === appFile) changed()
    })
    watchers = [
      { [Symbol.dispose]: () => file.close() },
      ...[...directories]
        .filter((directory) => existsSync(directory))
        .map((directory) => machine.bundles.watch(directory, changed)),
    ]
  }
  rewatch()
  return {
    async [Symbol.asyncDispose]() {
      if (timer !== null) clearTimeout(timer)
      for (const watcher of watchers) watcher[Symbol.dispose]()
      await work
    },
  }
}

/** The output of one part, or of all, in the order of time as far as it is kept. */
async function* logsOf(
  platform: Platform,
  app: string,
  part: string | null,
  options: { tail: number | null; follow: boolean; signal: AbortSignal },
): ReturnType<Platform['logs']> {
  const view = platform.view(app)
  const names = view?.app.graph.parts.map((candidate) => candidate.name) ?? []
  if (part !== null && !names.includes(part)) {
    throw new SteadError({
      code: 'cli.unknown-part',
      message: `${app} has no part called ${part}`,
      hint: `It has: ${names.join(', ')}.`,
    })
  }
  const instances = view?.instances.map(({ record }) => ({ part: record.part.name, id: record.id })) ?? []
  const resources =
    view?.resources
      .filter(({ status }) => status?.pid !== null)
      .map((resource) => ({ part: resource.part, id: `${app}.${resource.part}` })) ?? []
  const chosen = [...instances, ...resources].filter((source) => part === null || source.part === part)
  if (options.follow) return yield* merged(chosen.map(({ id }) => platform.logs(id, options)))
  const lines = (await Promise.all(chosen.map(({ id }) => Array.fromAsync(platform.logs(id, options))))).flat()
  yield* lines.toSorted((a, b) => a.timeMs - b.timeMs).slice(options.tail === null ? 0 : -options.tail)
}

/** Several endless streams as one, in the order of arrival. */
async function* merged<T>(streams: readonly AsyncIterable<T>[]): AsyncIterable<T> {
  const waiting: T[] = []
  let open = streams.length
  let wake: () => void = () => {}
  for (const stream of streams) {
    void (async () => {
      try {
        for await (const item of stream) {
          waiting.push(item)
          wake()
        }
      } finally {
        open -= 1
        wake()
      }
    })().catch(() => {})
  }
  while (open > 0 || waiting.length > 0) {
    yield* waiting.splice(0)
    if (open > 0 && waiting.length === 0) await new Promise<void>((resolve) => (wake = resolve))
  }
}
