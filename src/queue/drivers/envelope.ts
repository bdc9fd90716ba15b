/**
 * A message as bytes, for servers that carry nothing but a body: one line with what belongs to the message, then the body. The line is
 * JSON, or four words where there is nothing but those: whether the body is text, the priority, when it was sent, its id. What does
 * not begin so was sent by another program; it is taken as a body as it is.
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

/** What begins a message. */
function lineOf(company: Company): string {
  const { id, headers, priority, key, sentAtMs, text, counted, cause, attempts } = company
  if (counted !== 0 || cause !== null || attempts !== 0 || key !== undefined || !isEmpty(headers))
    return `${mark}${JSON.stringify(company)}\n`
  return `${mark}${text === true ? 't' : 'b'} ${priority} ${sentAtMs} ${id}\n`
}

function isEmpty(headers: Readonly<Record<string, string>>): boolean {
  for (const _name in headers) return false
  return true
}

export function sealed(company: Company, body: Body): Buffer {
  const line = lineOf(company)
  return typeof body === 'string' ? Buffer.from(line + body) : Buffer.concat([Buffer.from(line), body])
}

/** The same, as text where the body is text: what goes out as text is cheaper than as bytes. */
export function sealedText(company: Company, body: Body): string | Buffer {
  return typeof body === 'string' ? lineOf(company) + body : sealed(company, body)
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

/** What `sealed` made; for a message of another program, a company made up from `foreignId`. */
export function opened(bytes: Buffer, foreignId: string): Opened {
  const end = bytes.indexOf(0x0a)
  const line = end === -1 ? '' : bytes.toString('utf8', 0, end)
  const company = line.startsWith(mark) ? companyIn(line.slice(mark.length)) : null
  if (company === null) return { ...bare, id: foreignId, body: bytes }
  const body = company.text === true ? bytes.toString('utf8', end + 1) : bytes.subarray(end + 1)
  return { ...company, body }
}

const bare = { headers: noHeaders, priority: 0, sentAtMs: 0, counted: 0, cause: null, attempts: 0 }
const words = /^([tb]) (\d+) (\d+) (.*)$/su

function companyIn(line: string): Company | null {
  if (line.startsWith('{')) {
    try {
      const company: Company = JSON.parse(line)
      return company
    } catch {
      return null
    }
  }
  const found = words.exec(line)
  if (found === null) return null
  const company = { ...bare, id: found[4] ?? '', priority: Number(found[2]), sentAtMs: Number(found[3]) }
  return found[1] === 't' ? { ...company, text: true } : company
}
