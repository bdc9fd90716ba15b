/**
 * The node's end of the streams that people have open: a program run inside an instance, or a connection to a port of it.
 *
 * Invariants: nothing that was started for a stream outlives it, whichever side goes away; neither direction has more under
 * way than the protocol's window.
 */
import { createReadStream } from 'node:fs'
import { Duplex, PassThrough, Readable } from 'node:stream'
import type { Socket } from 'node:net'
import { type Clock, messageOf, sentencesOf } from '../base/index.ts'
import type { DebuggerOf, DebugLook, Resume, StreamEnd, StreamTarget } from '../protocol/index.ts'
import type { Sandbox } from '../sandbox/index.ts'
import type { Tap } from '../network/index.ts'
import { trace } from './trace.ts'
import { capture } from './capture.ts'
import { Carried, type Open, type Said, type Send } from './carried.ts'
import type { Hold } from './holds.ts'
import { kernelDebugger } from './kernel-debugger.ts'

/** Most streams that are open at once. */
const streamsMax = 200
const pieceBytes = 64 * 1024

/** What streams are opened to. */
export interface StreamSources {
  /** The sandbox of an assignment that runs; null when it is not on this node, or does not run. */
  readonly sandbox: (assignment: string) => Sandbox | null
  /** Opens a connection; null when it is not on this node, or not ready. */
  readonly connect: (assignment: string, port: number | null) => Socket | null
  /** Looks into what runs for an assignment; null when nothing does on this node. */
  readonly look: (assignment: string, look: DebugLook, whose: DebuggerOf | null) => Open | null
  /** Holds an instance while somebody may stop it. */
  readonly hold: (assignment: string, whose: DebuggerOf | null) => Hold
  /** Watches the packets of an instance; null when it has no network of its own here. */
  readonly tap: (assignment: string) => Tap | null
  /** The file of the core that an instance has left; null when it has left none here. */
  readonly core: (assignment: string) => string | null
  /** The assignment that a process of this machine belongs to; null when it belongs to none. */
  readonly partOf: (pid: number) => string | null
  readonly clock: Clock
  readonly onNotice: (text: string) => void
}

export class Streams {
  readonly #sources: StreamSources
  readonly #open = new Set<Carried>()
  /** Those that have a name, by it, and what they were opened to. */
  readonly #named = new Map<string, { readonly carried: Carried; readonly opened: string }>()

  constructor(sources: StreamSources) {
    this.#sources = sources
  }

