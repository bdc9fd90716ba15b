/**
 * Opens the inspector of a running Node, which it opens itself on SIGUSR1, and closes it at the end.
 *
 * Invariants: a process that would be ended by the signal never gets it. The process itself closes its inspector when the
 * last hold on it has been let go or has run out: a debugger that dies leaves no open port. An inspector that was open
 * before is left open.
 */
import type { Agent } from 'undici'
import { type Clock, messageOf, type Random, randomId, sleep } from '../../base/index.ts'
import { Cdp } from '../cdp/client.ts'
import { isLoopback } from '../facts.ts'
import type { ProcessFacts } from '../recipe.ts'
import { connectionLost, didNotAnswer, processGone, refused } from '../refusals.ts'
import { openBridge } from './bridge.ts'
import { isAlive, listeningSockets, signalProcess, socketsAround, startedWith } from './proc.ts'
import type { Reach } from './reach.ts'

export interface InspectorOptions {
  readonly clock: Clock
  readonly random: Random
  readonly reach: Reach
  /** A hold that is not renewed for so long is over. */
  readonly holdMs?: number
  /** Longest wait for the inspector after the signal. */
  readonly openMs?: number
}

export interface Inspector extends AsyncDisposable {
  readonly cdp: Cdp
  /** Of Node, without the v. */
  readonly version: string
  readonly effects: readonly string[]
}

/** Bit of SIGUSR1, number 10. */
const usr1 = 1n << 9n
/** The port that Node takes when it is told none. */
const defaultPort = 9229
/** Longest wait for the inspector after the signal: a busy machine needs a while, a program that swallows it needs for ever. */
const usualOpenMs = 10_000
/** Longest wait until it is closed. */
const closeMs = 5000
const pollMs = 10
/** Longest wait for the answers of an open inspector. */
const handshakeMs = 10_000
const usualHoldMs = 45_000
/** Most bytes that an inspector says about itself. */
const answerBytesMax = 1_000_000

/** Whether the process can be made to open its inspector, or why not. Does nothing to it. */
export function inspectorRefusal(facts: ProcessFacts): { readonly reason: string; readonly hint: string } | null {
  if (facts.state === 'T') {
    return {
      reason: `process ${facts.pid} is stopped by a signal`,
      hint: `Let it go on first: kill -CONT ${facts.pid}.`,
    }
  }
  if ((facts.caughtSignals & usr1) === 0n && namedPorts(optionsOf(facts)).length === 0) {
    return {
      reason: `process ${facts.pid} was started so that Node does not listen to SIGUSR1 (--disable-sigusr1 or --permission), and the signal would end it`,
      hint: 'Start it without that option, or with NODE_OPTIONS=--inspect=127.0.0.1:0.',
    }
  }
  return null
}

/** Throws `debug.refused`, `debug.process-gone`, `debug.no-answer`. */
export async function openInspector(facts: ProcessFacts, options: InspectorOptions): Promise<Inspector> {
  const { clock, random, holdMs = usualHoldMs } = options
  const already = await findOpen(facts, options)
  const found = already ?? (await signalAndFind(facts, options))
  const cdp = await connectTo(facts, found, options)
  if (already === null && facts.shares.network && facts.shares.files) return await bridged(cdp, found, facts, options)
  const hold = randomId(random)
  try {
    const first = await evaluate(cdp, takeHold(hold, already === null, holdMs))
    const renewing = renew(cdp, hold, clock, holdMs / 3)
    // A second debugger of ours finds the inspector open, and closes it when it is the last to go.
    const opened = first === 'ours'
    return {
      cdp,
      version: found.version,
      effects: effectsOf(facts, found.port, opened),
      async [Symbol.asyncDispose]() {
        renewing[Symbol.dispose]()
        // The process closes the connection while it answers, so that the answer may never come.
        const released = evaluate(cdp, releaseHold(hold)).catch(() => null)
        const left = await Promise.race([released, cdp.lost])
        cdp.end('closed')
        if (opened && left !== 'held') await untilClosed(facts, found.port, clock)
      },
    }
  } catch (error) {
    cdp.end('could not be held')
    throw error
  }
}

