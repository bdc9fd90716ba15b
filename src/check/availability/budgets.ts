/**
 * Error budgets, and when to wake somebody: how fast the budget burns over a long window, seen over a short one too so that it
 * ends when the trouble does. Windows and rates are those of the SRE workbook, for a budget of 30 days.
 */

export const budgetWindowSeconds: number = 30 * 86_400

export interface BurnAlert {
  readonly action: 'page' | 'ticket'
  /** Times the rate that would use up the budget exactly at the end of the window. */
  readonly burnRate: number
  readonly longSeconds: number
  readonly shortSeconds: number
  /** Share of the budget that is gone when it fires. */
  readonly budgetSpent: number
}

export const burnAlerts: readonly BurnAlert[] = [
  { action: 'page', burnRate: 14.4, longSeconds: 3600, shortSeconds: 300, budgetSpent: 0.02 },
  { action: 'page', burnRate: 6, longSeconds: 6 * 3600, shortSeconds: 1800, budgetSpent: 0.05 },
  { action: 'ticket', burnRate: 1, longSeconds: 3 * 86_400, shortSeconds: 6 * 3600, budgetSpent: 0.1 },
]

/** Seconds of a full outage that an objective allows in the window. */
export function budgetSeconds(objective: number, windowSeconds: number = budgetWindowSeconds): number {
  return (1 - objective) * windowSeconds
}

/** How many times too fast the budget is used up: 1 uses it up exactly. */
export function burnRate(objective: number, errors: number, events: number): number {
  return events === 0 ? 0 : errors / events / (1 - objective)
}

/** Seconds of a full outage after which an alert's long window is full enough to fire. */
export function secondsToFire(alert: BurnAlert, objective: number): number {
  return alert.burnRate * (1 - objective) * alert.longSeconds
}

/** Counts of one window. */
export interface WindowCount {
  readonly errors: number
  readonly events: number
}

/** Whether an alert fires. Below `eventsMin` events one error says nothing about a rate, so it does not. */
export function fires(
  alert: BurnAlert,
  objective: number,
  long: WindowCount,
  short: WindowCount,
  eventsMin = 20,
): boolean {
  if (long.events < eventsMin) return false
  return [long, short].every(({ errors, events }) => burnRate(objective, errors, events) >= alert.burnRate)
}
