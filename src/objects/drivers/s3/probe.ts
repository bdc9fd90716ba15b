/**
 * What an S3 server really does, found out by doing it, once, when it is attached: racing creators, stale ETags, wrong
 * checksums, a URL that has ended, paging. Works on objects of its own under one prefix and removes them again.
 */
import { randomId, systemClock, systemRandom } from '../../../base/index.ts'
import type { Random } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { childrenNamed, readXml, textOf, writeXml } from '../../s3/xml.ts'
import type { Durability, ObjectCapabilities } from '../../store.ts'
import { S3Client } from './client.ts'
import type { S3Answer, S3Refusal } from './client.ts'
import { presignUrl } from './presign.ts'
import { signerOf } from './s3.ts'
import type { S3Options } from './s3.ts'

/** A server that reads first and writes then lets several in, not each time but soon. */
const racers = 20
const raceRounds = 3
const pagedKeys = 7
const dayMs = 86_400_000

export interface ProbeOptions extends Omit<S3Options, 'capabilities'> {
  readonly random?: Random
  /** What the operator knows of the server's disks: no request can find that out. Defaults to `unknown`. */
  readonly durability?: Durability
}

/** What was found, with a sentence for each thing that the server does not do. */
export interface Probe {
  readonly capabilities: ObjectCapabilities
  readonly findings: readonly string[]
}

/** What an app can ask of a store when it is declared. */
export interface ObjectNeeds {
  readonly putIfAbsent?: boolean
  readonly putIfMatch?: boolean
  readonly checksums?: boolean
  readonly presign?: boolean
  readonly paging?: boolean
  readonly versions?: boolean
  /** The bucket goes back with the database of the app: by names in it, which needs listings that are whole. */
  readonly snapshots?: boolean
  /** Answered writes are on a disk. */
  readonly durable?: boolean
}

/** Probes a bucket. Throws `objects.denied`, `objects.no-bucket` or `objects.unavailable` where it cannot even write there. */
export async function probeS3(options: ProbeOptions): Promise<Probe> {
  const clock = options.clock ?? systemClock
  await using client = new S3Client(signerOf(options), clock)
  const prefix = `.stead-probe-${randomId(options.random ?? systemRandom, 12)}/`
  const probing = new Probing(client, prefix)
  try {
    await probing.begin()
    const checks: readonly (readonly [keyof ObjectCapabilities, () => Promise<string | undefined>])[] = [
      ['putIfAbsent', () => probing.racingCreators()],
      ['putIfMatch', () => probing.staleWriter()],
      ['checksums', () => probing.wrongChecksum()],
      ['presign', () => probing.endedUrl()],
      ['paging', () => probing.pages()],
      ['versions', () => probing.versioning()],
    ]
    const findings: string[] = []
    const held: Partial<Record<keyof ObjectCapabilities, boolean>> = {}
    for (const [name, check] of checks) {
      const finding = await check()
      held[name] = finding === undefined
      if (finding !== undefined) findings.push(`${name}: ${finding}`)
    }
    const {
      putIfAbsent = false,
      putIfMatch = false,
      checksums = false,
      presign = false,
      paging = false,
      versions = false,
    } = held
    const durability = options.durability ?? 'unknown'
    return { capabilities: { putIfAbsent, putIfMatch, checksums, presign, paging, versions, durability }, findings }
  } finally {
    await probing.end()
  }
}

/** Refuses a store that does not do what is needed. Throws `objects.unsupported` with every reason. */
export function refuseUnless(name: string, { capabilities, findings }: Probe, needs: ObjectNeeds): void {
  const { durable = false, snapshots = false, ...rest } = needs
  const missing = Object.entries(rest).flatMap(([need, wanted]) => {
    const found = Object.entries(capabilities).find(([capability]) => capability === need)?.[1]
    if (!wanted || found === true) return []
    return [findings.find((finding) => finding.startsWith(`${need}:`)) ?? `${need}: not done`]
  })
  if (durable && capabilities.durability !== 'fsync') {
    missing.push(
      `durable: what it has answered as written is ${capabilities.durability === 'none' ? 'not on a disk' : 'not known to be on a disk'}`,
    )
  }
  if (snapshots && !capabilities.paging) {
    const reason = findings.find((finding) => finding.startsWith('paging:')) ?? 'paging: not done'
    missing.push(`snapshots: what nothing needs any more could not be found, because of ${reason}`)
  }
  if (missing.length === 0) return
  const hint = 'Use a store that does, such as the embedded one, or an app that needs less.'
  throw failure('unsupported', `${name} does not do what is needed: ${missing.join('; ')}`, hint)
}

