/** What is said of disks and kernels that cannot be booted: by hand-made heads, and by those that qemu-img makes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { diskOf, headBytes, problemOfKernel } from './disk.ts'

/** A head of qcow2 that is right, with some fields of it set. */
function qcow(set: (head: Buffer) => void = () => {}): Buffer {
  const head = Buffer.alloc(headBytes)
  head.write('514649fb', 'hex')
  head.writeUInt32BE(3, 4)
  head.writeUInt32BE(1, 36)
  head.writeBigUInt64BE(196_608n, 40)
  set(head)
  return head
}

const size = 2 ** 20

test('a disk is what its first bytes say', () => {
  const raw = Buffer.alloc(headBytes)
  raw.writeUInt16LE(0xaa55, 510)
  assert.deepEqual(diskOf(raw, size, false), { format: 'raw' })
  assert.deepEqual(diskOf(Buffer.alloc(headBytes), size, true), { format: 'raw' }, 'a kernel beside it finds the rest')
  assert.deepEqual(diskOf(qcow(), size, false), { format: 'qcow2' })
})

test('what cannot be booted is told in a few words', () => {
  const marked = (mark: string, at = 0): Buffer => {
    const head = Buffer.alloc(headBytes)
    head.write(mark, at, 'hex')
    return head
  }
  const cases: readonly (readonly [head: Buffer, sizeBytes: number, problem: RegExp])[] = [
    [Buffer.alloc(0), 0, /shorter than one sector/],
    [Buffer.alloc(headBytes), size, /no boot sector/],
    [marked('1f8b'), size, /gzip/],
    [marked('fd377a585a00'), size, /xz/],
    [marked('28b52ffd'), size, /zstd/],
    [marked('4b444d56'), size, /VMDK/],
    [marked('7f10dabe', 64), size, /VDI/],
    [qcow((head) => head.writeUInt32BE(1, 4)), size, /version 1/],
    [qcow((head) => head.writeBigUInt64BE(4096n, 8)), size, /laid over another image/],
    [qcow((head) => head.writeUInt32BE(1, 32)), size, /encrypted/],
    [qcow(), 100_000, /cut short/],
    [qcow((head) => head.writeBigUInt64BE(2n, 72)), size, /damaged/],
    [qcow((head) => head.writeBigUInt64BE(4n, 72)), size, /another file/],
  ]
  for (const [head, sizeBytes, problem] of cases) {
    const found = diskOf(head, sizeBytes, false)
    assert.match('problem' in found ? found.problem : found.format, problem)
  }
})

test('a kernel is one for x86_64', () => {
  const marked = (mark: string, at: number): Buffer => {
    const head = Buffer.alloc(headBytes)
    head.write(mark, at, 'hex')
    return head
  }
  assert.equal(problemOfKernel(marked('48647253', 0x202)), null)
  const elf = marked('7f454c46', 0)
  elf.writeUInt16LE(62, 18)
  assert.equal(problemOfKernel(elf), null)
  elf.writeUInt16LE(183, 18)
  assert.match(problemOfKernel(elf) ?? '', /another processor/)
  assert.match(problemOfKernel(marked('41524d64', 56)) ?? '', /arm64/)
  assert.match(problemOfKernel(Buffer.alloc(3)) ?? '', /no kernel/)
})
