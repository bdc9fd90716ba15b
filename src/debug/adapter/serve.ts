/**
 * An editor's session with a debug adapter: a proxy that knows what is said. Pure but for the two streams.
 *
 * Invariants: only requests that are listed here reach the adapter, and none that could start a program, end the process, or
 * run something on this machine. Values under names that look like secrets are not handed on. When the client has gone,
 * however it went, the process has been let go of and runs.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/index.ts'
import { Paths } from '../dap/paths.ts'
import { type Arguments, DapPeer, type Handler, objectsIn, textIn } from '../dap/peer.ts'
import type { ProcessFacts } from '../recipe.ts'
import { redactedText, redactText, secretName } from '../redact.ts'
import { processGone, refused, unknownPlace } from '../refusals.ts'
import { begin, type OpenAdapter } from './open.ts'

export interface ServeOptions {
  readonly clock: Clock
  readonly facts: ProcessFacts
  readonly open: () => Promise<OpenAdapter>
  /** Whether the process is there. */
  readonly isAlive: () => boolean
  /** Takes texts that are known to be secret out of what the client is told. */
  readonly hide: (text: string) => string
}

/** What of an adapter's abilities is told to the client: those whose requests are handed on. */
const toldCapabilities = [
  'supportsConditionalBreakpoints',
  'supportsHitConditionalBreakpoints',
  'supportsFunctionBreakpoints',
  'supportsLogPoints',
  'supportsEvaluateForHovers',
  'supportsDelayedStackTraceLoading',
  'supportsExceptionInfoRequest',
  'supportsSetVariable',
  'supportsLoadedSourcesRequest',
  'exceptionBreakpointFilters',
  'supportsExceptionOptions',
  'supportsExceptionFilterOptions',
]

/** Handed on as they are. */
const handedOn = [
  'exceptionInfo',
  'loadedSources',
  'modules',
  'next',
  'pause',
  'setExceptionBreakpoints',
  'stepIn',
  'stepOut',
  'threads',
  'continue',
]

/** Of an adapter's events, those that are of no use to a client, or would make it believe that the process has ended. */
const keptBack = new Set(['initialized', 'process', 'exited', 'terminated', 'capabilities', 'debugpyWaitingForServer'])

