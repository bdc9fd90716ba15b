/** The limits of store.ts, held once for every driver: what is beyond them is refused before a driver sees it. */
import { canonicalJson } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import type { Commit, Row, Write } from './driver.ts'
import { failure } from './errors.ts'
import {
  conditionsMax,
  keyBytesMax,
  leaseTtlMsMax,
  listBytesMax,
  operationsMax,
  transactionBytesMax,
  valueBytesMax,
} from './store.ts'
import type { Condition } from './store.ts'

/**
 * The end of the keys that start with `prefix`: every driver orders keys by their UTF-8 bytes, and the last code point
 * there is (a noncharacter) is refused in keys.
 */
export function endOfPrefix(prefix: string): string {
  return `${prefix}\u{10FFFF}`
}

/** UTF-8 bytes that a record takes: its key and its text. */
export function bytesOf({ key, text }: Pick<Row, 'key' | 'text'>): number {
  return Buffer.byteLength(key) + (text === null ? 0 : Buffer.byteLength(text))
}

/** Keys, lease names and holders: not empty, and text that every database can hold and order. */
export function checkKey(key: string): void {
  if (key === '') throw failure('bad-input', 'a key is empty', 'Give the record a name, as in "apps/shop".')
  checkPrefix(key)
}

/** A prefix is a key that may be empty. */
export function checkPrefix(prefix: string): void {
  const shown = JSON.stringify(prefix.slice(0, 80))
  if (!prefix.isWellFormed() || /[\p{Cc}\u{10FFFF}]/u.test(prefix)) {
    const hint = 'Use letters, digits, "/" and punctuation; encode anything else.'
    throw failure('bad-input', `the key ${shown} has control characters or broken Unicode`, hint)
  }
  checkSize(`the key ${shown}`, 'bytes', Buffer.byteLength(prefix), keyBytesMax)
}

/** The text of a value, if it is JSON and within the limit. */
export function textOf(key: string, value: Json): string {
  const text = canonicalText(key, value)
  checkSize(`the value of ${key}`, 'bytes', Buffer.byteLength(text), valueBytesMax)
  return text
}

function canonicalText(key: string, value: Json): string {
  try {
    return canonicalJson(value)
  } catch (cause) {
    // A TypeError for what JSON cannot hold, a RangeError for nesting deeper than the stack.
    throw failure('bad-input', `the value of ${key} is not JSON`, 'Store plain, finite, acyclic data.', cause)
  }
}

/** A transaction whose keys, counts and size are within the limits. */
export function commitOf(conditions: readonly Condition[], writes: readonly Write[]): Commit {
  checkSize('a transaction', 'conditions', conditions.length, conditionsMax)
  checkSize('a transaction', 'operations', writes.length, operationsMax)
  for (const condition of conditions) {
    checkKey(condition.kind === 'revision' ? condition.key : condition.name)
    const number = condition.kind === 'revision' ? condition.revision : condition.epoch
    checkNumber(condition.kind === 'revision' ? 'revision' : 'epoch', number, 0, Number.MAX_SAFE_INTEGER)
  }
  for (const { key } of writes) checkKey(key)
  const bytes = writes.reduce((sum, write) => sum + bytesOf(write), 0)
  checkSize('a transaction', 'bytes', bytes, transactionBytesMax)
  return { conditions, writes, bytes }
}

/** A whole number between `min` and `max`. */
export function checkNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return
  throw failure('bad-input', `${name} is ${value}`, `It must be a whole number between ${min} and ${max}.`)
}

/** How long a lease may last. */
export function checkTtl(ttlMs: number): void {
  checkNumber('ttlMs', ttlMs, 1, leaseTtlMsMax)
}

/** What `list` may answer. */
export function checkListBytes(prefix: string, bytes: number): void {
  checkSize(`the snapshot of ${JSON.stringify(prefix)}`, 'bytes', bytes, listBytesMax)
}

/** Refuses what is over a limit with `store.too-large`. */
export function checkSize(what: string, unit: string, size: number, max: number): void {
  if (size <= max) return
  const hint = 'Split it, or keep large data elsewhere and store a reference.'
  throw failure('too-large', `${what} has ${size} ${unit}; the limit is ${max}`, hint)
}
