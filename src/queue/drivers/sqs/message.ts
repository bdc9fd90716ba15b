/**
 * Messages as SQS carries them: text that is XML, and few attributes. A body that is plain text stays as it is, so that other programs can
 * read it; other bytes travel as base64. What goes with it is JSON in one attribute. Both count towards the server's limit.
 */
import type { Body, Outgoing } from '../../driver.ts'
import { causeMax } from '../../limits.ts'
import { companyOf } from '../envelope.ts'
import type { Company } from '../envelope.ts'

/** The name of a queue on the server. It has no dots, and ours have no underscores. */
export function sqsName(prefix: string, queue: string, fifo: boolean): string {
  return `${prefix}${queue}`.replaceAll('.', '_') + (fifo ? '.fifo' : '')
}

/** The attribute that holds what goes with a body. */
export const attributeName = 'stead'
/** What a dead message says more than a living one: room for it is kept. A character of the cause can take six bytes. */
const causeBytesMax: number = 6 * causeMax + 100

/** How a body was made into text: nothing cannot be sent at all. */
type Encoding = 'text' | 'base64' | 'empty'

/** A message as it goes over the wire; `bytes` is what the server counts. */
export interface SqsText {
  readonly body: string
  readonly attribute: string
  readonly bytes: number
}

/** What the server gives out. */
export interface SqsReceived {
  readonly MessageId?: string
  readonly ReceiptHandle?: string
  readonly Body?: string
  readonly Attributes?: Readonly<Record<string, string>>
  readonly MessageAttributes?: Readonly<Record<string, { readonly StringValue?: string }>>
}

// What XML 1.0 has no way to write, and what lies beyond the basic plane of Unicode: not every server takes that.
// oxlint-disable-next-line no-control-regex -- these are the ones that must not be sent
const notPlain = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff\ufffe\uffff]/

/** The message of a send, with room for the cause that it may die of. */
export function newText(message: Outgoing, sentAtMs: number): SqsText {
  const { bytes, ...text } = textOf({ ...companyOf(message, sentAtMs), key: message.key }, message.body)
  return { ...text, bytes: bytes + causeBytesMax }
}

export interface SqsCompany extends Omit<Company, 'key'> {
  readonly key: string | null
}

export interface SqsOpened extends SqsCompany {
  readonly body: Uint8Array
}

export function textOf(company: SqsCompany, body: Body): SqsText {
  const [encoding, text] = encoded(body)
  const attribute = JSON.stringify({ ...company, encoding }).replace(/[\ud800-\udfff\ufffe\uffff]/g, escaped)
  const bytes = Buffer.byteLength(text) + Buffer.byteLength(attribute) + attributeName.length + 'String'.length
  return { body: text, attribute, bytes }
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16)}`
}

function encoded(body: Body): readonly [Encoding, string] {
  if (body.length === 0) return ['empty', '-']
  if (typeof body === 'string' && !notPlain.test(body)) return ['text', body]
  return ['base64', Buffer.from(body).toString('base64')]
}

/** What `textOf` made; for a message of another program, a company made up from the server's id. */
export function openedText(received: SqsReceived): SqsOpened {
  const { Body: text = '', MessageId: id = '', MessageAttributes: attributes = {}, Attributes: system = {} } = received
  const foreign = {
    id,
    headers: {},
    priority: 0,
    sentAtMs: Number(system['SentTimestamp'] ?? 0),
    counted: 0,
    cause: null,
    attempts: 0,
    key: system['MessageGroupId'] ?? null,
    body: Buffer.from(text),
  }
  const attribute = attributes[attributeName]?.StringValue
  if (attribute === undefined) return foreign
  try {
    const { encoding, ...company }: SqsCompany & { readonly encoding: Encoding } = JSON.parse(attribute)
    const body = encoding === 'empty' ? Buffer.alloc(0) : Buffer.from(text, encoding === 'base64' ? 'base64' : 'utf8')
    return { ...company, body }
  } catch {
    return foreign
  }
}
