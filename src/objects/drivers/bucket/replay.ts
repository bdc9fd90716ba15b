/**
 * Objects of another state brought into the live bucket, through the door that everybody uses and with a condition: what is
 * there already stays as it is.
 */
import { request } from 'node:http'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { systemClock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { unsignedPayload } from '../../s3/signature.ts'
import { openEngine } from '../embedded/engine.ts'
import type { Engine } from '../embedded/engine.ts'
import { listObjects } from '../embedded/listing.ts'
import type { VersionRecord } from '../embedded/records.ts'
import { signed } from '../s3/presign.ts'
import { consumersPath } from './admin.ts'

export interface ReplayOptions {
  readonly name: string
  /** The other state; not live. */
  readonly from: string
  /** Of the live bucket. */
  readonly socketDir: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** The bucket's name for all objects, or one key. */
  readonly what: string
}

/** Copies the objects; answers how many were brought in. Throws `objects.refused`. */
export async function replayObjects(options: ReplayOptions): Promise<number> {
  const { name, from, what } = options
  await using engine = openEngine({ dir: from })
  if (what !== name) {
    const found = engine.versions.find(name, what)
    if (found === undefined || found.isMarker)
      throw failure('refused', `the copy has no object ${what}`, `With ${name} all of its objects are meant.`)
    return await bring(options, engine, found)
  }
  let brought = 0
  for (let after: string | undefined = ''; after !== undefined;) {
    const page = listObjects(engine.index, { bucket: name, prefix: '', delimiter: '', limit: 500 }, after)
    for (const { key } of page.items) brought += await bring(options, engine, engine.versions.get(name, key))
    after = page.next?.key
  }
  return brought
}

/** One object; 0 where there is one under its key. */
async function bring(options: ReplayOptions, engine: Engine, version: VersionRecord): Promise<0 | 1> {
  const { name, socketDir, accessKeyId, secretAccessKey } = options
  const signer = { endpoint: 'http://localhost', region: 'us-east-1', bucket: name, accessKeyId, secretAccessKey }
  const { metadata } = version.info
  const tagging = new URLSearchParams(version.tags.map(([tag, value]) => [tag, value])).toString()
  const headers = {
    ...version.info.headers,
    ...Object.fromEntries(Object.entries(metadata).map(([key, value]) => [`x-amz-meta-${key}`, value])),
    ...(tagging === '' ? {} : { 'x-amz-tagging': tagging }),
    'if-none-match': '*',
    'content-length': String(version.bytes),
  }
  const put = { method: 'PUT', key: version.key, query: [], headers, payloadHash: unsignedPayload }
  const { target, headers: all } = signed(signer, put, systemClock.nowMs())
  const asking = request({
    socketPath: consumersPath(socketDir),
    path: target,
    method: 'PUT',
    headers: all,
    agent: false,
  })
  const answered = new Promise<{ status: number; body: string }>((resolve, reject) => {
    asking.once('error', reject)
    asking.once('response', (answer) => {
      text(answer).then((body) => resolve({ status: answer.statusCode ?? 0, body }), reject)
    })
  })
  const [{ status, body }] = await Promise.all([
    answered,
    pipeline(engine.read(version, 0, version.bytes), asking).catch(() => answered),
  ])
  if (status === 200) return 1
  if (status === 412) return 0
  throw failure('refused', `${version.key} was not taken: ${body.slice(0, 300)}`, 'See what the bucket may hold.')
}
