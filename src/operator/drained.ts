/** Waiting for whoever reads slowly. Invariant: a wait leaves no listener behind; a stream of hours has many waits. */
import type { Writable } from 'node:stream'

/** Resolves when the stream can take more, or is gone. */
export async function drained(stream: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  stream.on('drain', resolve)
  stream.on('close', resolve)
  await promise
  stream.off('drain', resolve)
  stream.off('close', resolve)
}
