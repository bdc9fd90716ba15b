/**
 * The embedded store as a library: an engine in this process, buckets as `ObjectStore`s without a network between, and the
 * S3 server on it for everybody else. One process has the directory; others reach it over HTTP.
 */
import { isSteadError, systemClock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { checkKey, checkPresign, checkPut, checkRange, checkedLimit, piecesOf } from '../../input.ts'
import { S3Failure } from '../../s3/failure.ts'
import { isBucketName } from '../../s3/request.ts'
import type { Credential } from '../../s3/authenticate.ts'
import type { WriteConditions } from '../../s3/conditions.ts'
import type {
  Content,
  GetOptions,
  Listed,
  ListOptions,
  ObjectPage,
  ObjectRead,
  ObjectStat,
  ObjectStore,
  PresignOptions,
  PutOptions,
} from '../../store.ts'
import { presignUrl } from '../s3/presign.ts'
import { openEngine } from './engine.ts'
import type { Engine, EngineOptions } from './engine.ts'
import { listObjects } from './listing.ts'
import type { BucketRecord, VersionRecord } from './records.ts'
import { serve } from './server.ts'
import type { ListeningServer, ServerOptions } from './server.ts'

export type EmbeddedOptions = EngineOptions

/** How the S3 server of an embedded store listens. */
export interface ListenOptions extends Omit<ServerOptions, 'engine'> {
  /** 0 takes a free one. */
  readonly port: number
  /** Defaults to 127.0.0.1. */
  readonly host?: string
}

/** What a bucket is made with. */
export interface BucketOptions {
  /** Whose it is for those who come over HTTP; defaults to `local`. */
  readonly account?: string
  /** Whether what is overwritten or deleted is kept. Can be switched on later, and never off again by this. */
  readonly versions?: boolean
  /** How URLs are signed; without it `presign` is refused. */
  readonly presign?: { readonly endpoint: string; readonly credential: Credential; readonly region?: string }
}

/** An embedded store, opened. */
export interface EmbeddedObjects extends AsyncDisposable {
  /** A bucket, made when it is not there. Throws `objects.bad-input` for a name that cannot be. */
  bucket(name: string, options?: BucketOptions): Promise<ObjectStore>
  /** Serves S3. Close it before the store. */
  listen(options: ListenOptions): Promise<ListeningServer>
  /** One pass of the expiry that buckets are configured with; says how many versions and uploads went. */
  expire(): Promise<number>
  /** Resolves when what a crash has left behind is gone. */
  swept(): Promise<void>
  close(): Promise<void>
}

/**
 * Opens the store in a directory. Throws `objects.in-use`, `objects.corrupt`, `objects.newer-version`, `objects.foreign`,
 * `objects.not-durable`, `objects.disk-full` or `objects.cannot-open`; a directory that is refused is left as it is.
 */
export async function openEmbeddedObjects(options: EmbeddedOptions): Promise<EmbeddedObjects> {
  const engine = openEngine(options)
  const close = (): Promise<void> => engine.close()
  const clock = options.clock ?? systemClock
  return {
    bucket: (name, bucketOptions = {}) => openBucket(engine, name, bucketOptions, () => clock.nowMs()),
    listen: ({ port, host = '127.0.0.1', ...server }) => serve({ ...server, engine }, { port, host }),
    expire: () => engine.expire(),
    swept: () => engine.swept(),
    close,
    [Symbol.asyncDispose]: close,
  }
}

async function openBucket(
  engine: Engine,
  name: string,
  options: BucketOptions,
  nowMs: () => number,
): Promise<ObjectStore> {
  if (!isBucketName(name)) {
    throw failure(
      'bad-input',
      `${name} cannot be the name of a bucket`,
      'Use 3 to 63 lower-case letters, digits and dashes.',
    )
  }
  const owner = options.account ?? 'local'
  await engine.commit(() => {
    const versioning = options.versions === true ? 'enabled' : 'off'
    if (engine.buckets.find(name) === undefined) {
      const settings = { acl: [], ownership: 'BucketOwnerEnforced' } as const
      engine.buckets.create({ name, owner, createdMs: engine.nowMs(), versioning, locked: false, settings })
    } else if (options.versions === true) engine.buckets.setVersioning(name, 'enabled')
  })
  return new EmbeddedBucket(engine, engine.buckets.get(name), options, nowMs)
}

/** What tells a writer with a condition that somebody else was faster. */
const lost: readonly string[] = ['PreconditionFailed', 'NoSuchKey']

class EmbeddedBucket implements ObjectStore {
  readonly name: string
  readonly capabilities: ObjectStore['capabilities']
  readonly #engine: Engine
  readonly #bucket: BucketRecord
  readonly #presign: BucketOptions['presign']
  readonly #nowMs: () => number

  constructor(engine: Engine, bucket: BucketRecord, options: BucketOptions, nowMs: () => number) {
    this.#engine = engine
    this.#bucket = bucket
    this.#presign = options.presign
    this.#nowMs = nowMs
    this.name = `embedded (${bucket.name})`
    this.capabilities = {
      putIfAbsent: true,
      putIfMatch: true,
      checksums: true,
      presign: options.presign !== undefined,
      paging: true,
      versions: bucket.versioning === 'enabled',
      durability: 'fsync',
    }
  }

  async put(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat> {
    return statOf(await this.#write(key, content, options, { match: undefined, noneMatch: undefined }))
  }

  putIfAbsent(key: string, content: Content, options: PutOptions = {}): Promise<ObjectStat | null> {
    return this.#writeIf(key, content, options, { match: undefined, noneMatch: '*' })
  }

  putIfMatch(key: string, content: Content, etag: string, options: PutOptions = {}): Promise<ObjectStat | null> {
    return this.#writeIf(key, content, options, { match: `"${etag}"`, noneMatch: undefined })
  }

  async #writeIf(
    key: string,
    content: Content,
    options: PutOptions,
    conditions: WriteConditions,
  ): Promise<ObjectStat | null> {
    try {
      return statOf(await this.#write(key, content, options, conditions))
    } catch (error) {
      if (isSteadError(error) && error.cause instanceof S3Failure && lost.includes(error.cause.code)) return null
      throw error
    }
  }

  async #write(
    key: string,
    content: Content,
    options: PutOptions,
    conditions: WriteConditions,
  ): Promise<VersionRecord> {
    checkPut(key, options)
    const { owner, name } = this.#bucket
    using received = await this.#engine.receive(abortable(piecesOf(content), options.signal), [])
    const headers = { 'content-type': options.contentType ?? 'application/octet-stream' }
    const info = { headers, metadata: options.metadata ?? {} }
    const next = { bucket: name, key, etag: received.md5, owner, info, tags: [], lock: {}, acl: [] }
    // Awaited here: what was received must stay until it is referred to.
    return await foreseen(() => this.#engine.putObject(received, next, conditions))
  }

  async get(key: string, options: GetOptions = {}): Promise<ObjectRead | null> {
    checkKey(key)
    checkRange(options)
    const found = this.#engine.versions.find(this.#bucket.name, key, options.version)
    if (found === undefined || found.isMarker) return null
    const end = Math.min(options.end ?? found.bytes, found.bytes)
    const source = this.#engine.read(found, Math.min(options.start ?? 0, end), end)
    return { ...statOf(found), body: ReadableStream.from<Uint8Array>(abortable(source, options.signal)) }
  }

  async stat(key: string): Promise<ObjectStat | null> {
    checkKey(key)
    const found = this.#engine.versions.find(this.#bucket.name, key)
    return found === undefined || found.isMarker ? null : statOf(found)
  }

  async list(options: ListOptions = {}): Promise<ObjectPage> {
    const { prefix = '', delimiter = '', after = '' } = options
    const where = { bucket: this.#bucket.name, prefix, delimiter, limit: checkedLimit(options.limit) }
    const page = listObjects(this.#engine.index, where, after)
    return { objects: page.items.map(listedOf), prefixes: page.prefixes, next: page.next?.key }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    const conditions = { match: undefined, noneMatch: undefined }
    const { owner, name } = this.#bucket
    const deletion = { version: undefined, conditions, bypassGovernance: false, owner }
    await foreseen(() => this.#engine.deleteObject(name, key, deletion))
  }

  async presign(options: PresignOptions): Promise<string> {
    checkPresign(options)
    if (this.#presign === undefined) {
      const hint = 'Give the bucket the address of its server and a key to sign with.'
      throw failure('unsupported', `${this.name} has nothing to sign URLs with`, hint)
    }
    const { endpoint, credential, region = 'us-east-1' } = this.#presign
    return presignUrl({ endpoint, region, bucket: this.#bucket.name, ...credential }, options, this.#nowMs())
  }

  /** The engine stays open: other buckets share it. */
  async close(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** What the engine refuses, as an error of the room. */
async function foreseen<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof S3Failure)) throw error
    const kind = error.code === 'NoSuchBucket' ? 'no-bucket' : error.code === 'AccessDenied' ? 'denied' : 'refused'
    throw failure(kind, `${error.code}: ${error.message}`, 'Look at the bucket and at what holds the object.', error)
  }
}

async function* abortable(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    signal?.throwIfAborted()
    yield piece
  }
}

function statOf(version: VersionRecord): ObjectStat {
  return {
    ...listedOf(version),
    contentType: version.info.headers['content-type'] ?? 'binary/octet-stream',
    metadata: version.info.metadata,
    version: version.version === 'null' ? undefined : version.version,
  }
}

function listedOf({ key, bytes, etag, modifiedMs }: Listed): Listed {
  return { key, bytes, etag, modifiedMs }
}