class Probing {
  readonly #client: S3Client
  readonly #prefix: string
  readonly #made = new Set<string>()

  constructor(client: S3Client, prefix: string) {
    this.#client = client
    this.#prefix = prefix
  }

  async begin(): Promise<void> {
    const answer = await this.#put('begin', 'begin', {})
    if ('code' in answer) throw this.#client.refused(answer)
  }

  async racingCreators(): Promise<string | undefined> {
    for (let round = 0; round < raceRounds; round += 1) {
      const winners = await this.#race(`race/${round}`, { 'if-none-match': '*' })
      const late = await this.#put(`race/${round}`, 'late', { 'if-none-match': '*' })
      if (winners === 1 && 'code' in late && late.status === 412) continue
      const outcome = 'code' in late ? `answered ${late.status}` : 'let in'
      return `${winners} of ${racers} racing creators won, and a late one was ${outcome}`
    }
    const late = await this.#letsInParts('race/0', { 'if-none-match': '*' })
    return late ? 'a late creator whose content came in parts was let in' : undefined
  }

  async staleWriter(): Promise<string | undefined> {
    const first = await this.#put('match', 'one', {})
    let etag = 'code' in first ? '' : (first.headers['etag'] ?? '')
    for (let round = 0; round < raceRounds; round += 1) {
      const fresh = await this.#put('match', `two, round ${round}`, { 'if-match': etag })
      if ('code' in fresh) return `a writer with the current ETag was answered ${fresh.status}`
      const stale = await this.#put('match', 'three', { 'if-match': etag })
      if (!('code' in stale) || stale.status !== 412) return 'a writer with an old ETag was let in'
      const winners = await this.#race('match', { 'if-match': fresh.headers['etag'] ?? '' })
      if (winners !== 1) return `${winners} of ${racers} racing writers with the same ETag won`
      const after = await this.#put('match', 'four', {})
      etag = 'code' in after ? '' : (after.headers['etag'] ?? '')
    }
    const stale = await this.#letsInParts('match', { 'if-match': '"00000000000000000000000000000000"' })
    return stale ? 'a writer with an old ETag whose content came in parts was let in' : undefined
  }

