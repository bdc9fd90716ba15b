/** When a scheduled job is due. Cron's rules are those of the croner library, in the job's own time zone. */
import { Cron } from 'croner'
import type { JobPart } from '../model/index.ts'

type When = Pick<JobPart, 'timeZone'> & { readonly schedule: string }

/** First moment after `afterMs` that the schedule names, milliseconds since 1970; null when there is none. */
export function nextDueMs(when: When, afterMs: number): number | null {
  return cronOf(when).nextRun(new Date(afterMs))?.getTime() ?? null
}

/** The last moments after `afterMs` and up to `nowMs` that the schedule names, oldest first, at most `lastMax` of them. */
export function dueBetween(when: When, afterMs: number, nowMs: number, lastMax: number): number[] {
  // The reference itself is not among the previous ones.
  const before = cronOf(when).previousRuns(lastMax + 1, new Date(nowMs + 1000))
  const found = before.map((date) => date.getTime()).filter((dueMs) => dueMs > afterMs && dueMs <= nowMs)
  return found.toReversed().slice(-lastMax)
}

function cronOf({ schedule, timeZone }: When): Cron {
  return new Cron(schedule, { timezone: timeZone, paused: true })
}
