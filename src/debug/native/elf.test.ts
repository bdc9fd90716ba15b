/** What files of programs say about themselves, and files that say nonsense. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { buildIdOf, compilerOf, goVersionOf, machineName, machineOf, type ReadAt, readElf, symbolsOf } from './elf.ts'

const readerOf =
  (bytes: Buffer): ReadAt =>
  (offset, length) =>
    bytes.subarray(offset, offset + length)

/** A file with these sections. */
function elfWith(sections: Readonly<Record<string, Buffer>>, machine = 62): Buffer {
  const entries = [['', Buffer.alloc(0)] as const, ...Object.entries(sections)]
  const names = Buffer.from(`${[...entries.map(([name]) => name), '.shstrtab'].join('\0')}\0`)
  const all = [...entries, ['.shstrtab', names] as const]
  const head = Buffer.alloc(64)
  head.write('\x7fELF', 'latin1')
  head[4] = 2
  head[5] = 1
  head.writeUInt16LE(machine, 18)
  const bodies = Buffer.concat(all.map(([, bytes]) => bytes))
  head.writeBigUInt64LE(BigInt(64 + bodies.length), 40)
  head.writeUInt16LE(64, 58)
  head.writeUInt16LE(all.length, 60)
  head.writeUInt16LE(all.length - 1, 62)
  let offset = 64
  let nameAt = 0
  const table = all.map(([name, bytes]) => {
    const row = Buffer.alloc(64)
    row.writeUInt32LE(nameAt, 0)
    row.writeBigUInt64LE(BigInt(offset), 24)
    row.writeBigUInt64LE(BigInt(bytes.length), 32)
    offset += bytes.length
    nameAt += name.length + 1
    return row
  })
  return Buffer.concat([head, bodies, ...table])
}

test('this very Node is machine code for this machine', () => {
  const elf = readElf(readerOf(readFileSync(process.execPath)))
  assert.ok(elf !== null)
  assert.equal(elf.machine, machineOf(process.arch))
  assert.equal(goVersionOf(elf), null)
})

test('compiler, build and symbols are read', () => {
  const note = Buffer.concat([Buffer.alloc(16), Buffer.from('0a1b2c3d', 'hex')])
  note.writeUInt32LE(4, 4)
  const bytes = elfWith({
    '.comment': Buffer.from('GCC: (Debian) 12.2.0\0'),
    '.note.gnu.build-id': note,
    '.symtab': note,
  })
  const elf = readElf(readerOf(bytes))
  assert.ok(elf !== null)
  assert.deepEqual([compilerOf(elf), buildIdOf(elf), symbolsOf(elf)], ['GCC: (Debian) 12.2.0', '0a1b2c3d', 'functions'])
})

test('a version of Go is read, and a foreign machine is named', () => {
  const info = Buffer.alloc(64)
  info[15] = 2
  info[32] = 8
  info.write('go1.26.8', 33)
  const elf = readElf(readerOf(elfWith({ '.go.buildinfo': info, '.debug_info': info }, 183)))
  assert.ok(elf !== null)
  assert.deepEqual([goVersionOf(elf), symbolsOf(elf), machineName(elf.machine)], ['1.26.8', 'lines', 'arm64'])
})

test('what is no program, or a broken one, is none', () => {
  assert.equal(readElf(readerOf(Buffer.from('#!/bin/sh\n'.padEnd(100)))), null)
  const broken = elfWith({ '.comment': Buffer.alloc(3) })
  broken.writeBigUInt64LE(2n ** 60n, 40)
  assert.deepEqual([...(readElf(readerOf(broken))?.sections.keys() ?? [])], [])
})
