/**
 * gRPC as far as a gateway must know it, pure: which requests are calls, how long their callers wait, and how an answer of
 * the gateway's own is said so that a gRPC client understands it: status 200 and the truth in `grpc-status`.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { GatewayLimits } from './limits.ts'
import { causes } from './problem.ts'
import type { Problem, RenderedProblem } from './problem.ts'

/** Whether a request is a gRPC call (or one of gRPC-Web). */
export function isGrpc(headers: IncomingHttpHeaders): boolean {
  return /^application\/grpc(?:[-+;]|$)/.test(headers['content-type'] ?? '')
}

/** Waits of a request that differ from those of its route, milliseconds. */
export interface Patience {
  /** From the request being sent to the head of the response. */
  readonly responseMs: number
  /** Between two pieces of the request's body. */
  readonly bodyIdleMs: number
}

/** Longest wait for an answer, whatever deadline a caller names. */
const deadlineMsMax = 86_400_000

/**
 * How long a gRPC call may take: until its deadline, where it has one, and its streams may be quiet as long as a response
 * may. Null for what is no call.
 */
export function grpcPatience(headers: IncomingHttpHeaders, { streamIdleMs }: GatewayLimits): Patience | null {
  if (!isGrpc(headers)) return null
  const responseMs = Math.min(grpcTimeoutMs(headers) ?? streamIdleMs, deadlineMsMax)
  return { responseMs: Math.max(1, responseMs), bodyIdleMs: streamIdleMs }
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 0.001, n: 0.000_001 }

/** How long the caller waits by its `grpc-timeout`; null when it does not say, or not in the right form. */
export function grpcTimeoutMs(headers: IncomingHttpHeaders): number | null {
  const value = headers['grpc-timeout']
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(typeof value === 'string' ? value : '') ?? []
  const each = unitMs[unit ?? '']
  return each === undefined ? null : Math.ceil(Number(digits) * each)
}

/** From a status of HTTP to one of gRPC, as gRPC's own clients read a proxy's answers; `too large` says more than theirs. */
const grpcOfHttp: Readonly<Record<number, number>> = {
  400: 13,
  401: 16,
  403: 7,
  404: 12,
  405: 12,
  408: 1,
  413: 8,
  431: 8,
}
const deadlineExceeded = 4
const unavailable = 14

/** From a status of gRPC to one of HTTP, for counters that tell good from bad. */
const httpOfGrpc: Readonly<Record<number, number>> = {
  0: 200,
  1: 499,
  3: 400,
  4: 504,
  5: 404,
  6: 409,
  7: 403,
  8: 429,
  9: 400,
  10: 409,
  11: 400,
  12: 501,
  14: 503,
  16: 401,
}

/** What the `grpc-status` of an answer comes to in HTTP; 500 for one that is no known status. */
export function httpStatusOf(grpcStatus: string): number {
  return (/^\d{1,2}$/.test(grpcStatus) ? httpOfGrpc[Number(grpcStatus)] : undefined) ?? 500
}

/** Renders a failure for a gRPC client: only headers, which stand for trailers too. */
export function renderGrpcProblem({ cause, requestId, part, detail }: Problem): RenderedProblem {
  const { status, title } = causes[cause]
  const code = cause === 'timed-out' ? deadlineExceeded : (grpcOfHttp[status] ?? unavailable)
  const text = [
    title.replace('{part}', () => (part === '' ? 'the app' : part)),
    ...(detail === undefined ? [] : [detail]),
  ]
  const message = `${text.join(' ')} (${cause}, request ${requestId})`
  const headers = ['content-type', 'application/grpc', 'grpc-status', String(code), 'grpc-message', encoded(message)]
  headers.push('content-length', '0', 'x-request-id', requestId)
  return { status: 200, reason: 'OK', headers, body: '' }
}

/** Percent-encoding as the protocol asks for it: everything but printable ASCII, and the percent sign itself. */
function encoded(text: string): string {
  const escape = (byte: number): string => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return [...Buffer.from(text)]
    .map((byte) => (byte < 0x20 || byte > 0x7e || byte === 0x25 ? escape(byte) : String.fromCharCode(byte)))
    .join('')
}
