/**
 * As much of FUSE's protocol (version 7.31) as one file needs: the kernel asks over /dev/fuse, and gets blocks, or is told
 * that they are written. Requests are answered one after another, in the order in which the kernel hands them over, so the
 * order of writes and flushes that the file sees is one order.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, read, writeSync } from 'node:fs'

/** A file of a fixed size, of blocks. */
export interface FuseFile {
  readonly name: string
  readonly bytes: number
  read(offset: number, length: number): Buffer
  write(offset: number, data: Buffer): void
  /** Zeroes a range. */
  clear(offset: number, length: number): void
  /** Everything written before is to be durable. */
  flush(): void
}

const operations = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  fsync: 20,
  flush: 25,
  init: 26,
  opendir: 27,
  releasedir: 29,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  fallocate: 43,
} as const

const [headerBytes, answerHeaderBytes, writeBytesMax] = [40, 16, 1024 * 1024]
const [rootNode, fileNode] = [1, 2]
const [noEntry, notSupported, notThere] = [-2, -95, -38]
/** Neither reads nor writes of the file go through the page cache. */
const directIo = 1
const asyncRead = 1
const bigWrites = 1 << 5
const maxPages = 1 << 22

/** Mounts a directory that holds the file, and serves it until it is unmounted. */
export async function serveFile(directory: string, file: FuseFile): Promise<void> {
  const device = openSync('/dev/fuse', 'r+')
  const options = 'fd=3,rootmode=40000,user_id=0,group_id=0,allow_other'
  const mount = spawn('mount', ['-i', '-t', 'fuse', '-o', options, 'recorded-disk', directory], {
    stdio: ['ignore', 'inherit', 'inherit', device],
  })
  const mounted = once(mount, 'exit') as Promise<[number]>
  void serve(device, file)
  const [status] = await mounted
  if (status !== 0) throw new Error(`mount ${directory} ended with ${status}`)
}

async function serve(device: number, file: FuseFile): Promise<void> {
  const buffer = Buffer.alloc(writeBytesMax + 4096)
  for (;;) {
    const { error, length } = await new Promise<{ error: NodeJS.ErrnoException | null; length: number }>((resolve) =>
      read(device, buffer, 0, buffer.length, null, (error, length) => resolve({ error, length })),
    )
    // Unmounted: the kernel has nothing more to ask.
    if (error?.code === 'ENODEV') break
    if (error !== null) {
      // Not mounted yet (EPERM), or a request was taken back before it was read.
      await new Promise((resolve) => setTimeout(resolve, 5))
      continue
    }
    const answer = answerTo(file, buffer.subarray(0, length))
    if (answer !== null) writeSync(device, answer)
  }
  closeSync(device)
}

/** The answer to a request, header and all; null where none is wanted. */
function answerTo(file: FuseFile, request: Buffer): Buffer | null {
  const operation = request.readUInt32LE(4)
  const unique = request.readBigUInt64LE(8)
  const node = Number(request.readBigUInt64LE(16))
  const body = request.subarray(headerBytes)
  const reply = (content: Buffer, error = 0): Buffer => {
    const header = Buffer.alloc(answerHeaderBytes)
    header.writeUInt32LE(answerHeaderBytes + content.length, 0)
    header.writeInt32LE(error, 4)
    header.writeBigUInt64LE(unique, 8)
    return Buffer.concat([header, content])
  }
  const nothing = Buffer.alloc(0)
  const u64 = (at: number): number => Number(body.readBigUInt64LE(at))
  switch (operation) {
    case operations.init:
      return reply(initAnswer(body))
    case operations.lookup: {
      if (node !== rootNode || body.toString('utf8', 0, body.length - 1) !== file.name) return reply(nothing, noEntry)
      const entry = Buffer.alloc(40)
      entry.writeBigUInt64LE(BigInt(fileNode), 0)
      return reply(Buffer.concat([entry, attributes(fileNode, file)]))
    }
    case operations.getattr:
    case operations.setattr:
      return reply(Buffer.concat([Buffer.alloc(16), attributes(node, file)]))
    case operations.open: {
      const opened = Buffer.alloc(16)
      opened.writeUInt32LE(directIo, 8)
      return reply(opened)
    }
    case operations.read:
      return reply(file.read(u64(8), Math.min(body.readUInt32LE(16), Math.max(0, file.bytes - u64(8)))))
    case operations.write: {
      const bytes = body.readUInt32LE(16)
      file.write(u64(8), Buffer.from(body.subarray(headerBytes, headerBytes + bytes)))
      const written = Buffer.alloc(8)
      written.writeUInt32LE(bytes, 0)
      return reply(written)
    }
    case operations.fsync:
      file.flush()
      return reply(nothing)
    case operations.fallocate: {
      // Zeroing and punching are the same to a disk; making room is none of its business.
      if ((body.readUInt32LE(24) & 0x12) === 0) return reply(nothing, notSupported)
      file.clear(u64(8), u64(16))
      return reply(nothing)
    }
    case operations.opendir:
      return reply(Buffer.alloc(16))
    case operations.statfs:
      return reply(Buffer.alloc(80))
    case operations.flush:
    case operations.release:
    case operations.releasedir:
    case operations.destroy:
      return reply(nothing)
    case operations.forget:
    case operations.batchForget:
    case operations.interrupt:
      return null
    default:
      return reply(nothing, notThere)
  }
}

function initAnswer(body: Buffer): Buffer {
  const answer = Buffer.alloc(64)
  answer.writeUInt32LE(7, 0)
  answer.writeUInt32LE(31, 4)
  answer.writeUInt32LE(body.readUInt32LE(8), 8)
  answer.writeUInt32LE(body.readUInt32LE(12) & (asyncRead | bigWrites | maxPages), 12)
  answer.writeUInt16LE(32, 16)
  answer.writeUInt16LE(24, 18)
  answer.writeUInt32LE(writeBytesMax, 20)
  answer.writeUInt32LE(1, 24)
  answer.writeUInt16LE(writeBytesMax / 4096, 28)
  return answer
}

function attributes(node: number, file: FuseFile): Buffer {
  const attr = Buffer.alloc(88)
  attr.writeBigUInt64LE(BigInt(node), 0)
  if (node === fileNode) {
    attr.writeBigUInt64LE(BigInt(file.bytes), 8)
    attr.writeBigUInt64LE(BigInt(file.bytes / 512), 16)
  }
  attr.writeUInt32LE(node === fileNode ? 0o100600 : 0o040755, 60)
  attr.writeUInt32LE(1, 64)
  attr.writeUInt32LE(4096, 80)
  return attr
}
