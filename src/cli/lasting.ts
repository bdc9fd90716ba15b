/**
 * A stream to a part that outlives the loss of its line: control that is started anew, an SSH connection that breaks. The node
 * keeps what it leads to for a while; here what was sent and may not have arrived is kept, and the way there is looked for.
 *
 * Invariants: what the reader gets and what the node gets is whole, in order and once, or the stream ends with the reason;
 * what is kept is bounded. A platform that knows no such streams gives one that ends with its line.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isSteadError, randomPassword, SteadError, systemRandom } from '../base/index.ts'
import type { PartStreamOrder } from '../operator/index.ts'
import {
  type RemoteStream,
  type Resume,
  type StreamEnd,
  streamLeaseMs,
  type StreamPiece,
  type TerminalSize,
} from '../protocol/index.ts'
import { needTarget, type Target } from './target.ts'
import { note } from './terminal.ts'

/** Input that is kept because it may not have arrived: more than can be under way. */
const keptBytesMax = 4 * 1024 * 1024
/** Output after which the node is told that it was taken; and how long it hears nothing at most. */
const tell = { bytes: 128 * 1024, everyMs: streamLeaseMs / 3 }
const retryMs = 300

/** What a stream leads to, and the word that names the app, to find it again; null: the one here. */
export interface Where {
  readonly target: Target
  readonly word: string | null
  readonly part: string
}

/** Opens it. Throws what the platform refuses with. */
export async function openLasting(
  where: Where,
  order:
    | Exclude<PartStreamOrder, { kind: 'machine' | 'capture' | 'core' }>
    | { readonly kind: 'machine'; readonly what: 'debugger' },
): Promise<RemoteStream> {
  const key = randomPassword(systemRandom)
  const open = (target: Target, seen: Resume['seen']): Promise<RemoteStream> =>
    target.operator.open(target.app, where.part, { ...order, resume: { key, seen } })
  return new LastingStream(where, open, await open(where.target, null))
}

type OpenAt = (target: Target, seen: number) => Promise<RemoteStream>

class LastingStream implements RemoteStream {
  readonly pieces: AsyncIterable<StreamPiece>
  readonly ended: Promise<StreamEnd>
  readonly #end = Promise.withResolvers<StreamEnd>()
  readonly #where: Where
  readonly #open: OpenAt
  readonly #telling: NodeJS.Timeout
  #line: RemoteStream
  /** Whether the node waits for us when the line is gone. */
  #isNamed = false
  #closed = false
  /** Resolves when the line leads somewhere. */
  #there = Promise.withResolvers<void>()
  /** Output: bytes that were taken, and of those the node knows of. */
  #seen = 0
  #told = 0
  /** Input, by its place from the first byte: what there is in all, and what was sent on this line. */
  #given = 0
  #sent = 0
  #isLast = false
  #saidLast = false
  readonly #kept: { readonly at: number; readonly bytes: Uint8Array }[] = []
  #sending: Promise<void> = Promise.resolve()
  #size: TerminalSize | null = null

  constructor(where: Where, open: OpenAt, line: RemoteStream) {
    this.#where = where
    this.#open = open
    this.#line = line
    this.ended = this.#end.promise
    this.ended.catch(() => {})
    this.pieces = this.#read()
    this.#telling = setInterval(() => this.#tell(), tell.everyMs)
    this.#telling.unref()
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#kept.push({ at: this.#given, bytes })
    this.#given += bytes.length
    await this.#send()
  }

  end(): void {
    this.#isLast = true
    void this.#send()
  }

  resize(size: TerminalSize): void {
    this.#size = size
    this.#line.resize(size)
  }

  seen(): void {
    this.#tell()
  }

  close(): void {
    this.#closed = true
    this.#line.close()
    this.#finish()
  }

  #finish(): void {
    clearInterval(this.#telling)
    this.#closed = true
    this.#there.resolve()
  }

  #tell(): void {
    if (!this.#isNamed) return
    this.#told = this.#seen
    this.#line.seen(this.#seen)
  }

  async *#read(): AsyncIterable<StreamPiece> {
    let lostMs: number | null = null
    let isFirst = true
    try {
      for (;;) {
        try {
          for await (const { to, bytes, took } of this.#line.pieces) {
            if (lostMs !== null) note(`${this.#where.part} is there again`)
            lostMs = null
            if (took !== undefined && !this.#goOn(took)) throw inputLost()
            // Input waits until it is known where it goes on.
            if (took !== undefined || !this.#isNamed) this.#there.resolve()
            if (bytes.length > 0 || isFirst) yield { to, bytes }
            isFirst = false
            this.#seen += bytes.length
            if (this.#seen - this.#told >= tell.bytes) this.#tell()
          }
          return this.#end.resolve(await this.#line.ended)
        } catch (error) {
          if (this.#closed || !this.#isNamed || !isLoss(error)) return this.#end.reject(error)
          if (lostMs === null) note('the line to the platform is lost; looking for it')
          lostMs ??= performance.now()
          if (!(await this.#reconnect(lostMs + streamLeaseMs))) return this.#end.reject(error)
        }
      }
    } finally {
      this.#finish()
    }
  }

  /** A line that leads there, or may; false when none was found in time. */
  async #reconnect(untilMs: number): Promise<boolean> {
    this.#there.resolve()
    this.#there = Promise.withResolvers<void>()
    while (!this.#closed && performance.now() < untilMs) {
      await pause(retryMs)
      try {
        this.#line = await this.#open(await needTarget(this.#where.word), this.#seen)
        return true
      } catch (error) {
        // What is not there yet may come.
        if (!isSteadError(error)) throw error
      }
    }
    return false
  }

  /** The node has taken so much of the input: the rest is sent once more. False: it is not kept any more. */
  #goOn(took: number): boolean {
    if (took < (this.#kept[0]?.at ?? this.#given)) return false
    if (this.#isNamed && this.#size !== null) this.#line.resize(this.#size)
    this.#isNamed = true
    this.#sent = took
    this.#saidLast = false
    void this.#send()
    return true
  }

  /** Sends what was given, one piece after another; resolves when there is room for more. */
  #send(): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      await this.#there.promise
      while (this.#sent < this.#given && !this.#closed) {
        await this.#there.promise
        const piece = this.#kept.find(({ at, bytes }) => at + bytes.length > this.#sent)
        if (piece === undefined) return
        const line = this.#line
        const bytes = piece.bytes.subarray(this.#sent - piece.at)
        await line.write(bytes)
        if (line === this.#line) this.#sent += bytes.length
        this.#forget()
      }
      if (!this.#isLast || this.#saidLast || this.#closed) return
      this.#saidLast = true
      this.#line.end()
    })
    return this.#sending
  }

  #forget(): void {
    for (let first = this.#kept[0]; first !== undefined; first = this.#kept[0]) {
      const isSent = first.at + first.bytes.length <= this.#sent
      if (!isSent || this.#sent - first.at <= keptBytesMax) return
      this.#kept.shift()
    }
  }
}

function inputLost(): SteadError {
  return new SteadError({
    code: 'cli.input-lost',
    message: 'the line broke, and more had been sent on it than could be kept',
    hint: 'Begin anew: some of it may not have arrived.',
  })
}

/** Whether it is only the line that is gone, or the way there not open yet. */
function isLoss(error: unknown): boolean {
  return isSteadError(error) && error.retry === 'later' && error.code !== 'control.stream-failed'
}
