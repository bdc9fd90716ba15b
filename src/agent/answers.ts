/**
 * What the agent answers when control asks. Every ask ends with one piece that is `done`; a cancelled one ends early.
 * Invariant: at most `asksMax` are open; one more is refused.
 */
import { isSteadError, messageOf } from '../base/index.ts'
import type { Ask, DataTask, Incident, LogLine, StreamTarget, Upward } from '../protocol/index.ts'
import type { OutputOptions } from '../sandbox/index.ts'
import type { AttemptLine } from './attempts.ts'
import type { Breaking } from './breaking.ts'
import type { Streams } from './streams.ts'

const asksMax = 1000

function isStream(ask: Ask): ask is StreamTarget {
  return ['exec', 'connect', 'debug', 'capture', 'core', 'trace', 'machine'].includes(ask.kind)
}

/** Where kept output comes from. */
interface Outputs {
  output(options: OutputOptions): AsyncIterable<AttemptLine>
}

/** What answers are made from. */
export interface AnswerSources {
  /** The kept output of an assignment; null when it is not on this node. */
  readonly attempts: (assignment: string) => Outputs | null
  readonly deleteData: (app: string) => Promise<void>
  /** Does something with the data of an app. */
  readonly data: (app: string, task: DataTask, signal: AbortSignal) => Promise<unknown>
  readonly breaking: Pick<Breaking, 'take' | 'heal'>
  /** The incidents of an app, after what was asked has been done to the instance of one. */
  readonly incidents: (ask: Extract<Ask, { kind: 'incidents' }>) => Promise<readonly Incident[]>
}

export class Answers {
  readonly #sources: AnswerSources
  readonly #open = new Map<string, AbortController>()
  readonly #streams: Streams

  constructor(sources: AnswerSources, streams: Streams) {
    this.#sources = sources
    this.#streams = streams
  }

  /** Answers an ask over the channel it came by. */
  async answer(id: string, ask: Ask, send: (message: Upward) => void): Promise<void> {
    if (isStream(ask)) return this.#streams.open(id, ask, send)
    if (ask.kind === 'cancel') this.#open.get(ask.ask)?.abort()
    if ('ask' in ask) return this.#streams.hear(ask)
    const piece = (lines: readonly LogLine[], done: boolean, error: string | null = null, hint?: string): void =>
      send({ type: 'answer', ask: id, lines, done, error, ...(hint === undefined ? {} : { hint }) })
    if (this.#open.size >= asksMax) return piece([], true, 'this node is asked too much at once')
    const abort = new AbortController()
    this.#open.set(id, abort)
    try {
      if (ask.kind === 'delete-data') await this.#sources.deleteData(ask.app)
      else if (ask.kind === 'break') await this.#sources.breaking.take(ask.lease)
      else if (ask.kind === 'heal') await this.#sources.breaking.heal(ask.fault)
      else if (ask.kind === 'data') {
        const answer = await this.#sources.data(ask.app, ask.task, abort.signal)
        piece([{ assignment: ask.app, timeMs: 0, text: JSON.stringify(answer) }], false)
      } else if (ask.kind === 'incidents') {
        for (const one of await this.#sources.incidents(ask))
          piece([{ assignment: one.instance, timeMs: one.timeMs, text: JSON.stringify(one) }], false)
      } else for await (const line of this.#output(ask, abort.signal)) piece([line], false)
      piece([], true)
    } catch (error) {
      piece([], true, messageOf(error), isSteadError(error) ? error.hint : undefined)
    } finally {
      this.#open.delete(id)
    }
  }

  async *#output(ask: Extract<Ask, { kind: 'logs' }>, signal: AbortSignal): AsyncIterable<LogLine> {
    const attempts = this.#sources.attempts(ask.assignment)
    if (attempts === null) throw new Error(`${ask.assignment} is not on this node`)
    const options = { follow: ask.follow, signal, ...(ask.tail === null ? {} : { tail: ask.tail }) }
    for await (const line of attempts.output(options)) yield { assignment: ask.assignment, ...line }
  }

  /** Control is gone: whoever asked is not there any more, but for people whose streams have a name. */
  lost(): void {
    for (const abort of this.#open.values()) abort.abort()
    this.#streams.lost()
  }

  /** Ends all that is open: this agent goes. */
  abort(): void {
    for (const abort of this.#open.values()) abort.abort()
    this.#streams.abort()
  }
}
