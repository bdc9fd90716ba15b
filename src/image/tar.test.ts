/** Reading archives: what honest ones hold, what broken ones are refused with, and that no bytes at all make it do anything else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isSteadError } from '../base/index.ts'
import { dice, extended, pieces, rawEntry, tarOf } from './archives.test-helper.ts'
import { readTar, type TarEntry } from './tar.ts'

async function read(
  bytes: Uint8Array,
  pieceBytes = 700,
): Promise<{ entries: Omit<TarEntry, 'body'>[]; bodies: string[] }> {
  const entries: Omit<TarEntry, 'body'>[] = []
  const bodies: string[] = []
  for await (const { body, ...entry } of readTar(pieces(bytes, pieceBytes), 'the layer')) {
    entries.push(entry)
    bodies.push(Buffer.concat(await Array.fromAsync(body)).toString())
  }
  return { entries, bodies }
}

test('files, directories, links; whole in pieces of any size', async () => {
  const bytes = tarOf(
    { path: 'a/', type: '5', mode: 0o755 },
    { path: 'a/file', body: 'x'.repeat(1500), mode: 0o4755, mtime: 7 },
    { path: 'a/link', type: '2', target: '../b' },
    { path: 'a/hard', type: '1', target: 'a/file' },
    { path: 'dev', type: '3' },
    { path: 'pipe', type: '6' },
    { path: 'old/' },
  )
  for (const size of [1, 511, 512, 513, 100_000]) {
    const { entries, bodies } = await read(bytes, size)
    assert.deepEqual(
      entries.map(({ kind }) => kind),
      ['directory', 'file', 'symlink', 'hardlink', 'device', 'pipe', 'directory'],
    )
    assert.equal(bodies[1], 'x'.repeat(1500))
    assert.deepEqual([entries[1]?.mode, entries[1]?.mtimeSeconds, entries[2]?.target], [0o4755, 7, '../b'])
  }
})

test('long names: of POSIX, for one entry and for all that follow, and of GNU', async () => {
  const long = `${'d'.repeat(90)}/${'n'.repeat(90)}`
  const end = Buffer.alloc(1024)
  const own = Buffer.concat([
    extended({ path: long, mtime: '12.5', 'SCHILY.xattr.security.capability': 'x\0y' }),
    rawEntry({ path: 'short', body: '1' }),
    rawEntry({ path: 'next' }),
    end,
  ])
  const { entries } = await read(own)
  assert.deepEqual(
    entries.map(({ path, mtimeSeconds }) => [path, mtimeSeconds]),
    [
      [long, 12.5],
      ['next', 0],
    ],
  )
  const gnu = Buffer.concat([
    rawEntry({ path: '././@LongLink', type: 'L', body: `${long}\0` }),
    rawEntry({ path: 'x', type: '2', target: 't' }),
    end,
  ])
  assert.deepEqual(
    (await read(gnu)).entries.map(({ path, target }) => [path, target]),
    [[long, 't']],
  )
  const common = Buffer.concat([extended({ mtime: '9' }, 'g'), rawEntry({ path: 'a' }), rawEntry({ path: 'b' }), end])
  assert.deepEqual(
    (await read(common)).entries.map(({ mtimeSeconds }) => mtimeSeconds),
    [9, 9],
  )
})

test('a body that nobody reads is passed over; what follows the end is read and ignored', async () => {
  const bytes = Buffer.concat([
    tarOf({ path: 'a', body: 'x'.repeat(3000) }, { path: 'b', body: 'y' }),
    Buffer.from('anything'),
  ])
  const paths: string[] = []
  let count = 0
  const counted = (async function* () {
    for await (const piece of pieces(bytes)) {
      count += piece.length
      yield piece
    }
  })()
  for await (const { path } of readTar(counted, 'the layer')) paths.push(path)
  assert.deepEqual([paths, count], [['a', 'b'], bytes.length])
})

const sparse = Buffer.concat([extended({ 'GNU.sparse.major': '1' }), rawEntry({ path: 'a' })])
const badSum = tarOf({ path: 'a' })
badSum[0] = 0x62
const negative = rawEntry({ path: 'a' })
negative.fill(0xff, 124, 136)
const badExtended = rawEntry({ path: 'x', type: 'x', body: '99 path=a\n' })

for (const [name, bytes, code, words] of [
  [
    'a body that is cut off',
    tarOf({ path: 'a', body: 'x'.repeat(5000) }).subarray(0, 2000),
    'image.truncated',
    /in the middle/,
  ],
  ['a header that is cut off', tarOf({ path: 'a' }).subarray(0, 300), 'image.truncated', /in the middle/],
  ['a size beyond what is there', tarOf({ path: 'a', size: 2 ** 32 }), 'image.truncated', /in the middle/],
  ['a wrong check sum', badSum, 'image.bad-archive', /check sum/],
  ['a number below zero', negative, 'image.bad-archive', /check sum|below zero/],
  ['an unknown type', tarOf({ path: 'a', type: 'Z' }), 'image.bad-archive', /type "Z"/],
  ['a sparse file of GNU, old', tarOf({ path: 'a', type: 'S' }), 'image.bad-archive', /sparse/],
  ['a sparse file of GNU, new', sparse, 'image.bad-archive', /sparse/],
  ['an extended header that lies', badExtended, 'image.bad-archive', /malformed/],
  [
    'an extended header without end',
    rawEntry({ path: 'x', type: 'x', size: 2 ** 30 }),
    'image.too-large',
    /extendedHeaderBytesMax/,
  ],
  [
    'names that are not UTF-8',
    Buffer.concat([rawEntry({ path: 'L', type: 'L', body: Buffer.from([0xff, 0xfe]) })]),
    'image.bad-archive',
    /UTF-8/,
  ],
] as const) {
  test(`refused: ${name}`, async () => {
    await assert.rejects(read(bytes), { code, message: words })
  })
}

test('whatever the bytes are: entries, or an error with a code', async () => {
  const roll = dice(7)
  const honest = Buffer.concat([
    extended({ path: 'p/long', size: '5' }),
    rawEntry({ path: 'p', body: 'hello' }),
    rawEntry({ path: 'q', type: '2', target: 'p' }),
    rawEntry({ path: 'L', type: 'L', body: 'name\0' }),
    tarOf({ path: 'r', body: 'x'.repeat(700) }),
  ])
  let refused = 0
  for (let round = 0; round < 1500; round++) {
    const bytes = Buffer.from(honest)
    const changes = 1 + Math.floor(roll() * 4)
    for (let change = 0; change < changes; change++) {
      const at = Math.floor(roll() * bytes.length)
      bytes[at] = Math.floor(roll() * 256)
      const block = Math.floor(at / 512) * 512
      // Half of the time with a check sum that fits, so that the change is looked at.
      if (roll() < 0.5 && block + 512 <= bytes.length) {
        bytes.write('        ', block + 148, 'latin1')
        const sum = bytes.subarray(block, block + 512).reduce((total, byte) => total + byte, 0)
        bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, block + 148, 'latin1')
      }
    }
    try {
      const { entries } = await read(bytes.subarray(0, 1 + Math.floor(roll() * bytes.length)), 4096)
      assert.ok(entries.length <= 10)
    } catch (error) {
      assert.ok(isSteadError(error) && error.code.startsWith('image.'), String(error))
      refused++
    }
  }
  assert.ok(refused > 300, `${refused} refused`)
})
