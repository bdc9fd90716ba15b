/**
 * Failures on the wire: `application/problem+json` with the stable code of the error, whether trying again helps, and the
 * status that a program without a library goes by. Both directions, so that an error arrives as it was thrown.
 */
import { SteadError } from '../../../base/index.ts'
import type { Retry } from '../../../base/index.ts'
import { failure } from '../../errors.ts'
import { isRecord } from './wire.ts'

/** An error as JSON. */
export interface Problem {
  /** Names the kind of error; the same for each error of one code. */
  readonly type: string
  readonly title: string
  readonly status: number
  readonly code: string
  readonly hint?: string
  /** `later`: the same request may be made again; `never`: something has to change first. */
  readonly retry: Retry
}

const statuses: Readonly<Record<string, number>> = {
  'queue.bad-input': 400,
  'queue.not-authorized': 401,
  'queue.forbidden': 403,
  'queue.no-such-queue': 404,
  'queue.too-large': 413,
  'queue.overloaded': 429,
  'queue.closed': 503,
  'queue.unavailable': 503,
  'queue.disk-full': 507,
  'queue.full': 507,
}

export function problemOf(error: SteadError): Problem {
  return {
    type: `urn:stead:${error.code}`,
    title: error.message,
    status: statuses[error.code] ?? 500,
    code: error.code,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    retry: error.retry,
  }
}

/** The error that an answer tells of; one of `unavailable` where it is no problem of ours (a proxy's page). */
export function errorOfProblem(status: number, body: unknown): SteadError {
  const { code, title, hint, retry } = isRecord(body) ? body : {}
  if (typeof code !== 'string' || typeof title !== 'string' || !code.startsWith('queue.'))
    return failure('unavailable', `the server of the queues answered with status ${status}`, 'See whether it runs.')
  return new SteadError({
    code,
    message: title,
    ...(typeof hint === 'string' ? { hint } : {}),
    retry: retry === 'later' || retry === 'now' ? retry : 'never',
  })
}
