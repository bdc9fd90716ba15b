/** An embedded store in a directory of its own, and its server, for tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../base/index.ts'
import { openEmbeddedObjects } from './embedded/embedded.ts'
import type { EmbeddedObjects } from './embedded/embedded.ts'
import type { Credential } from '../s3/authenticate.ts'

export const credential: Credential = {
  accessKeyId: 'TESTKEY',
  secretAccessKey: 'a secret for tests',
  account: 'local',
}

/** A store that listens. */
export interface ServedStore extends AsyncDisposable {
  readonly dir: string
  readonly objects: EmbeddedObjects
  readonly port: number
  readonly endpoint: string
}

/** Opens a store in a new directory and serves it on a free port; disposing of it removes both. */
export async function servedStore(
  options: { readonly clock?: Clock; readonly credentials?: readonly Credential[] } = {},
): Promise<ServedStore> {
  const dir = mkdtempSync(join(tmpdir(), 'stead-objects-'))
  const objects = await openEmbeddedObjects({ dir, ...(options.clock && { clock: options.clock }) })
  const known = new Map([credential, ...(options.credentials ?? [])].map((item) => [item.accessKeyId, item]))
  const bugs: unknown[] = []
  const server = await objects.listen({
    port: 0,
    credentials: (accessKeyId) => known.get(accessKeyId),
    onBug: (error) => bugs.push(error),
  })
  return {
    dir,
    objects,
    port: server.port,
    endpoint: `http://127.0.0.1:${server.port}`,
    async [Symbol.asyncDispose]() {
      await server.close()
      await objects.close()
      rmSync(dir, { recursive: true, force: true })
      if (bugs.length > 0) throw new AggregateError(bugs, 'the server met what should not happen')
    },
  }
}
