/**
 * Cyclic redundancy checks by tables: CRC32C and CRC64NVME eight bytes at a time, and the combination of any CRC of two
 * pieces into that of both, which needs their lengths only.
 */

/** One check: its reflected polynomial and the tables made from it. */
export interface CrcTable {
  readonly width: 32 | 64
  readonly polynomial: bigint
  /** Eight tables of 256 entries, low and high halves. */
  readonly low: readonly Int32Array[]
  readonly high: readonly Int32Array[]
}

/** A sum in the making. */
export interface CrcState {
  readonly table: CrcTable
  low: number
  high: number
  value(): bigint
}

function tableOf(width: 32 | 64, polynomial: bigint): CrcTable {
  const low = Array.from({ length: 8 }, () => new Int32Array(256))
  const high = Array.from({ length: 8 }, () => new Int32Array(256))
  const first: bigint[] = []
  for (let index = 0n; index < 256n; index += 1n) {
    let value = index
    for (let bit = 0; bit < 8; bit += 1) value = (value & 1n) === 1n ? (value >> 1n) ^ polynomial : value >> 1n
    first.push(value)
  }
  let rows = first
  for (let level = 0; level < 8; level += 1) {
    for (const [index, value] of rows.entries()) {
      low[level]?.fill(Number(BigInt.asIntN(32, value)), index, index + 1)
      high[level]?.fill(Number(BigInt.asIntN(32, value >> 32n)), index, index + 1)
    }
    rows = rows.map((value) => (value >> 8n) ^ (first[Number(value & 255n)] ?? 0n))
  }
  return { width, polynomial, low, high }
}

/** The tables; made once, when the module is loaded (a few milliseconds). */
export const crcTables: Readonly<Record<'CRC32' | 'CRC32C' | 'CRC64NVME', CrcTable>> = {
  CRC32: tableOf(32, 0xedb88320n),
  CRC32C: tableOf(32, 0x82f63b78n),
  CRC64NVME: tableOf(64, 0x9a6c9329ac4bc9b5n),
}

/** Starts a sum. */
export function crcStart(table: CrcTable): CrcState {
  const state: CrcState = {
    table,
    low: -1,
    high: table.width === 64 ? -1 : 0,
    value: () => {
      const low = BigInt(~state.low >>> 0)
      return table.width === 32 ? low : (BigInt(~state.high >>> 0) << 32n) | low
    },
  }
  return state
}

/** Takes bytes into the sum. The high half stays zero for sums of 32 bits, so one loop serves both. */
export function crcUpdate(state: CrcState, bytes: Uint8Array): void {
  const [l0, l1, l2, l3, l4, l5, l6, l7] = state.table.low
  const [h0, h1, h2, h3, h4, h5, h6, h7] = state.table.high
  if (!l0 || !l1 || !l2 || !l3 || !l4 || !l5 || !l6 || !l7) return
  if (!h0 || !h1 || !h2 || !h3 || !h4 || !h5 || !h6 || !h7) return
  let { low, high } = state
  const whole = bytes.length - (bytes.length % 8)
  const at = (table: Int32Array, index: number): number => table[index & 255] ?? 0
  let index = 0
  for (; index < whole; index += 8) {
    const a = low ^ word(bytes, index)
    const b = high ^ word(bytes, index + 4)
    low =
      at(l7, a) ^
      at(l6, a >>> 8) ^
      at(l5, a >>> 16) ^
      at(l4, a >>> 24) ^
      at(l3, b) ^
      at(l2, b >>> 8) ^
      at(l1, b >>> 16) ^
      at(l0, b >>> 24)
    high =
      at(h7, a) ^
      at(h6, a >>> 8) ^
      at(h5, a >>> 16) ^
      at(h4, a >>> 24) ^
      at(h3, b) ^
      at(h2, b >>> 8) ^
      at(h1, b >>> 16) ^
      at(h0, b >>> 24)
  }
  for (; index < bytes.length; index += 1) {
    const entry = low ^ (bytes[index] ?? 0)
    low = ((low >>> 8) | (high << 24)) ^ at(l0, entry)
    high = (high >>> 8) ^ at(h0, entry)
  }
  state.low = low
  state.high = high
}

function word(bytes: Uint8Array, index: number): number {
  return (
    (bytes[index] ?? 0) |
    ((bytes[index + 1] ?? 0) << 8) |
    ((bytes[index + 2] ?? 0) << 16) |
    ((bytes[index + 3] ?? 0) << 24)
  )
}

/** The sum of two pieces, from the sum of each and the length of the second: `x^(8n) mod p` by squaring. */
export function crcCombine(table: CrcTable, first: bigint, second: bigint, secondBytes: number): bigint {
  const one = 1n << BigInt(table.width - 1)
  let factor = one
  let square = one >> 8n
  for (let left = secondBytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) factor = multiply(table, factor, square)
    square = multiply(table, square, square)
  }
  return multiply(table, first, factor) ^ second
}

/** The product of two reflected polynomials modulo the polynomial of the check. */
function multiply(table: CrcTable, a: bigint, b: bigint): bigint {
  let product = 0n
  let shifted = b
  for (let bit = BigInt(table.width - 1); bit >= 0n; bit -= 1n) {
    if (((a >> bit) & 1n) === 1n) product ^= shifted
    shifted = (shifted & 1n) === 1n ? (shifted >> 1n) ^ table.polynomial : shifted >> 1n
  }
  return product
}
