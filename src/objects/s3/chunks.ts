/**
 * The body encoding `aws-chunked`: chunks with their length and, where the body is signed, a signature each that covers the
 * one before; trailers at the end may carry a checksum. A decoder is fed bytes as they come and hands out payload; it holds
 * at most one line or, of a signed body, the hash of one chunk.
 */
import { createHash } from 'node:crypto'
import type { Hash } from 'node:crypto'
import { S3Failure } from './failure.ts'
import { sameSignature, signChunk, signTrailer } from './signature.ts'
import type { Scope } from './signature.ts'

/** What signs the chunks of a body; the first chunk continues from the signature of the request. */
export interface ChunkSigning {
  readonly key: Buffer
  readonly amzDate: string
  readonly scope: Scope
  readonly seed: string
}

const lineBytesMax = 4096
const trailersMax = 16
const chunkBytesMax = 1024 * 1024 * 1024

type Phase = 'size' | 'data' | 'data-end' | 'trailer' | 'done'

/** Decodes one body. `push` hands out payload, `end` says whether the body was whole. */
export class ChunkDecoder {
  readonly #signing: ChunkSigning | undefined
  readonly #withTrailers: boolean
  readonly trailers: Map<string, string> = new Map()
  #phase: Phase = 'size'
  #line = ''
  #leftBytes = 0
  #signature = ''
  #previous: string
  #hash: Hash | undefined
  #trailerText = ''

  constructor(signing: ChunkSigning | undefined, withTrailers: boolean) {
    this.#signing = signing
    this.#withTrailers = withTrailers
    this.#previous = signing?.seed ?? ''
  }

  /** Takes bytes of the body, yields payload. Throws IncompleteBody, InvalidRequest or SignatureDoesNotMatch. */
  *push(bytes: Uint8Array): Generator<Uint8Array> {
    let at = 0
    while (at < bytes.length) {
      if (this.#phase === 'done') throw new S3Failure('InvalidRequest', 'The body goes on after its last chunk.')
      if (this.#phase === 'data') {
        const piece = bytes.subarray(at, at + this.#leftBytes)
        at += piece.length
        this.#leftBytes -= piece.length
        this.#hash?.update(piece)
        if (this.#leftBytes === 0) this.#chunkEnds()
        yield piece
        continue
      }
      const end = bytes.indexOf(10, at)
      const stop = end === -1 ? bytes.length : end
      this.#line += Buffer.from(bytes.subarray(at, stop)).toString('latin1')
      if (this.#line.length > lineBytesMax)
        throw new S3Failure('InvalidRequest', 'A line of the chunked body is too long.')
      at = stop + 1
      if (end !== -1) {
        const line = this.#line.replace(/\r$/, '')
        this.#line = ''
        this.#takeLine(line)
      }
    }
  }

  /** The body has ended. Throws IncompleteBody when it was not whole. */
  end(): void {
    // The empty line after the last chunk may be missing: some clients leave it out.
    if (this.#phase === 'trailer' && this.#line === '') this.#trailersEnd()
    if (this.#phase !== 'done') throw new S3Failure('IncompleteBody')
  }

  #takeLine(line: string): void {
    if (this.#phase === 'size') this.#chunkBegins(line)
    else if (this.#phase === 'data-end') {
      if (line !== '') throw new S3Failure('IncompleteBody', 'A chunk is longer than it says.')
      this.#phase = 'size'
    } else if (line === '') this.#trailersEnd()
    else this.#takeTrailer(line)
  }

  #chunkBegins(line: string): void {
    const match = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?\s*$/.exec(line)
    const bytes = Number.parseInt(match?.[1] ?? '', 16)
    if (match === null || bytes > chunkBytesMax)
      throw new S3Failure('InvalidRequest', 'A chunk of the body has no readable length.')
    this.#signature = match[2] ?? ''
    if (this.#signing !== undefined) this.#hash = createHash('sha256')
    this.#leftBytes = bytes
    if (bytes > 0) this.#phase = 'data'
    else {
      this.#verifyChunk()
      this.#phase = 'trailer'
    }
  }

  #chunkEnds(): void {
    this.#verifyChunk()
    this.#phase = 'data-end'
  }

  #verifyChunk(): void {
    if (this.#signing === undefined || this.#hash === undefined) return
    const { key, amzDate, scope } = this.#signing
    const expected = signChunk(key, amzDate, scope, this.#previous, this.#hash.digest('hex'))
    if (!sameSignature(expected, this.#signature))
      throw new S3Failure('SignatureDoesNotMatch', 'The signature of a chunk does not match.')
    this.#previous = expected
  }

  #takeTrailer(line: string): void {
    const colon = line.indexOf(':')
    if (!this.#withTrailers || colon < 1 || this.trailers.size >= trailersMax) {
      throw new S3Failure('InvalidRequest', 'The body ends with trailers that were not announced.')
    }
    const name = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    this.trailers.set(name, value)
    if (name !== 'x-amz-trailer-signature') this.#trailerText += `${name}:${value}\n`
  }

  #trailersEnd(): void {
    if (this.#signing !== undefined && this.#withTrailers) {
      const { key, amzDate, scope } = this.#signing
      const expected = signTrailer(key, amzDate, scope, this.#previous, this.#trailerText)
      if (!sameSignature(expected, this.trailers.get('x-amz-trailer-signature') ?? '')) {
        throw new S3Failure('SignatureDoesNotMatch', 'The signature of the trailers does not match.')
      }
    }
    this.#phase = 'done'
  }
}
