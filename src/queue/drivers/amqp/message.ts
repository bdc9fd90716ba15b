/** Messages as AMQP carries them: the body as it is, headers as headers, and what is ours in headers that begin with `stead-x-`. */
import type { ConsumeMessage, GetMessage, Options } from 'amqplib'
import type { Body, Outgoing } from '../../driver.ts'

const own = 'stead-x-'
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
  const table: Record<string, unknown> = { ...properties.headers }
  const number = (name: string): number => Number(table[name] ?? 0)
  const counted = number(`${own}counted`)
  const headers = Object.entries(table).filter(([name]) => !name.startsWith(own) && !serversOwn.test(name))
  const id: unknown = properties.messageId
  return {
    id: typeof id === 'string' && id !== '' ? id : `delivery-${fields.deliveryTag}`,
    body: properties.contentEncoding === text ? content.toString() : content,
    headers: Object.fromEntries(headers.map(([name, value]) => [name, String(value)])),
    sentAtMs: number(`${own}sent`),
    counted,
    cause: typeof table[`${own}cause`] === 'string' ? String(table[`${own}cause`]) : null,
    attempts: number(`${own}attempts`),
    attempt: counted + number('x-delivery-count') + 1,
  }
}

export function newMessage({ id, body, headers }: Outgoing, sentAtMs: number): AmqpMessage {
  return { id, body, headers, sentAtMs, counted: 0, cause: null, attempts: 0 }
}

/** A body as the client takes it. */
export function bytesOf(body: Body): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/** The properties that carry it. */
export function propertiesOf(message: AmqpMessage): Options.Publish {
  const { id, headers, sentAtMs, counted, cause, attempts } = message
  const ours = { [`${own}sent`]: sentAtMs, ...(counted === 0 ? {} : { [`${own}counted`]: counted }) }
  const dead = cause === null ? {} : { [`${own}cause`]: cause, [`${own}attempts`]: attempts }
  const encoding = typeof message.body === 'string' ? { contentEncoding: text } : {}
  return { messageId: id, headers: { ...headers, ...ours, ...dead }, ...encoding }
}
