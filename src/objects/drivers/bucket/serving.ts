/** What the server of a bucket and the front of a hosted one have in common: what they count, and which pages they let ask. Pure. */
import type { CorsRule } from '../../s3/cors.ts'
import type { AnsweredRequest } from '../embedded/server.ts'
import type { Requests } from './admin.ts'

/** How long a browser need not ask again. */
const corsAgeSeconds = 3600

export const noRequests: Requests = { read: 0, written: 0, refused: 0, failed: 0, bytesIn: 0, bytesOut: 0 }

/** One more request that was answered. */
export function counted(so: Requests, { method, status, bytesIn, bytesOut }: AnsweredRequest): Requests {
  const reads = method === 'GET' || method === 'HEAD' || method === 'OPTIONS'
  // That an object is not there, or is not the one that was meant, is an answer.
  const refused = status >= 400 && status < 500 && status !== 404 && status !== 412
  return {
    read: so.read + (reads ? 1 : 0),
    written: so.written + (reads ? 0 : 1),
    refused: so.refused + (refused ? 1 : 0),
    failed: so.failed + (status >= 500 ? 1 : 0),
    bytesIn: so.bytesIn + bytesIn,
    bytesOut: so.bytesOut + bytesOut,
  }
}

/** The rule for pages of these origins: every method and header, since what a page may do is a matter of what is signed, not of where it comes from. */
export function corsOf(origins: readonly string[]): CorsRule {
  return {
    id: 'declared',
    origins,
    methods: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'],
    headers: ['*'],
    exposed: ['ETag', 'Content-Range', 'x-amz-version-id', 'x-amz-request-id'],
    maxAgeSeconds: corsAgeSeconds,
  }
}
