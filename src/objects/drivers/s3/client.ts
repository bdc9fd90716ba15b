/**
 * One signed request to an S3 server and its answer. What may be sent again is, a few times, where the server says that it is
 * busy or the connection broke; every answer that is an error becomes one of the room's.
 */
import { createHash } from 'node:crypto'
import type { Dispatcher, Pool } from 'undici'
import { messageOf, sleep } from '../../../base/index.ts'
import type { Clock } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { emptyHash } from '../../s3/signature.ts'
import { readXml, textOf } from '../../s3/xml.ts'
import { signed } from './presign.ts'
import type { Signer } from './presign.ts'

const attemptsMax = 4
const retryDelayMs = 100
const errorBytesMax = 64 * 1024
const documentBytesMax = 8 * 1024 * 1024
const connectionsMax = 64
const waitMs = 60_000
const closeMs = 10_000

export interface S3Question {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Undefined means the bucket itself. */
  readonly key?: string
  readonly query?: readonly (readonly [string, string])[]
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array
  /** The hash that is claimed; that of the body otherwise. */
  readonly payloadHash?: string
  /** Whether it may be sent again when nobody knows what became of it. */
  readonly repeatable: boolean
  readonly signal?: AbortSignal | undefined
}

export interface S3Answer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Dispatcher.ResponseData['body']
}

/** An answer that is an error, as the server gave it. */
export interface S3Refusal {
  readonly status: number
  readonly code: string
  readonly message: string
}

export class S3Client implements AsyncDisposable {
  readonly signer: Signer
  readonly clock: Clock
  #pool: Promise<Pool> | null = null

  constructor(signer: Signer, clock: Clock) {
    this.signer = signer
    this.clock = clock
  }

  /** The HTTP client is loaded when it is used: most processes that know of buckets never ask another server. */
  async #open(): Promise<Pool> {
    const { Pool } = await import('undici')
    const { endpoint, virtualHost, bucket } = this.signer
    const base = new URL(endpoint)
    const host = virtualHost === true ? `${bucket}.${base.host}` : base.host
    const settings = { connections: connectionsMax, headersTimeout: waitMs, bodyTimeout: waitMs }
    return new Pool(`${base.protocol}//${host}`, settings)
  }

  /** Asks; resolves with an answer that is no error, or a refusal that the caller has to understand. */
  async ask(question: S3Question): Promise<S3Answer | S3Refusal> {
    for (let attempt = 1; ; attempt += 1) {
      const last = attempt === attemptsMax
      try {
        const answer = await this.#send(question)
        if (!('code' in answer)) return answer
        const busy = answer.status === 503 || answer.code === 'SlowDown' || answer.code === 'ConditionalRequestConflict'
        if (last || !(busy || (question.repeatable && answer.status >= 500 && answer.status !== 501))) return answer
      } catch (error) {
        question.signal?.throwIfAborted()
        if (last || !question.repeatable) throw this.#unreachable(error)
      }
      await sleep(this.clock, retryDelayMs * 4 ** (attempt - 1), question.signal)
    }
  }

  /** Asks; throws what the server refuses. */
  async demand(question: S3Question): Promise<S3Answer> {
    const answer = await this.ask(question)
    if ('code' in answer) throw this.refused(answer)
    return answer
  }

  /** The document that an answer carries. Throws `objects.unavailable` where it is none. */
  async document(answer: S3Answer): Promise<string> {
    return textWithin(answer.body, documentBytesMax)
  }

  /** What a server refuses, as an error of the room. */
  refused({ status, code, message }: S3Refusal): Error {
    const where = `${this.signer.endpoint}, bucket ${this.signer.bucket}`
    const said = `${code || status}: ${message || 'without a reason'}`
    if (code === 'NoSuchBucket')
      return failure('no-bucket', `the bucket is not there (${where})`, 'Make it, or look at its name.')
    if (status === 401 || status === 403) {
      return failure(
        'denied',
        `${where} refuses: ${said}`,
        'Look at the key, its rights, and the clock of this machine.',
      )
    }
    if (status === 501)
      return failure('unsupported', `${where} does not do this: ${said}`, 'Use another store, or do without.')
    if (status >= 500 || status === 429)
      return failure('unavailable', `${where} does not answer as it should: ${said}`, 'Try again later.')
    return failure('refused', `${where} refuses: ${said}`, 'Look at what was asked for; trying again will not help.')
  }

  #unreachable(error: unknown): Error {
    const message = `${this.signer.endpoint} cannot be reached: ${messageOf(error)}`
    return failure('unavailable', message, 'What was being written is there whole, or not at all: read to see.', error)
  }

  async #send(question: S3Question): Promise<S3Answer | S3Refusal> {
    const { method, key, query = [], headers = {}, body, signal } = question
    const payloadHash =
      question.payloadHash ?? (body === undefined ? emptyHash : createHash('sha256').update(body).digest('hex'))
    const { target, headers: all } = signed(
      this.signer,
      { method, key, query, headers, payloadHash },
      this.clock.nowMs(),
    )
    this.#pool ??= this.#open()
    const response = await (
      await this.#pool
    ).request({
      method,
      path: target,
      headers: all,
      body: body ?? null,
      ...(signal === undefined ? {} : { signal }),
    })
    const found: Record<string, string> = {}
    for (const [name, value] of Object.entries(response.headers))
      found[name] = Array.isArray(value) ? value.join(',') : (value ?? '')
    const { statusCode: status, body: content } = response
    if (status < 300) return { status, headers: found, body: content }
    const text = await textWithin(content, errorBytesMax)
    return { status, ...errorOf(text) }
  }

  /** Waits for what is on its way, and a little for bodies that somebody still reads; one that nobody reads ends with it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pool = await this.#pool
    if (pool === null) return
    const closed = pool.close()
    const patience = new AbortController()
    const forgotten = sleep(this.clock, closeMs, patience.signal).then(
      () => pool.destroy(),
      () => undefined,
    )
    await Promise.race([closed, forgotten])
    patience.abort()
  }
}

async function textWithin(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<string> {
  const pieces: Uint8Array[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > bytesMax)
      throw failure('unavailable', 'the server answers with more than it should', 'Look at the server.')
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString('utf8')
}

function errorOf(text: string): { readonly code: string; readonly message: string } {
  try {
    const root = readXml(text, 'Error')
    return { code: textOf(root, 'Code') ?? '', message: textOf(root, 'Message') ?? '' }
  } catch {
    return { code: '', message: text.slice(0, 200) }
  }
}
