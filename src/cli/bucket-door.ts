/**
 * The way from the command line to a bucket of a running app: a key of the operator's own and a local port, for one thing that
 * is done with objects. What is done is recorded before it is possible.
 */
import { SteadError } from '../base/index.ts'
import { bucketCapabilities, type ObjectStore, openS3Store } from '../objects/index.ts'
import type { ObjectDeed } from '../operator/index.ts'
import { forwardPort, localHost } from './forwarding.ts'
import type { Target } from './target.ts'

/** A bucket that can be worked with until it is disposed of. */
export interface BucketDoor extends AsyncDisposable {
  readonly store: ObjectStore
  /** The same bucket as it answers elsewhere, for URLs. */
  at(endpoint: string): ObjectStore
}

/** Opens it. `word` names the app again; null: the one here. Throws `cli.no-bucket`, and what the platform refuses with. */
export async function openBucket(
  target: Target,
  word: string | null,
  bucket: string,
  deed: ObjectDeed,
): Promise<BucketDoor> {
  const { operator, app } = target
  const { parts } = await operator.graph(app)
  const buckets = parts.filter((part) => part.kind === 'resource' && part.type === 'bucket').map(({ name }) => name)
  if (!buckets.includes(bucket)) {
    throw new SteadError({
      code: 'cli.no-bucket',
      message: `${app} has no bucket called ${bucket}`,
      hint:
        buckets.length === 0 ? "An app file declares one with bucket('invoices')." : `It has: ${buckets.join(', ')}.`,
    })
  }
  await using undo = new AsyncDisposableStack()
  const forward = undo.use(await forwardPort(0, { target, word, part: bucket, port: null }))
  const { env = {} } = (await operator.bindFor(deed, app, bucket, localHost, forward.port)) ?? {}
  const at = (endpoint: string): ObjectStore =>
    openS3Store({
      endpoint,
      bucket: env['BUCKET_NAME'] ?? bucket,
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
      region: env['AWS_REGION'] ?? 'us-east-1',
      capabilities: bucketCapabilities,
    })
  const store = undo.use(at(env['AWS_ENDPOINT_URL_S3'] ?? ''))
  const open = undo.move()
  return { store, at, [Symbol.asyncDispose]: () => open.disposeAsync() }
}
