/**
 * A debug adapter for Java machines: the Debug Adapter Protocol on one side, the wire protocol of the machine on the other.
 *
 * Invariants: the machine stands still as a whole, and as often as it was stopped it is let go on. When the client leaves,
 * however it does, the machine forgets everything of it and runs: that is one message, or the end of the connection.
 */
import type { Duplex } from 'node:stream'
import { messageOf } from '../../base/index.ts'
import { type Arguments, DapPeer, type Handler, numberIn, objectsIn, textIn } from '../dap/peer.ts'
import type { Jdwp } from '../jdwp/client.ts'
import {
  eventKinds,
  eventsIn,
  type JdwpEvent,
  modifiers,
  stepDepths,
  stepSizeLine,
  suspendPolicy,
} from '../jdwp/protocol.ts'
import { looksSecret, redactedText } from '../redact.ts'
import { refused } from '../refusals.ts'
import { type Breakpoint, JavaBreakpoints } from './breakpoints.ts'
import { isTrue } from './evaluate.ts'
import { Frames, type JavaFrame } from './frames.ts'
import { Objects } from './objects.ts'
import { Types } from './types.ts'
import type { JavaValue } from './value.ts'

const capabilities = {
  supportsConfigurationDoneRequest: true,
  supportsConditionalBreakpoints: true,
  supportsLogPoints: true,
  supportsDelayedStackTraceLoading: true,
  exceptionBreakpointFilters: [
    { filter: 'uncaught', label: 'Uncaught exceptions' },
    { filter: 'all', label: 'All exceptions' },
  ],
}

/** Hits of a logpoint, after which it is spent: each stops the machine for a moment. */
const logpointHitsMax = 1000
/** Classes of the platform are stepped over. */
const platformClasses = ['java.*', 'javax.*', 'jdk.*', 'sun.*', 'com.sun.*']
const goodbyeMs = 3000

