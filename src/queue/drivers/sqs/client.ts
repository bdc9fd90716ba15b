/**
 * Asks a server that speaks the JSON protocol of SQS: one signed request for each call, over connections that are kept. It never
 * tries again. Whether nothing was done, or the answer was lost, is told from each other.
 */
import type { Pool } from 'undici'
import { isSteadError, messageOf } from '../../../base/index.ts'
import type { Clock, SteadError } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { Signer } from './signature.ts'
import type { SqsCredentials } from './signature.ts'

export interface SqsClientOptions {
  /** `https://host[:port]`. */
  readonly endpoint: string
  readonly region: string
  readonly credentials: SqsCredentials
  readonly clock: Clock
}

const connectMs = 5000
/** How long an answer may take, beyond the time that the server was asked to wait. */
const answerMs = 15_000
/** Connections for calls that are answered at once, and for those that wait for messages. */
const callsMax = 16
const pollsMax = 256
/** What the largest answer can be: ten messages of a mebibyte, escaped. */
const answerBytesMax: number = 64 * 1024 * 1024
/** Actions that change messages: when their answer is lost, it is not known whether they were done. Others can be asked again. */
const changing: readonly string[] = ['SendMessageBatch', 'DeleteMessageBatch', 'ChangeMessageVisibilityBatch']

/** An entry of a batch that the server did not carry out. */
export interface SqsRefusal {
  readonly code: string
  readonly message: string
}

export class SqsClient {
  readonly place: string
  readonly #options: SqsClientOptions
  readonly #signer: Signer
  /** Those of polls apart, so that no call waits behind one. */
  #pools: Promise<{ readonly calls: Pool; readonly polls: Pool }> | null = null
  #product = ''

  constructor(options: SqsClientOptions) {
    const { endpoint, region, credentials } = options
    this.#options = options
    this.place = `the SQS server at ${new URL(endpoint).host}`
    this.#signer = new Signer(credentials, region, 'sqs')
  }

  /** The HTTP client is loaded when it is used: most processes that know of queues never ask SQS. */
  async #open(): Promise<{ readonly calls: Pool; readonly polls: Pool }> {
    const { Pool } = await import('undici')
    const { endpoint } = this.#options
    const settings = { connect: { timeout: connectMs }, maxResponseSize: answerBytesMax }
    return {
      calls: new Pool(endpoint, { ...settings, connections: callsMax }),
      polls: new Pool(endpoint, { ...settings, connections: pollsMax }),
    }
  }

  /** What the server calls itself in its answers; empty where it does not. */
  get product(): string {
    return this.#product
  }

  /**
   * The answer to one action. `waitMs` is how long the server was asked to wait. Throws `queue.no-such-queue`,
   * `queue.not-authorized`, `queue.rejected`, `queue.unavailable` when nothing was done, `queue.outcome-unknown` when that is not known.
   */
  async call<Answer>(action: string, input: object, waitMs = 0): Promise<Answer> {
    const body = JSON.stringify(input)
    const headers = {
      host: new URL(this.#options.endpoint).host,
      'content-type': 'application/x-amz-json-1.0',
      'x-amz-target': `AmazonSQS.${action}`,
    }
    const timeoutMs = answerMs + waitMs
    try {
      this.#pools ??= this.#open()
      const { calls, polls } = await this.#pools
      const answer = await (waitMs > 0 ? polls : calls).request({
        method: 'POST',
        path: '/',
        headers: this.#signer.signed(headers, body, this.#options.clock.nowMs()),
        body,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
      })
      const { server } = answer.headers
      if (typeof server === 'string') this.#product = server
      const text = await answer.body.text()
      if (answer.statusCode === 200) return JSON.parse(text === '' ? '{}' : text)
      throw this.#refusal(action, answer.statusCode, text, answer.headers['x-amzn-query-error'])
    } catch (error) {
      throw isSteadError(error) ? error : this.#away(action, error)
    }
  }

  /** What the server says when it does not do it. */
  #refusal(action: string, status: number, text: string, queryError: string | string[] | undefined): SteadError {
    const said = saidIn(text)
    // Some errors have two names; the older one is in a header of its own.
    const older = String(queryError ?? '').split(';')[0] ?? ''
    return this.refused(
      { code: said.code === '' ? older || `status ${status}` : said.code, message: said.message },
      action,
      status,
    )
  }

  /** The refusal of a call, or of an entry of one, as an error of queues. */
  refused({ code, message }: SqsRefusal, action: string, status = 400): SteadError {
    const text = `${this.place} does not do ${action}: ${code}${message === '' ? '' : `: ${message}`}`
    if (/QueueDoesNotExist|NonExistentQueue/.test(code)) {
      return failure('no-such-queue', text, 'Declare it before it is used.')
    }
    if (status === 401 || status === 403 || /AccessDenied|Token|Signature|Unrecognized|AuthFailure|OptIn/.test(code)) {
      const hint = 'Look at the key, its rights, when it runs out, and the clock of this machine.'
      return failure('not-authorized', text, hint)
    }
    if (/OverLimit/.test(code)) return failure('full', text, 'Settle what is held first.')
    if (status === 429 || /Throttl|DeletedRecently|InProgress/.test(code)) {
      return failure('unavailable', text, 'Ask again later, or less often.')
    }
    if (status >= 500 || /InternalError|InternalFailure|ServiceUnavailable/.test(code)) {
      return failure(changing.includes(action) ? 'outcome-unknown' : 'unavailable', text, 'Ask again later.')
    }
    return failure('rejected', text, 'Look at the message, the queue and the limits of the server.')
  }

  #away(action: string, error: unknown): SteadError {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    const text = `${this.place} does not answer: ${messageOf(error) || code}`
    const notSent = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|CONNECT_TIMEOUT|CERT|SELF_SIGNED/.test(
      code,
    )
    return notSent || !changing.includes(action)
      ? failure('unavailable', text, 'See whether it runs and can be reached.', error)
      : failure('outcome-unknown', text, 'It may have been done.', error)
  }

  async close(): Promise<void> {
    const pools = await this.#pools
    await Promise.all([pools?.calls.destroy(), pools?.polls.destroy()])
  }
}

function saidIn(text: string): SqsRefusal {
  try {
    const said: { readonly __type?: string; readonly message?: string; readonly Message?: string } = JSON.parse(text)
    // The name may come with that of the service before it.
    return { code: said.__type?.split('#').at(-1) ?? '', message: said.message ?? said.Message ?? '' }
  } catch {
    return { code: '', message: text.slice(0, 200) }
  }
}
