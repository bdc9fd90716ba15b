/**
 * Brings bundles that this node lacks, over the channel to control. One request at a time for a bundle, however many wait
 * for it; a broken channel fails the requests, and whoever needed the bundle asks again. Invariant: no more
 * pieces are held than were asked for.
 */
import { SteadError } from '../base/index.ts'
import type { Bundle } from '../artifact/index.ts'
import type { Downward } from '../protocol/index.ts'
import type { AgentOptions } from './options.ts'

type BundlePiece = Extract<Downward, { type: 'bundle' }>

/** Pieces of one bundle that may be under way or wait to be written to disk; when half of them are, more are asked for. */
const windowPieces = 64

/** Sends a request; false when control is not connected. */
type AskForBundle = (request: { readonly digest: string; readonly from: number; readonly pieces: number }) => boolean

interface Transfer {
  readonly pieces: BundlePiece[]
  /** Pieces asked for so far. */
  asked: number
  /** Called when a piece has come. */
  wake: () => void
}

export class BundleFetcher {
  readonly #import: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>
  readonly #ask: AskForBundle
  readonly #open = new Map<string, { transfer: Transfer; result: Promise<Bundle> }>()

  constructor(importBundle: (bytes: AsyncIterable<Uint8Array>) => Promise<Bundle>, ask: AskForBundle) {
    this.#import = importBundle
    this.#ask = ask
  }

  /** The bundle, once it is here. Throws `agent.no-bundle` when control does not have it or went away. */
  fetch(digest: string): Promise<Bundle> {
    const known = this.#open.get(digest)
    if (known !== undefined) return known.result
    const connected = this.#ask({ digest, from: 0, pieces: windowPieces })
    if (!connected) return Promise.reject(notToBeHad(digest, 'control is not connected'))
    const transfer: Transfer = { pieces: [], asked: windowPieces, wake: () => {} }
    const result = this.#take(digest, transfer)
    this.#open.set(digest, { transfer, result })
    return result
  }

  async #take(digest: string, transfer: Transfer): Promise<Bundle> {
    try {
      const bundle = await this.#import(this.#bytesOf(digest, transfer))
      if (bundle.digest !== digest) throw notToBeHad(digest, 'control sent another one')
      return bundle
    } finally {
      this.#open.delete(digest)
    }
  }

  receive(piece: BundlePiece): void {
    const transfer = this.#open.get(piece.digest)?.transfer
    if (transfer === undefined) return
    const unasked = transfer.pieces.length > windowPieces
    transfer.pieces.push(unasked ? { ...piece, done: true, error: 'control sends more than it was asked for' } : piece)
    transfer.wake()
  }

  disconnected(): void {
    for (const [digest, { transfer }] of this.#open) {
      transfer.pieces.push({ type: 'bundle', digest, data: '', done: true, error: 'control went away' })
      transfer.wake()
    }
  }

  async *#bytesOf(digest: string, transfer: Transfer): AsyncIterable<Uint8Array> {
    for (let taken = 0; ;) {
      const piece = transfer.pieces.shift()
      if (piece === undefined) {
        await new Promise<void>((resolve) => (transfer.wake = resolve))
        continue
      }
      if (piece.error !== null) throw notToBeHad(digest, piece.error)
      if (piece.done) return
      yield Buffer.from(piece.data, 'base64')
      taken += 1
      const pieces = windowPieces / 2
      if (taken % pieces !== 0) continue
      this.#ask({ digest, from: transfer.asked, pieces })
      transfer.asked += pieces
    }
  }
}

function notToBeHad(digest: string, why: string): SteadError {
  const message = `the bundle ${digest.slice(0, 12)} cannot be had: ${why}`
  return new SteadError({ code: 'agent.no-bundle', message, retry: 'later' })
}

/** The bundle of a part. Throws `agent.no-bundle` where this node lacks it. */
export async function bundleOf(
  { openBundle }: Pick<AgentOptions, 'openBundle'>,
  part: string,
  digest: string,
): Promise<Bundle> {
  const bundle = await openBundle(digest)
  if (bundle !== null) return bundle
  const message = `this node lacks the bundle of ${part}`
  throw new SteadError({ code: 'agent.no-bundle', message, retry: 'later' })
}
