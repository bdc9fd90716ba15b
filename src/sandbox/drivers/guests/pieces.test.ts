/** The pure parts of guests: archives, frames, configurations, symbols, types. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memberOffsets } from './btf.ts'
import { decodeFrames, encodeConfig, encodeFrame } from './channel.ts'
import { counterRate } from './counter.ts'
import { gdbCommands } from './gdb-commands.ts'
import { packArchive } from './initramfs.ts'
import { unpackKernel } from './kernel.ts'
import { parseSymbols, symbolFile } from './symbol-file.ts'

test('frames are taken whole, in order, however they arrive; one too large is none of ours', () => {
  const sent = Buffer.concat([encodeFrame('O', 7, 'some'), encodeFrame('C', 7, '0'), encodeFrame('U', 1)])
  for (let cut = 0; cut <= sent.length; cut++) {
    const first = decodeFrames(sent.subarray(0, cut))
    const second = decodeFrames(Buffer.concat([first.rest, sent.subarray(cut)]))
    const all = [...first.frames, ...second.frames]
    assert.deepEqual(
      all.map(({ type, id, payload }) => `${type}${id}${payload.toString()}`),
      ['O7some', 'C70', 'U1'],
    )
    assert.equal(second.rest.length, 0)
  }
  const huge = encodeFrame('O', 1)
  huge.writeUInt32BE(2 ** 31, 5)
  assert.throws(() => decodeFrames(huge), /2147483648/)
})

test('a value may hold anything: its length in bytes leads it', () => {
  assert.equal(
    encodeConfig([
      ['arg', 'a\nb'],
      ['env', 'ü'],
      ['empty', ''],
    ]),
    'arg 3\na\nb\nenv 2\nü\nempty 0\n\n',
  )
})

test('how fast a processor counts is what its kernel says, unless that is how fast it runs at the moment', () => {
  const told = (flags: string): string => `processor\t: 0\ncpu MHz\t\t: 2596.128\nflags\t\t: fpu tsc ${flags} sse\n`
  assert.deepEqual(counterRate(told('constant_tsc')), { kilohertz: 2_596_128, weaker: null })
  for (const other of [told(''), told('constant_tsc aperfmperf'), 'flags\t\t: constant_tsc\n', ''])
    assert.match(counterRate(other).weaker ?? '', /may run faster or slower/)
})

test('an archive is one that kernels unpack: heads, names and contents on borders of four bytes', () => {
  const archive = packArchive([
    { path: 'dev', mode: 0o40755, content: new Uint8Array() },
    { path: 'dev/console', mode: 0o20600, content: new Uint8Array(), device: [5, 1] },
    { path: 'init', mode: 0o100755, content: Buffer.from('#!/bin/perl\n') },
  ])
  const found: string[] = []
  for (let at = 0; at < archive.length;) {
    const field = (index: number): number =>
      parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)
    assert.equal(archive.toString('latin1', at, at + 6), '070701')
    const name = archive.toString('latin1', at + 110, at + 109 + field(11))
    const content = Math.ceil((at + 110 + field(11)) / 4) * 4
    found.push(
      `${name} ${field(1).toString(8)} ${field(9)},${field(10)} ${archive.toString('latin1', content, content + field(6))}`,
    )
    at = Math.ceil((content + field(6)) / 4) * 4
  }
  assert.deepEqual(found, [
    'dev 40755 0,0 ',
    'dev/console 20600 5,1 ',
    'init 100755 0,0 #!/bin/perl\n',
    'TRAILER!!! 0 0,0 ',
  ])
})

test('a table of symbols becomes an ELF file; modules and hidden addresses stay out', () => {
  const table = [
    'ffffffff81000000 T _text',
    'ffffffff81001000 t do_thing',
    'ffffffff82000000 D init_task',
    'ffffffffc0000000 t in_module\t[module]',
    '0000000000000000 T hidden',
    '',
  ].join('\n')
  const symbols = parseSymbols(table)
  assert.deepEqual(
    symbols.map(({ name, isCode }) => [name, isCode]),
    [
      ['_text', true],
      ['do_thing', true],
      ['init_task', false],
    ],
  )
  const file = symbolFile(symbols)
  assert.equal(file.toString('latin1', 1, 4), 'ELF')
  assert.ok(file.includes('\0do_thing\0'))
  const sections = Number(file.readBigUInt64LE(40))
  const text = file.subarray(sections + 64, sections + 128)
  assert.equal(text.readBigUInt64LE(16), 0xffff_ffff_8100_0000n)
})

test('types that are no types, cut or damaged, give no offsets, and gdb is told so', () => {
  const wanted = { task_struct: ['pid'] }
  const nothing = { 'task_struct.pid': null }
  for (const bytes of [0, 10, 24, 500]) assert.deepEqual(memberOffsets(Buffer.alloc(bytes, 0x9f), wanted), nothing)
  const head = Buffer.alloc(24)
  head.writeUInt16LE(0xeb9f)
  head.writeUInt32LE(24, 4)
  head.writeUInt32LE(2 ** 31, 12)
  head.writeUInt32LE(2 ** 31, 20)
  assert.deepEqual(memberOffsets(Buffer.concat([head, Buffer.alloc(40, 4)]), wanted), nothing)
  assert.match(gdbCommands([], Buffer.alloc(0)), /does not tell its types/)
})

test('a file that holds no packed kernel is used as it is', async () => {
  assert.equal(await unpackKernel(Buffer.from('no kernel')), null)
  assert.equal(await unpackKernel(Buffer.from('1f8b08', 'hex')), null)
})
