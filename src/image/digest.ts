/** Digests, and streams that are checked against them while they pass. Invariant: whoever has read one to its end has read what the digest says. */
import { createHash } from 'node:crypto'
import { SteadError } from '../base/index.ts'

/** `sha256:` and 64 hexadecimal digits, the one algorithm that is read here. */
export type Digest = `sha256:${string}`

export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text)
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

/** The digits, for the name of a file. */
export function hexOf(digest: Digest): string {
  return digest.slice('sha256:'.length)
}

/** The same bytes. Throws `image.truncated` or `image.wrong-digest` before the end, where they are not what was said. */
export async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  { digest, size }: { readonly digest: Digest; readonly size: number | null },
  what: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let count = 0
  for await (const chunk of bytes) {
    count += chunk.length
    if (size !== null && count > size) break
    hash.update(chunk)
    yield chunk
  }
  if (size !== null && count < size) {
    throw new SteadError({
      code: 'image.truncated',
      message: `${what} ends after ${count} of ${size} bytes.`,
      hint: 'The connection broke or the copy is damaged: try again, or fetch the image anew.',
      retry: 'later',
    })
  }
  const found: Digest = `sha256:${hash.digest('hex')}`
  if ((size === null || count === size) && found === digest) return
  throw new SteadError({
    code: 'image.wrong-digest',
    message: `${what} is not what its digest says: wanted ${digest}, found ${count === size || size === null ? found : `more than ${size} bytes`}.`,
    hint: 'Somebody on the way has changed it, or the registry is damaged. Nothing of it was kept.',
  })
}
