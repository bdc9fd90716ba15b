/** A tar archive as a stream, in the old form that every tar reads (ustar): files only, owned by root, at one time. Equal entries give equal bytes. */
import { createReadStream } from 'node:fs'

export interface TarEntry {
  /** Relative, forward slashes, at most 255 bytes with a slash in the right place. */
  readonly path: string
  readonly executable: boolean
  readonly sizeBytes: number
  /** The file, or its text. */
  readonly from: { readonly file: string } | { readonly text: string }
}

const blockBytes = 512
/** 1980-01-01 UTC. */
const timeSeconds = 315_532_800

/** The archive. Throws when a path is too long, or a file is not as large as was said. */
export async function* writeTar(entries: readonly TarEntry[]): AsyncGenerator<Uint8Array> {
  for (const entry of entries) {
    yield header(entry)
    let bytes = 0
    const content: AsyncIterable<Uint8Array> | Iterable<Uint8Array> =
      'file' in entry.from
        ? createReadStream(entry.from.file, { highWaterMark: 1024 * 1024 })
        : [Buffer.from(entry.from.text)]
    for await (const chunk of content) {
      bytes += chunk.length
      yield chunk
    }
    if (bytes !== entry.sizeBytes) throw new Error(`${entry.path} changed while it was packed`)
    const rest = bytes % blockBytes
    if (rest > 0) yield Buffer.alloc(blockBytes - rest)
  }
  yield Buffer.alloc(2 * blockBytes)
}

function header({ path, executable, sizeBytes }: TarEntry): Buffer {
  const block = Buffer.alloc(blockBytes)
  const [name, prefix] = split(path)
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  }
  block.write(name, 0, 'utf8')
  octal(executable ? 0o755 : 0o644, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(sizeBytes, 124, 12)
  octal(timeSeconds, 136, 12)
  block.write('        0', 148, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  block.write('root\0', 265, 'latin1')
  block.write('root\0', 297, 'latin1')
  block.write(prefix, 345, 'utf8')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** A path in two fields of 100 and 155 bytes, cut at a slash. */
function split(path: string): [name: string, prefix: string] {
  if (Buffer.byteLength(path) <= 100) return [path, '']
  for (let at = path.indexOf('/'); at !== -1; at = path.indexOf('/', at + 1)) {
    const [prefix, name] = [path.slice(0, at), path.slice(at + 1)]
    if (Buffer.byteLength(name) <= 100 && Buffer.byteLength(prefix) <= 155) return [name, prefix]
  }
  throw new Error(`the path ${path} is too long for an archive`)
}
