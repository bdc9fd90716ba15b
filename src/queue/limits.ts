/** The limits of a queue's face, held once for every driver: what is beyond them is refused before any I/O, naming the limit. */
import { failure } from './errors.ts'

/** UTF-8 bytes of a queue's name. */
export const nameBytesMax = 100
/** Bytes of a message's body, where the driver does not allow less. */
export const bodyBytesMax: number = 16 * 1024 * 1024
/** Headers of a message, and their UTF-8 bytes together. */
export const headersMax = 32
export const headerBytesMax: number = 16 * 1024
/** UTF-8 bytes of an id, an ordering key or a dedup key. */
export const keyBytesMax = 200
/** The highest priority; 0 is the usual one. */
export const priorityMax = 9
/** The longest delay, where the driver does not allow less: 30 days. */
export const delayMsMax: number = 30 * 24 * 3_600_000
/** The longest window in which a dedup key is remembered: 7 days. */
export const dedupMsMax: number = 7 * 24 * 3_600_000
/** Messages in one `sendMany`, one `receive`, one page of `peek` or `redrive`. */
export const batchMax = 1000
/** Bodies in one call, together. */
export const batchBytesMax: number = 64 * 1024 * 1024
/** Handlers that one consumer runs at once. */
export const concurrencyMax = 10_000
/** The longest lease: 12 hours, what the narrowest server allows. */
export const leaseMsMax: number = 12 * 3_600_000
/** The longest a call waits for messages: 20 s, below what proxies allow. */
export const waitMsMax = 20_000
/** Characters of the cause that a dead message keeps. */
export const causeMax = 2000

/** What a driver allows, where that is less. */
export interface DriverLimits {
  readonly bodyBytesMax: number
  readonly delayMsMax: number
}

/** Names of queues: what every broker can name. */
export function checkName(name: string): void {
  if (!/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(name) || name.includes('..') || name.endsWith('.dead')) {
    const hint = 'Use lower-case letters, digits, "-" and single "."; the ending ".dead" is for dead letters.'
    throw failure('bad-input', `${JSON.stringify(name.slice(0, 80))} cannot be the name of a queue`, hint)
  }
  checkSize('the name of a queue', 'bytes', Buffer.byteLength(name), nameBytesMax)
}

/** An id, an ordering key or a dedup key: text that every server can hold. */
export function checkKey(what: string, key: string): void {
  if (key === '' || !key.isWellFormed() || /\p{Cc}/u.test(key)) {
    const shown = JSON.stringify(key.slice(0, 80))
    throw failure(
      'bad-input',
      `the ${what} ${shown} is empty, or has control characters or broken Unicode`,
      'Encode it.',
    )
  }
  checkSize(`the ${what}`, 'bytes', Buffer.byteLength(key), keyBytesMax)
}

/** Headers: tokens as in HTTP, in lower case, with any well-formed text. Names that start with `stead-` are taken. */
export function checkHeaders(headers: Readonly<Record<string, string>>): void {
  const entries = Object.entries(headers)
  checkSize('the message', 'headers', entries.length, headersMax)
  let bytes = 0
  for (const [name, value] of entries) {
    const bad = !/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name) || name.startsWith('stead-')
    if (bad || typeof value !== 'string' || !value.isWellFormed()) {
      const hint = 'Names are lower-case tokens that do not start with "stead-"; values are well-formed text.'
      throw failure('bad-input', `the header ${JSON.stringify(name.slice(0, 80))} cannot be sent`, hint)
    }
    bytes += name.length + Buffer.byteLength(value)
  }
  checkSize('the message', 'bytes of headers', bytes, headerBytesMax)
}

/**
 * Refuses options that are not known: one that is misspelt is not heeded, and a queue would give less than it was asked for. Types say
 * so before; programs without them hear it here.
 */
export function checkOptions(what: string, given: object, known: ReadonlySet<string>): void {
  for (const name in given) {
    if (known.has(name)) continue
    const message = `${what} has no option ${JSON.stringify(name.slice(0, 80))}`
    throw failure('bad-input', message, `It has: ${[...known].join(', ')}.`)
  }
}

/** A whole number between `min` and `max`. */
export function checkNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw failure('bad-input', `${name} is ${value}`, `It must be a whole number between ${min} and ${max}.`)
}

/** Refuses what is over a limit with `queue.too-large`. */
export function checkSize(what: string, unit: string, size: number, max: number): void {
  if (size <= max) return
  const hint = 'Split it, or keep large data elsewhere and send a reference.'
  throw failure('too-large', `${what} has ${size} ${unit}; the limit is ${max}`, hint)
}
