/**
 * Takes registered values out of a stream of bytes, in every form of `patterns.ts`. Pure.
 *
 * Invariants: what goes out holds no pattern, however the input was cut into chunks; everything else goes out unchanged
 * and in order; no more is held back than the start of a pattern that may still be completed; no number and no size of
 * patterns is too large.
 */

/** What stands in the place of a value. */
export const redacted = '[secret]'

/** Longer patterns are looked for one by one: the engine compiles no expression that reaches so far, and says so by showing it. */
const togetherCharsMax = 256
/** One expression is compiled of at most so much: the engine ends the process over one of some ten million characters. */
const groupCharsMax = 512 * 1024

/** Patterns that are looked for together. */
interface Group {
  readonly charsMin: number
  /** The first from a place on, and of several that begin there the longest. */
  readonly find: (text: string, from: number) => Found | null
}

interface Found {
  readonly at: number
  readonly chars: number
}

export class Redactor {
  readonly #patterns: readonly string[]
  readonly #groups: readonly Group[]
  #held = ''

  /** For the patterns of all values. */
  constructor(patterns: Iterable<Uint8Array>) {
    const texts = new Set([...patterns].map((pattern) => Buffer.from(pattern).toString('latin1')))
    // The longest first: of two that begin in one place, the one that takes more.
    this.#patterns = [...texts].filter((text) => text !== '').sort((a, b) => b.length - a.length)
    this.#groups = groupsOf(this.#patterns)
  }

  /** The next chunk, and what can go out by it. */
  write(chunk: Uint8Array): Buffer {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    if (this.#groups.length === 0) return bytes
    const text = this.#held + bytes.toString('latin1')
    const out: string[] = []
    let from = 0
    let open = this.#openAt(text, from)
    for (;;) {
      const found = this.#find(text, from)
      // What begins where a longer pattern may still come waits for it.
      if (found === null || found.at >= open) break
      out.push(text.slice(from, found.at), redacted)
      from = found.at + found.chars
      if (from > open) open = this.#openAt(text, from)
    }
    out.push(text.slice(from, open))
    this.#held = text.slice(open)
    return Buffer.from(out.join(''), 'latin1')
  }

  /** What was held back, when nothing more comes. */
  end(): Buffer {
    const rest = this.#clean(this.#held)
    this.#held = ''
    return Buffer.from(rest, 'latin1')
  }

  /** A whole text, such as a line that was kept before its value was registered. */
  text(whole: string): string {
    if (this.#groups.length === 0) return whole
    const bytes = Buffer.from(whole).toString('latin1')
    const clean = this.#clean(bytes)
    return clean === bytes ? whole : Buffer.from(clean, 'latin1').toString()
  }

  #clean(text: string): string {
    const out: string[] = []
    let from = 0
    for (let found = this.#find(text, 0); found !== null; found = this.#find(text, from)) {
      out.push(text.slice(from, found.at), redacted)
      from = found.at + found.chars
    }
    return out.join('') + text.slice(from)
  }

  /** The first pattern from `from` on, and of several that begin there the longest. */
  #find(text: string, from: number): Found | null {
    let first: Found | null = null
    for (const { charsMin, find } of this.#groups) {
      const found = charsMin > text.length - from ? null : find(text, from)
      if (found !== null && (first === null || found.at < first.at)) first = found
    }
    return first
  }

  /** Where, from `from` on, the unfinished start of a pattern stands at the very end; the length when there is none. */
  #openAt(text: string, from: number): number {
    let open = text.length
    for (const pattern of this.#patterns) {
      const first = pattern.charAt(0)
      let at = text.indexOf(first, Math.max(from, text.length - pattern.length + 1))
      for (; at !== -1 && at < open; at = text.indexOf(first, at + 1)) if (pattern.startsWith(text.slice(at))) open = at
    }
    return open
  }
}

/** Puts patterns, longest first, into groups that can be compiled; the order stays. */
function groupsOf(patterns: readonly string[]): readonly Group[] {
  const single = patterns.filter((pattern) => pattern.length > togetherCharsMax)
  const groups: string[][] = []
  let chars = groupCharsMax
  for (const pattern of patterns.slice(single.length)) {
    chars += pattern.length
    if (chars > groupCharsMax) {
      groups.push([])
      chars = pattern.length
    }
    groups.at(-1)?.push(pattern)
  }
  return [...single.map(one), ...groups.map(together)]
}

function one(pattern: string): Group {
  const find = (text: string, from: number): Found | null => {
    const at = text.indexOf(pattern, from)
    return at === -1 ? null : { at, chars: pattern.length }
  }
  return { charsMin: pattern.length, find }
}

function together(patterns: readonly string[]): Group {
  const source = patterns.map((pattern) => pattern.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|')
  const expression = new RegExp(source, 'gs')
  const find = (text: string, from: number): Found | null => {
    expression.lastIndex = from
    const match = expression.exec(text)
    return match === null ? null : { at: match.index, chars: match[0].length }
  }
  return { charsMin: patterns.at(-1)?.length ?? 0, find }
}
