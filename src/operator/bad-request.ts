/** The refusal of a request that is not well-formed. */
import { SteadError } from '../base/index.ts'

export function badRequest(message: string, cause?: unknown): SteadError {
  return new SteadError({ code: 'operator.bad-request', message: `the request is wrong: ${message}`, cause })
}
