/**
 * Writing content of unknown length in constant memory: what fits into one part is sent at once, the rest as an upload in
 * parts, which is given up when anything fails. A condition is asked of the request that makes the object appear.
 */
import { createHash } from 'node:crypto'
import { piecesOf } from '../../input.ts'
import { failure } from '../../errors.ts'
import { readXml, textOf, writeXml } from '../../s3/xml.ts'
import type { Content } from '../../store.ts'
import type { S3Client, S3Refusal } from './client.ts'

/** Bytes that are held in memory; each part has as many. 10,000 of them make objects of up to 80 GB. */
export const partBytes: number = 8 * 1024 * 1024
const partsMax = 10_000

export interface Writing {
  readonly key: string
  readonly content: Content
  /** What describes the object. */
  readonly headers: Readonly<Record<string, string>>
  /** If-Match or If-None-Match. */
  readonly conditions: Readonly<Record<string, string>>
  readonly signal: AbortSignal | undefined
}

export interface Written {
  readonly etag: string
  readonly bytes: number
  readonly version: string | undefined
}

/** Writes; gives what was written, or what the server said against it. */
export async function write(client: S3Client, writing: Writing): Promise<Written | S3Refusal> {
  const parts = partsOf(writing.content, writing.signal)
  const first = (await parts.next()).value ?? Buffer.alloc(0)
  const second = await parts.next()
  if (second.done === true) return writeWhole(client, writing, first)
  return writeParts(client, writing, first, second.value, parts)
}

async function writeWhole(client: S3Client, writing: Writing, body: Uint8Array): Promise<Written | S3Refusal> {
  const { key, headers, conditions, signal } = writing
  const answer = await client.ask({
    method: 'PUT',
    key,
    headers: { ...headers, ...conditions, 'content-length': String(body.length) },
    body,
    repeatable: Object.keys(conditions).length === 0,
    signal,
  })
  if ('code' in answer) return answer
  await answer.body.dump()
  return { etag: unquoted(answer.headers['etag']), bytes: body.length, version: answer.headers['x-amz-version-id'] }
}

async function writeParts(
  client: S3Client,
  writing: Writing,
  first: Uint8Array,
  second: Uint8Array,
  rest: AsyncGenerator<Uint8Array>,
): Promise<Written | S3Refusal> {
  const { key, headers, conditions, signal } = writing
  const begun = await client.demand({
    method: 'POST',
    key,
    query: [['uploads', '']],
    headers,
    repeatable: true,
    signal,
  })
  const id = textOf(readXml(await client.document(begun), 'InitiateMultipartUploadResult'), 'UploadId') ?? ''
  try {
    const etags: string[] = []
    let bytes = 0
    const send = async (body: Uint8Array): Promise<void> => {
      if (etags.length >= partsMax) throw failure('too-large', `${key} has more than ${partsMax} parts`, 'Split it.')
      const query: readonly (readonly [string, string])[] = [
        ['partNumber', String(etags.length + 1)],
        ['uploadId', id],
      ]
      const sent = await client.demand({
        method: 'PUT',
        key,
        query,
        headers: { 'content-length': String(body.length) },
        body,
        repeatable: true,
        signal,
      })
      await sent.body.dump()
      etags.push(unquoted(sent.headers['etag']))
      bytes += body.length
    }
    await send(first)
    await send(second)
    for await (const part of rest) await send(part)
    const document = writeXml('CompleteMultipartUpload', {
      Part: etags.map((etag, index) => ({ PartNumber: index + 1, ETag: `"${etag}"` })),
    })
    const completed = await client.ask({
      method: 'POST',
      key,
      query: [['uploadId', id]],
      headers: { ...conditions, 'content-type': 'application/xml' },
      body: Buffer.from(document),
      repeatable: Object.keys(conditions).length === 0,
      signal,
    })
    if ('code' in completed) {
      await giveUp(client, key, id)
      return completed
    }
    const text = await client.document(completed)
    // Some servers answer 200 first and find out later that it failed.
    if (!text.includes('CompleteMultipartUploadResult')) {
      throw failure('unavailable', `the upload of ${key} was not completed`, 'Try again.')
    }
    // Ceph's gateway says none before its release 17.
    const said = unquoted(textOf(readXml(text, 'CompleteMultipartUploadResult'), 'ETag'))
    const etag = said === '' ? etagOfParts(etags) : said
    return { etag, bytes, version: completed.headers['x-amz-version-id'] }
  } catch (error) {
    await giveUp(client, key, id)
    throw error
  }
}

/** What S3 calls an object in parts: the digest of their digests. Where a server calls it otherwise, a condition on it fails. */
function etagOfParts(etags: readonly string[]): string {
  const digests = etags.map((etag) => Buffer.from(etag, 'hex'))
  return `${createHash('md5').update(Buffer.concat(digests)).digest('hex')}-${etags.length}`
}

/** Failing to give up is not worth hiding what failed before: the server's own expiry takes care of the rest. */
async function giveUp(client: S3Client, key: string, id: string): Promise<void> {
  try {
    const answer = await client.ask({ method: 'DELETE', key, query: [['uploadId', id]], repeatable: true })
    if (!('code' in answer)) await answer.body.dump()
  } catch {
    // See above.
  }
}

async function* partsOf(content: Content, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = []
  let bytes = 0
  for await (const piece of piecesOf(content)) {
    signal?.throwIfAborted()
    held.push(piece)
    bytes += piece.length
    if (bytes < partBytes) continue
    const whole = Buffer.concat(held)
    let at = 0
    for (; whole.length - at >= partBytes; at += partBytes) yield whole.subarray(at, at + partBytes)
    held = [whole.subarray(at)]
    bytes = whole.length - at
  }
  if (bytes > 0) yield Buffer.concat(held)
}

/** An entity tag without its quotes. */
export function unquoted(etag: string | undefined): string {
  return (etag ?? '').replace(/^"(.*)"$/, '$1')
}
