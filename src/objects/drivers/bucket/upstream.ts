/**
 * What the front of a bucket asks of the store that somebody else runs: the request as it came, signed anew with the store's key,
 * its body checked on the way. Invariant: the last bytes of a body that is not what was announced are never sent, so the store
 * has nothing whole to keep.
 */
import { createHash } from 'node:crypto'
import { Agent, request as askPlain } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { Agent as TlsAgent, request as askTls } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { messageOf } from '../../../base/index.ts'
import { startChecksum } from '../../s3/checksums.ts'
import { S3Failure } from '../../s3/failure.ts'
import { readCopySource } from '../../s3/request.ts'
import type { S3Request } from '../../s3/request.ts'
import { unsignedPayload, uriEncode } from '../../s3/signature.ts'
import { putBytesMax } from '../embedded/body.ts'
import type { RequestBody } from '../embedded/body.ts'
import type { Answer } from '../embedded/call.ts'
import { signed } from '../s3/presign.ts'

const connectionsMax = 64
const idleMs = 60_000

/** A bucket of a store that somebody else runs, and the key to it. */
export interface Upstream {
  /** `https://host:port`. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** What of a request is for the store; the rest belongs to the connection, or to the signature that was checked here. */
const passedOn =
  /^(?:content-(?:type|md5|disposition|language)|cache-control|expires|range|if-[a-z-]+|x-amz-(?!date$|content-sha256$|security-token$|decoded-content-length$|trailer$|sdk-checksum-algorithm$|copy-source$|bypass-governance-retention$|expected-bucket-owner$).+)$/
/** What of an answer belongs to the connection to the store. */
const ownHeaders = ['connection', 'keep-alive', 'transfer-encoding', 'server', 'date', 'x-amz-request-id', 'location']

/** The way to a store: through a Unix socket that leads there and nowhere else. */
export class Way implements Disposable {
  readonly #outletPath: string
  readonly #plain = new Agent({ keepAlive: true, maxSockets: connectionsMax })
  readonly #tls = new TlsAgent({ keepAlive: true, maxSockets: connectionsMax })

  constructor(outletPath: string) {
    this.#outletPath = outletPath
  }

  /** Asks the store. `body`: what is sent; undefined where the request has none. Throws SlowDown where it cannot be reached, and what checking the body does. */
  async ask(upstream: Upstream, request: S3Request, body: RequestBody | undefined, nowMs: number): Promise<Answer> {
    const { method, key } = request
    const query = request.parameters.filter(([name]) => !name.startsWith('X-Amz-'))
    const unsigned = { method, key, query, headers: headersFor(upstream, request, body), payloadHash: unsignedPayload }
    const { target, headers } = signed(upstream, unsigned, nowMs)
    const { hostname, protocol } = new URL(upstream.endpoint)
    const how = { socketPath: this.#outletPath, path: target, method, headers, timeout: idleMs }
    const asking =
      protocol === 'https:'
        ? askTls({ ...how, agent: this.#tls, servername: hostname })
        : askPlain({ ...how, agent: this.#plain })
    asking.once('timeout', () => asking.destroy(new Error('no answer in time')))
    return answerOf(method, await exchanged(asking, body))
  }

  [Symbol.dispose](): void {
    this.#plain.destroy()
    this.#tls.destroy()
  }
}

/** Sends the body and waits for the answer, which may come before the body has ended. */
async function exchanged(asking: ClientRequest, body: RequestBody | undefined): Promise<IncomingMessage> {
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    // Heard to the end: it may break once more after it was answered.
    asking.on('error', reject)
    asking.once('response', resolve)
  })
  let failed: unknown
  const sent =
    body === undefined
      ? Promise.resolve(void asking.end())
      : pipeline(checked(body), asking).catch((error: unknown) => void (failed = error))
  try {
    return await answered
  } catch (error) {
    await sent
    // What was wrong with the body ended the request; otherwise the connection did.
    if (failed instanceof S3Failure) throw failed
    throw new S3Failure('SlowDown', `The store behind this bucket cannot be reached: ${messageOf(error)}.`)
  }
}

function headersFor(upstream: Upstream, request: S3Request, body: RequestBody | undefined): Record<string, string> {
  const { headers } = request
  const passed = Object.entries(headers).filter(([name]) => passedOn.test(name))
  const found: Record<string, string> = Object.fromEntries(passed)
  const encoding = (headers['content-encoding'] ?? '')
    .replace(/(?:^|,)\s*aws-chunked\s*(?=,|$)/, '')
    .replace(/^,\s*/, '')
  if (encoding !== '') found['content-encoding'] = encoding
  const source = headers['x-amz-copy-source']
  if (source !== undefined) {
    const { key, version } = readCopySource(source)
    const named = version === undefined ? '' : `?versionId=${uriEncode(version)}`
    found['x-amz-copy-source'] = `/${upstream.bucket}/${uriEncode(key, true)}${named}`
  }
  if (body !== undefined) {
    const chunked = (headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-')
    const length = headers[chunked ? 'x-amz-decoded-content-length' : 'content-length']
    if (length !== undefined) found['content-length'] = length
  } else if (request.method === 'PUT' || request.method === 'POST') found['content-length'] = '0'
  return found
}

/** The bytes of a body, the last piece only once all are known to be what was announced. */
async function* checked(body: RequestBody): AsyncGenerator<Uint8Array> {
  const [md5, sha256] = [createHash('md5'), createHash('sha256')]
  const { algorithm } = body
  const sum = algorithm === undefined ? undefined : startChecksum(algorithm)
  let bytes = 0
  let held: Uint8Array | undefined
  for await (const piece of body.stream(putBytesMax)) {
    for (const digest of [md5, sha256]) digest.update(piece)
    sum?.update(piece)
    bytes += piece.length
    if (held !== undefined) yield held
    held = piece
  }
  const checksums = new Map(algorithm === undefined || sum === undefined ? [] : [[algorithm, sum.digest()] as const])
  body.check({ bytes, md5: md5.digest('hex'), sha256: sha256.digest('hex'), checksums })
  if (held !== undefined) yield held
}

function answerOf(method: string, message: IncomingMessage): Answer {
  const headers: Record<string, string> = {}
  for (const [name, values] of Object.entries(message.headersDistinct)) {
    if (values !== undefined && !ownHeaders.includes(name)) headers[name] = values.join(',')
  }
  // Whoever reads the body sees it; nobody may be left to.
  message.on('error', () => {})
  const status = message.statusCode ?? 502
  if (method !== 'HEAD' && status !== 204 && status !== 304) return { status, headers, body: message }
  message.resume()
  return { status, headers }
}
