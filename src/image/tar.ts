/**
 * Reads tar archives as a stream: ustar, the extended headers of POSIX, and long names of GNU. Pure: bytes in, entries out.
 *
 * Invariants: nothing is trusted: every number is checked, every header has a bound, an archive that ends early is an error;
 * memory is bounded by one header and one chunk.
 */
import { SteadError } from '../base/index.ts'
import { holdLimit } from './limits.ts'

export type EntryKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'device' | 'pipe'

export interface TarEntry {
  readonly path: string
  readonly kind: EntryKind
  /** Of a link. */
  readonly target: string
  /** Bits as written, the upper ones too. */
  readonly mode: number
  /** As written; null where it is no number. */
  readonly uid: number | null
  readonly gid: number | null
  /** Bytes of the body. */
  readonly size: number
  readonly mtimeSeconds: number
  /** Must be read, or is skipped when the next entry is asked for. */
  readonly body: AsyncIterable<Uint8Array>
}

const blockBytes = 512
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const kinds: Readonly<Record<string, EntryKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'device',
  '4': 'device',
  '5': 'directory',
  '6': 'pipe',
}

/** Throws `image.bad-archive`, `image.truncated`, `image.too-large`. */
export async function* readTar(source: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<TarEntry> {
  const bytes = new Bytes(source, what)
  const common = new Map<string, string>()
  let own = new Map<string, string>()
  for (;;) {
    const header = await bytes.block()
    if (header === null) return
    if (header.every((byte) => byte === 0)) return await bytes.drain()
    checkSum(header, what)
    const type = String.fromCharCode(header[156] ?? 0)
    const size = numberAt(header, 124, 12, what)
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      holdLimit('extendedHeaderBytesMax', size, `an extended header of ${what}`)
      const data = await bytes.take(size)
      if (type === 'x') own = new Map([...own, ...records(data, what)])
      else if (type === 'g') for (const [key, value] of records(data, what)) common.set(key, value)
      else own.set(type === 'L' ? 'path' : 'linkpath', textAt(data, 0, data.length, what))
      await bytes.skip(padding(size))
      continue
    }
    const kind = kinds[type]
    if (kind === undefined)
      throw badArchive(
        what,
        type === 'S'
          ? 'it holds a sparse file in the form of GNU'
          : `it holds an entry of type ${JSON.stringify(type)}`,
      )
    const extra = new Map([...common, ...own])
    own = new Map()
    if ([...extra.keys()].some((key) => key.startsWith('GNU.sparse.')))
      throw badArchive(what, 'it holds a sparse file in the form of GNU')
    const written = extra.has('size') ? decimal(extra.get('size') ?? '', what) : size
    const bodyBytes = kind === 'file' ? written : 0
    const rest = { left: bodyBytes }
    const path = extra.get('path') ?? nameOf(header, what)
    // The oldest archives mark directories by a slash alone.
    const isOldDirectory = kind === 'file' && path.endsWith('/')
    yield {
      path,
      kind: isOldDirectory ? 'directory' : kind,
      target: extra.get('linkpath') ?? textAt(header, 157, 100, what),
      mode: numberAt(header, 100, 8, what) & 0o7777,
      uid: ownerAt(header, 108, extra.get('uid')),
      gid: ownerAt(header, 116, extra.get('gid')),
      size: isOldDirectory ? 0 : bodyBytes,
      mtimeSeconds: timeOf(extra.get('mtime'), header, what),
      body: bytes.body(rest),
    }
    await bytes.skip(rest.left + padding(bodyBytes))
  }
}

/** The bytes of the source, in the portions that are asked for. */
class Bytes {
  readonly #source: AsyncIterator<Uint8Array>
  readonly #what: string
  #chunk: Uint8Array = new Uint8Array(0)
  #at = 0
  #total = 0

  constructor(source: AsyncIterable<Uint8Array>, what: string) {
    this.#source = source[Symbol.asyncIterator]()
    this.#what = what
  }

