/** Places for embedded queues in tests: a temporary folder each. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { QueuePlace } from '../../conformance.ts'
import { openEmbeddedQueues } from '../embedded.ts'

/** A new place; it is removed when it is disposed of. */
export async function makeEmbeddedPlace(messagesMax: number): Promise<QueuePlace> {
  const folder = await mkdtemp(join(tmpdir(), 'stead-queue-'))
  const path = join(folder, 'queues.db')
  return {
    open: (options = {}) => openEmbeddedQueues({ ...options, path, messagesMax }),
    elsewhere: { module: import.meta.resolve('../embedded.ts'), name: 'openEmbeddedQueues', options: { path } },
    restart: null,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}
