/**
 * The REST interface of an Incus server, or of LXD, which it comes from: one request at a time, an operation waited for to its
 * end.
 *
 * Invariants: every request has an end in time and every answer a bound in size; what the server says of a refusal is told in
 * its own words.
 */
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { SteadError, messageOf } from '../../../base/index.ts'

/** Where a server is reached: its socket on this machine, or by TLS with a certificate that it trusts. */
export type IncusAddress =
  | { readonly socketPath: string }
  | {
      /** As in `https://127.0.0.1:8443`. */
      readonly url: string
      /** In PEM: the client's, and the server's own. */
      readonly certificate: string
      readonly key: string
      readonly serverCertificate: string
    }

const answerBytesMax = 16 * 2 ** 20
const answerTimeoutMs = 30_000
/** Most an operation may take. */
const operationTimeoutMs = 120_000

/** What the server answers; `metadata` is that of the answer, or of the operation once it has ended. */
interface Answer {
  readonly type: string
  readonly error?: string
  readonly error_code?: number
  readonly operation?: string
  readonly metadata: unknown
}

/** A refusal of the server. */
export class IncusRefusal extends Error {
  /** As in HTTP: 404 for what is not there. */
  readonly status: number

  constructor(status: number, said: string) {
    super(said)
    this.status = status
  }
}

export class IncusApi {
  /** For messages. */
  readonly name: string
  readonly #address: IncusAddress
  readonly #project: string | null

  constructor(address: IncusAddress, project: string | null) {
    this.#address = address
    this.#project = project
    this.name = 'url' in address ? address.url : address.socketPath
  }

  async get(path: string): Promise<unknown> {
    return (await this.#ask('GET', path, null)).metadata
  }

  /** The answer, or null where the server has no such thing. */
  async find(path: string): Promise<unknown> {
    return await this.get(path).catch(orNull)
  }

  /** Waits for what it begins. Throws `IncusRefusal`, or `sandbox.unavailable` when the server does not answer. */
  async post(path: string, body: object | Buffer): Promise<unknown> {
    return await this.#wait(await this.#ask('POST', path, body))
  }

  async put(path: string, body: object): Promise<unknown> {
    return await this.#wait(await this.#ask('PUT', path, body))
  }

  /** Nothing happens where there is no such thing. */
  async delete(path: string): Promise<void> {
    await this.#ask('DELETE', path, null)
      .then((answer) => this.#wait(answer))
      .catch(orNull)
  }

  async #wait(answer: Answer): Promise<unknown> {
    if (answer.type !== 'async' || answer.operation === undefined) return answer.metadata
    const seconds = operationTimeoutMs / 1000
    const path = `${answer.operation.split('?')[0]}/wait?timeout=${seconds}`
    const ended = fields((await this.#ask('GET', path, null, operationTimeoutMs + answerTimeoutMs)).metadata)
    const status = Number(ended['status_code'])
    if (status === 200) return ended['metadata']
    const said = status < 200 ? `it took more than ${seconds} s` : String(ended['err'] ?? ended['status'])
    throw new IncusRefusal(/not found/i.test(said) ? 404 : status, said)
  }

  async #ask(
    method: string,
    path: string,
    body: object | Buffer | null,
    timeoutMs: number = answerTimeoutMs,
  ): Promise<Answer> {
    const { status, text } = await this.#send(method, this.#within(path), body, timeoutMs).catch((error: unknown) => {
      throw new SteadError({
        code: 'sandbox.unavailable',
        message: `The Incus server at ${this.name} does not answer: ${messageOf(error)}.`,
        hint: 'See that it runs, and that this process may use it (its socket is for a group, its port for certificates it trusts).',
        retry: 'later',
      })
    })
    const answer = parse(text)
    if (answer === null) throw new IncusRefusal(status, `it answered ${method} ${path} with no JSON (${status})`)
    if (answer.type === 'error') throw new IncusRefusal(answer.error_code ?? status, answer.error ?? 'no reason given')
    return answer
  }

  #within(path: string): string {
    if (this.#project === null) return path
    return `${path}${path.includes('?') ? '&' : '?'}project=${encodeURIComponent(this.#project)}`
  }

  #send(
    method: string,
    path: string,
    body: object | Buffer | null,
    timeoutMs: number,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const isBytes = Buffer.isBuffer(body)
    const content = body === null ? Buffer.alloc(0) : isBytes ? body : Buffer.from(JSON.stringify(body))
    const headers = {
      'content-type': isBytes ? 'application/octet-stream' : 'application/json',
      'content-length': content.length,
      connection: 'close',
    }
    const common = { method, headers, signal: AbortSignal.timeout(timeoutMs) }
    const address = this.#address
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
    const request =
      'socketPath' in address
        ? httpRequest({ ...common, socketPath: address.socketPath, path })
        : httpsRequest(new URL(path, address.url), {
            ...common,
            cert: address.certificate,
            key: address.key,
            ca: address.serverCertificate,
            // The certificate itself is trusted, whatever names stand in it.
            checkServerIdentity: () => undefined,
          })
    request.on('error', reject)
    request.on('response', (response) => {
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        bytes += chunk.length
        if (bytes > answerBytesMax) response.destroy(new Error(`its answer is larger than ${answerBytesMax} bytes`))
      })
      response.on('error', reject)
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
    })
    request.end(content)
    return promise
  }
}

/** The members of what should be an object. */
export function fields(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}

function orNull(error: unknown): null {
  if (error instanceof IncusRefusal && error.status === 404) return null
  throw error
}

function parse(text: string): Answer | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof fields(value)['type'] === 'string' ? (value as Answer) : null
  } catch {
    return null
  }
}
