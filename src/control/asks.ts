/**
 * Questions from control to nodes that are answered in pieces. An ask ends when the node says so, when the asker gives up,
 * or when the node goes away. Invariant: no more than `linesMax` lines wait for a slow asker.
 */
import { type Random, randomId, SteadError } from '../base/index.ts'
import type { Ask, LogLine, Upward } from '../protocol/index.ts'

const linesMax = 10_000

interface OpenAsk {
  readonly node: string
  readonly lines: LogLine[]
  done: boolean
  error: { readonly code: string; readonly message: string; readonly hint?: string } | null
  wake: () => void
}

export class Asks {
  readonly #random: Random
  readonly #open = new Map<string, OpenAsk>()

  constructor(random: Random) {
    this.#random = random
  }

  /** Asks a node and yields what it answers. Throws `control.ask-failed` with the node's words, `control.node-away`. */
  async *ask(
    node: string,
    send: (id: string, ask: Ask) => void,
    what: Exclude<Ask, { kind: 'cancel' }>,
    signal: AbortSignal,
  ): AsyncIterable<LogLine> {
    const id = randomId(this.#random)
    const ask: OpenAsk = { node, lines: [], done: signal.aborted, error: null, wake: () => {} }
    this.#open.set(id, ask)
    const onAbort = (): void => {
      ask.done = true
      ask.wake()
    }
    signal.addEventListener('abort', onAbort)
    try {
      send(id, what)
      for (;;) {
        yield* ask.lines.splice(0)
        if (ask.error !== null) throw new SteadError({ ...ask.error, retry: 'later' })
        if (ask.done) return
        await new Promise<void>((resolve) => (ask.wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#open.delete(id)
      send(id, { kind: 'cancel', ask: id })
    }
  }

  /** Takes a piece of an answer from a node. */
  receive(node: string, answer: Extract<Upward, { type: 'answer' }>): void {
    const ask = this.#open.get(answer.ask)
    if (ask === undefined || ask.node !== node) return
    if (ask.lines.length + answer.lines.length > linesMax)
      this.#fail(ask, { code: 'control.ask-failed', message: 'the output came faster than it was read' })
    else ask.lines.push(...answer.lines)
    ask.done ||= answer.done
    const { error, hint } = answer
    const hinted = hint === undefined ? {} : { hint }
    ask.error ??= error === null ? null : { code: 'control.ask-failed', message: error, ...hinted }
    ask.wake()
  }

  /** Ends what was asked of a node that went away: `control.node-away`. */
  nodeGone(node: string): void {
    const error = { code: 'control.node-away', message: `node ${node} is not connected` }
    for (const ask of this.#open.values()) if (ask.node === node) this.#fail(ask, error)
  }

  #fail(ask: OpenAsk, error: NonNullable<OpenAsk['error']>): void {
    ask.done = true
    ask.error ??= error
    ask.wake()
  }
}
