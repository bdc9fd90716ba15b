/** Messages as Kafka carries them: the body as it is, headers as headers, the ordering key as the key, and what is ours in headers that begin with `stead-x-`. */
import type { Body, Outgoing } from '../driver.ts'

const own = 'stead-x-'

/** What a message is, apart from where it lies. */
export interface KafkaMessage {
  readonly id: string
  readonly body: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly key: string | null
  readonly sentAtMs: number
  /** Of a dead message: why, and after how many attempts. */
  readonly cause: string | null
  readonly attempts: number
}

/** A record as the client takes it. */
export interface KafkaRecord {
  readonly key?: Buffer
  readonly value: Buffer
  readonly headers: Map<Buffer, Buffer>
}

export function newKafkaMessage({ id, body, headers, key }: Outgoing, sentAtMs: number): KafkaMessage {
  return { id, body: bytesOf(body), headers, key, sentAtMs, cause: null, attempts: 0 }
}

function bytesOf(body: Body): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

export function recordOf({ id, body, headers, key, sentAtMs, cause, attempts }: KafkaMessage): KafkaRecord {
  const dead = cause === null ? {} : { [`${own}cause`]: cause, [`${own}attempts`]: String(attempts) }
  const all = { ...headers, [`${own}id`]: id, [`${own}sent`]: String(sentAtMs), ...dead }
  return {
    ...(key === null ? {} : { key: Buffer.from(key) }),
    value: bytesOf(body),
    headers: new Map(Object.entries(all).map(([name, value]) => [Buffer.from(name), Buffer.from(value)])),
  }
}

/** The message of a record; `place` names one that another program has sent. */
export function messageOfRecord(
  record: {
    readonly key: Buffer | null
    readonly value: Buffer | null
    readonly headers: readonly (readonly [Buffer | null, Buffer | null])[]
  },
  place: string,
): KafkaMessage {
  const all = new Map(record.headers.map(([name, value]) => [String(name ?? ''), String(value ?? '')]))
  const headers = Object.fromEntries([...all].filter(([name]) => !name.startsWith(own)))
  return {
    id: all.get(`${own}id`) ?? place,
    // A copy: a part of an answer would keep all of it in memory.
    body: new Uint8Array(record.value ?? []),
    headers,
    key: record.key === null ? null : record.key.toString(),
    sentAtMs: Number(all.get(`${own}sent`) ?? 0),
    cause: all.get(`${own}cause`) ?? null,
    attempts: Number(all.get(`${own}attempts`) ?? 0),
  }
}

/** Bytes of a record on the wire, at most: lengths and frames of its parts are numbers of variable size. */
export function recordBytes({ key, value, headers }: KafkaRecord): number {
  let bytes = 100 + (key?.length ?? 0) + value.length
  for (const [name, text] of headers) bytes += 10 + name.length + text.length
  return bytes
}
