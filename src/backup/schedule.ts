/**
 * What is done for the backups of an app without anybody asking, and when. Pure: the time comes in, the next errand goes out.
 *
 * Invariants: what fell due while nobody could do it is done once, not as often as it fell due; what failed is tried again, with
 * pauses that grow to an hour; a clock that is set back puts nothing off for as long as it was set back.
 */
import * as z from 'zod'

/** backup: all of the data. log: what was written since. drill: the proof that a backup can be used. */
export type Errand = 'backup' | 'log' | 'drill'
export const errands = ['backup', 'log', 'drill'] as const

/** What came of one kind of errand. Times are milliseconds since 1970. */
export interface Attempts {
  /** When it was last done; null: never. */
  readonly doneMs: number | null
  /** How often it has failed since. */
  readonly failures: number
  readonly failedMs: number | null
  /** Why it failed the last time, a sentence; null: it has not failed since it was done. */
  readonly failure: string | null
}

/** What was done for one app, as JSON for whoever keeps it. */
export interface Course {
  /** Where its backups went. What was done for another place does not count. */
  readonly place: string
  /** Generation of the data of the last backup; null: there is none. */
  readonly generation: number | null
  /** The last backup, by its id: the log that is carried belongs to it. */
  readonly backup: string | null
  readonly did: Readonly<Record<Errand, Attempts>>
}

export interface Rhythm {
  readonly everyMs: number
  readonly logMs: number
  readonly drillMs: number
}

export type Next =
  | { readonly errand: Errand }
  /** When to look again. */
  | { readonly errand: null; readonly nextMs: number }

const pauseMinMs = 10_000
const pauseMaxMs = 3_600_000
const never: Attempts = { doneMs: null, failures: 0, failedMs: null, failure: null }

/** Nothing was done yet. */
export function newCourse(place: string): Course {
  return { place, generation: null, backup: null, did: { backup: never, log: never, drill: never } }
}

/** What is to be done now. `generation` is that of the data now: a return makes a backup due, as nothing goes on from the one before. */
export function nextErrand(course: Course, rhythm: Rhythm, generation: number, nowMs: number): Next {
  const due = dueOf(course, rhythm, generation, nowMs)
  const now = errands.find((errand) => due[errand] <= nowMs)
  if (now !== undefined) return { errand: now }
  return { errand: null, nextMs: Math.min(...Object.values(due)) }
}

/** When each is due; Infinity for what waits for a backup. */
function dueOf(
  { did, generation: of }: Course,
  { everyMs, logMs, drillMs }: Rhythm,
  generation: number,
  nowMs: number,
): Readonly<Record<Errand, number>> {
  const past = (ms: number | null): number | null => (ms === null ? null : Math.min(ms, nowMs))
  const after = (attempts: Attempts, dueMs: number): number => {
    const failedMs = past(attempts.failedMs)
    if (failedMs === null || attempts.failures === 0) return dueMs
    return Math.max(dueMs, failedMs + Math.min(pauseMinMs * 2 ** (attempts.failures - 1), pauseMaxMs))
  }
  const made = past(did.backup.doneMs)
  const isStale = made === null || of !== generation
  const backup = after(did.backup, isStale ? nowMs : made + everyMs)
  if (isStale) return { backup, log: Infinity, drill: made === null ? Infinity : drillOf() }
  const carried = past(did.log.doneMs) ?? made
  return { backup, log: after(did.log, Math.max(carried, made) + logMs), drill: drillOf() }

  function drillOf(): number {
    const proved = past(did.drill.doneMs)
    return after(did.drill, proved === null ? nowMs : proved + drillMs)
  }
}

/** After an errand. `failure` is null when it was done. */
export function afterErrand(
  course: Course,
  errand: Errand,
  failure: string | null,
  nowMs: number,
  made: Pick<Course, 'generation' | 'backup'> = course,
): Course {
  const before = course.did[errand]
  const attempts =
    failure === null
      ? { ...never, doneMs: nowMs }
      : { ...before, failures: before.failures + 1, failedMs: nowMs, failure }
  return { ...course, generation: made.generation, backup: made.backup, did: { ...course.did, [errand]: attempts } }
}

const attempts = z.object({
  doneMs: z.number().nullable(),
  failures: z.int().min(0),
  failedMs: z.number().nullable(),
  failure: z.string().nullable(),
})
const courseSchema: z.ZodType<Course> = z.object({
  place: z.string(),
  generation: z.int().nullable(),
  backup: z.string().nullable(),
  did: z.object({ backup: attempts, log: attempts, drill: attempts }),
})

/** A course as it was kept. What cannot be read, or is of another place, begins anew: then a backup is due, which harms nothing. */
export function parseCourse(value: unknown, place: string): Course {
  const read = courseSchema.safeParse(value).data
  return read?.place === place ? read : newCourse(place)
}
