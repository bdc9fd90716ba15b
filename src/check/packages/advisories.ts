/**
 * Known vulnerabilities, as records of the OSV format that the operator brings: a list of records, one record a line, or an
 * archive of records. Invariant: only what was read counts; how old the newest record is, is always told.
 */
import { inflateRawSync } from 'node:zlib'
import { SteadError } from '../../base/index.ts'
import { compareVersions, parseVersion } from './semver.ts'

export interface Advisory {
  readonly id: string
  readonly summary: string
  readonly modifiedMs: number
  readonly ecosystem: string
  readonly package: string
  readonly versions: ReadonlySet<string>
  readonly ranges: readonly (readonly RangeEvent[])[]
  readonly severity: string | null
}

interface RangeEvent {
  readonly introduced?: string
  readonly fixed?: string
  readonly lastAffected?: string
}

export interface Advisories {
  readonly count: number
  /** When the newest record was changed. Milliseconds since 1970. */
  readonly newestMs: number
  find(ecosystem: string, name: string, version: string): readonly Advisory[]
}

const recordsMax = 2_000_000
const recordBytesMax = 4 * 1024 * 1024

/** Reads a bundle. Throws `check.bad-advisories`. */
export function readAdvisories(path: string, bytes: Uint8Array): Advisories {
  const index = new Map<string, Advisory[]>()
  let count = 0
  let newestMs = 0
  for (const text of recordsOf(path, bytes)) {
    if (++count > recordsMax) throw bad(path, `it holds more than ${recordsMax} records`)
    for (const advisory of parseRecord(path, text)) {
      newestMs = Math.max(newestMs, advisory.modifiedMs)
      const key = `${advisory.ecosystem}\0${advisory.package}`
      const list = index.get(key)
      if (list === undefined) index.set(key, [advisory])
      else list.push(advisory)
    }
  }
  return {
    count,
    newestMs,
    find: (ecosystem, name, version) =>
      (index.get(`${ecosystem}\0${name}`) ?? []).filter((advisory) => isAffected(advisory, version)),
  }
}

function bad(path: string, why: string): SteadError {
  return new SteadError({
    code: 'check.bad-advisories',
    message: `${path}: ${why}.`,
    hint: 'Take all.zip of an ecosystem from an OSV database, or a JSON list of its records.',
  })
}

function* recordsOf(path: string, bytes: Uint8Array): Generator {
  if (bytes[0] === 0x50 && bytes[1] === 0x4b) {
    for (const content of zipEntries(path, bytes)) yield parseJson(path, content)
    return
  }
  const text = new TextDecoder().decode(bytes)
  if (text.trimStart().startsWith('[')) {
    const list = parseJson(path, text)
    if (Array.isArray(list)) yield* list
    return
  }
  if (!/\n\s*\{/.test(text) || /^\s*\{\s*\n/.test(text)) {
    yield parseJson(path, text)
    return
  }
  for (const line of text.split('\n')) if (line.trim() !== '') yield parseJson(path, line)
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw bad(path, 'it holds a record that is not JSON')
  }
}

/** The texts of an archive's JSON files: stored or deflated, as databases write them. */
function* zipEntries(path: string, bytes: Uint8Array): Generator<string> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let end = bytes.length - 22
  while (end >= 0 && end > bytes.length - 65_558 && view.getUint32(end, true) !== 0x06054b50) end--
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) throw bad(path, 'the archive has no end')
  const entries = view.getUint16(end + 10, true)
  let at = view.getUint32(end + 16, true)
  for (let index = 0; index < entries; index++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50) throw bad(path, 'the archive is damaged')
    const method = view.getUint16(at + 10, true)
    const packed = view.getUint32(at + 20, true)
    const size = view.getUint32(at + 24, true)
    const nameLength = view.getUint16(at + 28, true)
    const local = view.getUint32(at + 42, true)
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameLength))
    at += 46 + nameLength + view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    if (!name.endsWith('.json') || size > recordBytesMax) continue
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
    const content = bytes.subarray(start, start + packed)
    if (method !== 0 && method !== 8) throw bad(path, `${name} is packed in a way that is not read`)
    yield new TextDecoder().decode(
      method === 0 ? content : inflateRawSync(content, { maxOutputLength: recordBytesMax }),
    )
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null
    ? Object.entries(value).find(([key]) => key === name)?.[1]
    : undefined
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function word(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** One advisory for each package that a record is about. */
function parseRecord(path: string, record: unknown): readonly Advisory[] {
  const id = word(field(record, 'id'))
  if (id === '') throw bad(path, 'it holds a record without an id')
  if (field(record, 'withdrawn') !== undefined) return []
  const modifiedMs = Date.parse(word(field(record, 'modified'))) || 0
  return list(field(record, 'affected')).map((affected) => ({
    id,
    summary: word(field(record, 'summary')) || word(field(record, 'details')).slice(0, 120),
    modifiedMs,
    ecosystem: word(field(field(affected, 'package'), 'ecosystem')),
    package: word(field(field(affected, 'package'), 'name')),
    versions: new Set(list(field(affected, 'versions')).map(word)),
    ranges: list(field(affected, 'ranges'))
      .filter((range) => ['SEMVER', 'ECOSYSTEM'].includes(word(field(range, 'type'))))
      .map((range) => list(field(range, 'events')).map(rangeEvent)),
    severity: word(field(field(record, 'database_specific'), 'severity')).toLowerCase() || null,
  }))
}

function rangeEvent(event: unknown): RangeEvent {
  const [introduced, fixed, lastAffected] = ['introduced', 'fixed', 'last_affected'].map((name) =>
    word(field(event, name)),
  )
  return {
    ...(introduced ? { introduced } : {}),
    ...(fixed ? { fixed } : {}),
    ...(lastAffected ? { lastAffected } : {}),
  }
}

function isAffected(advisory: Advisory, version: string): boolean {
  if (advisory.versions.has(version)) return true
  const parsed = parseVersion(version)
  if (parsed === null) return false
  return advisory.ranges.some((events) => {
    let affected = false
    for (const { introduced, fixed, lastAffected } of events) {
      const reached = (bound: string | undefined): boolean => {
        const other = bound === undefined ? null : parseVersion(bound)
        return other !== null && compareVersions(parsed, other) >= 0
      }
      if (introduced !== undefined && (introduced === '0' || reached(introduced))) affected = true
      if (fixed !== undefined && reached(fixed)) affected = false
      const last = lastAffected === undefined ? null : parseVersion(lastAffected)
      if (last !== null && compareVersions(parsed, last) > 0) affected = false
    }
    return affected
  })
}
