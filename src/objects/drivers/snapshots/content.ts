/** Content on its way into a store and out of it: what is small is held, so that its digest is known before it is sent. */
import { createHash } from 'node:crypto'
import { failure } from '../../errors.ts'
import { piecesOf } from '../../input.ts'
import type { Content } from '../../store.ts'

/** Bytes of content that are held in memory to know their digest first. */
const heldBytesMax = 8 * 1024 * 1024

/** All of it, or a stream that begins with what was held. */
export type Beginning =
  | { readonly kind: 'whole'; readonly content: Uint8Array }
  | { readonly kind: 'stream'; readonly content: AsyncIterable<Uint8Array> }

/** Takes content in up to what is held. What has its length from the start is never copied. */
export async function beginningOf(content: Content, signal: AbortSignal | undefined): Promise<Beginning> {
  if (typeof content === 'string') return { kind: 'whole', content: Buffer.from(content) }
  if (content instanceof Uint8Array) return { kind: 'whole', content }
  const source = piecesOf(content)
  const held: Uint8Array[] = []
  let bytes = 0
  while (bytes <= heldBytesMax) {
    const next = await source.next()
    signal?.throwIfAborted()
    if (next.done === true) return { kind: 'whole', content: Buffer.concat(held) }
    held.push(next.value)
    bytes += next.value.length
  }
  return { kind: 'stream', content: after(held, source) }
}

async function* after(held: Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let piece = held.shift(); piece !== undefined; piece = held.shift()) yield piece
  yield* rest
}

/** Bytes that end in an error where they are not those of the digest. */
export function verified(body: AsyncIterable<Uint8Array>, sha256: string, key: string): ReadableStream<Uint8Array> {
  const checked = async function* (): AsyncGenerator<Uint8Array> {
    const hash = createHash('sha256')
    for await (const piece of body) {
      hash.update(piece)
      yield piece
    }
    if (hash.digest('hex') === sha256) return
    const hint = 'Look at the store; restore a copy of it.'
    throw failure('corrupt', `the content of ${key} is not what was written`, hint)
  }
  return ReadableStream.from<Uint8Array>(checked())
}
