/**
 * A message as bytes, for servers that carry nothing but a body: one line of JSON with what belongs to the message, then the
 * body. What does not begin so was sent by another program; it is taken as a body as it is.
 */
import type { Body, Outgoing } from '../driver.ts'
import { headerBytesMax, keyBytesMax } from '../limits.ts'

const mark = 'stead/1 '

/** Bytes that a body's company takes at most. Text is JSON: each byte of a header can take six. */
export const envelopeBytesMax: number = 6 * (headerBytesMax + 3 * keyBytesMax) + 4096

/** What goes with a body. `counted` is added to what the server counts: attempts of the message under another number there. */
export interface Company {
  readonly id: string
  readonly headers: Readonly<Record<string, string>>
  readonly priority: number
  /** The ordering key, where there is one. */
  readonly key?: string
  readonly sentAtMs: number
  /** Whether the body was text: then it is text again, which is cheaper to hand on. */
  readonly text?: true
  readonly counted: number
  /** Of a dead message: why, and after how many attempts. */
  readonly cause: string | null
  readonly attempts: number
}

export interface Opened extends Company {
  readonly body: Body
}

/** The company of a message that is sent. */
export function companyOf({ id, headers, priority, key, body }: Outgoing, sentAtMs: number): Company {
  const company = { id, headers, priority, sentAtMs, counted: 0, cause: null, attempts: 0 }
  const own = key === null ? company : { ...company, key }
  return typeof body === 'string' ? { ...own, text: true } : own
}

export function sealed(company: Company, body: Body): Buffer {
  const line = `${mark}${JSON.stringify(company)}\n`
  return typeof body === 'string' ? Buffer.from(line + body) : Buffer.concat([Buffer.from(line), body])
}

/** The same, as text where the body is text: what goes out as text is cheaper than as bytes. */
export function sealedText(company: Company, body: Body): string | Buffer {
  return typeof body === 'string' ? `${mark}${JSON.stringify(company)}\n${body}` : sealed(company, body)
}

/** What `sealed` made; for a message of another program, a company made up from `foreignId`. */
export function opened(bytes: Buffer, foreignId: string): Opened {
  const end = bytes.indexOf(0x0a)
  const line = end === -1 ? '' : bytes.subarray(0, end).toString()
  const foreign = {
    id: foreignId,
    headers: {},
    priority: 0,
    sentAtMs: 0,
    counted: 0,
    cause: null,
    attempts: 0,
    body: bytes,
  }
  if (!line.startsWith(mark)) return foreign
  try {
    const company: Company = JSON.parse(line.slice(mark.length))
    const body = company.text === true ? bytes.toString('utf8', end + 1) : bytes.subarray(end + 1)
    return { ...company, body }
  } catch {
    return foreign
  }
}
