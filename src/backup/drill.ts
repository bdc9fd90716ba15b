/**
 * When backups are to be proved, what is known of their proofs, and how that is said. Pure.
 *
 * A backup is proved when a copy of it was restored, the real programs were started on it, and what they were asked was
 * answered. Invariant: nothing else makes a backup proved, not its age, not its size, not that it could be read.
 */
import * as z from 'zod'
import type { Backup } from './backups.ts'

/** What came of one drill. */
export interface Proof {
  readonly backup: string
  readonly app: string
  /** The moment that the backup shows. */
  readonly atMs: number
  /** When the drill ended. */
  readonly endedMs: number
  readonly tookMs: number
  /** What was found to be so, a line each: "db: PostgreSQL 18 started; 12 tables". */
  readonly checks: readonly string[]
  /** Why it failed, a sentence; null: it is proved. */
  readonly failure: string | null
}

/** What is kept of the drills of one app, oldest first. JSON, for whoever keeps it. */
export interface Drills {
  readonly proofs: readonly Proof[]
}

export interface DrillSchedule {
  /** The longest time without a proof. */
  readonly everyMs: number
  /** How long to wait after a failure before the next try. */
  readonly retryMs: number
}

const proofsMax = 50

export const noDrills: Drills = { proofs: [] }

/** With one proof more. The last good one stays, however many have failed since. */
export function afterDrill({ proofs }: Drills, proof: Proof): Drills {
  const all = [...proofs, proof]
  const good = all.findLast(({ failure }) => failure === null)
  const kept = all.slice(-proofsMax)
  return { proofs: good === undefined || kept.includes(good) ? kept : [good, ...kept.slice(1)] }
}

/** The last good proof; null when there is none. */
export function lastProof({ proofs }: Drills): Proof | null {
  return proofs.findLast(({ failure }) => failure === null) ?? null
}

/** Whether a drill is to be run now, and on which backup; why not, else. `backups` are those of one app. */
export function drillDue(
  drills: Drills,
  schedule: DrillSchedule,
  backups: readonly Backup[],
  nowMs: number,
): { readonly due: Backup } | { readonly due: null; readonly nextMs: number | null } {
  const newest = newestOf(backups)
  if (newest === null) return { due: null, nextMs: null }
  const last = drills.proofs.at(-1)
  if (last === undefined) return { due: newest }
  const waitMs = last.failure === null ? schedule.everyMs : Math.min(schedule.retryMs, schedule.everyMs)
  // A clock that was set back must not put drills off for as long as it was set back.
  const nextMs = Math.min(last.endedMs, nowMs) + waitMs
  return nextMs <= nowMs ? { due: newest } : { due: null, nextMs }
}

/** The backup that shows the latest moment; null when there is none. */
export function newestOf(backups: readonly Backup[]): Backup | null {
  return backups.reduce<Backup | null>(
    (best, backup) => (best === null || backup.atMs >= best.atMs ? backup : best),
    null,
  )
}

/** What is known of one backup. unproved: no drill has been run on it. */
export interface Standing {
  readonly state: 'proved' | 'failed' | 'unproved'
  /** For a person: "proved 3 hours ago: PostgreSQL started, 12 tables". */
  readonly sentence: string
}

/** What is known of a backup, in words. The last drill on it counts. */
export function describeProof(backup: Pick<Backup, 'id'>, { proofs }: Drills, nowMs: number): Standing {
  const proof = proofs.findLast((candidate) => candidate.backup === backup.id)
  if (proof === undefined) return { state: 'unproved', sentence: 'unproved: no drill has restored it yet' }
  const age = `${describeAge(nowMs - proof.endedMs)} ago`
  if (proof.failure !== null) return { state: 'failed', sentence: `failed its drill ${age}: ${proof.failure}` }
  const checks = proof.checks.length === 0 ? '' : `: ${proof.checks.join('; ')}`
  return { state: 'proved', sentence: `proved ${age}${checks}` }
}

/** What is known of all backups of an app, in one line for `status`. `everyMs` is how often they are to be proved. */
export function describeBackups(
  backups: readonly Backup[],
  drills: Drills,
  everyMs: number,
  nowMs: number,
): Standing & { readonly overdue: boolean } {
  const newest = newestOf(backups)
  if (newest === null) return { state: 'unproved', sentence: 'no backup', overdue: true }
  const made = `newest backup of ${describeAge(nowMs - newest.atMs)} ago`
  const last = drills.proofs.at(-1)
  const good = lastProof(drills)
  const goodAge = good === null ? null : `${describeAge(nowMs - good.endedMs)} ago`
  const overdue = good === null || nowMs - good.endedMs > everyMs
  if (last?.failure !== null && last !== undefined) {
    const before = goodAge === null ? 'none was ever proved' : `the last good proof is of ${goodAge}`
    return { state: 'failed', sentence: `${made}; the last drill failed: ${last.failure}; ${before}`, overdue }
  }
  if (goodAge === null) return { state: 'unproved', sentence: `${made}; none was ever proved`, overdue }
  return { state: 'proved', sentence: `${made}; proved ${goodAge}${overdue ? ', which is overdue' : ''}`, overdue }
}

/** How long a time is, in the one unit that says it. */
export function describeAge(ms: number): string {
  const units: readonly (readonly [number, string])[] = [
    [86_400_000, 'day'],
    [3_600_000, 'hour'],
    [60_000, 'minute'],
    [1000, 'second'],
  ]
  const [unitMs, name] = units.find(([size]) => ms >= size * 2) ?? [1000, 'second']
  const count = Math.max(0, Math.floor(ms / unitMs))
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

const drillsSchema: z.ZodType<Drills> = z.object({
  proofs: z.array(
    z.object({
      backup: z.string(),
      app: z.string(),
      atMs: z.number(),
      endedMs: z.number(),
      tookMs: z.number(),
      checks: z.array(z.string()),
      failure: z.string().nullable(),
    }),
  ),
})

/** Drills as they were kept. What cannot be read is forgotten: a backup is then unproved, which is true of what nobody knows of. */
export function parseDrills(value: unknown): Drills {
  return drillsSchema.safeParse(value).data ?? noDrills
}
