/** What requests and WebSockets share while a gateway runs, and how an error of the way to an instance becomes a cause. */
import type { Clock } from '../base/index.ts'
import { systemCodeOf } from '../base/index.ts'
import type { IdSource } from './ids.ts'
import type { GatewayLimits } from './limits.ts'
import type { Cause } from './problem.ts'

export interface Core {
  readonly clock: Clock
  readonly limits: GatewayLimits
  readonly ids: IdSource
  /** Since when control has not been heard, milliseconds since 1970; null while it is. */
  staleSinceMs: number | null
  /** Answers being compressed now. */
  compressions: number
  /** The gateway is closing: connections are not kept. */
  closing: boolean
}

const causeOfCode: Readonly<Record<string, Cause>> = {
  ECONNREFUSED: 'refused',
  ENOENT: 'refused',
  EACCES: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  ENOTFOUND: 'refused',
  ESRCH: 'refused',
  ETIMEDOUT: 'connect-timed-out',
  'gateway.connect-timeout': 'connect-timed-out',
  'gateway.response-timeout': 'timed-out',
  'gateway.stream-reset': 'reset',
  UND_ERR_HEADERS_TIMEOUT: 'timed-out',
  UND_ERR_BODY_TIMEOUT: 'timed-out',
  UND_ERR_HEADERS_OVERFLOW: 'bad-response',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'reset',
  UND_ERR_INVALID_ARG: 'bad-request',
  UND_ERR_NOT_SUPPORTED: 'bad-request',
}

/** Why it failed. `sent`: the request had been written to a connection. */
export function causeOf(error: unknown, sent: boolean): Cause {
  const code = systemCodeOf(error) ?? ''
  const known = causeOfCode[code]
  if (known !== undefined) return known
  // The parser's errors do not always carry a code; ERR_ codes come from node:http refusing to pass the answer on.
  if ((error instanceof Error && error.name === 'HTTPParserError') || code.startsWith('ERR_')) return 'bad-response'
  return sent ? 'reset' : 'refused'
}
