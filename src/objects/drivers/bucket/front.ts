/**
 * The front of a bucket that somebody else runs, as it runs in the sandbox of its resource: parts have keys of their own here, and
 * the store's own key nobody has but this process. It reaches the store by a socket that leads there and nowhere else.
 *
 * Invariant: what is asked of the store is what the rights of a key cover, on this one bucket; whatever else S3 has is refused.
 */
import { rmSync } from 'node:fs'
import { systemClock } from '../../../base/index.ts'
import { outletPath } from '../../../provider/index.ts'
import { credentialOf } from '../../bucket/keys.ts'
import type { Right } from '../../s3/access.ts'
import type { Credential } from '../../s3/authenticate.ts'
import { S3Failure } from '../../s3/failure.ts'
import { operationOf } from '../../s3/operations.ts'
import type { OperationName } from '../../s3/operations.ts'
import { readCopySource } from '../../s3/request.ts'
import { refuseLists } from '../embedded/call.ts'
import type { Answer } from '../embedded/call.ts'
import { listen } from '../embedded/server.ts'
import type { Asked } from '../embedded/server.ts'
import { adminPath, consumersPath, listenToPlatform } from './admin.ts'
import { counted, corsOf, noRequests } from './serving.ts'
import { Way } from './upstream.ts'
import type { Upstream } from './upstream.ts'

/** What a front is started with; what the store is and its key it is told later, as it may change. */
export interface FrontOptions {
  readonly name: string
  readonly socketDir: string
  readonly corsOrigins: readonly string[]
}

/** What each operation takes, and whether it comes with a body. */
const operations: Partial<Record<OperationName, { readonly right: Right; readonly body?: true }>> = {
  GetObject: { right: 'read' },
  HeadObject: { right: 'read' },
  GetObjectAttributes: { right: 'read' },
  GetObjectTagging: { right: 'read' },
  PutObject: { right: 'write', body: true },
  CopyObject: { right: 'write' },
  DeleteObject: { right: 'write' },
  DeleteObjects: { right: 'write', body: true },
  PutObjectTagging: { right: 'write', body: true },
  DeleteObjectTagging: { right: 'write' },
  CreateMultipartUpload: { right: 'write' },
  UploadPart: { right: 'write', body: true },
  UploadPartCopy: { right: 'write' },
  CompleteMultipartUpload: { right: 'write', body: true },
  AbortMultipartUpload: { right: 'write' },
  ListParts: { right: 'write' },
  ListObjects: { right: 'list' },
  ListObjectsV2: { right: 'list' },
  ListObjectVersions: { right: 'list' },
  ListMultipartUploads: { right: 'list' },
  HeadBucket: { right: 'list' },
  GetBucketLocation: { right: 'list' },
  GetBucketVersioning: { right: 'list' },
}

/** Serves until it is closed. `onBug` is told of what should not happen. */
export async function serveFront(options: FrontOptions, onBug: (error: unknown) => void): Promise<AsyncDisposable> {
  const { name, socketDir, corsOrigins } = options
  await using undo = new AsyncDisposableStack()
  const way = undo.use(new Way(outletPath(socketDir)))
  const keys = new Map<string, Credential>()
  let upstream: Upstream | undefined
  let requests = noRequests
  rmSync(consumersPath(socketDir), { force: true })
  const cors = corsOrigins.length === 0 ? undefined : [corsOf(corsOrigins)]
  const server = undo.use(
    await listen(
      {
        credentials: (id) => keys.get(id),
        hostNames: [],
        onBug,
        onAnswered: (answered) => (requests = counted(requests, answered)),
      },
      {
        nowMs: () => systemClock.nowMs(),
        corsOf: () => cors,
        answer: (asked) => forwarded(way, upstream, name, asked),
      },
      { path: consumersPath(socketDir) },
    ),
  )
  const startedMs = systemClock.nowMs()
  const nothing = { objects: 0, versions: 0, bytes: 0 }
  undo.use(
    await listenToPlatform(adminPath(socketDir), {
      ready: () => null,
      attach(sent) {
        upstream = sent
        return null
      },
      grant(grant) {
        const before = keys.get(grant.user)
        keys.set(grant.user, credentialOf(name, grant))
        if (before !== undefined && before.secretAccessKey !== grant.password) server.endFor(grant.user)
        return null
      },
      revoke({ user }) {
        keys.delete(user)
        server.endFor(user)
        return null
      },
      advance: () => null,
      state: () => ({
        held: nothing,
        happened: { added: 0, removed: 0, changed: 0 },
        startedMs,
        generation: 1,
        connections: server.connections(),
        requests,
      }),
    }),
  )
  return undo.move()
}

/** What the store answers to what the caller may ask. Throws AccessDenied, NotImplemented, NoSuchBucket, SlowDown. */
async function forwarded(way: Way, upstream: Upstream | undefined, name: string, asked: Asked): Promise<Answer> {
  const { request, caller, body } = asked
  const operation = operationOf(request)
  const may = (right: Right): boolean => caller.rights?.[name]?.includes(right) === true
  if (operation !== 'ListBuckets' && request.bucket !== name) throw new S3Failure('NoSuchBucket')
  // Many programs begin with it; it is there already.
  if (operation === 'CreateBucket' && may('write')) return { status: 200, headers: { location: `/${name}` } }
  const entry = operations[operation]
  if (operation === 'PostObject')
    throw new S3Failure('NotImplemented', 'A bucket that is hosted elsewhere takes no forms; sign a URL to PUT.')
  if (entry === undefined || !may(entry.right)) throw new S3Failure('AccessDenied')
  const source = request.headers['x-amz-copy-source']
  if (source !== undefined && (readCopySource(source).bucket !== name || !may('read')))
    throw new S3Failure('AccessDenied', 'A copy needs the right to read, and a source in this bucket.')
  // Who may see an object is said by the app file, not by whoever writes it.
  refuseLists(request.headers, true)
  if (upstream === undefined) throw new S3Failure('SlowDown', 'The store behind this bucket is not known yet.')
  return await way.ask(upstream, request, entry.body === true ? body : undefined, systemClock.nowMs())
}
