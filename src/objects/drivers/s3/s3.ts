/**
 * A bucket of any S3 server, by signed requests of our own. What the server can do was found out by a probe; what it cannot is
 * refused here before anything is sent.
 */
import { systemClock } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { checkKey, checkPresign, checkPut, checkRange, checkedLimit, requireCapability } from '../../input.ts'
import { decode } from '../../s3/request.ts'
import { childrenNamed, readXml, requiredText, textOf } from '../../s3/xml.ts'
import type {
  Content,
  GetOptions,
  Listed,
  ListOptions,
  ObjectCapabilities,
  ObjectPage,
  ObjectRead,
  ObjectStat,
  ObjectStore,
  PresignOptions,
  PutOptions,
} from '../../store.ts'
import { S3Client } from './client.ts'
import type { S3Answer } from './client.ts'
import { presignUrl } from './presign.ts'
import type { Signer } from './presign.ts'
import { unquoted, write } from './upload.ts'

export interface S3Options {
  /** `https://host:port`. */
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Defaults to `us-east-1`. */
  readonly region?: string
  /** The bucket is part of the host name; by default it is part of the path. */
  readonly virtualHost?: boolean
  /** What a probe has found; see `probeS3`. */
  readonly capabilities: ObjectCapabilities
  readonly clock?: Clock
}

/** Opens a bucket. Sends nothing yet. Throws `objects.bad-input` for an address that cannot be one. */
export function openS3Store(options: S3Options): ObjectStore {
  return new S3Store(signerOf(options), options.capabilities, options.clock ?? systemClock)
}

/** Where and how, from options. Throws `objects.bad-input`. */
export function signerOf(options: Omit<S3Options, 'capabilities'>): Signer {
  if (!URL.canParse(options.endpoint) || !/^https?:/.test(options.endpoint)) {
    throw failure('bad-input', `${options.endpoint} is no address of an S3 server`, 'Write it as https://host:port.')
  }
  const { endpoint, bucket, accessKeyId, secretAccessKey, region = 'us-east-1', virtualHost = false } = options
  return { endpoint, bucket, accessKeyId, secretAccessKey, region, virtualHost }
}

class S3Store implements ObjectStore {
  readonly name: string
  readonly capabilities: ObjectCapabilities
  readonly #client: S3Client

  constructor(signer: Signer, capabilities: ObjectCapabilities, clock: Clock) {
    this.name = `s3 (${signer.endpoint}, ${signer.bucket})`
    this.capabilities = capabilities
    this.#client = new S3Client(signer, clock)
  }

