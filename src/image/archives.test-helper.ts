/** Archives for tests, honest and hostile: every field of a header can be said. */
import { gzipSync } from 'node:zlib'
import { seededRandom } from '../base/index.ts'

export interface RawEntry {
  readonly path: string
  /** The type byte; a file where absent. */
  readonly type?: string
  readonly mode?: number
  readonly body?: string | Uint8Array
  /** In the place of the body's own. */
  readonly size?: number
  readonly target?: string
  readonly mtime?: number
}

const blockBytes = 512

/** An archive of these entries, closed. */
export function tarOf(...entries: readonly RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(rawEntry), Buffer.alloc(2 * blockBytes)])
}

/** One entry: header, body, padding. */
export function rawEntry({
  path,
  type = '0',
  mode = 0o644,
  body = '',
  size,
  target = '',
  mtime = 0,
}: RawEntry): Buffer {
  const bytes = Buffer.from(body)
  const header = Buffer.alloc(blockBytes)
  const octal = (value: number, at: number, length: number): void => {
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  }
  header.write(path, 0, 100, 'utf8')
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size ?? bytes.length, 124, 12)
  octal(mtime, 136, 12)
  header.write('        ', 148, 'latin1')
  header.write(type, 156, 'latin1')
  header.write(target, 157, 100, 'utf8')
  header.write('ustar\x0000', 257, 'latin1')
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return Buffer.concat([header, bytes, Buffer.alloc((blockBytes - (bytes.length % blockBytes)) % blockBytes)])
}

/** An extended header with these records. */
export function extended(records: Readonly<Record<string, string>>, type = 'x'): Buffer {
  const text = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`
    let length = Buffer.byteLength(rest) + 1
    while (Buffer.byteLength(`${length}${rest}`) !== length) length++
    return `${length}${rest}`
  })
  return rawEntry({ path: 'PaxHeaders/x', type, body: text.join('') })
}

/** In pieces of a size, as a network brings them. */
export async function* pieces(bytes: Uint8Array, size = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

export function zipped(bytes: Uint8Array): Buffer {
  return gzipSync(bytes)
}

/** Numbers from 0 up to 1, repeatable. */
export function dice(seed: number): () => number {
  const random = seededRandom(seed)
  return () => Buffer.from(random.bytes(4)).readUInt32LE() / 2 ** 32
}