/**
 * In a network that others share: the protocol goes on by way of the process itself, and the port is closed. Who was
 * connected to it meanwhile, beside us, is said.
 */
async function bridged(
  direct: Cdp,
  found: OpenInspector,
  facts: ProcessFacts,
  { clock }: InspectorOptions,
): Promise<Inspector> {
  const fromMs = clock.monotonicMs()
  let cdp: Cdp
  let strangers: readonly number[]
  try {
    cdp = await openBridge(direct, facts, clock)
  } finally {
    strangers = strangersAt(found.port, facts)
    // The process closes the connection while it answers, so that the answer may never come.
    await Promise.race([evaluate(direct, 'process._debugEnd()').catch(() => null), direct.lost])
    direct.end('closed')
    await untilClosed(facts, found.port, clock)
  }
  const openMs = Math.ceil(clock.monotonicMs() - fromMs)
  return {
    cdp,
    version: found.version,
    effects: [
      `opened its inspector on 127.0.0.1:${found.port} for ${openMs} ms; a thread in it carries on over a socket of its own user until the debugger leaves`,
      ...strangers.map(
        (uid) => `had a program of user ${uid} connected to that port meanwhile, which may have changed it`,
      ),
      'wrote a few lines about that to its error output',
    ],
    async [Symbol.asyncDispose]() {
      cdp.end('closed')
    },
  }
}

/** Users other than us and its own that have a connection to a port of this machine's loopback. */
function strangersAt(port: number, { uid }: ProcessFacts): readonly number[] {
  const known = new Set([0, uid, process.getuid?.() ?? uid])
  const there = socketsAround(process.pid).filter((row) => row.remotePort === port && isLoopback(row.remoteAddress))
  return [...new Set(there.map((row) => row.uid))].filter((other) => !known.has(other))
}

function effectsOf(facts: ProcessFacts, port: number, opened: boolean): readonly string[] {
  if (!opened) return [`used its inspector, which was open on port ${port} already and stays open`]
  const where = facts.shares.network
    ? "this machine's network, where every local program can reach it,"
    : 'its own network, where nobody else can reach it,'
  return [
    `opened its inspector on 127.0.0.1:${port} of ${where} until the debugger leaves`,
    'wrote a few lines about that to its error output',
  ]
}

interface OpenInspector {
  readonly port: number
  readonly version: string
  readonly url: string
}

/** An inspector that is open already: at the usual port, or where it was told to be. */
async function findOpen(facts: ProcessFacts, options: InspectorOptions): Promise<OpenInspector | null> {
  const words = optionsOf(facts)
  const likely = new Set([defaultPort, ...namedPorts(words), ...portsWhenAsked(words)])
  const anywhere = likely.has(0)
  for (const { localPort } of listeningSockets(facts.pid)) {
    if (!anywhere && !likely.has(localPort)) continue
    const found = await ask(facts, localPort, options)
    if (found !== null) return found
  }
  return null
}

/** What Node was told at its start: on the command line, and by the variable for those who do not write that themselves. */
function optionsOf(facts: ProcessFacts): readonly string[] {
  return [...facts.argv, ...startedWith(facts, 'NODE_OPTIONS').split(' ')]
}

/** Where it opens its inspector once it is asked to: 0 is any port. */
function portsWhenAsked(argv: readonly string[]): readonly number[] {
  return argv.flatMap((word) => {
    const found = /^--(?:inspect|debug)-port=(?:.*:)?(\d+)$/.exec(word)
    return found === null ? [] : [Number(found[1])]
  })
}

