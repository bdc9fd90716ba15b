/**
 * Messages as Pulsar carries them over its WebSockets: the body as base64, headers as properties. What is ours is in one property,
 * `stead-x`, and in a second of a dead one. Text is marked, so that it stays text on its way to the handler.
 */
import type { Body, Outgoing } from '../../driver.ts'

/** `t` or `b` for text or bytes, when it was sent, attempts before this copy began, its id. */
const own = 'stead-x'
/** JSON: why it is dead, after how many attempts. */
const ownDead = 'stead-x-dead'

/** What a message is, apart from where it lies. */
export interface PulsarMessage {
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  readonly sentAtMs: number
  readonly counted: number
  /** Of a dead message: why, and after how many attempts. */
  readonly cause: string | null
  readonly attempts: number
}

/** A message as it goes into a socket. */
export interface PulsarSend {
  readonly payload: string
  readonly properties: Readonly<Record<string, string>>
  /** Milliseconds since 1970. */
  readonly deliverAt?: number
}

/** A message as it comes out of a socket. */
export interface PulsarDelivery {
  readonly messageId: string
  readonly payload?: string
  readonly properties?: Readonly<Record<string, string>>
  readonly redeliveryCount?: number
}

export function newPulsarMessage({ id, body, headers }: Outgoing, sentAtMs: number): PulsarMessage {
  return { id, body, headers, sentAtMs, counted: 0, cause: null, attempts: 0 }
}

/** `deliverAtMs`: null for at once. */
export function sendOf(message: PulsarMessage, deliverAtMs: number | null): PulsarSend {
  const { id, body, headers, sentAtMs, counted, cause, attempts } = message
  const kind = typeof body === 'string' ? 't' : 'b'
  const bytes =
    typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const dead = cause === null ? {} : { [ownDead]: JSON.stringify({ cause, attempts }) }
  const properties = { ...headers, ...dead, [own]: `${kind} ${sentAtMs} ${counted} ${id}` }
  const send = { payload: bytes.toString('base64'), properties }
  return deliverAtMs === null ? send : { ...send, deliverAt: deliverAtMs }
}

/** The message of a delivery, and this delivery's number; one that another program has sent is called by its place. */
export function messageOf(delivery: PulsarDelivery): PulsarMessage & { readonly attempt: number } {
  const { messageId, payload = '', properties = {}, redeliveryCount = 0 } = delivery
  const { [own]: ours = '', [ownDead]: dead = '', ...headers } = properties
  const [, kind, sentAtMs = '0', counted = '0', id = messageId] = /^([tb]) (\d+) (\d+) (.*)$/s.exec(ours) ?? []
  const bytes = Buffer.from(payload, 'base64')
  const body = kind === 't' ? bytes.toString() : new Uint8Array(bytes)
  const attempt = Number(counted) + redeliveryCount + 1
  return { id, body, headers, sentAtMs: Number(sentAtMs), counted: Number(counted), attempt, ...deadOf(dead) }
}

function deadOf(text: string): { readonly cause: string | null; readonly attempts: number } {
  try {
    const { cause, attempts }: { readonly cause?: unknown; readonly attempts?: unknown } = JSON.parse(text)
    return { cause: typeof cause === 'string' ? cause : null, attempts: Number(attempts ?? 0) }
  } catch {
    return { cause: null, attempts: 0 }
  }
}
