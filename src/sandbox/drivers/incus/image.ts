/**
 * The image that containers stand on: empty directories, links into the host's programs, and the first program. Pure.
 *
 * Invariant: the same first program and links make the same bytes, so that its digest says whether the server has it.
 */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { containerInit } from './init.ts'

const blockBytes = 512
const directories = 'control dev groups new proc run sbin share sys tmp trees'.split(' ')

/** A link of the host's root, such as /lib to usr/lib. */
export interface RootLink {
  readonly path: string
  readonly linkTo: string
}

export interface ContainerImage {
  /** What the server calls it: the digest of its bytes. */
  readonly fingerprint: string
  readonly bytes: Buffer
}

/** The archive as a server imports it, for a host whose programs are shown below /trees. */
export function containerImage(architecture: string, links: readonly RootLink[]): ContainerImage {
  const metadata = [
    `architecture: ${architecture}`,
    'creation_date: 1',
    'properties:',
    '  description: what containers of Stead stand on',
    '',
  ].join('\n')
  const entries = [
    header('metadata.yaml', { size: metadata.length, mode: 0o644 }),
    padded(metadata),
    header('rootfs/', { mode: 0o755, type: '5' }),
    ...directories.map((path) => header(`rootfs/${path}/`, { mode: 0o755, type: '5' })),
    ...links.map(({ path, linkTo }) => header(`rootfs${path}`, { mode: 0o777, type: '2', linkTo })),
    header('rootfs/sbin/init', { size: Buffer.byteLength(containerInit), mode: 0o755 }),
    padded(containerInit),
    Buffer.alloc(2 * blockBytes),
  ]
  const bytes = gzipSync(Buffer.concat(entries))
  return { bytes, fingerprint: createHash('sha256').update(bytes).digest('hex') }
}

interface Entry {
  readonly size?: number
  readonly mode: number
  /** 0 a file, 2 a link, 5 a directory. */
  readonly type?: '0' | '2' | '5'
  readonly linkTo?: string
}

/** A header as in POSIX: numbers in octal, and a sum over all of it. */
function header(path: string, { size = 0, mode, type = '0', linkTo = '' }: Entry): Buffer {
  const block = Buffer.alloc(blockBytes)
  const octal = (value: number, at: number, length: number): void =>
    void block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1')
  block.write(path, 0, 100, 'utf8')
  octal(mode, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(size, 124, 12)
  octal(0, 136, 12)
  block.fill(' ', 148, 156)
  block.write(type, 156, 'latin1')
  block.write(linkTo, 157, 100, 'utf8')
  block.write('ustar\x0000', 257, 'latin1')
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  return block
}

function padded(text: string): Buffer {
  const content = Buffer.from(text)
  return Buffer.concat([content, Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)])
}
