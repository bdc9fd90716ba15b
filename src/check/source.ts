/**
 * A text that is checked, and places in it. Invariant: a place is an offset into the text as it was read; line and column
 * are worked out when somebody reads them, so that keeping a place for every finding costs two words.
 */

/** Largest file that is read, in bytes. Rendered charts with custom resources reach 10 MB; more is no design. */
export const fileBytesMax: number = 32 * 1024 * 1024

export interface SourceFile {
  /** As the user named it, relative where that was relative; with forward slashes. */
  readonly path: string
  readonly text: string
}

export interface Place {
  readonly source: SourceFile
  /** UTF-16 units from the start of the text. */
  readonly offset: number
}

/** Where a person looks: lines and columns count from 1, columns in UTF-16 units. */
export interface Position {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** What could not be read or understood, in one sentence. */
export interface Problem {
  /** `check.bad-yaml` and the like; the list stands in README.md. */
  readonly code: string
  /** One sentence without the place. */
  readonly message: string
  readonly hint: string | null
  readonly place: Place
}

const starts = new WeakMap<SourceFile, readonly number[]>()

/** The line and column of a place. */
export function positionOf(place: Place): Position {
  const lines = lineStarts(place.source)
  let low = 0
  let high = lines.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((lines[middle] ?? 0) <= place.offset) low = middle
    else high = middle - 1
  }
  return { file: place.source.path, line: low + 1, column: place.offset - (lines[low] ?? 0) + 1 }
}

/** `deploy.yaml:12:7`. */
export function formatPosition(position: Position): string {
  return `${position.file}:${position.line}:${position.column}`
}

function lineStarts(source: SourceFile): readonly number[] {
  const known = starts.get(source)
  if (known !== undefined) return known
  const found = [0]
  for (let at = source.text.indexOf('\n'); at !== -1; at = source.text.indexOf('\n', at + 1)) found.push(at + 1)
  starts.set(source, found)
  return found
}

/** The text of a file's bytes, or the problem: UTF-8 with or without a mark, and UTF-16 with one, are read. */
export function decodeSource(path: string, bytes: Uint8Array): SourceFile | Problem {
  const nothing: SourceFile = { path, text: '' }
  const place: Place = { source: nothing, offset: 0 }
  if (bytes.length > fileBytesMax) return tooLarge(path, bytes.length)
  const encoding =
    bytes[0] === 0xff && bytes[1] === 0xfe ? 'utf-16le' : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8'
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes)
    const nul = text.indexOf('\0')
    if (nul === -1) return { path, text }
    const message = 'the file holds a NUL byte: it is binary, or in an encoding without a byte order mark'
    return {
      code: 'check.bad-encoding',
      message,
      hint: 'Save it as UTF-8.',
      place: { source: { path, text }, offset: nul },
    }
  } catch {
    const message = `the file is not valid ${encoding.toUpperCase()}`
    return { code: 'check.bad-encoding', message, hint: 'Save it as UTF-8.', place }
  }
}

/** The problem of a file that is larger than what is read: for callers that know its size before they read it. */
export function tooLarge(path: string, bytes: number): Problem {
  const message = `the file has ${bytes} bytes, and at most ${fileBytesMax} are read`
  const place = { source: { path, text: '' }, offset: 0 }
  return { code: 'check.too-large', message, hint: 'Split it, or check a part of it.', place }
}
