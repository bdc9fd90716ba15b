/**
 * The server of one bucket, as it runs in the sandbox of its resource: the embedded store on a Unix socket for consumers, and
 * another for the platform. Invariant: until the platform has let somebody in, nobody is.
 */
import { readFileSync, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock, systemCodeOf } from '../../../base/index.ts'
import { abortUploadDays } from '../../bucket/config.ts'
import type { BucketConfig } from '../../bucket/config.ts'
import { bucketAccount, credentialOf } from '../../bucket/keys.ts'
import type { Credential } from '../../s3/authenticate.ts'
import type { LifecycleRule } from '../../s3/lifecycle.ts'
import { openEngine } from '../embedded/engine.ts'
import type { Engine } from '../embedded/engine.ts'
import { serve } from '../embedded/server.ts'
import { adminPath, consumersPath, listenToPlatform } from './admin.ts'
import { counted, corsOf, noRequests } from './serving.ts'

const expireEveryMs = 3_600_000

/** What a server is started with. */
export interface BucketServerOptions extends Omit<BucketConfig, 'memoryBytes'> {
  readonly name: string
  readonly dataDir: string
  readonly socketDir: string
}

/** Serves until it is closed. `onBug` is told of what should not happen. Throws what `openEmbeddedObjects` does. */
export async function serveBucket(
  options: BucketServerOptions,
  onBug: (error: unknown) => void,
): Promise<AsyncDisposable> {
  const { name, dataDir, socketDir, quotaBytes } = options
  await using undo = new AsyncDisposableStack()
  const generation = readGeneration(dataDir)
  const engine = undo.use(openEngine({ dir: dataDir, generation, quotaBytes: () => quotaBytes }))
  await declareBucket(engine, options)
  const keys = new Map<string, Credential>()
  let requests = noRequests
  rmSync(consumersPath(socketDir), { force: true })
  const server = undo.use(
    await serve(
      {
        engine,
        credentials: (id) => keys.get(id),
        // The bucket is in the path: no name that leads here means another one.
        hostNames: [],
        onBug,
        onAnswered: (answered) => (requests = counted(requests, answered)),
      },
      { path: consumersPath(socketDir) },
    ),
  )
  const startedMs = systemClock.nowMs()
  undo.use(
    await listenToPlatform(adminPath(socketDir), {
      ready: () => null,
      attach() {
        throw new Error('this bucket has a store of its own')
      },
      grant(grant) {
        const { user, password } = grant
        const before = keys.get(user)
        keys.set(user, credentialOf(name, grant))
        if (before !== undefined && before.secretAccessKey !== password) server.endFor(user)
        return null
      },
      revoke({ user }) {
        keys.delete(user)
        server.endFor(user)
        return null
      },
      async advance({ generation: next }) {
        await writeGeneration(dataDir, next)
        engine.advance(next)
        return null
      },
      state: () => ({
        held: engine.usage.held(name),
        happened: engine.usage.happened(name),
        startedMs,
        generation: engine.generation,
        connections: server.connections(),
        requests,
      }),
    }),
  )
  const expire = (): void => {
    engine.expire().catch((error: unknown) => {
      // A pass that the stop of the server cuts off goes on with the next one.
      if (!engine.index.isClosed) onBug(error)
    })
  }
  const expiring = setInterval(expire, expireEveryMs)
  undo.defer(() => clearInterval(expiring))
  // A server that is often started anew must not put it off for ever.
  expire()
  return undo.move()
}

/** Brings what the app file says into being. What a client has stored stays, whatever is said. */
async function declareBucket(engine: Engine, options: BucketServerOptions): Promise<void> {
  const { name, versions, expiryDays, corsOrigins } = options
  const wanted = versions ? 'enabled' : 'suspended'
  await engine.commit(() => {
    const found = engine.buckets.find(name)
    if (found === undefined) {
      const settings = { acl: [], ownership: 'BucketOwnerEnforced' } as const
      const versioning = versions ? 'enabled' : 'off'
      const made = {
        name,
        owner: bucketAccount,
        createdMs: engine.nowMs(),
        versioning,
        locked: false,
        settings,
      } as const
      engine.buckets.create(made)
    } else if (found.versioning !== wanted && !(found.versioning === 'off' && !versions)) {
      engine.buckets.setVersioning(name, wanted)
    }
    engine.buckets.change(name, ({ cors: _before, ...settings }) => ({
      ...settings,
      lifecycle: [ruleOf(expiryDays)],
      ...(corsOrigins.length > 0 && { cors: [corsOf(corsOrigins)] }),
    }))
  })
}

function ruleOf(expiryDays: number | null): LifecycleRule {
  const days = expiryDays ?? undefined
  return {
    id: 'declared',
    enabled: true,
    prefix: '',
    oldPrefix: false,
    tags: [],
    largerThanBytes: undefined,
    smallerThanBytes: undefined,
    expireDays: days,
    expireAtMs: undefined,
    expireMarkers: days !== undefined,
    noncurrentDays: days,
    newerVersionsKept: undefined,
    abortUploadDays,
  }
}

function generationPath(dataDir: string): string {
  return join(dataDir, 'generation')
}

/** The generation of the data; 1 until it has come back from an earlier state for the first time. */
function readGeneration(dataDir: string): number {
  try {
    return Number(readFileSync(generationPath(dataDir), 'utf8')) || 1
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return 1
    throw error
  }
}

/** Durable before it is answered. */
async function writeGeneration(dataDir: string, generation: number): Promise<void> {
  const path = generationPath(dataDir)
  {
    await using file = await open(`${path}.new`, 'w', 0o600)
    await file.writeFile(String(generation))
    await file.sync()
  }
  renameSync(`${path}.new`, path)
  await using dir = await open(dataDir, 'r')
  await dir.sync()
}
