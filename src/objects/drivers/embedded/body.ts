/**
 * The body of one request: decoded, counted and limited while it passes, in constant memory. What was announced about it (its
 * length, digests, checksums, in headers or trailers) is checked before anything that depends on it is written.
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Payload } from '../../s3/authenticate.ts'
import { ChunkDecoder } from '../../s3/chunks.ts'
import { checksumAlgorithm, checksumHeader, checksumHeaders, isChecksum, startChecksum } from '../../s3/checksums.ts'
import type { ChecksumAlgorithm } from '../../s3/checksums.ts'
import { S3Failure } from '../../s3/failure.ts'

/** Bytes of one object sent at once, or of one part. */
export const putBytesMax: number = 5 * 1024 ** 3

/** What became known of the bytes. */
interface Digests {
  readonly bytes: number
  /** Hexadecimal. */
  readonly md5: string
  readonly sha256: string
  readonly checksums: ReadonlyMap<ChecksumAlgorithm, string>
}

export class RequestBody {
  readonly #message: IncomingMessage
  readonly #headers: Readonly<Record<string, string>>
  readonly #payload: Payload
  readonly #begin: () => void
  readonly #decoder: ChunkDecoder | undefined
  readonly #lengthBytes: number | undefined
  /** The checksum the client sends, or wants to be stored. */
  readonly algorithm: ChecksumAlgorithm | undefined

  /** `begin` is called when the body is about to be read: a client may wait for that. */
  constructor(
    message: IncomingMessage,
    headers: Readonly<Record<string, string>>,
    payload: Payload,
    begin: () => void,
  ) {
    this.#message = message
    this.#headers = headers
    this.#payload = payload
    this.#begin = begin
    this.#decoder = payload.kind === 'chunked' ? new ChunkDecoder(payload.signing, payload.trailers) : undefined
    this.#lengthBytes = lengthOf(
      headers[payload.kind === 'chunked' ? 'x-amz-decoded-content-length' : 'content-length'],
    )
    this.algorithm = announcedAlgorithm(headers)
  }

  /** The payload as it comes. Throws EntityTooLarge, IncompleteBody, or what its decoding throws. */
  async *stream(bytesMax: number): AsyncGenerator<Uint8Array> {
    const announced = this.#lengthBytes
    if (announced === undefined && this.#headers['transfer-encoding'] === undefined) {
      throw new S3Failure('MissingContentLength')
    }
    if (announced !== undefined && announced > bytesMax) throw new S3Failure('EntityTooLarge')
    this.#begin()
    let bytes = 0
    for await (const piece of this.#decoded()) {
      bytes += piece.length
      if (bytes > bytesMax) throw new S3Failure('EntityTooLarge')
      yield piece
    }
    if (announced !== undefined && bytes !== announced) throw new S3Failure('IncompleteBody')
  }

  async *#decoded(): AsyncGenerator<Uint8Array> {
    // Giving up must not end the connection: the client is still to be told why.
    const pieces: AsyncIterable<Uint8Array> = this.#message.iterator({ destroyOnReturn: false })
    for await (const piece of pieces) {
      if (this.#decoder === undefined) yield piece
      else yield* this.#decoder.push(piece)
    }
    this.#decoder?.end()
  }

  /** A whole document. `summed`: whether checksums in headers are of it. Throws MaxMessageLengthExceeded, and what `check` throws. */
  async text(bytesMax: number, summed = true): Promise<string> {
    if ((this.#lengthBytes ?? 0) > bytesMax) throw new S3Failure('MaxMessageLengthExceeded')
    const pieces: Uint8Array[] = []
    for await (const piece of this.stream(bytesMax)) pieces.push(piece)
    const whole = Buffer.concat(pieces)
    const sum = this.algorithm === undefined ? undefined : startChecksum(this.algorithm)
    sum?.update(whole)
    const check = summed ? this.check.bind(this) : this.#checkDigests.bind(this)
    check({
      bytes: whole.length,
      md5: createHash('md5').update(whole).digest('hex'),
      sha256: createHash('sha256').update(whole).digest('hex'),
      checksums: new Map(sum && this.algorithm ? [[this.algorithm, sum.digest()]] : []),
    })
    return whole.toString('utf8')
  }

  /** Throws where the bytes are not those that were announced: BadDigest, InvalidDigest, XAmzContentSHA256Mismatch. */
  check(digests: Digests): void {
    this.#checkDigests(digests)
    if (this.algorithm === undefined) return
    const sent = this.sentChecksum(this.algorithm)
    if (sent === undefined) {
      if (this.#headers['x-amz-trailer'] === undefined) return
      throw new S3Failure('InvalidRequest', 'The checksum that was announced as a trailer did not come.')
    }
    if (!isChecksum(this.algorithm, sent) || sent !== digests.checksums.get(this.algorithm)) {
      throw new S3Failure('BadDigest', `The ${this.algorithm} given does not match the bytes that arrived.`)
    }
  }

  #checkDigests(digests: Digests): void {
    if (
      this.#payload.kind === 'plain' &&
      this.#payload.sha256 !== undefined &&
      this.#payload.sha256 !== digests.sha256
    ) {
      throw new S3Failure('XAmzContentSHA256Mismatch')
    }
    const md5 = this.#headers['content-md5']
    if (md5 !== undefined) {
      const wanted = Buffer.from(md5, 'base64')
      if (wanted.length !== 16 || wanted.toString('base64') !== md5) throw new S3Failure('InvalidDigest')
      if (wanted.toString('hex') !== digests.md5) throw new S3Failure('BadDigest')
    }
  }

  /** The checksum that came in a header or a trailer. */
  sentChecksum(algorithm: ChecksumAlgorithm): string | undefined {
    const header = checksumHeader(algorithm)
    return this.#headers[header] ?? this.#decoder?.trailers.get(header)
  }
}

function lengthOf(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  if (!/^\d{1,15}$/.test(header)) throw new S3Failure('InvalidArgument', 'The length of the body is no number.')
  return Number(header)
}

/** Which checksum headers speak of. Throws InvalidRequest where there are two, or one that is not known. */
function announcedAlgorithm(headers: Readonly<Record<string, string>>): ChecksumAlgorithm | undefined {
  const sent = checksumHeaders.filter(([header]) => headers[header] !== undefined).map(([, name]) => name)
  const trailer = headers['x-amz-trailer']?.trim().toLowerCase()
  const inTrailer = trailer === undefined ? undefined : checksumHeaders.find(([header]) => header === trailer)?.[1]
  if (trailer !== undefined && inTrailer === undefined) {
    throw new S3Failure('InvalidRequest', `The trailer ${trailer} is not known.`)
  }
  const all = new Set(inTrailer === undefined ? sent : [...sent, inTrailer])
  if (all.size > 1) throw new S3Failure('InvalidRequest', 'Only one checksum can be given.')
  const named = headers['x-amz-sdk-checksum-algorithm'] ?? headers['x-amz-checksum-algorithm']
  const wanted = named === undefined ? undefined : checksumAlgorithm(named)
  if (named !== undefined && wanted === undefined) {
    throw new S3Failure('InvalidRequest', `The checksum algorithm ${named} is not known.`)
  }
  return [...all][0] ?? wanted
}
