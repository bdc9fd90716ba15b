/**
 * The Debug Adapter Protocol for Node: what an editor asks, asked over the Chrome DevTools Protocol.
 *
 * Invariant: when the client has gone, however it went, none of its breakpoints is left and the program runs.
 */
import type { Duplex } from 'node:stream'
import type { Random } from '../../base/index.ts'
import type { Cdp } from '../cdp/client.ts'
import type { CallFrame, Events } from '../cdp/protocol.ts'
import { type Arguments, DapPeer, type Handler, numberIn, objectsIn, textIn } from '../dap/peer.ts'
import type { ProcessFacts } from '../recipe.ts'
import { processGone, refused } from '../refusals.ts'
import { Breakpoints } from './breakpoints.ts'
import { Paths } from '../dap/paths.ts'
import type { Scripts } from './scripts.ts'
import { nameOf } from './stack.ts'
import { textOf, Values } from './values.ts'

export interface AdapterOptions {
  readonly cdp: Cdp
  readonly scripts: Scripts
  readonly random: Random
  readonly facts: ProcessFacts
  /** Takes texts that are known to be secret out of what the client is told. */
  readonly hide: (text: string) => string
}

/** There is one thread that can be seen. */
const threadId = 1
const asyncDepth = 16
/** The body of an evaluation may wait for a person who stepped into it. */
const evaluateMs = 60_000

const capabilities = {
  supportsConfigurationDoneRequest: true,
  supportsConditionalBreakpoints: true,
  supportsLogPoints: true,
  supportsEvaluateForHovers: true,
  supportsDelayedStackTraceLoading: true,
  exceptionBreakpointFilters: [
    { filter: 'uncaught', label: 'Uncaught exceptions' },
    { filter: 'all', label: 'All exceptions' },
  ],
}

