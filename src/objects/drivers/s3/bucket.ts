/** Making a bucket on an S3 server: the one thing that is asked of a server rather than of a bucket. */
import { systemClock } from '../../../base/index.ts'
import { S3Client } from './client.ts'
import { signerOf } from './s3.ts'
import type { S3Options } from './s3.ts'

/**
 * Makes the bucket of `options` where it is not there, and has it keep versions where that is asked for. Throws
 * `objects.denied`, `objects.unsupported`, `objects.unavailable`, or `objects.refused` where the name is somebody else's.
 */
export async function makeS3Bucket(
  options: Omit<S3Options, 'capabilities'>,
  wanted: { readonly versions?: boolean } = {},
): Promise<void> {
  await using client = new S3Client(signerOf(options), options.clock ?? systemClock)
  const made = await client.ask({ method: 'PUT', headers: { 'content-length': '0' }, repeatable: true })
  if (!('code' in made)) await made.body.dump()
  else if (made.code !== 'BucketAlreadyOwnedByYou') throw client.refused(made)
  if (wanted.versions !== true) return
  const body = Buffer.from('<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>')
  const headers = { 'content-length': String(body.length), 'content-type': 'application/xml' }
  const answer = await client.demand({ method: 'PUT', query: [['versioning', '']], headers, body, repeatable: true })
  await answer.body.dump()
}