  /** Whether content in parts is taken although the condition does not hold: some servers look at conditions of whole content alone. */
  async #letsInParts(name: string, condition: Record<string, string>): Promise<boolean> {
    const key = `${this.#prefix}${name}`
    const begun = await this.#client.ask({ method: 'POST', key, query: [['uploads', '']], repeatable: true })
    // Where there are no parts, nothing comes in them.
    if ('code' in begun) return false
    const id = textOf(readXml(await this.#client.document(begun), 'InitiateMultipartUploadResult'), 'UploadId') ?? ''
    const upload = ['uploadId', id] as const
    const [body, headers] = [Buffer.from('in parts'), { 'content-length': '8' }]
    const query = [['partNumber', '1'] as const, upload]
    const sent = await this.#client.ask({ method: 'PUT', key, query, headers, body, repeatable: true })
    if (!('code' in sent)) {
      await sent.body.dump()
      const parts = { Part: [{ PartNumber: 1, ETag: sent.headers['etag'] ?? '' }] }
      const document = Buffer.from(writeXml('CompleteMultipartUpload', parts))
      const described = { ...condition, 'content-type': 'application/xml' }
      const ending = { method: 'POST', key, query: [upload], headers: described, body: document } as const
      const completed = await this.#client.ask({ ...ending, repeatable: false })
      if (!('code' in completed))
        return (await this.#client.document(completed)).includes('CompleteMultipartUploadResult')
    }
    const given = await this.#client.ask({ method: 'DELETE', key, query: [upload], repeatable: true })
    if (!('code' in given)) await given.body.dump()
    return false
  }

  /** How many of those who write at once with the same condition are let in. */
  async #race(name: string, condition: Record<string, string>): Promise<number> {
    const racing = Array.from({ length: racers }, (_, index) => this.#put(name, `racer ${index}`, condition))
    return (await Promise.all(racing)).filter((answer) => !('code' in answer)).length
  }

  async wrongChecksum(): Promise<string | undefined> {
    const wrong = Buffer.alloc(32, 7).toString('base64')
    const answer = await this.#put('checksum', 'something else', { 'x-amz-checksum-sha256': wrong })
    return 'code' in answer && answer.status === 400 ? undefined : 'bytes that differ from their SHA-256 were taken'
  }

  async endedUrl(): Promise<string | undefined> {
    const key = `${this.#prefix}begin`
    const { signer, clock } = this.#client
    const url = presignUrl(signer, { method: 'GET', key, expiresSeconds: 600 }, clock.nowMs())
    const open = await status(url)
    if (open !== 200) return `a signed URL was answered ${open}`
    const ended = await status(
      presignUrl(signer, { method: 'GET', key, expiresSeconds: 600 }, clock.nowMs() - dayMs / 2),
    )
    return ended >= 400 && ended < 500 ? undefined : `a signed URL that has ended was answered ${ended}`
  }

  async pages(): Promise<string | undefined> {
    const keys = Array.from({ length: pagedKeys }, (_, index) => `page/${index}`)
    await Promise.all(keys.map((key) => this.#put(key, key, {})))
    const found: string[] = []
    let token: string | undefined
    for (let page = 0; page <= pagedKeys; page += 1) {
      const query: (readonly [string, string])[] = [
        ['list-type', '2'],
        ['max-keys', '3'],
        ['prefix', `${this.#prefix}page/`],
      ]
      if (token !== undefined) query.push(['continuation-token', token])
      const answer = await this.#client.ask({ method: 'GET', query, repeatable: true })
      if ('code' in answer) return `a listing was answered ${answer.status}`
      const root = readXml(await this.#client.document(answer), 'ListBucketResult')
      found.push(...childrenNamed(root, 'Contents').map((item) => textOf(item, 'Key') ?? ''))
      token = textOf(root, 'NextContinuationToken')
      if (textOf(root, 'IsTruncated') !== 'true') break
    }
    const expected = keys.map((key) => `${this.#prefix}${key}`)
    return found.join('\n') === expected.join('\n')
      ? undefined
      : `${found.length} of ${pagedKeys} keys were listed, or not in order`
  }

  async versioning(): Promise<string | undefined> {
    const answer = await this.#client.ask({ method: 'GET', query: [['versioning', '']], repeatable: true })
    if ('code' in answer) return `asked about versions, it answered ${answer.status}`
    const text = await this.#client.document(answer)
    return text.includes('<Status>Enabled</Status>') ? undefined : 'the bucket keeps no versions'
  }

  /** Removes what was made; what cannot be removed now is small, and named so that a person can see whose it is. */
  async end(): Promise<void> {
    for (const key of this.#made) {
      try {
        const answer = await this.#client.ask({ method: 'DELETE', key, repeatable: true })
        if (!('code' in answer)) await answer.body.dump()
      } catch {
        return
      }
    }
  }

  async #put(name: string, text: string, headers: Record<string, string>): Promise<S3Answer | S3Refusal> {
    const key = `${this.#prefix}${name}`
    this.#made.add(key)
    const body = Buffer.from(text)
    const answer = await this.#client.ask({
      method: 'PUT',
      key,
      headers: { ...headers, 'content-length': String(body.length) },
      body,
      repeatable: false,
    })
    if (!('code' in answer)) await answer.body.dump()
    return answer
  }
}

async function status(url: string): Promise<number> {
  const { request } = await import('undici')
  const answer = await request(url)
  await answer.body.dump()
  return answer.statusCode
}
