/**
 * The node's end of the streams that people have open: a program run inside an instance, or a connection to a port of it.
 *
 * Invariants: nothing that was started for a stream outlives it, whichever side goes away; neither direction has more under
 * way than the protocol's window.
 */
import { Duplex, Readable, type Writable } from 'node:stream'
import type { Socket } from 'node:net'
import { messageOf } from '../base/index.ts'
import {
  type Ask,
  type DebugLook,
  type StreamEnd,
  streamPieceBytesMax,
  type StreamTarget,
  streamWindowBytes,
  type TerminalSize,
  type Upward,
} from '../protocol/index.ts'
import type { Sandbox } from '../sandbox/index.ts'

/** Most streams that are open at once. */
const streamsMax = 200
const pieceBytes = 64 * 1024
/** End of input, as a terminal knows it. */
const endOfInput = '\u0004'

/** What streams are opened to. */
export interface StreamSources {
  /** The sandbox of an assignment that runs; null when it is not on this node, or does not run. */
  readonly sandbox: (assignment: string) => Sandbox | null
  /** Opens a connection; null when it is not on this node, or not ready. */
  readonly connect: (assignment: string, port: number | null) => Socket | null
  /** Looks into what runs for an assignment; null when nothing does on this node. */
  readonly look: (assignment: string, look: DebugLook) => Open | null
  readonly onNotice: (text: string) => void
}

/** Both ends of what a stream leads to. */
export interface Open {
  readonly input: Writable
  readonly outputs: readonly { readonly to: 'out' | 'err'; readonly from: Readable }[]
  /** Of a terminal, input has no end of its own. */
  readonly terminal: boolean
  resize(size: TerminalSize): void
  /** Resolves when it leads somewhere. */
  readonly opened: Promise<void>
  readonly ended: Promise<StreamEnd>
  kill(): Promise<void>
}

type Send = (message: Upward) => void

export class Streams {
  readonly #sources: StreamSources
  readonly #open = new Map<string, Carried>()

  constructor(sources: StreamSources) {
    this.#sources = sources
  }

  /** Opens a stream under an id and carries it to its end. */
  async open(id: string, target: StreamTarget, send: Send): Promise<void> {
    const refuse = (error: string): void => send({ type: 'ended', ask: id, end: null, error })
    if (this.#open.size >= streamsMax) return refuse('this node has too many streams open')
    const carried = new Carried(id, send)
    this.#open.set(id, carried)
    try {
      await carried.carry(await this.#lead(target))
    } catch (error) {
      refuse(messageOf(error))
    } finally {
      this.#open.delete(id)
    }
  }

  /** Takes what the other side says of a stream that is open. */
  hear(ask: Extract<Ask, { kind: 'input' | 'resize' | 'taken' | 'cancel' }>): void {
    this.#open.get(ask.ask)?.hear(ask)
  }

  /** Ends all: control is gone, or this agent goes. */
  abort(): void {
    for (const carried of this.#open.values()) carried.close()
  }

  #lead(target: StreamTarget): Promise<Open> | Open {
    switch (target.kind) {
      case 'exec':
        return this.#exec(target)
      case 'connect':
        return this.#connect(target)
      case 'debug':
        return this.#look(target)
      case 'machine':
        return this.#machine(target)
    }
  }

  #look({ assignment, look }: Extract<StreamTarget, { kind: 'debug' }>): Open {
    const open = this.#sources.look(assignment, look)
    if (open === null) throw new Error(`${assignment} does not run on this node`)
    return open
  }

  async #machine({ assignment, what }: Extract<StreamTarget, { kind: 'machine' }>): Promise<Open> {
    const sandbox = this.#sources.sandbox(assignment)
    if (sandbox === null) throw new Error(`${assignment} does not run on this node`)
    const machine = sandbox.machine()
    if (what === 'console') return both(await machine.console())
    if (what === 'debugger') return both(await machine.debugger())
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
    if (socket === null) throw new Error(`${assignment} is not ready on this node`)
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

/** One stream. */
class Carried {
  readonly #id: string
  readonly #send: Send
  /** What came before it was open. */
  readonly #early: Extract<Ask, { kind: 'input' | 'resize' | 'taken' }>[] = []
  #open: Open | null = null
  #room = streamWindowBytes
  #heldBytes = 0
  #closed = false
  /** Outputs that wait for room; both may. */
  readonly #waiting = new Set<() => void>()

  constructor(id: string, send: Send) {
    this.#id = id
    this.#send = send
  }

  /** Carries both directions until it has ended. Throws what it fails with. */
  async carry(open: Open): Promise<void> {
    open.ended.catch(() => {})
    this.#open = open
    if (this.#closed) return open.kill()
    await open.opened
    // Nothing yet, which says that it is open.
    this.#send({ type: 'output', ask: this.#id, to: 'out', data: '' })
    for (const ask of this.#early.splice(0)) this.hear(ask)
    const outputs = Promise.all(open.outputs.map(({ to, from }) => this.#pump(to, from)))
    outputs.catch(() => {})
    const end = await open.ended
    await outputs
    if (!this.#closed) this.#send({ type: 'ended', ask: this.#id, end, error: null })
  }

  hear(ask: Extract<Ask, { kind: 'input' | 'resize' | 'taken' | 'cancel' }>): void {
    if (ask.kind === 'cancel') return this.close()
    if (this.#open === null) return void this.#early.push(ask)
    switch (ask.kind) {
      case 'taken':
        this.#room += ask.bytes
        return this.#wake()
      case 'resize':
        return this.#open.resize(ask.size)
      case 'input':
        return this.#input(this.#open, Buffer.from(ask.data, 'base64'), ask.end)
    }
  }

  close(): void {
    this.#closed = true
    this.#wake()
    void this.#open?.kill()
  }

  #wake(): void {
    for (const go of this.#waiting) go()
    this.#waiting.clear()
  }

  #input({ input, terminal }: Open, bytes: Buffer, end: boolean): void {
    this.#heldBytes += bytes.length
    // Whoever sends more than was granted is not to be held in memory.
    if (this.#heldBytes > streamWindowBytes) return this.close()
    if (bytes.length > 0) {
      input.write(bytes, () => {
        this.#heldBytes -= bytes.length
        if (!this.#closed) this.#send({ type: 'taken', ask: this.#id, bytes: bytes.length })
      })
    }
    if (end && terminal) input.write(endOfInput)
    else if (end) input.end()
  }

  async #pump(to: 'out' | 'err', from: Readable): Promise<void> {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length && !this.#closed;) {
        if (this.#room <= 0) {
          await new Promise<void>((resolve) => this.#waiting.add(resolve))
          continue
        }
        const piece = chunk.subarray(at, at + Math.min(streamPieceBytesMax, this.#room))
        this.#room -= piece.length
        at += piece.length
        this.#send({ type: 'output', ask: this.#id, to, data: piece.toString('base64') })
      }
      if (this.#closed) return
    }
  }
}