  async put(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat> {
    const written = await this.#write(key, content, options, {})
    if (written === null)
      throw failure('refused', `${this.name} refuses to write ${key}`, 'Look at the rules of the bucket.')
    return written
  }

  async putIfAbsent(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat | null> {
    requireCapability(this.name, this.capabilities, 'putIfAbsent')
    return this.#write(key, content, options, { 'if-none-match': '*' })
  }

  async putIfMatch(key: string, content: Content, etag: string, options: PutOptions = {}): Promise<ObjectStat | null> {
    requireCapability(this.name, this.capabilities, 'putIfMatch')
    return this.#write(key, content, options, { 'if-match': `"${etag}"` })
  }

  async #write(
    key: string,
    content: Content,
    options: PutOptions,
    conditions: Record<string, string>,
  ): Promise<ObjectStat | null> {
    checkPut(key, options)
    const { contentType = 'application/octet-stream', metadata = {} } = options
    const named = Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value] as const)
    const headers = { 'content-type': contentType, ...Object.fromEntries(named) }
    const written = await write(this.#client, { key, content, headers, conditions, signal: options.signal })
    if ('code' in written) {
      const lost = Object.keys(conditions).length > 0 && (written.status === 412 || written.code === 'NoSuchKey')
      if (lost) return null
      throw this.#client.refused(written)
    }
    const { etag, bytes, version } = written
    const modifiedMs = this.#client.clock.nowMs()
    return { key, etag, bytes, modifiedMs, contentType, metadata, version: version === 'null' ? undefined : version }
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectRead | null> {
    checkKey(key)
    checkRange(options)
    const { start = 0, end, version, signal } = options
    const ranged = start > 0 || end !== undefined
    const answer = await this.#client.ask({
      method: 'GET',
      key,
      query: version === undefined ? [] : [['versionId', version]],
      headers: ranged ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {},
      repeatable: true,
      signal,
    })
    if ('code' in answer) {
      // A range behind the end of the object has no bytes; the object is there all the same.
      if (answer.status === 416) return this.#empty(key)
      if (isMissing(answer)) return null
      throw this.#client.refused(answer)
    }
    return { ...statOf(key, answer), body: ReadableStream.from<Uint8Array>(answer.body) }
  }

  async #empty(key: string): Promise<ObjectRead | null> {
    const found = await this.stat(key)
    return found === null ? null : { ...found, body: ReadableStream.from<Uint8Array>([]) }
  }

  async stat(key: string): Promise<ObjectStat | null> {
    checkKey(key)
    const answer = await this.#client.ask({ method: 'HEAD', key, repeatable: true })
    if ('code' in answer) {
      if (isMissing(answer)) return null
      throw this.#client.refused(answer)
    }
    await answer.body.dump()
    return statOf(key, answer)
  }

  async list(options: ListOptions = {}): Promise<ObjectPage> {
    const limit = checkedLimit(options.limit)
    const { prefix, delimiter, after } = options
    const asked: readonly (readonly [string, string | undefined])[] = [
      ['list-type', '2'],
      ['encoding-type', 'url'],
      ['max-keys', String(limit)],
      ['prefix', prefix],
      ['delimiter', delimiter],
      ['continuation-token', after],
    ]
    const query = asked.flatMap(([name, value]) =>
      value === undefined || value === '' ? [] : [[name, value] as const],
    )
    const answer = await this.#client.demand({ method: 'GET', query, repeatable: true })
    const root = readXml(await this.#client.document(answer), 'ListBucketResult')
    const plain = textOf(root, 'EncodingType') !== 'url'
    const text = (value: string): string => (plain ? value : decode(value, true))
    const objects = childrenNamed(root, 'Contents').map((item): Listed => ({
      key: text(item.children.find(({ name }) => name === 'Key')?.text ?? ''),
      bytes: Number(requiredText(item, 'Size')),
      etag: unquoted(textOf(item, 'ETag')),
      modifiedMs: Date.parse(requiredText(item, 'LastModified')),
    }))
    const prefixes = childrenNamed(root, 'CommonPrefixes').map((item) => text(item.children[0]?.text ?? ''))
    const next = textOf(root, 'IsTruncated') === 'true' ? textOf(root, 'NextContinuationToken') : undefined
    return { objects, prefixes, next }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    const answer = await this.#client.ask({ method: 'DELETE', key, repeatable: true })
    if (!('code' in answer)) return answer.body.dump()
    if (!isMissing(answer)) throw this.#client.refused(answer)
  }

  async presign(options: PresignOptions): Promise<string> {
    checkPresign(options)
    requireCapability(this.name, this.capabilities, 'presign')
    return presignUrl(this.#client.signer, options, this.#client.clock.nowMs())
  }

  async close(): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function isMissing({ status, code }: { readonly status: number; readonly code: string }): boolean {
  return status === 404 && code !== 'NoSuchBucket'
}

function statOf(key: string, { headers }: S3Answer): ObjectStat {
  const metadata = Object.entries(headers).flatMap(([name, value]) =>
    name.startsWith('x-amz-meta-') ? [[name.slice('x-amz-meta-'.length), value] as const] : [],
  )
  const whole = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length']
  const version = headers['x-amz-version-id']
  return {
    key,
    bytes: Number(whole ?? 0),
    etag: unquoted(headers['etag']),
    modifiedMs: Date.parse(headers['last-modified'] ?? ''),
    contentType: headers['content-type'] ?? 'binary/octet-stream',
    metadata: Object.fromEntries(metadata),
    version: version === 'null' ? undefined : version,
  }
}
