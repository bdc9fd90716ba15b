/**
 * Takes registered values out of a stream of bytes, in every form of `patterns.ts`. Pure.
 *
 * Invariants: what goes out holds no pattern, however the input was cut into chunks; everything else goes out unchanged
 * and in order; no more is held back than the start of a pattern that may still be completed.
 */

/** What stands in the place of a value. */
export const redacted = '[secret]'

/** Patterns that one redactor looks for. Beyond it the caller has registered something else than secrets. */
const patternsMax = 50_000

export class Redactor {
  readonly #patterns: readonly string[]
  readonly #all: RegExp | null
  #held = ''

  /** For the patterns of all values. Throws RangeError for more than `patternsMax`. */
  constructor(patterns: Iterable<Uint8Array>) {
    const texts = new Set([...patterns].map((pattern) => Buffer.from(pattern).toString('latin1')))
    if (texts.size > patternsMax) throw new RangeError(`more than ${patternsMax} patterns`)
    // The longest first: of two that begin in one place, the one that takes more.
    this.#patterns = [...texts].sort((a, b) => b.length - a.length)
    const source = this.#patterns.map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|')
    this.#all = texts.size === 0 ? null : new RegExp(source, 'gs')
  }

  /** The next chunk, and what can go out by it. */
  write(chunk: Uint8Array): Buffer {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    if (this.#all === null) return bytes
    const text = this.#held + bytes.toString('latin1')
    const out: string[] = []
    let from = 0
    let open = this.#openAt(text, from)
    for (;;) {
      this.#all.lastIndex = from
      const match = this.#all.exec(text)
      // What begins where a longer pattern may still come waits for it.
      if (match === null || match.index >= open) break
      out.push(text.slice(from, match.index), redacted)
      from = match.index + match[0].length
      if (from > open) open = this.#openAt(text, from)
    }
    out.push(text.slice(from, open))
    this.#held = text.slice(open)
    return Buffer.from(out.join(''), 'latin1')
  }

  /** What was held back, when nothing more comes. */
  end(): Buffer {
    const rest = this.#all === null ? '' : this.#held.replace(this.#all, redacted)
    this.#held = ''
    return Buffer.from(rest, 'latin1')
  }

  /** A whole text, such as a line that was kept before its value was registered. */
  text(whole: string): string {
    if (this.#all === null) return whole
    const bytes = Buffer.from(whole).toString('latin1')
    const clean = bytes.replace(this.#all, redacted)
    return clean === bytes ? whole : Buffer.from(clean, 'latin1').toString()
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
