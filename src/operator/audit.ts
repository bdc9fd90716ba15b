/**
 * The record of who did what, as lines that hang together: each holds the digest of the one before. Pure. Invariant: a line
 * that is changed, added, left out or moved breaks the chain at its place. Names and outcomes only, never values.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { canonicalJson } from '../base/index.ts'

/** `begun` is written before a change is made, and followed by how it ended. */
export type Outcome = 'begun' | 'done' | 'refused' | 'failed'

/** What is to be recorded. */
export interface Event {
  readonly who: string
  /** Where it came from: `socket`, `token 3kq0v9d2`, `ssh 192.0.2.7`. */
  readonly from: string
  /** As in `PUT /v1/apps/:app`, or `login`. */
  readonly operation: string
  readonly app: string | null
  readonly part: string | null
  readonly outcome: Outcome
  /** The code of what it was refused or failed with. */
  readonly code: string | null
  /** The number of the line that says that it began. */
  readonly of: number | null
  /** How many more like it were not written, because there were too many. */
  readonly omitted: number
}

/** A line of the record. */
export interface Line extends Event {
  /** Counted from 1, without gaps. */
  readonly n: number
  /** As in `2026-11-29T12:00:00.000Z`. */
  readonly at: string
  /** The `hash` of the line before; empty for the first. */
  readonly prev: string
  /** sha256 of the canonical JSON of everything else. */
  readonly hash: string
}

const lineSchema = z.strictObject({
  n: z.int().positive(),
  at: z.iso.datetime(),
  who: z.string(),
  from: z.string(),
  operation: z.string(),
  app: z.string().nullable(),
  part: z.string().nullable(),
  outcome: z.enum(['begun', 'done', 'refused', 'failed']),
  code: z.string().nullable(),
  of: z.int().nullable(),
  omitted: z.int(),
  prev: z.string(),
  hash: z.string().length(64),
})

/** The end of a chain: what the next line hangs on. */
export interface Head {
  readonly n: number
  readonly hash: string
}

export const emptyHead: Head = { n: 0, hash: '' }

/** Longest name of anything in a line, in characters; the rest is cut. */
const textMax = 200

/** The next line. */
export function nextLine(head: Head, event: Event, nowMs: number): Line {
  const cut = (text: string | null): string | null => text?.slice(0, textMax) ?? null
  const content = {
    ...event,
    who: event.who.slice(0, textMax),
    from: event.from.slice(0, textMax),
    app: cut(event.app),
    part: cut(event.part),
    n: head.n + 1,
    at: new Date(nowMs).toISOString(),
    prev: head.hash,
  }
  return { ...content, hash: hashOf(content) }
}

/** A line as it is written. */
export function encodeLine(line: Line): string {
  return `${JSON.stringify(line)}\n`
}

/** Reads a line; null when it is none. */
export function decodeLine(text: string): Line | null {
  try {
    const parsed = lineSchema.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

function hashOf(content: Omit<Line, 'hash'>): string {
  return createHash('sha256').update(canonicalJson(content)).digest('hex')
}

/** What a look at a whole record found. */
export interface Verdict {
  readonly intact: boolean
  /** What is wrong and where; null when nothing is. */
  readonly fault: string | null
  readonly lines: number
  /** Number of the first line that is kept; those before were dropped as too old. */
  readonly first: number | null
  readonly head: Head
}

/** Follows a chain line by line. */
export class Verifier {
  #head: Head | null = null
  #first: number | null = null
  #lines = 0
  #fault: string | null = null
  #seen: boolean
  readonly #contains: string | null

  /** `contains`: the digest of a line that must be in it, noted down elsewhere at some time. */
  constructor(contains: string | null = null) {
    this.#contains = contains
    this.#seen = contains === null
  }

  add(text: string, where: string): void {
    if (this.#fault !== null) return
    const line = decodeLine(text)
    this.#lines += 1
    if (line === null) return this.#fail(`${where} is not a line of the record`)
    const { hash, ...content } = line
    if (hashOf(content) !== hash) return this.#fail(`${where} (number ${line.n}) was changed`)
    if (this.#head === null) {
      this.#first = line.n
      if (line.n === 1 && line.prev !== '') return this.#fail(`${where} is not the first line`)
    } else if (line.n !== this.#head.n + 1 || line.prev !== this.#head.hash) {
      return this.#fail(
        `between number ${this.#head.n} and ${where} (number ${line.n}) something was cut out, added or moved`,
      )
    }
    this.#head = { n: line.n, hash }
    if (hash === this.#contains) this.#seen = true
  }

  /** `expected`: where the writer says that the chain ends. */
  end(expected: Head | null): Verdict {
    const head = this.#head ?? emptyHead
    if (expected !== null && (head.n < expected.n || (head.n === expected.n && head.hash !== expected.hash)))
      this.#fail(`the end is cut off: it reaches number ${head.n}, and ${expected.n} were written`)
    if (!this.#seen) this.#fail(`the line ${this.#contains} is not in it`)
    return { intact: this.#fault === null, fault: this.#fault, lines: this.#lines, first: this.#first, head }
  }

  #fail(fault: string): void {
    this.#fault ??= fault
  }
}