/** Serves one client. Answers whether it said goodbye. */
export async function serveNode(client: Duplex, options: AdapterOptions): Promise<boolean> {
  const { cdp, scripts, random, facts, hide } = options
  const { pid } = facts
  const peer = new DapPeer(client, hide)
  const paths = new Paths({ sameFiles: facts.shares.files })
  const values = new Values(cdp)
  const breakpoints = new Breakpoints({
    cdp,
    scripts,
    random,
    inside: (path) => paths.inside(path, scripts.files()),
    onLog: (text, path, line) =>
      peer.event('output', { category: 'console', output: `${text}\n`, source: { path }, line }),
    onChange: (breakpoint) => peer.event('breakpoint', { reason: 'changed', breakpoint }),
  })
  let frames: readonly CallFrame[] = []
  /** Node 20 does not say that it stopped because of a step. */
  let stepping = false
  let trace: Events['Debugger.paused']['asyncStackTrace']

  /**
   * To remember what had asked for work that comes later costs a server two thirds of its pace: only who has seen a stop pays that,
   * for as long as there may be another.
   */
  let remembered = 0
  const rememberCallers = async (maxDepth: number): Promise<void> => {
    if (maxDepth === remembered) return
    remembered = maxDepth
    await cdp.call('Debugger.setAsyncCallStackDepth', { maxDepth })
  }

  const frameOf = (args: Arguments): CallFrame | undefined => frames[numberIn(args, 'frameId') - 1]
  const goOn = (
    method: 'Debugger.resume' | 'Debugger.stepOver' | 'Debugger.stepInto' | 'Debugger.stepOut',
  ): Handler => {
    return async () => {
      if (frames.length === 0) throw refused('the program is not stopped', 'Pause it, or wait for a breakpoint.')
      stepping = method !== 'Debugger.resume'
      await cdp.call(method, {})
      return { allThreadsContinued: true }
    }
  }

  const handlers: Readonly<Record<string, Handler>> = {
    initialize: async () => capabilities,
    async launch() {
      throw refused('this port leads to a process that runs already', 'Use "request": "attach".')
    },
    async attach(args) {
      await scripts.readMaps()
      paths.configure(textIn(args, 'localRoot'), textIn(args, 'remoteRoot'))
      // After the answer: an editor sends its breakpoints then.
      setImmediate(() => peer.event('initialized'))
    },
    configurationDone: async () => undefined,
    async setBreakpoints(args) {
      const [source] = objectsIn({ list: [args['source']] }, 'list')
      const set = await breakpoints.set(textIn(source ?? {}, 'path'), objectsIn(args, 'breakpoints'))
      if (!breakpoints.canStop && frames.length === 0) await rememberCallers(0)
      return { breakpoints: set }
    },
    async setExceptionBreakpoints(args) {
      const filters = Array.isArray(args['filters']) ? args['filters'] : []
      const state = filters.includes('all') ? 'all' : filters.includes('uncaught') ? 'uncaught' : 'none'
      await cdp.call('Debugger.setPauseOnExceptions', { state })
    },
    threads: async () => ({ threads: [{ id: threadId, name: `main (process ${pid})` }] }),
    async stackTrace(args) {
      const from = numberIn(args, 'startFrame')
      const levels = numberIn(args, 'levels') || Infinity
      const all = [...(await Promise.all(frames.map(shownFrame))), ...(await asyncFrames())]
      return { stackFrames: all.slice(from, from + levels), totalFrames: all.length }
    },
    async scopes(args) {
      const scopes = (frameOf(args)?.scopeChain ?? []).map((scope) => ({
        ...values.scope(scope),
        expensive: scope.type === 'global',
        presentationHint: scope.type === 'local' ? 'locals' : scope.type,
      }))
      return { scopes }
    },
    variables: async (args) => ({ variables: await values.inside(numberIn(args, 'variablesReference')) }),
    async evaluate(args) {
      const frame = frameOf(args)
      const expression = textIn(args, 'expression')
      const { result, exceptionDetails } =
        frame === undefined
          ? await cdp.call('Runtime.evaluate', { expression, includeCommandLineAPI: true, silent: true }, evaluateMs)
          : await cdp.call(
              'Debugger.evaluateOnCallFrame',
              {
                callFrameId: frame.callFrameId,
                expression,
                silent: true,
                // What the mouse happens to rest on must not change the program.
                throwOnSideEffect: textIn(args, 'context') === 'hover',
              },
              evaluateMs,
            )
      if (exceptionDetails !== undefined) {
        throw new Error(exceptionDetails.exception?.description?.split('\n')[0] ?? exceptionDetails.text)
      }
      const { value, type, variablesReference } = values.show('', result)
      return { result: value, type, variablesReference }
    },
    async source(args) {
      const [source] = objectsIn({ list: [args['source']] }, 'list')
      const scriptId = String(numberIn(args, 'sourceReference') || numberIn(source ?? {}, 'sourceReference'))
      const { scriptSource } = await cdp.call('Debugger.getScriptSource', { scriptId })
      return { content: scriptSource, mimeType: 'text/javascript' }
    },
    continue: goOn('Debugger.resume'),
    next: goOn('Debugger.stepOver'),
    stepIn: goOn('Debugger.stepInto'),
    stepOut: goOn('Debugger.stepOut'),
    async pause() {
      await cdp.call('Debugger.pause', {})
    },
    disconnect: async () => undefined,
  }

  async function shownFrame(frame: CallFrame, index: number): Promise<Record<string, unknown>> {
    const { scriptId, lineNumber, columnNumber = 0 } = frame.location
    return {
      id: index + 1,
      name: nameOf(frame.functionName),
      ...(await shownPlace(scriptId, lineNumber, columnNumber)),
    }
  }

  async function shownPlace(scriptId: string, line: number, column: number): Promise<Record<string, unknown>> {
    const place = await scripts.written(scriptId, line, column)
    const path = paths.outside(place.file)
    const name = place.file.slice(place.file.lastIndexOf('/') + 1)
    // What the client has no file for is asked of the process.
    const source = path === null ? { name: place.file, sourceReference: Number(scriptId) } : { name, path }
    return { line: place.line, column: column + 1, source }
  }

  async function asyncFrames(): Promise<readonly Record<string, unknown>[]> {
    const shown: Record<string, unknown>[] = []
    for (let at = trace, depth = 0; at !== undefined && depth < asyncDepth; at = at.parent, depth++) {
      const hint = { line: 0, column: 0, presentationHint: 'label' }
      shown.push({ id: 100_000 + shown.length, name: `asked for by ${at.description ?? 'an earlier turn'}`, ...hint })
      for (const { functionName, scriptId, lineNumber, columnNumber } of at.callFrames) {
        const place = await shownPlace(scriptId, lineNumber, columnNumber)
        shown.push({ id: 100_000 + shown.length, name: nameOf(functionName), ...place })
      }
    }
    return shown
  }

  using listening = new DisposableStack()
  listening.use(
    cdp.on('Debugger.paused', ({ callFrames, asyncStackTrace, reason, hitBreakpoints = [], data }) => {
      frames = callFrames
      trace = asyncStackTrace
      void rememberCallers(asyncDepth).catch(() => undefined)
      const ids = breakpoints.idsOf(hitBreakpoints)
      const why = hitBreakpoints.length > 0 ? 'breakpoint' : (reasons[reason] ?? (stepping ? 'step' : 'pause'))
      stepping = false
      const text = why === 'exception' && data !== undefined ? { text: textOf(data) } : {}
      peer.event('stopped', { reason: why, threadId, allThreadsStopped: true, hitBreakpointIds: ids, ...text })
    }),
  )
  listening.use(
    cdp.on('Debugger.resumed', () => {
      frames = []
      trace = undefined
      values.forget()
      peer.event('continued', { threadId, allThreadsContinued: true })
    }),
  )
  listening.use(cdp.on('Debugger.scriptParsed', ({ url }) => void breakpoints.loaded(url).catch(() => undefined)))
  const lost = cdp.lost.then((reason) => {
    peer.event('output', { category: 'console', output: `${reason}\n` })
    peer.event('terminated')
    client.end()
    throw processGone({ pid })
  })
  const served = peer.serve(handlers)
  try {
    return await Promise.race([served, lost])
  } finally {
    if (!client.destroyed) client.end()
    await leave().catch(() => undefined)
  }

  /**
   * V8 itself forgets breakpoints, steps and pauses that were asked for, and lets the program go on, when its debugger is
   * switched off: one message, nothing in between. Whoever comes next finds it switched on.
   */
  async function leave(): Promise<void> {
    const off = cdp.call('Debugger.disable', {})
    await Promise.allSettled([off, breakpoints.clear()])
    await cdp.call('Debugger.enable', {})
  }
}

/** What V8 calls it, where DAP has another word than `pause`. */
const reasons: Readonly<Record<string, string>> = {
  exception: 'exception',
  promiseRejection: 'exception',
  step: 'step',
}