  /** A header; null at the end. */
  async block(): Promise<Uint8Array | null> {
    if (this.#chunk.length === this.#at && !(await this.#more())) return null
    return this.take(blockBytes)
  }

  async take(count: number): Promise<Uint8Array> {
    if (this.#chunk.length - this.#at >= count) {
      const found = this.#chunk.subarray(this.#at, this.#at + count)
      this.#at += count
      return found
    }
    const found = new Uint8Array(count)
    for (let have = 0; have < count;) {
      const part = await this.#some(count - have)
      found.set(part, have)
      have += part.length
    }
    return found
  }

  async skip(count: number): Promise<void> {
    for (let left = count; left > 0;) left -= (await this.#some(left)).length
  }

  async *body(rest: { left: number }): AsyncGenerator<Uint8Array> {
    while (rest.left > 0) {
      const part = await this.#some(rest.left)
      rest.left -= part.length
      yield part
    }
  }

  /** Reads what follows the archive, so that whoever checks the whole stream sees its end. */
  async drain(): Promise<void> {
    while (await this.#more());
  }

  async #some(countMax: number): Promise<Uint8Array> {
    if (this.#chunk.length === this.#at && !(await this.#more())) {
      throw new SteadError({
        code: 'image.truncated',
        message: `${this.#what} ends in the middle of an entry.`,
        hint: 'The copy is damaged: fetch the image anew.',
        retry: 'later',
      })
    }
    const part = this.#chunk.subarray(this.#at, this.#at + countMax)
    this.#at += part.length
    return part
  }

  async #more(): Promise<boolean> {
    for (;;) {
      const { done, value } = await this.#source.next()
      if (done === true) return false
      // Of everything, headers and what follows the end too: little that is compressed can be much.
      this.#total += value.length
      holdLimit('unpackedBytesMax', this.#total, `The size of ${this.#what}`)
      this.#chunk = value
      this.#at = 0
      if (value.length > 0) return true
    }
  }
}

function padding(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes
}

function checkSum(header: Uint8Array, what: string): void {
  let sum = 0
  for (let index = 0; index < blockBytes; index++) sum += index >= 148 && index < 156 ? 32 : (header[index] ?? 0)
  if (numberAt(header, 148, 8, what) !== sum) throw badArchive(what, 'a header has a wrong check sum')
}

/** A number in octal digits, or in the binary form of GNU. */
function numberAt(header: Uint8Array, at: number, length: number, what: string): number {
  const field = header.subarray(at, at + length)
  const first = field[0] ?? 0
  if ((first & 0x80) !== 0) {
    if (first !== 0x80) throw badArchive(what, 'a number is below zero')
    const value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0)
    if (Number.isSafeInteger(value)) return value
    throw badArchive(what, 'a number is too large')
  }
  const text = Buffer.from(field).toString('latin1').replace(/\0.*$/s, '').trim()
  if (text === '') return 0
  if (!/^[0-7]+$/.test(text)) throw badArchive(what, 'a number is not octal')
  return Number.parseInt(text, 8)
}

function decimal(text: string, what: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value
  throw badArchive(what, 'a size is no number')
}

/** Whoever does not keep owners need not refuse an archive for them. */
function ownerAt(header: Uint8Array, at: number, extended: string | undefined): number | null {
  try {
    return extended === undefined ? numberAt(header, at, 8, '') : decimal(extended, '')
  } catch {
    return null
  }
}

/** Times before 1970 or beyond reason are 0: nothing depends on them. */
function timeOf(extended: string | undefined, header: Uint8Array, what: string): number {
  const seconds = extended === undefined ? timeField(header, what) : Number.parseFloat(extended)
  return seconds >= 0 && seconds < 2 ** 33 ? seconds : 0
}

function timeField(header: Uint8Array, what: string): number {
  return (header[136] ?? 0) === 0xff ? 0 : numberAt(header, 136, 12, what)
}

function textAt(bytes: Uint8Array, at: number, length: number, what: string): string {
  const field = bytes.subarray(at, at + length)
  const end = field.indexOf(0)
  return decode(end === -1 ? field : field.subarray(0, end), what)
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw badArchive(what, 'a name is not UTF-8')
  }
}

function nameOf(header: Uint8Array, what: string): string {
  const isUstar = Buffer.from(header.subarray(257, 263)).toString('latin1') === 'ustar\0'
  const prefix = isUstar ? textAt(header, 345, 155, what) : ''
  const name = textAt(header, 0, 100, what)
  return prefix === '' ? name : `${prefix}/${name}`
}

/** Records of an extended header: `LENGTH KEY=VALUE\n`. Values of attributes may be anything and are not kept. */
function records(data: Uint8Array, what: string): Map<string, string> {
  const found = new Map<string, string>()
  for (let at = 0; at < data.length;) {
    const space = data.indexOf(32, at)
    const digits = space === -1 ? '' : Buffer.from(data.subarray(at, space)).toString('latin1')
    const length = /^\d{1,9}$/.test(digits) ? Number(digits) : 0
    const equals = data.indexOf(61, space)
    const end = at + length
    if (equals === -1 || equals >= end || end > data.length || data[end - 1] !== 10)
      throw badArchive(what, 'an extended header is malformed')
    const key = decode(data.subarray(space + 1, equals), what)
    if (['path', 'linkpath', 'size', 'mtime', 'uid', 'gid'].includes(key) || key.startsWith('GNU.sparse.')) {
      const value = decode(data.subarray(equals + 1, end - 1), what)
      if (value.includes('\0')) throw badArchive(what, 'a name holds a NUL byte')
      found.set(key, value)
    }
    at = end
  }
  return found
}

export function badArchive(what: string, why: string): SteadError {
  return new SteadError({
    code: 'image.bad-archive',
    message: `${what} is no archive that can be unpacked: ${why}.`,
    hint: 'Build the image with a usual builder; what is not understood is not guessed at.',
  })
}
