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
  readonly #ask: (digest: string) => void
  readonly #open = new Map<string, { transfer: Transfer; result: Promise<Bundle> }>()

  constructor(importBundle: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>, ask: (digest: string) => void) {
    this.#import = importBundle
    this.#ask = ask
  }

  /** The bundle, once it is here. Throws `agent.no-bundle` when control does not have it or went away. */
  fetch(digest: string): Promise<Bundle> {
    const known = this.#open.get(digest)
    if (known !== undefined) return known.result
    const transfer: Transfer = { pieces: [], wake: () => {} }
    const result = this.#import(bytesOf(transfer)).finally(() => this.#open.delete(digest))
    this.#open.set(digest, { transfer, result })
    this.#ask(digest)
    return result
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
      throw new SteadError({
        code: 'agent.no-bundle',
        message: `the bundle ${piece.digest.slice(0, 12)} cannot be had: ${piece.error}`,
        retry: 'later',
      })
    }
    if (piece.done) return
    yield Buffer.from(piece.data, 'base64')
  }
}
