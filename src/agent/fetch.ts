/**
 * Brings bundles that this node lacks, over the channel to control. One request at a time for a bundle, however many wait
 * for it; a broken channel fails the requests, and whoever needed the bundle asks again.
 */
import { SteadError } from '../base/index.ts'
import type { Bundle } from '../artifact/index.ts'
import type { Downward } from '../protocol/index.ts'

type BundlePiece = Extract<Downward, { type: 'bundle' }>

/** Pieces that may wait to be written to disk. */
const piecesMax = 4096

interface Transfer {
  readonly pieces: BundlePiece[]
  /** Called when a piece has come. */
  wake: () => void
}

export class BundleFetcher {
  readonly #import: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>
  readonly #ask: (digest: string) => boolean
  readonly #open = new Map<string, { transfer: Transfer; result: Promise<Bundle> }>()

  /** `ask` sends the request, and answers false when control is not connected. */
  constructor(importBundle: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>, ask: (digest: string) => boolean) {
    this.#import = importBundle
    this.#ask = ask
  }

  /** The bundle, once it is here. Throws `agent.no-bundle` when control does not have it or went away. */
  fetch(digest: string): Promise<Bundle> {
    const known = this.#open.get(digest)
    if (known !== undefined) return known.result
    if (!this.#ask(digest)) return Promise.reject(notToBeHad(digest, 'control is not connected'))
    const transfer: Transfer = { pieces: [], wake: () => {} }
    const result = this.#take(digest, transfer)
    this.#open.set(digest, { transfer, result })
    return result
  }

  async #take(digest: string, transfer: Transfer): Promise<Bundle> {
    try {
      const bundle = await this.#import(bytesOf(transfer))
      if (bundle.digest !== digest) throw notToBeHad(digest, 'control sent another one')
      return bundle
    } finally {
      this.#open.delete(digest)
    }
  }

  receive(piece: BundlePiece): void {
    const transfer = this.#open.get(piece.digest)?.transfer
    if (transfer === undefined) return
    const overflow = transfer.pieces.length >= piecesMax
    transfer.pieces.push(overflow ? { ...piece, done: true, error: 'it came faster than the disk takes it' } : piece)
    transfer.wake()
  }

  disconnected(): void {
    for (const [digest, { transfer }] of this.#open) {
      transfer.pieces.push({ type: 'bundle', digest, data: '', done: true, error: 'control went away' })
      transfer.wake()
    }
  }
}

async function* bytesOf(transfer: Transfer): AsyncIterable<Uint8Array> {
  for (;;) {
    const piece = transfer.pieces.shift()
    if (piece === undefined) {
      await new Promise<void>((resolve) => (transfer.wake = resolve))
      continue
    }
    if (piece.error !== null) {
      throw notToBeHad(piece.digest, piece.error)
    }
    if (piece.done) return
    yield Buffer.from(piece.data, 'base64')
  }
}

function notToBeHad(digest: string, why: string): SteadError {
  const message = `the bundle ${digest.slice(0, 12)} cannot be had: ${why}`
  return new SteadError({ code: 'agent.no-bundle', message, retry: 'later' })
}
