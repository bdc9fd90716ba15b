/**
 * Signature Version 4 of AWS for the one kind of request that queues need: POST to `/`, without a query, with a body that is
 * signed. Pure: the time is passed in. The key of a day is derived once.
 */
import { createHash, createHmac } from 'node:crypto'

export interface SqsCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of credentials that were lent for a time; null otherwise. */
  readonly sessionToken: string | null
}

const algorithm = 'AWS4-HMAC-SHA256'

export class Signer {
  readonly #credentials: SqsCredentials
  readonly #region: string
  readonly #service: string
  #key: { readonly day: string; readonly bytes: Buffer } | undefined

  constructor(credentials: SqsCredentials, region: string, service: string) {
    this.#credentials = credentials
    this.#region = region
    this.#service = service
  }

  /** The headers of a request, with those that sign it. `headers` has `host`, in lower-case names. */
  signed(headers: Readonly<Record<string, string>>, body: string, nowMs: number): Record<string, string> {
    const { accessKeyId, sessionToken } = this.#credentials
    const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = time.slice(0, 8)
    const all: Record<string, string> = { ...headers, 'x-amz-date': time }
    if (sessionToken !== null) all['x-amz-security-token'] = sessionToken
    const names = Object.keys(all).sort()
    const lines = names.map((name) => `${name}:${(all[name] ?? '').trim()}\n`).join('')
    const list = names.join(';')
    const request = ['POST', '/', '', lines, list, sha256(body)].join('\n')
    const scope = `${day}/${this.#region}/${this.#service}/aws4_request`
    const text = [algorithm, time, scope, sha256(request)].join('\n')
    const signature = hmac(this.#keyOf(day), text).toString('hex')
    all['authorization'] =
      `${algorithm} Credential=${accessKeyId}/${scope}, SignedHeaders=${list}, Signature=${signature}`
    return all
  }

  #keyOf(day: string): Buffer {
    if (this.#key?.day !== day) {
      const first = Buffer.from(`AWS4${this.#credentials.secretAccessKey}`)
      this.#key = { day, bytes: [day, this.#region, this.#service, 'aws4_request'].reduce(hmac, first) }
    }
    return this.#key.bytes
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