/** Serves one client. Answers whether it said goodbye. */
export async function serveAdapter(client: Duplex, options: ServeOptions): Promise<boolean> {
  const { clock, facts, hide } = options
  const adapter = await options.open()
  await using begun = await begin(adapter, clock)
  const { session, capabilities } = begun
  const peer = new DapPeer(client, hide)
  const paths = new Paths({ sameFiles: facts.shares.files, belowRoot: adapter.namesBelowRoot === true })
  let quiet = adapter.stopsFirst

  using _listening = session.on((event, body) => {
    if (keptBack.has(event)) return
    // The stop of attaching is not one that the client asked for.
    if (quiet && (event === 'stopped' || event === 'continued')) return
    peer.event(event, seen(body))
  })

  /** What an adapter says, with the client's paths and without secrets. */
  const seen = (body: Arguments): Arguments => {
    const { source, output, breakpoint } = body
    return {
      ...body,
      ...(isObject(source) ? { source: sourceOutside(source) } : {}),
      ...(isObject(breakpoint) ? { breakpoint: seen(breakpoint) } : {}),
      ...(typeof output === 'string' ? { output: redactText(output) } : {}),
    }
  }
  const sourceOutside = (source: Arguments): Arguments => {
    const inside = textIn(source, 'path')
    const name = textIn(source, 'name') || inside.slice(inside.lastIndexOf('/') + 1)
    const path = inside === '' ? null : paths.outside(inside)
    return path === null ? { name } : { name, path }
  }
  const forward =
    (command: string): Handler =>
    async (args) =>
      seen(await session.request(command, args))

  const handlers: Readonly<Record<string, Handler>> = {
    ...Object.fromEntries(handedOn.map((command) => [command, forward(command)])),
    async initialize() {
      const told = Object.entries(capabilities).filter(([name]) => toldCapabilities.includes(name))
      return { supportsConfigurationDoneRequest: true, ...Object.fromEntries(told) }
    },
    async launch() {
      throw refused('this port leads to a process that runs already', 'Use "request": "attach".')
    },
    async attach(args) {
      paths.configure(textIn(args, 'localRoot'), textIn(args, 'remoteRoot'))
      await begun.attach()
      // After the answer: an editor sends its breakpoints then.
      setImmediate(() => peer.event('initialized'))
    },
    async configurationDone() {
      quiet = false
      await begun.go()
    },
    async setBreakpoints(args) {
      const [source = {}] = objectsIn({ list: [args['source']] }, 'list')
      const path = textIn(source, 'path')
      const files = await adapter.files(session, paths.moved(path))
      const inside = paths.inside(path, files)
      const wanted = objectsIn(args, 'breakpoints').map((breakpoint) => guarded(breakpoint, adapter.guard))
      if (!files.includes(inside)) {
        const near = files.slice(0, 3)
        const { message, hint } = unknownPlace(path.slice(path.lastIndexOf('/') + 1), near)
        return { breakpoints: wanted.map(() => ({ verified: false, message: `${message}. ${hint}` })) }
      }
      const name = inside.slice(inside.lastIndexOf('/') + 1)
      const lines = wanted.map(({ line }) => line)
      return seenAll(
        await session.request('setBreakpoints', { source: { name, path: inside }, breakpoints: wanted, lines }),
        'breakpoints',
        seen,
      )
    },
    async setFunctionBreakpoints(args) {
      const breakpoints = objectsIn(args, 'breakpoints').map((breakpoint) => guarded(breakpoint, adapter.guard))
      return seenAll(await session.request('setFunctionBreakpoints', { breakpoints }), 'breakpoints', seen)
    },
    async stackTrace(args) {
      return seenAll(await session.request('stackTrace', args), 'stackFrames', seen)
    },
    async scopes(args) {
      return seenAll(await session.request('scopes', args), 'scopes', seen)
    },
    async variables(args) {
      return seenAll(await session.request('variables', args), 'variables', shownVariable)
    },
    async setVariable(args) {
      const { name, value, variablesReference } = args
      const given = adapter.guard(String(value))
      return await session.request('setVariable', { name, value: given, variablesReference })
    },
    async evaluate(args) {
      const { frameId, context } = args
      const expression = adapter.guard(textIn(args, 'expression'))
      // As an expression, whatever the client calls it: what adapters take as a command runs on this machine.
      const answer = await session.request(
        'evaluate',
        { expression, frameId, context: context === 'hover' ? 'hover' : 'watch' },
        evaluateMs,
      )
      const { result } = answer
      return { ...answer, result: typeof result === 'string' ? redactText(result) : result }
    },
    disconnect: async () => undefined,
  }

  const lost = session.lost.then((reason) => {
    peer.event('output', { category: 'console', output: `${reason}\n` })
    peer.event('terminated')
    client.end()
    if (!options.isAlive()) throw processGone(facts)
    return false
  })
  try {
    return await Promise.race([peer.serve(handlers), lost])
  } finally {
    if (!client.destroyed) client.end()
  }
}

/** An evaluation may wait for a person who stepped into it. */
const evaluateMs = 60_000

function guarded(breakpoint: Arguments, guard: (expression: string) => string): Arguments {
  const { line, column, name, hitCondition, condition, logMessage } = breakpoint
  const texts = Object.entries({ condition, logMessage, hitCondition, name }).flatMap(([key, text]) =>
    typeof text === 'string' && text !== '' ? [[key, guard(text)] as const] : [],
  )
  const places = Object.entries({ line, column }).filter(([, value]) => value !== undefined)
  return Object.fromEntries([...places, ...texts])
}

function shownVariable(variable: Arguments): Arguments {
  const { name, value } = variable
  if (secretName.test(String(name))) {
    return { name, value: redactedText, variablesReference: 0 }
  }
  return typeof value === 'string' ? { ...variable, value: redactText(value) } : variable
}

function seenAll(body: Arguments, name: string, change: (item: Arguments) => Arguments): Arguments {
  return { ...body, [name]: objectsIn(body, name).map(change) }
}

function isObject(value: unknown): value is Arguments {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
