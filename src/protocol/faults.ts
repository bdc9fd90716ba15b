/**
 * Faults that are made on purpose, as data: what is broken, and until when. Invariant: a fault is a lease of the node that
 * makes it; it heals when its time is over, whoever asked for it and whatever has become of them.
 */
import { z } from 'zod'

/** What can be broken. */
export type Fault =
  /** Every instance of the part (or the server of the resource) is killed, and not started while it lasts. */
  | { readonly kind: 'kill'; readonly part: string }
  /** What `part` has open towards `uses` is reset, and what it opens is refused while it lasts. */
  | { readonly kind: 'cut'; readonly part: string; readonly uses: string }
  /** A file takes this share (0 to 1) of what is free on the disk of the app's data. */
  | { readonly kind: 'fill-disk'; readonly share: number }

/** Shortest and longest time that a fault lasts, milliseconds. */
export const faultLeaseMs = { min: 1000, max: 600_000 } as const

export interface FaultLease {
  /** Unique for ever. */
  readonly id: string
  readonly app: string
  readonly fault: Fault
  readonly leaseMs: number
}

/** What a fault has cost so far, as its node counts it. */
export interface FaultCounts {
  /** Programs that were killed. */
  readonly killed: number
  /** Streams that were cut off, and streams that were refused. */
  readonly streamsReset: number
  readonly streamsRefused: number
  readonly filledBytes: number
}

/** A fault on a node: lasting, or over (kept for a while, with what it cost). */
export interface FaultStatus extends FaultLease {
  /** Milliseconds since 1970 by the node's clock. */
  readonly sinceMs: number
  readonly untilMs: number
  /** Null while it lasts. */
  readonly endedMs: number | null
  readonly counts: FaultCounts
}

export const faultSchema: z.ZodType<Fault> = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('kill'), part: z.string().max(100) }),
  z.object({ kind: z.literal('cut'), part: z.string().max(100), uses: z.string().max(100) }),
  z.object({ kind: z.literal('fill-disk'), share: z.number().positive().max(1) }),
])

const lease = z.object({
  id: z.string().min(1).max(100),
  app: z.string().max(100),
  fault: faultSchema,
  leaseMs: z.number().min(faultLeaseMs.min).max(faultLeaseMs.max),
})

export const faultLeaseSchema: z.ZodType<FaultLease> = lease

const count = z.number().min(0)

export const faultStatusSchema: z.ZodType<FaultStatus> = lease.extend({
  sinceMs: z.number(),
  untilMs: z.number(),
  endedMs: z.number().nullable(),
  counts: z.object({ killed: count, streamsReset: count, streamsRefused: count, filledBytes: count }),
})
