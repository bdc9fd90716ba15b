/**
 * Source maps (version 3): from a place in what runs to the place in what was written, and back. Pure.
 *
 * Invariant: a map that is damaged, or larger than the limit, is no map: places are then those of what runs.
 */

export interface SourcePlace {
  readonly source: string
  /** From 0, as in the map. */
  readonly line: number
}

interface Segment {
  readonly column: number
  readonly source: number
  readonly line: number
}

/** Most characters of a map. */
export const mapCharactersMax = 32_000_000

const digits = new Map(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'.split('').map((char, value) => [char, value]),
)

export class SourceMap {
  readonly sources: readonly string[]
  readonly #lines: readonly (readonly Segment[])[]

  constructor(sources: readonly string[], lines: readonly (readonly Segment[])[]) {
    this.sources = sources
    this.#lines = lines
  }

  /** Where a place of what runs (from 0) was written; null where it was not. */
  original(line: number, column: number): SourcePlace | null {
    const segments = this.#lines[line] ?? []
    const found = segments.findLast((segment) => segment.column <= column) ?? segments[0]
    return found === undefined ? null : { source: this.sources[found.source] ?? '', line: found.line }
  }

  /** The first place of what runs that was written on the line (from 0), or on the next one that became anything. */
  generated(source: string, line: number): { readonly line: number; readonly column: number } | null {
    const index = this.sources.indexOf(source)
    let best: { readonly line: number; readonly column: number; readonly from: number } | null = null
    for (const [number, segments] of this.#lines.entries()) {
      for (const segment of segments) {
        if (segment.source !== index || segment.line < line) continue
        if (best === null || segment.line < best.from)
          best = { line: number, column: segment.column, from: segment.line }
      }
    }
    return best === null ? null : { line: best.line, column: best.column }
  }
}

/** Reads a map; `base` is the URL of the map or of the script that holds it. Null when it is none that can be used. */
export function parseSourceMap(text: string, base: string): SourceMap | null {
  if (text.length > mapCharactersMax) return null
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) return null
    const { sources, sourceRoot, mappings } = Object.fromEntries(Object.entries(value))
    if (!Array.isArray(sources) || typeof mappings !== 'string') return null
    const root = typeof sourceRoot === 'string' && sourceRoot !== '' ? `${sourceRoot.replace(/\/$/, '')}/` : ''
    return new SourceMap(
      sources.map((source) => absolute(`${root}${String(source)}`, base)),
      decode(mappings),
    )
  } catch {
    return null
  }
}

function absolute(source: string, base: string): string {
  return URL.canParse(source, base) ? new URL(source, base).href : source
}

/** Throws for what is no base 64 digit. */
function decode(mappings: string): readonly (readonly Segment[])[] {
  let source = 0
  let line = 0
  return mappings.split(';').map((group) => {
    let column = 0
    const segments: Segment[] = []
    for (const text of group === '' ? [] : group.split(',')) {
      const [columns = 0, sourceStep, lineStep] = numbersOf(text)
      column += columns
      if (sourceStep === undefined || lineStep === undefined) continue
      source += sourceStep
      line += lineStep
      segments.push({ column, source, line })
    }
    return segments
  })
}

/** Numbers of five bits a digit, the lowest first; the sixth bit says that more follow, the lowest of all is the sign. */
function numbersOf(text: string): readonly number[] {
  const numbers: number[] = []
  let value = 0
  let shift = 0
  for (const char of text) {
    const digit = digits.get(char)
    if (digit === undefined) throw new Error(`${char} is no digit`)
    value += (digit & 31) * 2 ** shift
    shift += 5
    if (digit >= 32) continue
    numbers.push(value % 2 === 1 ? -(value - 1) / 2 : value / 2)
    value = 0
    shift = 0
  }
  return numbers
}
