/**
 * What images of disks and kernels say of themselves in their first bytes, and why one cannot be booted here. Pure.
 *
 * Invariant: an image that is taken stands for itself: it names no other file, whose content would be somebody else's.
 */

export type DiskFormat = 'qcow2' | 'raw'

/** How much of an image is looked at. */
export const headBytes: number = 4096
const sectorBytes = 512

/** Beginnings of files that are no disk as they are. */
const others: readonly (readonly [at: number, mark: string, what: string])[] = [
  [0, '1f8b', 'it is compressed (gzip): unpack it first'],
  [0, 'fd377a585a00', 'it is compressed (xz): unpack it first'],
  [0, '28b52ffd', 'it is compressed (zstd): unpack it first'],
  [0, '504b0304', 'it is an archive (zip): unpack it first'],
  [0, '4b444d56', 'it is a VMDK image: make it one of qcow2 with qemu-img convert'],
  [0, '7668647866696c65', 'it is a VHDX image: make it one of qcow2 with qemu-img convert'],
  [64, '7f10dabe', 'it is a VDI image: make it one of qcow2 with qemu-img convert'],
]

const qcowMark = '514649fb'

/** What a disk is, or why it is none; with a kernel beside it, it needs no boot sector. */
export function diskOf(
  head: Buffer,
  sizeBytes: number,
  hasKernel: boolean,
): { readonly format: DiskFormat } | { readonly problem: string } {
  if (sizeBytes < sectorBytes || head.length < sectorBytes) return { problem: 'it is shorter than one sector' }
  if (has(head, 0, qcowMark)) {
    const problem = problemOfQcow(head, sizeBytes)
    return problem === null ? { format: 'qcow2' } : { problem }
  }
  const other = others.find(([at, mark]) => has(head, at, mark))
  if (other !== undefined) return { problem: other[2] }
  if (!hasKernel && !has(head, 510, '55aa'))
    return { problem: 'it has no boot sector, and no kernel is named beside it' }
  return { format: 'raw' }
}

function problemOfQcow(head: Buffer, sizeBytes: number): string | null {
  const version = head.readUInt32BE(4)
  if (version !== 2 && version !== 3) return `it is of version ${version} of qcow, and 2 and 3 are known`
  if (head.readBigUInt64BE(8) !== 0n)
    return 'it is laid over another image, which does not come with it: make one of both with qemu-img convert'
  if (head.readUInt32BE(32) !== 0) return 'it is encrypted'
  const tableEnd = Number(head.readBigUInt64BE(40)) + head.readUInt32BE(36) * 8
  if (tableEnd > sizeBytes) return 'it is cut short: its own table of contents lies beyond its end'
  const needs = version === 3 ? head.readBigUInt64BE(72) : 0n
  if ((needs & 2n) !== 0n) return 'it is marked as damaged: see qemu-img check'
  return (needs & 4n) === 0n ? null : 'its content lies in another file: make it one with qemu-img convert'
}

/** Why a file is no kernel for x86_64; null when it is one. */
export function problemOfKernel(head: Buffer): string | null {
  if (has(head, 0, '7f454c46') && head.length > 20)
    return head.readUInt16LE(18) === 62 ? null : 'it is a program for another processor than x86_64'
  if (has(head, 0x202, '48647253')) return null
  if (has(head, 56, '41524d64')) return 'it is a kernel for arm64, and this runs x86_64'
  return 'it is no kernel for x86_64'
}

function has(head: Buffer, at: number, mark: string): boolean {
  const bytes = Buffer.from(mark, 'hex')
  return head.subarray(at, at + bytes.length).equals(bytes)
}
