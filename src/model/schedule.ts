/**
 * When jobs run: cron expressions of five fields in a time zone, and what happens when runs meet, are missed or fail. The
 * library reads the expressions; what is refused, and how it is said, is here. In the hour that a time zone skips, a run is
 * due at its end; in the hour that it repeats, a run at a fixed time is due once.
 */
import { Cron } from 'croner'
import { SteadError } from '../base/index.ts'
import { badOption, checkNumber, checkOptions, readDuration, show } from './check.ts'
import type { JobPart, Missed, Overlap, RetryPolicy } from './graph.ts'
import type { Duration } from './units.ts'

/** When a job runs, and what happens to runs that meet or are missed. */
export interface ScheduleOptions {
  /** Minute, hour, day of month, month, day of week. */
  readonly cron: string
  /** IANA name. Default UTC. */
  readonly timeZone?: string
  /**
   * When a run falls due while one still runs: it is left out (`skip`, the default), it waits (`queue`; at most one does),
   * or it runs beside it, up to so many at once.
   */
  readonly overlap?: 'skip' | 'queue' | { readonly atMost: number }
  /**
   * Runs that fell due while nothing could run, because the machine was off or the app was down: none is made up for
   * (`skip`), one is, when it was due at most so long ago (default `{ once: '24h' }`), or the last so many are.
   */
  readonly missed?: 'skip' | { readonly once: Duration } | { readonly last: number }
}

/** How a run that fails is tried again. */
export interface RetryOptions {
  /** Attempts in all, 1 to 20. Default 3. */
  readonly attempts?: number
  /** Before the second attempt; it doubles each time, up to ten minutes. 100ms to 10m, default 500ms. */
  readonly pause?: Duration
}

/** The part of a job in the graph that is read here. */
export type JobTimes = Pick<JobPart, 'schedule' | 'timeZone' | 'overlap' | 'missed' | 'retry'>

const dayMs = 86_400_000
/** As far back as any missed run is looked for. */
const missedMaxMs = 366 * dayMs

/** What holds where nothing was said. */
export const jobDefaults: Omit<JobTimes, 'schedule'> = {
  timeZone: 'UTC',
  overlap: { runsMax: 1, queueMax: 0 },
  missed: { runsMax: 1, withinMs: dayMs },
  retry: { attempts: 3, pauseMs: 500 },
}

const hint =
  "Minute, hour, day of month, month, day of week: '30 3 * * *' is every night at half past three, in UTC. Elsewhere: " +
  "{ cron: '30 3 * * *', timeZone: 'Europe/Berlin' }."

/** Why an expression cannot be a schedule, as the end of a sentence; null when it can. */
export function scheduleProblem(expression: string, timeZone: string): string | null {
  if (!/^\S+(?: +\S+){4}$/.test(expression)) return 'does not have the five fields minute, hour, day, month, weekday'
  if (!isTimeZone(timeZone)) return `is in the time zone '${timeZone}', which does not exist`
  try {
    const cron = new Cron(expression, { paused: true, mode: '5-part', timezone: timeZone })
    // A fixed start, because whether a date ever comes does not depend on when one asks.
    return cron.nextRun(new Date(0)) === null ? 'never falls due' : null
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    return `is no cron expression (${reason})`
  }
}

/** Whether this machine's time zone data have a zone of that name. */
function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}

/** The schedule of a job as it was declared. Throws `model.bad-schedule`, `model.bad-option`, `model.unknown-option`. */
export function readSchedule(owner: string, schedule: unknown): Omit<JobTimes, 'retry'> {
  const { timeZone, overlap, missed } = jobDefaults
  if (schedule === undefined) return { schedule: null, timeZone, overlap, missed }
  if (typeof schedule === 'string') {
    return { schedule: checked(owner, schedule, timeZone), timeZone, overlap, missed }
  }
  if (typeof schedule !== 'object' || schedule === null) throw badSchedule(owner, schedule, 'is no text')
  checkOptions(owner, schedule, ['cron', 'timeZone', 'overlap', 'missed'], 'schedule')
  const options = schedule as Partial<ScheduleOptions>
  const zone: unknown = options.timeZone ?? timeZone
  if (typeof zone !== 'string' || zone === '') {
    throw badOption(owner, 'schedule.timeZone', 'the name of a time zone', zone, "As in timeZone: 'Europe/Berlin'.")
  }
  return {
    schedule: checked(owner, options.cron, zone),
    timeZone: zone,
    overlap: readOverlap(owner, options.overlap),
    missed: readMissed(owner, options.missed),
  }
}

/** How a job is tried again. Throws `model.bad-option`, `model.unknown-option`. */
export function readRetry(owner: string, retry: unknown = {}): RetryPolicy {
  checkOptions(owner, retry, ['attempts', 'pause'], 'retry')
  const { attempts = jobDefaults.retry.attempts, pause = '500ms' } = retry as RetryOptions
  const all = 'Attempts in all: 1 is no second try.'
  checkNumber(owner, 'retry.attempts', attempts, { min: 1, max: 20, whole: true, hint: all })
  return { attempts, pauseMs: readDuration(owner, 'retry.pause', pause, 100, 600_000) }
}

function readOverlap(owner: string, overlap: unknown = 'skip'): Overlap {
  if (overlap === 'skip') return { runsMax: 1, queueMax: 0 }
  if (overlap === 'queue') return { runsMax: 1, queueMax: 1 }
  const more = "'skip', 'queue', or { atMost: 3 } for up to three at once."
  if (typeof overlap !== 'object' || overlap === null) {
    throw badOption(owner, 'schedule.overlap', "'skip', 'queue' or { atMost }", overlap, more)
  }
  checkOptions(owner, overlap, ['atMost'], 'schedule.overlap')
  const runsMax: unknown = 'atMost' in overlap ? overlap.atMost : undefined
  checkNumber(owner, 'schedule.overlap.atMost', runsMax, { min: 1, max: 100, whole: true, hint: more })
  return { runsMax: Number(runsMax), queueMax: 0 }
}

function readMissed(owner: string, missed: unknown): Missed {
  if (missed === undefined) return jobDefaults.missed
  if (missed === 'skip') return { runsMax: 0, withinMs: 0 }
  const more = "'skip', { once: '2h' }, or { last: 10 }."
  if (typeof missed !== 'object' || missed === null) {
    throw badOption(owner, 'schedule.missed', "'skip', { once } or { last }", missed, more)
  }
  if ('once' in missed) {
    checkOptions(owner, missed, ['once'], 'schedule.missed')
    return {
      runsMax: 1,
      withinMs: readDuration(owner, 'schedule.missed.once', missed.once, 60_000, missedMaxMs),
    }
  }
  checkOptions(owner, missed, ['last'], 'schedule.missed')
  const runsMax: unknown = 'last' in missed ? missed.last : undefined
  checkNumber(owner, 'schedule.missed.last', runsMax, { min: 1, max: 100, whole: true, hint: more })
  return { runsMax: Number(runsMax), withinMs: missedMaxMs }
}

function checked(owner: string, cron: unknown, timeZone: string): string {
  const problem = typeof cron === 'string' ? scheduleProblem(cron, timeZone) : 'is no text'
  if (typeof cron === 'string' && problem === null) return cron
  throw badSchedule(owner, cron, problem ?? '')
}

function badSchedule(owner: string, schedule: unknown, problem: string): SteadError {
  return new SteadError({
    code: 'model.bad-schedule',
    message: `${owner}: schedule ${show(schedule)} ${problem}.`,
    hint,
  })
}
