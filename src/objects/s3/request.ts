/**
 * What a request asks for: bucket, key, query and headers, from the bytes of the request line and the host, path style or
 * virtual-host style. Pure, and total: whatever comes in gives a request or an S3Failure.
 */
import { S3Failure } from './failure.ts'

/** Bytes of a key. */
export const keyBytesMax = 1024
const queryParametersMax = 100
const targetBytesMax = 16_384

/** A request before anybody has looked at who sent it. */
export interface S3Request {
  readonly method: string
  /** The path as it came, without the query; still encoded. */
  readonly rawPath: string
  readonly bucket: string | undefined
  readonly key: string | undefined
  /** Decoded names and values in their order. */
  readonly parameters: readonly (readonly [string, string])[]
  /** The first value of each name. */
  readonly query: ReadonlyMap<string, string>
  /** Lower-case names; values as Latin-1 pictures of their bytes. */
  readonly headers: Readonly<Record<string, string>>
}

/** The host names under which buckets are subdomains: `bucket.NAME`. */
export interface Hosts {
  readonly names: readonly string[]
}

/** Reads method, target and headers of an HTTP request. Throws InvalidURI, InvalidRequest or KeyTooLongError. */
export function readRequest(
  method: string,
  target: string,
  headers: Readonly<Record<string, string>>,
  hosts: Hosts,
): S3Request {
  if (target.length > targetBytesMax) throw new S3Failure('InvalidURI', 'The URL is longer than 16 KiB.')
  const mark = target.indexOf('?')
  const rawPath = pathOf(mark === -1 ? target : target.slice(0, mark))
  const parameters = readQuery(mark === -1 ? '' : target.slice(mark + 1))
  const query = new Map<string, string>()
  for (const [name, value] of parameters) if (!query.has(name)) query.set(name, value)
  const path = decode(rawPath.slice(1), false)
  const virtual = bucketOfHost(headers['host'] ?? '', hosts)
  const slash = path.indexOf('/')
  const bucket = virtual ?? (slash === -1 ? path : path.slice(0, slash))
  const key = virtual === undefined ? (slash === -1 ? '' : path.slice(slash + 1)) : path
  if (Buffer.byteLength(key) > keyBytesMax) throw new S3Failure('KeyTooLongError')
  if (key.includes('\0')) throw new S3Failure('InvalidArgument', 'A key cannot hold the character 0.')
  return {
    method,
    rawPath,
    bucket: bucket === '' ? undefined : bucket,
    key: key === '' ? undefined : key,
    parameters,
    query,
    headers,
  }
}

function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/]*/i, '')
  if (path === '') return '/'
  if (!path.startsWith('/')) throw new S3Failure('InvalidURI')
  return path
}

function readQuery(text: string): [string, string][] {
  const pieces = text.split('&').filter((piece) => piece !== '')
  if (pieces.length > queryParametersMax) throw new S3Failure('InvalidURI', 'The URL has too many parameters.')
  return pieces.map((piece) => {
    const equals = piece.indexOf('=')
    const [name, value] = equals === -1 ? [piece, ''] : [piece.slice(0, equals), piece.slice(equals + 1)]
    return [decode(name, true), decode(value, true)]
  })
}

/** Percent-decoding over UTF-8. Throws InvalidURI for what is no UTF-8. */
export function decode(text: string, plusIsSpace: boolean): string {
  try {
    // Bytes beyond ASCII that came unencoded are taken as they are.
    const ascii = text.replace(/[\u0080-\u00ff]/g, (found) => `%${found.charCodeAt(0).toString(16)}`)
    return decodeURIComponent(plusIsSpace ? ascii.replaceAll('+', ' ') : ascii)
  } catch {
    throw new S3Failure('InvalidURI')
  }
}

function bucketOfHost(host: string, hosts: Hosts): string | undefined {
  const name = host.replace(/:\d+$/, '').toLowerCase()
  for (const own of hosts.names) {
    if (name.endsWith(`.${own}`)) return name.slice(0, -own.length - 1)
  }
  return undefined
}

/** Whether a name is that of a bucket: what DNS and S3 allow. */
export function isBucketName(name: string): boolean {
  return (
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
    !/\.\.|\.-|-\./.test(name) &&
    !/^\d+\.\d+\.\d+\.\d+$/.test(name) &&
    !name.startsWith('xn--')
  )
}

/** A whole number of a parameter within limits, or the fallback where it is absent. Throws InvalidArgument. */
export function numberParameter(
  request: S3Request,
  name: string,
  range: readonly [number, number],
  fallback: number,
): number {
  const text = request.query.get(name)
  if (text === undefined || text === '') return fallback
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= range[0] && value <= range[1])) {
    throw new S3Failure('InvalidArgument', `${name} must be a whole number from ${range[0]} to ${range[1]}.`)
  }
  return value
}

/** The key and version of `x-amz-copy-source`. Throws InvalidArgument. */
export function readCopySource(value: string): { bucket: string; key: string; version: string | undefined } {
  const mark = value.indexOf('?versionId=')
  const path = decode((mark === -1 ? value : value.slice(0, mark)).replace(/^\//, ''), false)
  const slash = path.indexOf('/')
  if (slash < 1 || slash === path.length - 1) {
    throw new S3Failure('InvalidArgument', 'x-amz-copy-source must be bucket/key.')
  }
  const version = mark === -1 ? undefined : decode(value.slice(mark + '?versionId='.length), false)
  return { bucket: path.slice(0, slash), key: path.slice(slash + 1), version }
}
