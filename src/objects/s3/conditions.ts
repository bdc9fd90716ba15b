/** Conditions and ranges of requests, as RFC 9110 and S3 have them. Pure: an object's state and a request in, a verdict out. */
import { S3Failure } from './failure.ts'

/** What conditions look at. */
export interface Validators {
  /** Without quotes. */
  readonly etag: string
  readonly modifiedMs: number
}

/** The conditions of a read, from the headers of this prefix (`if-` or `x-amz-copy-source-if-`). */
export interface ReadConditions {
  readonly match: string | undefined
  readonly noneMatch: string | undefined
  readonly modifiedSince: string | undefined
  readonly unmodifiedSince: string | undefined
}

/** Takes the conditions out of the headers. */
export function readConditions(headers: Readonly<Record<string, string>>, prefix: string): ReadConditions {
  return {
    match: headers[`${prefix}match`],
    noneMatch: headers[`${prefix}none-match`],
    modifiedSince: headers[`${prefix}modified-since`],
    unmodifiedSince: headers[`${prefix}unmodified-since`],
  }
}

/** Throws PreconditionFailed or NotModified where a read must not go on; a copy knows only the first. */
export function checkRead(conditions: ReadConditions, current: Validators, copying = false): void {
  const { match, noneMatch, modifiedSince, unmodifiedSince } = conditions
  if (match !== undefined) {
    if (!matches(match, current.etag)) throw new S3Failure('PreconditionFailed')
  } else if (secondsOf(unmodifiedSince) < seconds(current.modifiedMs)) throw new S3Failure('PreconditionFailed')
  const headers = { etag: `"${current.etag}"`, 'last-modified': new Date(current.modifiedMs).toUTCString() }
  const unchanged = copying ? 'PreconditionFailed' : 'NotModified'
  if (noneMatch !== undefined) {
    if (matches(noneMatch, current.etag)) throw new S3Failure(unchanged, undefined, headers)
  } else if (secondsOf(modifiedSince) >= seconds(current.modifiedMs)) throw new S3Failure(unchanged, undefined, headers)
}

/** The conditions of a write or a deletion; `undefined` is none. */
export interface WriteConditions {
  readonly match: string | undefined
  readonly noneMatch: string | undefined
  /** Of a deletion: the time of the last change, and the size, must be these. */
  readonly modified?: string | undefined
  readonly size?: number | undefined
}

/**
 * Throws where a write must not go on; `current` is the object as it stands in the very transaction that writes. If-Match on
 * a key that holds nothing is NoSuchKey.
 */
export function checkWrite(conditions: WriteConditions, current: Validators | undefined): void {
  const { match, noneMatch } = conditions
  if (match !== undefined) {
    if (current === undefined) throw new S3Failure('NoSuchKey')
    if (!matches(match, current.etag)) throw new S3Failure('PreconditionFailed')
  }
  if (noneMatch !== undefined && current !== undefined && matches(noneMatch, current.etag)) {
    throw new S3Failure('PreconditionFailed')
  }
}

/** Whether a list of entity tags names this one. */
export function matches(list: string, etag: string): boolean {
  return list.split(',').some((item) => {
    const tag = item.trim().replace(/^W\//, '')
    return tag === '*' || tag.replace(/^"(.*)"$/, '$1') === etag
  })
}

/** Whole seconds of an HTTP date; a date that cannot be read is no condition. */
function secondsOf(date: string | undefined): number {
  return date === undefined ? Number.NaN : seconds(Date.parse(date))
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}

/** Bytes from `start` to before `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** The range a header asks for; undefined where it asks for all, or for something that is ignored. Throws InvalidRange. */
export function readRange(header: string | undefined, sizeBytes: number): ByteRange | undefined {
  const [, first = '', last = ''] = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '') ?? []
  if (first === '' && last === '') return undefined
  if (first === '') {
    const suffix = Math.min(Number(last), sizeBytes)
    if (suffix === 0) throw outside(sizeBytes)
    return { start: sizeBytes - suffix, end: sizeBytes }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return undefined
  if (start >= sizeBytes) throw outside(sizeBytes)
  return { start, end: last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) }
}

function outside(sizeBytes: number): S3Failure {
  return new S3Failure('InvalidRange', undefined, { 'content-range': `bytes */${sizeBytes}` })
}

/** The range of a part to copy, which must be whole and inside. Throws InvalidArgument or InvalidRange. */
export function readCopyRange(header: string | undefined, sizeBytes: number): ByteRange {
  if (header === undefined) return { start: 0, end: sizeBytes }
  const match = /^bytes=(\d+)-(\d+)$/.exec(header)
  const [start, end] = [Number(match?.[1]), Number(match?.[2]) + 1]
  if (match === null || end <= start) {
    throw new S3Failure('InvalidArgument', 'x-amz-copy-source-range must be bytes=first-last.')
  }
  if (end > sizeBytes) throw new S3Failure('InvalidRange')
  return { start, end }
}
