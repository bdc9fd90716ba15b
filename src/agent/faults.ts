/**
 * The faults of a node, pure: leases in, what to do out. The runner carries it out; the state is on disk before anything is
 * broken, so that an agent that dies heals what it broke when it comes again.
 *
 *   lease --take--> lasting --(its time is over, or healed)--> over --(keptMs later)--> forgotten
 *
 * Invariants: a fault never lasts longer than its lease, whatever the wall clock does; nothing is broken twice at once; no
 * more than `lastingMax` faults last and `overMax` are remembered.
 */
import { jsonEqual } from '../base/index.ts'
import type { FaultCounts, FaultLease, FaultStatus } from '../protocol/index.ts'

export const lastingMax = 20
export const overMax = 20
/** How long a fault that is over is still told of. */
export const keptMs: number = 10 * 60_000

export interface Moment {
  readonly wallMs: number
  readonly monotonicMs: number
}

export interface LastingFault {
  readonly status: FaultStatus
  /** When it heals, by the clock that never steps. */
  readonly deadlineMs: number
}

export interface Faults {
  readonly lasting: readonly LastingFault[]
  readonly over: readonly FaultStatus[]
}

export const noFaults: Faults = { lasting: [], over: [] }
export const nothingLost: FaultCounts = { killed: 0, streamsReset: 0, streamsRefused: 0, filledBytes: 0 }

/** Takes on a lease. Null when it may not be: answers the reason then. */
export function take(faults: Faults, lease: FaultLease, now: Moment): Faults | { readonly refused: string } {
  if (faults.lasting.length >= lastingMax) return { refused: `${lastingMax} things are broken already` }
  const same = faults.lasting.some(
    ({ status }) => status.app === lease.app && jsonEqual({ ...status.fault }, { ...lease.fault }),
  )
  if (same) return { refused: 'this is broken already' }
  const untilMs = now.wallMs + lease.leaseMs
  const status: FaultStatus = { ...lease, sinceMs: now.wallMs, untilMs, endedMs: null, counts: nothingLost }
  return { ...faults, lasting: [...faults.lasting, { status, deadlineMs: now.monotonicMs + lease.leaseMs }] }
}

/** Those whose time is over. */
export function due(faults: Faults, now: Moment): readonly FaultStatus[] {
  return faults.lasting.filter(({ deadlineMs }) => deadlineMs <= now.monotonicMs).map(({ status }) => status)
}

/** Marks faults as over, and forgets the old ones. */
export function heal(faults: Faults, ids: readonly string[], now: Moment): Faults {
  const ended = faults.lasting
    .filter(({ status }) => ids.includes(status.id))
    .map(({ status }) => ({ ...status, endedMs: now.wallMs }))
  const over = [...faults.over, ...ended].filter(({ endedMs }) => now.wallMs - (endedMs ?? 0) < keptMs)
  return { lasting: faults.lasting.filter(({ status }) => !ids.includes(status.id)), over: over.slice(-overMax) }
}

/** Adds to what a lasting fault has cost. */
export function count(faults: Faults, id: string, more: Partial<FaultCounts>): Faults {
  const lasting = faults.lasting.map((fault) => {
    if (fault.status.id !== id) return fault
    const { counts } = fault.status
    const sum = (name: keyof FaultCounts): number => counts[name] + (more[name] ?? 0)
    return {
      ...fault,
      status: {
        ...fault.status,
        counts: {
          killed: sum('killed'),
          streamsReset: sum('streamsReset'),
          streamsRefused: sum('streamsRefused'),
          filledBytes: sum('filledBytes'),
        },
      },
    }
  })
  return { ...faults, lasting }
}

/** The faults as they were left on disk. One whose time is over is due at once, and none gets more time than it was given. */
export function restored(statuses: readonly FaultStatus[], now: Moment): Faults {
  const lasting = statuses
    .filter(({ endedMs }) => endedMs === null)
    .map((status) => {
      const leftMs = Math.min(Math.max(0, status.untilMs - now.wallMs), status.leaseMs)
      return { status, deadlineMs: now.monotonicMs + leftMs }
    })
  return { lasting, over: statuses.filter(({ endedMs }) => endedMs !== null) }
}

/** All of them, for the disk and for control. */
export function statusesOf(faults: Faults): FaultStatus[] {
  return [...faults.over, ...faults.lasting.map(({ status }) => status)]
}

/** The lasting fault that keeps a part from running. */
export function killing(faults: Faults, app: string, part: string): FaultStatus | null {
  return find(faults, ({ app: of, fault }) => of === app && fault.kind === 'kill' && fault.part === part)
}

/** The lasting fault that cuts an edge. */
export function cutting(faults: Faults, app: string, part: string, uses: string): FaultStatus | null {
  return find(
    faults,
    ({ app: of, fault }) => of === app && fault.kind === 'cut' && fault.part === part && fault.uses === uses,
  )
}

function find(faults: Faults, fits: (status: FaultStatus) => boolean): FaultStatus | null {
  return faults.lasting.find(({ status }) => fits(status))?.status ?? null
}
