/**
 * Request ids, W3C trace context and dice. What a client sends is taken only when it has the right form; everything else
 * is made here from the randomness passed in, drawn in batches because a draw per request is dear.
 */
import type { Random } from '../base/index.ts'

const batchBytes = 4096
const requestIdPattern = /^[A-Za-z0-9_.:-]{8,128}$/
const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/
const zeroTrace = '0'.repeat(32)
const zeroSpan = '0'.repeat(16)

/** Hex ids and small random numbers, from batches of the given randomness. */
export class IdSource {
  readonly #random: Random
  #hex = ''
  #at = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** `length` hex digits (four bits each). */
  hex(length: number): string {
    if (this.#at + length > this.#hex.length) {
      this.#hex = Buffer.from(this.#random.bytes(batchBytes)).toString('hex')
      this.#at = 0
    }
    const from = this.#at
    this.#at += length
    return this.#hex.slice(from, this.#at)
  }

  /** A whole number in [0, below); the bias is below/2^24. */
  below(below: number): number {
    return Number.parseInt(this.hex(6), 16) % below
  }
}

/** What identifies one request on its way through. */
export interface RequestIds {
  /** The client's own id when it is well formed, else the trace id. */
  readonly requestId: string
  readonly traceId: string
  /** The header to send on: the trace continued or started, with the gateway's own span as parent. */
  readonly traceparent: string
  /** Whether the client's trace was continued; only then its tracestate means anything. */
  readonly continued: boolean
}

/** Makes the ids of a request from what the client sent. A trace started here is marked as sampled: the parts decide. */
export function requestIds(ids: IdSource, sentId: string | null, sentTraceparent: string | null): RequestIds {
  const sent = sentTraceparent === null ? null : traceparentPattern.exec(sentTraceparent)
  const continued = sent !== null && sent[1] !== zeroTrace && sent[2] !== zeroSpan
  const traceId = continued ? (sent[1] ?? '') : ids.hex(32)
  const flags = continued ? (sent[3] ?? '01') : '01'
  const requestId = sentId !== null && requestIdPattern.test(sentId) ? sentId : traceId
  return { requestId, traceId, traceparent: `00-${traceId}-${ids.hex(16)}-${flags}`, continued }
}