/** Serves one client, which is the proxy of this room: it does what needs no language. Ends with it, or with the machine. */
export async function serveJava(client: Duplex, jdwp: Jdwp): Promise<void> {
  const peer = new DapPeer(client, (text) => text)
  const types = new Types(jdwp)
  const objects = new Objects(jdwp, types)
  const frames = new Frames(jdwp, objects)
  const breakpoints = new JavaBreakpoints(jdwp, types)
  /** Threads by the client's number for them, from 1. */
  const threads: bigint[] = []
  /** How often the machine was stopped and not let go on. */
  let holds = 0
  let stepRequest: number | null = null
  let exceptionRequest: number | null = null

  const numberOf = (thread: bigint): number => {
    const known = threads.indexOf(thread)
    return known === -1 ? threads.push(thread) : known + 1
  }
  const threadOf = (args: Arguments): bigint => {
    const found = threads[numberIn(args, 'threadId') - 1]
    if (found === undefined) throw refused('there is no such thread', 'Ask for the threads again.')
    return found
  }
  const goOn = async (): Promise<void> => {
    frames.forget()
    for (; holds > 0; holds--) await jdwp.call('VirtualMachine.Resume')
  }
  const endStep = async (): Promise<void> => {
    const request = stepRequest
    stepRequest = null
    if (request !== null) await jdwp.call('EventRequest.Clear', (to) => to.byte(eventKinds.step).int(request))
  }
  const step =
    (kind: keyof typeof stepDepths): Handler =>
    async (args) => {
      const thread = threadOf(args)
      if (holds === 0) throw refused('the program is not stopped', 'Pause it, or wait for a breakpoint.')
      await endStep()
      const reader = await jdwp.call('EventRequest.Set', (to) => {
        const excluded = kind === 'stepIn' ? platformClasses : []
        to.byte(eventKinds.step)
          .byte(suspendPolicy.all)
          .int(2 + excluded.length)
        to.byte(modifiers.step).id(thread).int(stepSizeLine).int(stepDepths[kind])
        for (const pattern of excluded) to.byte(modifiers.classExclude).text(pattern)
        to.byte(modifiers.count).int(1)
      })
      stepRequest = reader.int()
      await goOn()
      return {}
    }

  const handlers: Readonly<Record<string, Handler>> = {
    initialize: async () => capabilities,
    async attach() {
      const sizes = await jdwp.call('VirtualMachine.IDSizes')
      if (Array.from({ length: 5 }, () => sizes.int()).some((bytes) => bytes !== 8)) {
        throw refused('a Java machine of 32 bits cannot be debugged here', 'Run the program on one of 64 bits.')
      }
      setImmediate(() => peer.event('initialized'))
    },
    configurationDone: async () => undefined,
    async setBreakpoints(args) {
      const [source = {}] = objectsIn({ list: [args['source']] }, 'list')
      const wanted = objectsIn(args, 'breakpoints').map((one) => ({
        line: numberIn(one, 'line'),
        condition: textIn(one, 'condition'),
        log: textIn(one, 'logMessage'),
      }))
      const set = await breakpoints.set(textIn(source, 'path'), wanted)
      const shown = set.map((one) =>
        typeof one === 'string' ? { verified: false, message: one } : { id: one.id, verified: true, line: one.line },
      )
      return { breakpoints: shown }
    },
    async loadedSources(args) {
      const files = await breakpoints.files(textIn(args, 'path'))
      return { sources: files.map((path) => ({ name: path.slice(path.lastIndexOf('/') + 1), path })) }
    },
    async setExceptionBreakpoints(args) {
      const request = exceptionRequest
      exceptionRequest = null
      if (request !== null) await jdwp.call('EventRequest.Clear', (to) => to.byte(eventKinds.exception).int(request))
      const filters = Array.isArray(args['filters']) ? args['filters'] : []
      if (filters.length === 0) return
      const caught = filters.includes('all') ? 1 : 0
      const reader = await jdwp.call('EventRequest.Set', (to) => {
        to.byte(eventKinds.exception).byte(suspendPolicy.all).int(1)
        to.byte(modifiers.exception).id(0n).byte(caught).byte(1)
      })
      exceptionRequest = reader.int()
    },
    async threads() {
      const all = (await jdwp.call('VirtualMachine.AllThreads')).list((row) => row.id())
      const named = all.map(async (thread) => {
        const name = (await jdwp.call('ThreadReference.Name', (to) => to.id(thread))).text()
        return { id: numberOf(thread), name }
      })
      // One that has ended meanwhile has no name.
      const found = await Promise.allSettled(named)
      return { threads: found.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])) }
    },
    async stackTrace(args) {
      const all = await frames.of(threadOf(args))
      const from = numberIn(args, 'startFrame')
      const levels = numberIn(args, 'levels') || all.length
      const stackFrames = await Promise.all(all.slice(from, from + levels).map(shownFrame))
      return { stackFrames, totalFrames: all.length }
    },
    async scopes(args) {
      const frame = frames.at(numberIn(args, 'frameId'))
      return {
        scopes: [
          { name: 'Locals', presentationHint: 'locals', variablesReference: frames.open(frame), expensive: false },
        ],
      }
    },
    async variables(args) {
      const inside = await frames.inside(
        numberIn(args, 'variablesReference'),
        numberIn(args, 'start'),
        numberIn(args, 'count'),
      )
      const variables = inside.map(async ({ name, value, type }) => ({
        name,
        type,
        value: await objects.shownUnder(name, value),
        variablesReference: frames.open(value),
      }))
      return { variables: await Promise.all(variables) }
    },
    async evaluate(args) {
      const value = await frames.evaluate(numberIn(args, 'frameId'), textIn(args, 'expression'))
      const [result, type] = [await objects.shown(value), await objects.type(value)]
      return { result, type, variablesReference: frames.open(value) }
    },
    async continue() {
      await endStep()
      await goOn()
      return { allThreadsContinued: true }
    },
    next: step('next'),
    stepIn: step('stepIn'),
    stepOut: step('stepOut'),
    async pause(args) {
      const thread = threadOf(args)
      if (holds === 0) {
        await jdwp.call('VirtualMachine.Suspend')
        holds++
      }
      setImmediate(() => stopped('pause', thread))
    },
    async disconnect() {
      await jdwp.call('VirtualMachine.Dispose', undefined, goodbyeMs)
    },
  }

  async function shownFrame(frame: JavaFrame): Promise<Record<string, unknown>> {
    const { place } = frame
    const path = await types.source(place.type)
    const source = path === null ? {} : { source: { name: path.slice(path.lastIndexOf('/') + 1), path } }
    return { id: frame.id, name: await types.nameOfPlace(place), line: await types.lineOf(place), column: 0, ...source }
  }

  function stopped(reason: string, thread: bigint, more: Record<string, unknown> = {}): void {
    peer.event('stopped', { reason, threadId: numberOf(thread), allThreadsStopped: true, ...more })
  }

  /** Whether the program is to stop there for the client. What goes wrong with a condition stops it, and is said. */
  async function isWanted(breakpoint: Breakpoint, thread: bigint): Promise<boolean> {
    breakpoint.hits++
    if (breakpoint.condition === '' && breakpoint.log === '') return true
    const [top] = await frames.of(thread)
    const worth = (text: string): Promise<JavaValue> => frames.evaluate(top?.id ?? 0, text)
    try {
      if (breakpoint.condition !== '' && !isTrue(await worth(breakpoint.condition))) return false
      if (breakpoint.log === '') return true
      if (breakpoint.hits <= logpointHitsMax) await log(breakpoint.log, worth)
      if (breakpoint.hits === logpointHitsMax)
        say(`this logpoint has been passed ${logpointHitsMax} times and is spent`)
      return false
    } catch (error) {
      say(messageOf(error))
      return breakpoint.log === ''
    }
  }

  async function log(message: string, worth: (text: string) => Promise<JavaValue>): Promise<void> {
    let text = ''
    for (const [index, part] of message.split(/\{([^{}]+)\}/).entries()) {
      if (index % 2 === 0) text += part
      else text += looksSecret(part) ? redactedText : await shownLogged(await worth(part))
    }
    say(text)
  }

  async function shownLogged(value: JavaValue): Promise<string> {
    return (await objects.text(value)) ?? (await objects.shown(value))
  }

  function say(text: string): void {
    peer.event('output', { category: 'console', output: `${text}\n` })
  }

  async function hear(stoppedNow: boolean, events: readonly JdwpEvent[]): Promise<void> {
    if (stoppedNow) holds++
    let why: { readonly reason: string; readonly thread: bigint; readonly more: Record<string, unknown> } | null = null
    for (const { kind, requestId, thread, exception } of events) {
      if (thread === null) continue
      if (kind === eventKinds.exception && exception !== null) {
        const value: JavaValue = { kind: 'reference', tag: objectTag, id: exception }
        why = { reason: 'exception', thread, more: { text: await objects.type(value) } }
      } else if (kind === eventKinds.step && requestId === stepRequest) {
        why ??= { reason: 'step', thread, more: {} }
      } else if (kind === eventKinds.breakpoint) {
        const breakpoint = breakpoints.at(requestId)
        if (breakpoint === undefined || !(await isWanted(breakpoint, thread))) continue
        why = { reason: 'breakpoint', thread, more: { hitBreakpointIds: [breakpoint.id] } }
      }
    }
    if (why !== null) {
      await endStep()
      return stopped(why.reason, why.thread, why.more)
    }
    // Nobody is to see this stop. One that the client stands at already is not ended by it.
    if (!stoppedNow) return
    if (holds === 1) frames.forget()
    holds--
    await jdwp.call('VirtualMachine.Resume')
  }

  let last: Promise<void> = Promise.resolve()
  jdwp.listen((body) => {
    const { stopped: stoppedNow, events } = eventsIn(body)
    // One after another: a condition that is looked at must not be overtaken.
    last = last.then(() => hear(stoppedNow, events)).catch((error: unknown) => say(messageOf(error)))
  })
  const lost = jdwp.lost.then((why) => {
    peer.event('output', { category: 'console', output: `${why}\n` })
    client.end()
  })
  try {
    await Promise.race([peer.serve(handlers), lost])
  } finally {
    jdwp.close()
    if (!client.destroyed) client.end()
  }
}

const objectTag = 0x4c
