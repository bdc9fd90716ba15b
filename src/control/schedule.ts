/** When a scheduled job is due next. Cron's rules are those of the croner library; time zone UTC. */
import { Cron } from 'croner'

/** First moment after `afterMs` that the expression names, milliseconds since 1970; null when there is none. */
export function nextDueMs(expression: string, afterMs: number): number | null {
  return new Cron(expression, { timezone: 'UTC', paused: true }).nextRun(new Date(afterMs))?.getTime() ?? null
}