/** Where it was told to open it at its start. */
function namedPorts(argv: readonly string[]): readonly number[] {
  return argv.flatMap((word) => {
    const found = /^--inspect(?:-brk|-wait)?(?:=(?:.*:)?(\d+))?$/.exec(word)
    return found === null ? [] : [Number(found[1] ?? defaultPort)]
  })
}

async function signalAndFind(facts: ProcessFacts, options: InspectorOptions): Promise<OpenInspector> {
  const refusal = inspectorRefusal(facts)
  if (refusal !== null) throw refused(refusal.reason, refusal.hint)
  const { clock, openMs = usualOpenMs } = options
  const before = new Set(listeningSockets(facts.pid).map((row) => row.inode))
  const taken = isTaken(facts)
  signalProcess(facts, 'SIGUSR1')
  for (const endMs = clock.monotonicMs() + openMs; clock.monotonicMs() < endMs; await sleep(clock, pollMs)) {
    if (!isAlive(facts)) throw processGone(facts)
    for (const row of listeningSockets(facts.pid)) {
      if (before.has(row.inode) || !isLoopback(row.localAddress)) continue
      const found = await ask(facts, row.localPort, options)
      if (found !== null) return found
      before.add(row.inode)
    }
  }
  throw didNotOpen(facts, taken || isTaken(facts))
}

/** Whether another program in its network has the port that Node would take. */
function isTaken(facts: ProcessFacts): boolean {
  return socketsAround(facts.pid).some((row) => row.listening && row.localPort === defaultPort)
}

function didNotOpen(facts: ProcessFacts, taken: boolean): Error {
  if (taken) {
    return refused(
      `process ${facts.pid} could not open its inspector: another program in its network has port ${defaultPort}`,
      'Start it with NODE_OPTIONS=--inspect-port=0, which takes a free port when asked; or end the other debugger.',
    )
  }
  return refused(
    `process ${facts.pid} got SIGUSR1 and did not open its inspector: the program handles that signal itself`,
    'Start it with NODE_OPTIONS=--inspect=127.0.0.1:0, or let it use another signal; what it does on SIGUSR1 it has done now.',
  )
}

/** Asks a port whether it is an inspector; null when it is something else. */
async function ask(facts: ProcessFacts, port: number, options: InspectorOptions): Promise<OpenInspector | null> {
  const { request } = await import('undici')
  const dispatcher = await dispatcherTo(facts, port, options)
  const get = async (path: string): Promise<unknown> => {
    const { body } = await request(`http://127.0.0.1:${port}${path}`, {
      dispatcher,
      headersTimeout: handshakeMs,
      bodyTimeout: handshakeMs,
    })
    return await body.json()
  }
  try {
    const browser = textOf(await get('/json/version'), 'Browser')
    const version = /^node\.js\/v(\S+)$/.exec(browser ?? '')?.[1]
    if (version === undefined) return null
    const list = await get('/json/list')
    const url = textOf(Array.isArray(list) ? list[0] : null, 'webSocketDebuggerUrl')
    const id = /\/([0-9a-f-]+)$/.exec(url ?? '')?.[1]
    return id === undefined ? null : { port, version, url: `ws://127.0.0.1:${port}/${id}` }
  } catch {
    return null
  } finally {
    await dispatcher.destroy()
  }
}

function textOf(value: unknown, name: string): string | null {
  if (typeof value !== 'object' || value === null) return null
  const found: unknown = Object.entries(value).find(([key]) => key === name)?.[1]
  return typeof found === 'string' ? found : null
}

/** The HTTP client is loaded when it is used: agents stay for months, and most never look into a program. */
async function dispatcherTo(facts: ProcessFacts, port: number, { reach }: InspectorOptions): Promise<Agent> {
  const { Agent } = await import('undici')
  return new Agent({
    // What listens there may be anything.
    maxResponseSize: answerBytesMax,
    connect(_options, done) {
      try {
        const socket = reach(facts, port)
        const failed = (error: Error): void => done(error, null)
        socket.once('error', failed)
        socket.once('connect', () => {
          socket.off('error', failed)
          done(null, socket)
        })
      } catch (error) {
        done(error instanceof Error ? error : new Error(messageOf(error)), null)
      }
    },
  })
}

