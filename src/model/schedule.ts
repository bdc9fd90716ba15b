/** Schedules of jobs: cron expressions of five fields, in UTC. The library reads them; what is refused, and how it is said, is here. */
import { Cron } from 'croner'

/** Why an expression cannot be a schedule, as the end of a sentence; null when it can. */
export function scheduleProblem(expression: string): string | null {
  if (!/^\S+(?: +\S+){4}$/.test(expression)) return 'does not have the five fields minute, hour, day, month, weekday'
  try {
    const cron = new Cron(expression, { paused: true, mode: '5-part', timezone: 'UTC' })
    // A fixed start, because whether a date ever comes does not depend on when one asks.
    return cron.nextRun(new Date(0)) === null ? 'never falls due' : null
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error)
    return `is no cron expression (${reason})`
  }
}
