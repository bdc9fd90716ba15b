/**
 * Messages as Kafka carries them: the body as it is, headers as headers, the ordering key as the key. What is ours is in one header of a
 * living message, `stead-x`, and in a second of a dead one. Text is marked, so that it stays text on its way to the handler.
 */
import type { Body, Outgoing } from '../../driver.ts'

/** `t` or `b` for text or bytes, when it was sent, its id. */
const own = 'stead-x'
/** JSON: why it is dead, after how many attempts. */
const ownDead = 'stead-x-dead'
const ownName: Buffer = Buffer.from(own)

/** What a message is, apart from where it lies. */
export interface KafkaMessage {
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  readonly key: string | null
  readonly sentAtMs: number
  /** Of a dead message: why, and after how many attempts. */
  readonly cause: string | null
  readonly attempts: number
}

/** A record as the client takes it. */
export interface KafkaRecord {
  readonly topic: string
  readonly key?: Buffer
  readonly value: Buffer
  readonly headers: Map<Buffer, Buffer>
}

export function newKafkaMessage({ id, body, headers, key }: Outgoing, sentAtMs: number): KafkaMessage {
  return { id, body, headers, key, sentAtMs, cause: null, attempts: 0 }
}

export function recordOf(topic: string, message: KafkaMessage): KafkaRecord {
  const { id, body, headers, key, sentAtMs, cause, attempts } = message
  const all = new Map<Buffer, Buffer>()
  const text = typeof body === 'string'
  all.set(ownName, Buffer.from(`${text ? 't' : 'b'} ${sentAtMs} ${id}`))
  for (const name in headers) all.set(Buffer.from(name), Buffer.from(headers[name] ?? ''))
  if (cause !== null) all.set(Buffer.from(ownDead), Buffer.from(JSON.stringify({ cause, attempts })))
  const value = text ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return key === null ? { topic, value, headers: all } : { topic, key: Buffer.from(key), value, headers: all }
}

/** The message of a record; `place` names one that another program has sent, and is asked for then alone. */
export function messageOfRecord(
  record: {
    readonly key: Buffer | null
    readonly value: Buffer | null
    readonly headers: readonly (readonly [Buffer | null, Buffer | null])[]
  },
  place: () => string,
): KafkaMessage {
  const headers: Record<string, string> = {}
  let mine: RegExpExecArray | null = null
  let dead: { readonly cause: string | null; readonly attempts: number } = { cause: null, attempts: 0 }
  for (const [name, value] of record.headers) {
    const [nameText, text] = [name?.toString() ?? '', value?.toString() ?? '']
    if (nameText === own) mine = /^([tb]) (\d+) (.*)$/s.exec(text)
    else if (nameText === ownDead) dead = deadOf(text)
    else headers[nameText] = text
  }
  const value = record.value ?? Buffer.alloc(0)
  return {
    id: mine?.[3] ?? place(),
    // Bytes are copied: a part of an answer would keep all of it in memory.
    body: mine?.[1] === 't' ? value.toString() : new Uint8Array(value),
    headers,
    key: record.key === null ? null : record.key.toString(),
    sentAtMs: Number(mine?.[2] ?? 0),
    ...dead,
  }
}

function deadOf(text: string): { readonly cause: string | null; readonly attempts: number } {
  try {
    const { cause, attempts }: { readonly cause?: unknown; readonly attempts?: unknown } = JSON.parse(text)
    return { cause: typeof cause === 'string' ? cause : null, attempts: Number(attempts ?? 0) }
  } catch {
    return { cause: null, attempts: 0 }
  }
}

/** Bytes of a record on the wire, at most: lengths and frames of its parts are numbers of variable size. */
export function recordBytes({ key, value, headers }: KafkaRecord): number {
  let bytes = 100 + (key?.length ?? 0) + value.length
  for (const [name, text] of headers) bytes += 10 + name.length + text.length
  return bytes
}
