/**
 * Messages as AMQP carries them: the body as it is, headers as headers. What is ours of every message is in properties (a table of
 * headers costs more than all of them): its id, and when it was sent in that of the application. The rest, which few messages have, is
 * in headers that begin with `stead-x-`.
 */
import type { ConsumeMessage, GetMessage, Options } from 'amqplib'
import type { Body, Outgoing } from '../../driver.ts'

const own = 'stead-x-'
/** The application's id: this, and when it was sent. */
const application = 'stead '
/** Of a body that was text: then it is text again, which is cheaper to hand to another thread. */
const text = 'utf-8'
/** What servers add to messages that were delivered before. */
const serversOwn = /^(?:x-death|x-delivery-count|x-acquired-count|x-(?:first|last)-death-.*|x-opt-.*)$/

/** What a message is, apart from where it lies. */
export interface AmqpMessage {
  readonly id: string
  readonly body: Body
  readonly headers: Readonly<Record<string, string>>
  readonly sentAtMs: number
  /** Attempts before this copy began. */
  readonly counted: number
  readonly cause: string | null
  readonly attempts: number
}

/** The message of a delivery, and this delivery's number. */
export function readMessage({
  content,
  properties,
  fields,
}: ConsumeMessage | GetMessage): AmqpMessage & { readonly attempt: number } {
  const { messageId, appId, contentEncoding, headers: table = {} }: Properties = properties
  const number = (name: string): number => Number(table[name] ?? 0)
  const counted = number(`${own}counted`)
  const headers: Record<string, string> = {}
  for (const name in table) {
    if (!name.startsWith(own) && !serversOwn.test(name)) headers[name] = String(table[name])
  }
  const cause = table[`${own}cause`]
  return {
    id: typeof messageId === 'string' && messageId !== '' ? messageId : `delivery-${fields.deliveryTag}`,
    body: contentEncoding === text ? content.toString() : content,
    headers,
    sentAtMs: typeof appId === 'string' && appId.startsWith(application) ? Number(appId.slice(application.length)) : 0,
    counted,
    cause: typeof cause === 'string' ? cause : null,
    attempts: number(`${own}attempts`),
    attempt: counted + number('x-delivery-count') + 1,
  }
}

/** What is looked at of a delivery's properties; any of it can be missing. */
interface Properties {
  readonly messageId?: unknown
  readonly appId?: unknown
  readonly contentEncoding?: unknown
  readonly headers?: Readonly<Record<string, unknown>> | undefined
}

export function newMessage({ id, body, headers }: Outgoing, sentAtMs: number): AmqpMessage {
  return { id, body, headers, sentAtMs, counted: 0, cause: null, attempts: 0 }
}

/** A body as the client takes it. */
export function bytesOf(body: Body): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/** The properties that carry it. */
export function propertiesOf({ id, body, headers, sentAtMs, counted, cause, attempts }: AmqpMessage): Options.Publish {
  const options: Options.Publish = { messageId: id, appId: `${application}${sentAtMs}` }
  if (typeof body === 'string') options.contentEncoding = text
  const table: Record<string, unknown> = { ...headers }
  if (counted !== 0) table[`${own}counted`] = counted
  if (cause !== null) Object.assign(table, { [`${own}cause`]: cause, [`${own}attempts`]: attempts })
  for (const _name in table) options.headers = table
  return options
}