async function connectTo(facts: ProcessFacts, { port, url }: OpenInspector, options: InspectorOptions): Promise<Cdp> {
  const { clock } = options
  const { WebSocket } = await import('undici')
  const dispatcher = await dispatcherTo(facts, port, options)
  const socket = new WebSocket(url, { dispatcher })
  const cdp = new Cdp(
    {
      send: (text) => socket.send(text),
      close() {
        socket.close()
        // Whoever does not answer the closing is cut off.
        clock.after(1000, () => void dispatcher.destroy())
      },
    },
    clock,
  )
  const opened = Promise.withResolvers<void>()
  const timer = clock.after(handshakeMs, () => opened.reject(didNotAnswer('the inspector', handshakeMs)))
  socket.addEventListener('open', () => opened.resolve())
  socket.addEventListener('error', () => opened.reject(connectionLost('it was refused')))
  socket.addEventListener('message', ({ data }) => cdp.receive(String(data)))
  socket.addEventListener('close', () => cdp.end(isAlive(facts) ? 'it was closed' : `process ${facts.pid} ended`))
  try {
    await opened.promise
    return cdp
  } catch (error) {
    await dispatcher.destroy()
    throw error
  } finally {
    timer[Symbol.dispose]()
  }
}

/** Waits until nobody listens there any more; not for ever, because a process may hang in a call of the system. */
async function untilClosed(facts: ProcessFacts, port: number, clock: Clock): Promise<void> {
  const open = (): boolean => listeningSockets(facts.pid).some((row) => row.localPort === port)
  for (const endMs = clock.monotonicMs() + closeMs; open() && clock.monotonicMs() < endMs;) await sleep(clock, pollMs)
}

async function evaluate(cdp: Cdp, expression: string): Promise<unknown> {
  const { result } = await cdp.call('Runtime.evaluate', { expression, returnByValue: true, silent: true })
  return result.value
}

function renew(cdp: Cdp, hold: string, clock: Clock, everyMs: number): Disposable {
  let timer: Disposable | null = null
  const again = (): void => {
    timer = clock.after(everyMs, () => {
      evaluate(cdp, renewHold(hold)).then(again, again)
    })
  }
  again()
  void cdp.lost.then(() => timer?.[Symbol.dispose]())
  return { [Symbol.dispose]: () => timer?.[Symbol.dispose]() }
}

/**
 * The holds live in the process, under a symbol that nothing enumerates. Its own monotonic clock is used, which test
 * libraries leave alone.
 */
const holds = `globalThis[Symbol.for('stead.debug.holds')]`

function takeHold(hold: string, opened: boolean, holdMs: number): string {
  return `(() => {
    const now = () => Number(process.hrtime.bigint() / 1000000n)
    const key = Symbol.for('stead.debug.holds')
    if (globalThis[key] === undefined) {
      const until = new Map()
      const state = {
        opened: ${opened},
        renew: (id) => until.set(id, now() + ${holdMs}),
        release(id) {
          until.delete(id)
          for (const [other, end] of until) if (end < now()) until.delete(other)
          if (until.size > 0) return 'held'
          clearInterval(timer)
          delete globalThis[key]
          if (state.opened) process._debugEnd()
        },
      }
      const timer = setInterval(() => state.release(''), ${holdMs / 3})
      timer.unref()
      Object.defineProperty(globalThis, key, { value: state, configurable: true, enumerable: false })
    }
    const state = globalThis[key]
    state.renew('${hold}')
    return state.opened ? 'ours' : 'theirs'
  })()`
}

const renewHold = (hold: string): string => `${holds}?.renew('${hold}')`
const releaseHold = (hold: string): string => `${holds}?.release('${hold}')`
