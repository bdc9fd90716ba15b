/**
 * The checksums of S3, computed while bytes pass: CRC32, CRC32C, CRC64NVME, SHA1, SHA256. Those of whole objects that were
 * sent in parts are made from the parts' own: CRCs combine exactly, digests are hashed again.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { crcCombine, crcStart, crcTables, crcUpdate } from './crc.ts'

const algorithms = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const
export type ChecksumAlgorithm = (typeof algorithms)[number]

/** Over all bytes, or over the checksums of the parts. */
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

/** A checksum as it is stored and shown: base64, with `-N` after it where it is of N parts. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  readonly value: string
}

/** The algorithm of a name in any case, or undefined. */
export function checksumAlgorithm(name: string): ChecksumAlgorithm | undefined {
  const upper = name.toUpperCase()
  return algorithms.find((known) => known === upper)
}

/** The header that carries a checksum. */
export function checksumHeader(name: ChecksumAlgorithm): string {
  return `x-amz-checksum-${name.toLowerCase()}`
}

/** All headers that carry a checksum, with their algorithm. */
export const checksumHeaders: readonly (readonly [string, ChecksumAlgorithm])[] = algorithms.map((name) => [
  checksumHeader(name),
  name,
])

/** The name of the XML element that carries a checksum. */
export function checksumElement(name: ChecksumAlgorithm): string {
  return `Checksum${name}`
}

/** A checksum in the making. */
export interface Summing {
  update(bytes: Uint8Array): void
  /** Base64. Ends the sum. */
  digest(): string
}

const widths: Readonly<Record<ChecksumAlgorithm, number>> = { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 }

/** Starts a checksum. */
export function startChecksum(name: ChecksumAlgorithm): Summing {
  if (name === 'SHA1' || name === 'SHA256') {
    const hash = createHash(name.toLowerCase())
    return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('base64') }
  }
  if (name === 'CRC32') {
    let value = 0
    return {
      update: (bytes) => void (value = crc32(bytes, value)),
      digest: () => bytesOf(BigInt(value), 4).toString('base64'),
    }
  }
  const state = crcStart(crcTables[name])
  return {
    update: (bytes) => crcUpdate(state, bytes),
    digest: () => bytesOf(state.value(), widths[name]).toString('base64'),
  }
}

/** Whether a text is a checksum of this algorithm. */
export function isChecksum(name: ChecksumAlgorithm, value: string): boolean {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(value) && Buffer.from(value, 'base64').length === widths[name]
}

/** Which type an object in parts gets when its upload did not say: CRC64NVME exists only over all bytes. */
export function defaultChecksumType(name: ChecksumAlgorithm): ChecksumType {
  return name === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE'
}

/** Whether the algorithm can be of this type. */
export function allowsType(name: ChecksumAlgorithm, type: ChecksumType): boolean {
  if (name === 'CRC64NVME') return type === 'FULL_OBJECT'
  return type === 'COMPOSITE' || name === 'CRC32' || name === 'CRC32C'
}

/** The checksum of an object made of parts, from the parts' checksums and sizes. */
export function combineChecksums(
  name: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly { readonly value: string; readonly bytes: number }[],
): Checksum {
  if (type === 'COMPOSITE') {
    const sum = startChecksum(name)
    for (const part of parts) sum.update(Buffer.from(part.value, 'base64'))
    return { algorithm: name, type, value: `${sum.digest()}-${parts.length}` }
  }
  const table = name === 'CRC32C' || name === 'CRC64NVME' ? crcTables[name] : crcTables.CRC32
  const value = parts.reduce((sum, part) => crcCombine(table, sum, numberOf(part.value), part.bytes), 0n)
  return { algorithm: name, type, value: bytesOf(value, widths[name]).toString('base64') }
}

function numberOf(base64: string): bigint {
  return BigInt(`0x${Buffer.from(base64, 'base64').toString('hex')}`)
}

function bytesOf(value: bigint, width: number): Buffer {
  return Buffer.from(value.toString(16).padStart(width * 2, '0'), 'hex')
}
