/**
 * Whether a program stands, as those say who debug it: its client, who lets it go on, and its adapter, which says when it has
 * stopped. Pure but for what has come so far. Invariant: nothing is changed; what cannot be read is taken for a program that runs.
 */
import { DapDecoder } from './codec.ts'

/** After these it runs until it is said to have stopped. */
const moving: ReadonlySet<unknown> = new Set(['continue', 'next', 'stepIn', 'stepOut', 'disconnect'])

export class Standing {
  readonly #onChange: (stands: boolean) => void
  readonly #client = new DapDecoder()
  readonly #adapter = new DapDecoder()
  #stands = false
  #readable = true

  /** `onChange` is told of each change. */
  constructor(onChange: (stands: boolean) => void) {
    this.#onChange = onChange
  }

  /** Takes what the client has sent; answers how many of the last bytes belong to a message that is not whole yet. */
  asked(bytes: Uint8Array): number {
    this.#read(this.#client, bytes, ({ command }) => (moving.has(command) ? false : null))
    return this.#readable ? this.#client.unfinishedBytes : 0
  }

  /** The client sends the message once more that is not whole yet. */
  askedAnew(): void {
    this.#client.forgetUnfinished()
  }

  /** Takes what the adapter has sent. */
  answered(bytes: Uint8Array): void {
    this.#read(this.#adapter, bytes, ({ event }) => {
      if (event === 'stopped') return true
      return event === 'continued' || event === 'terminated' || event === 'exited' ? false : null
    })
  }

  #read(
    decoder: DapDecoder,
    bytes: Uint8Array,
    means: (message: { command?: unknown; event?: unknown }) => boolean | null,
  ): void {
    if (!this.#readable) return
    try {
      for (const message of decoder.push(bytes)) this.#set(means(message))
    } catch {
      // The other end refuses it, and ends the session.
      this.#readable = false
      this.#set(false)
    }
  }

  #set(stands: boolean | null): void {
    if (stands === null || stands === this.#stands) return
    this.#stands = stands
    this.#onChange(stands)
  }
}