  /** Opens a stream under an id and carries it to its end, or goes on with one that has lost its line. */
  async open(id: string, target: StreamTarget, send: Send): Promise<void> {
    const refuse = (error: string): void => send({ type: 'ended', ask: id, end: null, error })
    const resume = 'resume' in target ? (target.resume ?? null) : null
    if (resume !== null && resume.seen !== null) {
      const known = this.#named.get(resume.key)
      // The right was asked for what is named now: it must be the same.
      const resumed = known?.opened === whereTo(target) && known.carried.resume(id, send, resume.seen)
      return resumed
        ? undefined
        : refuse('it is over: nothing was heard of you for too long, or the node was started anew')
    }
    if (this.#open.size >= streamsMax) return refuse('this node has too many streams open')
    const carried = new Carried(id, send, resume !== null, this.#sources.clock)
    this.#open.add(carried)
    if (resume !== null) this.#named.set(resume.key, { carried, opened: whereTo(target) })
    try {
      await carried.carry(await this.#lead(target))
    } catch (error) {
      refuse(sentencesOf(error))
    } finally {
      this.#forget(carried, resume)
    }
  }

  #forget(carried: Carried, resume: Resume | null): void {
    this.#open.delete(carried)
    if (resume !== null) this.#named.delete(resume.key)
  }

  /** Takes what the other side says of a stream that is open. */
  hear(said: Said): void {
    for (const carried of this.#open) if (carried.isOn(said.ask)) return carried.hear(said)
  }

  /** Control is gone: those that have a name wait for it. */
  lost(): void {
    for (const carried of this.#open) carried.lost()
  }

  /** Ends all: this agent goes. */
  abort(): void {
    for (const carried of this.#open) carried.close()
  }

  #lead(target: StreamTarget): Promise<Open> | Open {
    switch (target.kind) {
      case 'exec':
        return this.#exec(target)
      case 'connect':
        return this.#connect(target)
      case 'debug':
        return this.#look(target)
      case 'capture':
        return this.#capture(target)
      case 'core':
        return this.#core(target.assignment)
      case 'trace':
        return trace(target, this.#sources.partOf)
      case 'machine':
        return this.#machine(target)
    }
  }

  #look({ assignment, look, debugger: whose }: Extract<StreamTarget, { kind: 'debug' }>): Open {
    const open = this.#sources.look(assignment, look, whose ?? null)
    if (open === null) throw new Error(`${assignment} does not run on this node`)
    return open
  }

  #capture({ assignment, ...order }: Extract<StreamTarget, { kind: 'capture' }>): Open {
    const tap = this.#sources.tap(assignment)
    if (tap === null)
      throw new Error(
        `${assignment} has no network of its own on this node, whose packets would be those of others too`,
      )
    return capture(tap, order, this.#sources.clock)
  }

  #core(assignment: string): Open {
    const path = this.#sources.core(assignment)
    if (path === null) throw new Error(`no core file of ${assignment} is kept on this node`)
    return both(Duplex.from(createReadStream(path)))
  }

  async #machine(target: Extract<StreamTarget, { kind: 'machine' }>): Promise<Open> {
    const { assignment, what } = target
    const sandbox = this.#sources.sandbox(assignment)
    if (sandbox === null) throw new Error(`${assignment} does not run on this node`)
    const machine = sandbox.machine()
    if (what === 'snapshots') return answer(machine.snapshots().then((kept) => JSON.stringify(kept)))
    if ('name' in target) return answer(machine[target.what](target.name).then(() => ''))
    if (what === 'console') return both(await machine.console())
    if (what === 'debugger') {
      const stream = await machine.debugger()
      return kernelDebugger(stream, this.#sources.hold(assignment, target.debugger ?? null))
    }
    const { symbols, commands } = await machine.debugFiles()
    const content = what === 'symbols' ? symbols : Buffer.from(commands)
    const pieces = Array.from({ length: Math.ceil(content.length / pieceBytes) }, (_, index) =>
      content.subarray(index * pieceBytes, (index + 1) * pieceBytes),
    )
    return both(Duplex.from(Readable.from(pieces)))
  }

  async #exec({ assignment, argv, env, terminal }: Extract<StreamTarget, { kind: 'exec' }>): Promise<Open> {
    const sandbox = this.#sources.sandbox(assignment)
    if (sandbox === null) throw new Error(`${assignment} does not run on this node`)
    const executed = await sandbox.exec({ argv, env, terminal })
    const { input, output, errors } = executed
    return {
      input,
      outputs: [{ to: 'out', from: output }, ...(errors === null ? [] : [{ to: 'err' as const, from: errors }])],
      terminal: terminal !== null,
      resize: (size) => executed.resize(size),
      opened: Promise.resolve(),
      ended: executed.exited.then(({ code, signal, sentence }) => ({ code, signal, sentence })),
      kill: () => executed.kill().catch((error: unknown) => this.#sources.onNotice(messageOf(error))),
    }
  }

  #connect({ assignment, port }: Extract<StreamTarget, { kind: 'connect' }>): Open {
    const socket = this.#sources.connect(assignment, port)
    if (socket === null) {
      const noPort = port === null ? ', or has no port of its own: name one behind the part, as in PART:5432' : ''
      throw new Error(`${assignment} is not ready on this node${noPort}`)
    }
    socket.allowHalfOpen = true
    socket.setNoDelay(true)
    const { promise, resolve, reject } = Promise.withResolvers<StreamEnd>()
    const connected = new Promise<void>((done) => socket.once('connect', done))
    socket.on('error', reject)
    // A server that has said all it had to say is not waited for.
    socket.on('end', () => socket.end())
    socket.on('close', () => resolve({ code: null, signal: null, sentence: 'was closed' }))
    return {
      input: socket,
      outputs: [{ to: 'out', from: socket }],
      terminal: false,
      resize() {},
      opened: Promise.race([connected, promise.then(() => {})]),
      ended: promise,
      kill: () => Promise.resolve(void socket.destroy()),
    }
  }
}

/** What a stream is opened to, so that two can be compared. */
function whereTo(target: StreamTarget): string {
  return JSON.stringify([target.kind, 'assignment' in target ? target.assignment : null, whatOf(target)])
}

function whatOf(target: StreamTarget): string | number | null {
  if (target.kind === 'debug') return target.look.what
  if (target.kind === 'connect') return target.port
  return target.kind === 'machine' ? target.what : null
}

/** What is told when it is done, in its own time; with what to do about it where it cannot be. */
function answer(work: Promise<string>): Open {
  const output = new PassThrough()
  const ended = work.then(
    (text): StreamEnd => {
      output.end(text)
      return { code: 0, signal: null, sentence: 'was done' }
    },
    (error: unknown) => {
      output.end()
      throw new Error(sentencesOf(error), { cause: error })
    },
  )
  return {
    // Nothing is said to it.
    input: new PassThrough().resume(),
    outputs: [{ to: 'out', from: output }],
    terminal: false,
    resize() {},
    opened: Promise.resolve(),
    ended,
    // A machine that has begun to keep its state is not left half way.
    kill: () => Promise.resolve(),
  }
}

/** A way that is one stream in both directions. */
function both(stream: Duplex): Open {
  const { promise, resolve } = Promise.withResolvers<StreamEnd>()
  const end = (): void => resolve({ code: null, signal: null, sentence: 'was closed' })
  stream.on('error', end)
  stream.on('end', end)
  stream.on('close', end)
  return {
    input: stream,
    outputs: [{ to: 'out', from: stream }],
    terminal: false,
    resize() {},
    opened: Promise.resolve(),
    ended: promise,
    kill: () => Promise.resolve(void stream.destroy()),
  }
}
