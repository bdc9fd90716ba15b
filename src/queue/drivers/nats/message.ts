/**
 * Messages as NATS carries them: the body as it is, headers as headers, and what is ours in headers that begin with `stead-x-`.
 * A header of NATS is a line; a value that is no plain line travels as JSON in printable ASCII behind a mark.
 */
import type { MsgHdrs } from '@nats-io/transport-node'
import type { Body, Outgoing } from '../../driver.ts'

const own = 'stead-x-'
const escaped = '=json='
const decoder = new TextDecoder()
const plainLine = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/

/** What a message is, apart from where it lies. */
export interface NatsMessage {
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  readonly sentAtMs: number
  /** Attempts before this copy began. */
  readonly counted: number
  /** Of a dead message: why, and after how many attempts. */
  readonly cause: string | null
  readonly attempts: number
}

/** Bytes that a body's company takes at most: each of a header can take six. */
export const companyBytesMax: number = 128 * 1024

export function newNatsMessage({ id, body, headers }: Outgoing, sentAtMs: number): NatsMessage {
  return { id, body, headers, sentAtMs, counted: 0, cause: null, attempts: 0 }
}

/** Writes what goes with the body into `into`, which it answers. */
export function writeHeaders(message: NatsMessage, into: MsgHdrs): MsgHdrs {
  for (const [name, value] of Object.entries(message.headers)) into.set(name, lineOf(value))
  into.set(`${own}id`, lineOf(message.id))
  into.set(`${own}sent`, String(message.sentAtMs))
  // Text is text again when it arrives, which is cheaper to hand to another thread.
  if (typeof message.body === 'string') into.set(`${own}text`, '1')
  if (message.counted !== 0) into.set(`${own}counted`, String(message.counted))
  if (message.cause !== null) {
    into.set(`${own}cause`, lineOf(message.cause))
    into.set(`${own}attempts`, String(message.attempts))
  }
  return into
}

/** The message of these headers and bytes; one of another program has the id `foreignId`. */
export function readNatsMessage(headers: MsgHdrs | undefined, data: Uint8Array, foreignId: string): NatsMessage {
  const lines = new Map<string, string>()
  for (const [name, [value = '']] of headers ?? []) {
    // The server's own begin so, with a capital letter; ours and those of users have none.
    if (!name.startsWith('Nats-')) lines.set(name.toLowerCase(), textOf(value))
  }
  const number = (name: string): number => Number(lines.get(own + name) ?? 0)
  return {
    id: lines.get(`${own}id`) ?? foreignId,
    // A view of the client's buffer would take all of that along to another thread.
    body: lines.has(`${own}text`) ? decoder.decode(data) : new Uint8Array(data),
    headers: Object.fromEntries([...lines].filter(([name]) => !name.startsWith(own))),
    sentAtMs: number('sent'),
    counted: number('counted'),
    cause: lines.get(`${own}cause`) ?? null,
    attempts: number('attempts'),
  }
}

/** How a delivery is known to the server: the stream's sequence, and how many deliveries there have been. */
export function deliveryOf(ackSubject: string): { readonly sequence: number; readonly count: number } {
  const tokens = ackSubject.split('.')
  // `$JS.ACK.<stream>.<consumer>.<count>.<sequence>...`; from 2.10 on a domain and an account can stand before the stream.
  const at = tokens.length >= 11 ? 6 : 4
  return { count: Number(tokens[at]), sequence: Number(tokens[at + 1]) }
}

function lineOf(value: string): string {
  if (plainLine.test(value) && !value.startsWith(escaped)) return value
  const ascii = JSON.stringify(value).replaceAll(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return escaped + ascii
}

function textOf(line: string): string {
  if (!line.startsWith(escaped)) return line
  try {
    const value: unknown = JSON.parse(line.slice(escaped.length))
    return typeof value === 'string' ? value : line
  } catch {
    return line
  }
}
