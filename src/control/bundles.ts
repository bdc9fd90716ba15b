/**
 * Sends bundles to one node, in pieces and only as many as the node has asked for, so that neither side ever holds a large
 * bundle in memory. Invariant: a transfer ends with a piece that says so, or with the channel.
 */
import { messageOf } from '../base/index.ts'
import type { Downward, Upward } from '../protocol/index.ts'
import type { Channel } from '../transport/index.ts'

/** Bundles that one node may be fetching at once. */
const transfersMax = 64

interface Transfer {
  readonly pieces: AsyncIterator<Uint8Array>
  /** The last request for pieces. */
  turn: Promise<void>
}

export class BundleSender {
  readonly #channel: Channel<Downward>
  readonly #read: (digest: string) => AsyncIterable<Uint8Array>
  readonly #open = new Map<string, Transfer>()

  constructor(channel: Channel<Downward>, read: (digest: string) => AsyncIterable<Uint8Array>) {
    this.#channel = channel
    this.#read = read
    void channel.closed.then(() => {
      for (const digest of this.#open.keys()) this.#forget(digest)
    })
  }

  /** Sends the next pieces. A request from the beginning starts anew; one that goes on with what is over means nothing. */
  send({ digest, from, pieces }: Omit<Extract<Upward, { type: 'fetch-bundle' }>, 'type'>): void {
    if (from === 0) {
      this.#forget(digest)
      if (this.#open.size >= transfersMax) return this.#end(digest, `${transfersMax} are being sent already`)
      this.#open.set(digest, { pieces: this.#read(digest)[Symbol.asyncIterator](), turn: Promise.resolve() })
    }
    const transfer = this.#open.get(digest)
    if (transfer !== undefined) transfer.turn = transfer.turn.then(() => this.#some(digest, transfer, pieces))
  }

  async #some(digest: string, transfer: Transfer, count: number): Promise<void> {
    try {
      for (let sent = 0; sent < count; sent += 1) {
        const next = await transfer.pieces.next()
        if (this.#open.get(digest) !== transfer) return
        if (next.done === true) return this.#end(digest, null)
        const data = Buffer.from(next.value).toString('base64')
        this.#channel.send({ type: 'bundle', digest, data, done: false, error: null })
        await this.#channel.drained()
      }
    } catch (error) {
      if (this.#open.get(digest) === transfer) this.#end(digest, messageOf(error))
    }
  }

  #end(digest: string, error: string | null): void {
    this.#forget(digest)
    this.#channel.send({ type: 'bundle', digest, data: '', done: true, error })
  }

  #forget(digest: string): void {
    const transfer = this.#open.get(digest)
    this.#open.delete(digest)
    // Closes what it reads from; a failure of that changes nothing for anyone.
    transfer?.pieces.return?.().catch(() => {})
  }
}
