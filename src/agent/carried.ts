/**
 * One stream of a person, carried over the line that he has at the moment: what it gives is kept until it was sent, and of a
 * stream with a name until he has said that he has seen it, so that another line goes on where the last one broke off.
 *
 * Invariants: what is kept is bounded, and whoever does not read holds up what gives; on one line there is never more under
 * way than the protocol's window; nothing is given or taken twice. What was started ends with the stream: at its own end,
 * when it is closed, without a name with its line, and with one when nothing was heard of its person for `streamLeaseMs`.
 */
import type { Readable, Writable } from 'node:stream'
import { type Clock, sentencesOf } from '../base/index.ts'
import {
  type Ask,
  type StreamEnd,
  streamLeaseMs,
  streamPieceBytesMax,
  streamWindowBytes,
  type TerminalSize,
  type Upward,
} from '../protocol/index.ts'

/** Bytes of output that are kept for a person who has not seen them, beyond what is under way to him. */
const unseenBytesMax = 4 * streamWindowBytes
/** End of input, as a terminal knows it. */
const endOfInput = '\u0004'

/** Both ends of what a stream leads to. */
export interface Open {
  readonly input: Writable
  readonly outputs: readonly { readonly to: 'out' | 'err'; readonly from: Readable }[]
  /** Of a terminal, input has no end of its own. */
  readonly terminal: boolean
  resize(size: TerminalSize): void
  /** Takes back input that was not used yet, because it is no whole message; answers how many bytes. They will come once more. */
  takeBack?(): number
  /** Resolves when it leads somewhere. */
  readonly opened: Promise<void>
  readonly ended: Promise<StreamEnd>
  kill(): Promise<void>
}

export type Send = (message: Upward) => void
export type Said = Extract<Ask, { kind: 'input' | 'resize' | 'taken' | 'seen' | 'cancel' }>

/** A way to the person, over control. */
interface Line {
  readonly id: string
  readonly send: Send
  /** Bytes that may be sent on it. */
  room: number
  /** Place in the output up to which it was sent on this line. */
  sent: number
}

interface Piece {
  readonly to: 'out' | 'err'
  readonly bytes: Buffer
  /** Place of its first byte. */
  readonly at: number
}

type Outcome = { readonly end: StreamEnd | null; readonly error: string | null }

export class Carried {
  readonly #clock: Clock
  readonly #named: boolean
  /** Settles when it is over, and whoever has a line has been told how. */
  readonly over: Promise<void>
  readonly #over = Promise.withResolvers<void>()
  #line: Line | null
  #open: Open | null = null
  /** What came before it was open. */
  readonly #early: Said[] = []
  readonly #kept: Piece[] = []
  /** Place after the last byte that was given. */
  #given = 0
  #tookBytes = 0
  #waitingBytes = 0
  #inputEnded = false
  /** Whoever has come back is told where he goes on once the input is used up that was there. */
  #greetsLater = false
  #outcome: Outcome | null = null
  #closed = false
  #lease: Disposable | null = null
  /** Outputs that wait for room; both may. */
  readonly #waiting = new Set<() => void>()

  constructor(id: string, send: Send, named: boolean, clock: Clock) {
    this.#line = { id, send, room: streamWindowBytes, sent: 0 }
    this.#named = named
    this.#clock = clock
    this.over = this.#over.promise
  }

