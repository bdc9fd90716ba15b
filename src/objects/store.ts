/**
 * Object storage behind one interface: one bucket, eight verbs. What every driver keeps, and the conformance suite checks:
 *
 * - An object is there whole or not at all. What `put` has answered is there afterwards, as durable as `capabilities()` says.
 * - `putIfAbsent` has one winner among writers that race, `putIfMatch` changes nothing but what it was told of.
 * - Keys are listed in the order of their UTF-8 bytes, each once, whatever the size of a page.
 * - What a store cannot do it says, and asking for it is an error: nothing is imitated by reading first and writing then.
 */

/** Bytes of a key, in UTF-8. */
export const keyBytesMax = 1024
/** Objects in one page. */
export const pageMax = 1000
/** How long a signed URL can be valid. */
export const presignSecondsMax: number = 7 * 86_400
/** Bytes of metadata, names and values. */
export const metadataBytesMax = 2048

/** Bytes to write: at once, or as they come. */
export type Content = string | Uint8Array | AsyncIterable<Uint8Array>

export interface PutOptions {
  /** Comes back with the object; `application/octet-stream` otherwise. */
  readonly contentType?: string
  /** Names in lower case, values of printable ASCII. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** An object as it stands. */
export interface ObjectStat {
  readonly key: string
  readonly bytes: number
  /** Changes with the content; what `putIfMatch` takes. Without quotes. */
  readonly etag: string
  readonly modifiedMs: number
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string>>
  /** Where the bucket keeps versions. */
  readonly version: string | undefined
}

/** An object and its bytes, which are to be read or cancelled. */
export interface ObjectRead extends ObjectStat {
  readonly body: ReadableStream<Uint8Array>
}

export interface GetOptions {
  /** The first byte, and the one before which to stop. */
  readonly start?: number
  readonly end?: number
  readonly version?: string
  readonly signal?: AbortSignal
}

export interface ListOptions {
  readonly prefix?: string
  /** Keys are grouped up to its first place behind the prefix. */
  readonly delimiter?: string
  /** The `next` of the page before. */
  readonly after?: string
  /** Objects and groups in the page; at most and by default `pageMax`. */
  readonly limit?: number
}

/** What a listing shows of an object. */
export type Listed = Pick<ObjectStat, 'key' | 'bytes' | 'etag' | 'modifiedMs'>

export interface ObjectPage {
  readonly objects: readonly Listed[]
  readonly prefixes: readonly string[]
  /** Where the next page begins; undefined at the end. Opaque. */
  readonly next: string | undefined
}

/** What can be signed for somebody who has no key. */
export interface PresignOptions {
  readonly method: 'GET' | 'PUT'
  readonly key: string
  /** From 1 to `presignSecondsMax`. */
  readonly expiresSeconds: number
  /** Of a PUT: the sender must send it. */
  readonly contentType?: string
}

/** Whether what was answered is on a disk: known to be, known not to be, or not known. */
export type Durability = 'fsync' | 'none' | 'unknown'

/** What a store can really do, as far as somebody has looked. */
export interface ObjectCapabilities {
  /** `If-None-Match: *` has one winner. */
  readonly putIfAbsent: boolean
  /** `If-Match` with an old ETag is refused. */
  readonly putIfMatch: boolean
  /** Bytes that differ from their checksum are refused. */
  readonly checksums: boolean
  /** Signed URLs can be made, work, and end. */
  readonly presign: boolean
  /** Listings in pages are whole and in order. */
  readonly paging: boolean
  /** The bucket keeps what is overwritten and deleted. */
  readonly versions: boolean
  readonly durability: Durability
}

/** One bucket. Errors are `objects.*` of README.md. */
export interface ObjectStore extends AsyncDisposable {
  readonly name: string
  readonly capabilities: ObjectCapabilities
  /** Writes an object, in place of one that is there. */
  put(key: string, content: Content, options?: PutOptions): Promise<ObjectStat>
  /** Writes an object where there is none; null where somebody else was faster. */
  putIfAbsent(key: string, content: Content, options?: PutOptions): Promise<ObjectStat | null>
  /** Writes an object in place of the one with this ETag; null where it is not that one any more. */
  putIfMatch(key: string, content: Content, etag: string, options?: PutOptions): Promise<ObjectStat | null>
  get(key: string, options?: GetOptions): Promise<ObjectRead | null>
  stat(key: string): Promise<ObjectStat | null>
  list(options?: ListOptions): Promise<ObjectPage>
  /** Removes an object, or hides it where versions are kept. What is not there is no error. */
  delete(key: string): Promise<void>
  /** A URL with which somebody without a key can do one thing for a time. */
  presign(options: PresignOptions): Promise<string>
  close(): Promise<void>
}