  /** Carries both directions until it has ended. Throws what it fails with before it leads somewhere. */
  async carry(open: Open): Promise<void> {
    open.ended.catch(() => {})
    this.#open = open
    if (this.#closed) return open.kill()
    await open.opened
    this.#renew()
    this.#greet()
    for (const said of this.#early.splice(0)) this.hear(said)
    const outputs = Promise.all(open.outputs.map(({ to, from }) => this.#pump(to, from)))
    outputs.catch(() => {})
    try {
      const end = await open.ended
      await outputs
      this.#outcome = { end, error: null }
    } catch (error) {
      this.#outcome = { end: null, error: sentencesOf(error) }
    }
    this.#flush()
    await this.over
  }

  /** Goes on over another line, from the place up to which the person has seen it. False: that is not kept any more. */
  resume(id: string, send: Send, seen: number): boolean {
    const first = this.#kept[0]?.at ?? this.#given
    if (this.#closed || seen < first || seen > this.#given) return false
    this.#line = { id, send, room: streamWindowBytes, sent: seen }
    this.#forget(seen)
    this.#renew()
    if (this.#open !== null) this.#greet()
    this.#flush()
    return true
  }

  /** Whether it is carried over this line. */
  isOn(id: string): boolean {
    return this.#line?.id === id
  }

  hear(said: Said): void {
    if (said.kind === 'cancel') return said.lost === true ? this.lost() : this.close()
    if (this.#open === null) return void this.#early.push(said)
    switch (said.kind) {
      case 'taken':
        if (this.#line !== null) this.#line.room += said.bytes
        return this.#flush()
      case 'seen':
        this.#forget(said.bytes)
        this.#renew()
        return this.#flush()
      case 'resize':
        return this.#open.resize(said.size)
      case 'input':
        return this.#input(this.#open, Buffer.from(said.data, 'base64'), said.end)
    }
  }

  /** The line is gone; without a name, so is the stream. */
  lost(): void {
    if (!this.#named || this.#open === null) return this.close()
    this.#line = null
    this.#renew()
  }

  close(): void {
    this.#finish()
    void this.#open?.kill()
  }

  #finish(): void {
    this.#closed = true
    this.#line = null
    this.#lease?.[Symbol.dispose]()
    this.#wake()
    this.#over.resolve()
  }

  /** Something was heard of the person. */
  #renew(): void {
    if (!this.#named || this.#closed) return
    this.#lease?.[Symbol.dispose]()
    this.#lease = this.#clock.after(streamLeaseMs, () => this.close())
  }

  /** Nothing yet, which says that it is open, and where a person who has come back goes on. */
  #greet(): void {
    this.#greetsLater = this.#waitingBytes > 0
    if (this.#line === null || this.#greetsLater) return
    this.#tookBytes -= this.#open?.takeBack?.() ?? 0
    const { id, send } = this.#line
    send({ type: 'output', ask: id, to: 'out', data: '', ...(this.#named ? { took: this.#tookBytes } : {}) })
  }

  #wake(): void {
    for (const go of this.#waiting) go()
    this.#waiting.clear()
  }

  #forget(seen: number): void {
    for (let first = this.#kept[0]; first !== undefined && first.at < seen; first = this.#kept[0]) {
      this.#kept.shift()
      const left = first.at + first.bytes.length - seen
      if (left > 0) this.#kept.unshift({ ...first, bytes: first.bytes.subarray(-left), at: seen })
    }
  }

  #input({ input, terminal }: Open, bytes: Buffer, end: boolean): void {
    this.#waitingBytes += bytes.length
    // Whoever sends more than was granted is not to be held in memory.
    if (this.#waitingBytes > streamWindowBytes) return this.close()
    if (bytes.length > 0) {
      const line = this.#line
      this.#tookBytes += bytes.length
      input.write(bytes, () => {
        this.#waitingBytes -= bytes.length
        if (line !== null && this.#line === line) line.send({ type: 'taken', ask: line.id, bytes: bytes.length })
        if (!this.#greetsLater || this.#waitingBytes > 0) return
        this.#greet()
        this.#flush()
      })
    }
    if (!end || this.#inputEnded) return
    this.#inputEnded = true
    if (terminal) input.write(endOfInput)
    else input.end()
  }

  async #pump(to: 'out' | 'err', from: Readable): Promise<void> {
    const unsentMax = this.#named ? unseenBytesMax : streamPieceBytesMax
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length && !this.#closed;) {
        if (this.#given - (this.#kept[0]?.at ?? this.#given) >= unsentMax) {
          await new Promise<void>((resolve) => this.#waiting.add(resolve))
          continue
        }
        const bytes = chunk.subarray(at, at + streamPieceBytesMax)
        at += bytes.length
        this.#kept.push({ to, bytes, at: this.#given })
        this.#given += bytes.length
        this.#flush()
      }
      if (this.#closed) return
    }
  }

  /** Sends what there is room for, and at last how it ended. */
  #flush(): void {
    const line = this.#line
    if (line !== null && !this.#greetsLater) {
      for (const { to, bytes, at } of this.#kept) {
        if (at + bytes.length <= line.sent) continue
        if (line.room <= 0) break
        const piece = bytes.subarray(line.sent - at, line.sent - at + line.room)
        line.room -= piece.length
        line.sent += piece.length
        line.send({ type: 'output', ask: line.id, to, data: piece.toString('base64') })
      }
      if (!this.#named) this.#forget(line.sent)
      if (this.#outcome !== null && line.sent === this.#given) {
        line.send({ type: 'ended', ask: line.id, ...this.#outcome })
        return this.#finish()
      }
    }
    this.#wake()
  }
}
