/** What a check of the design of a running app says: plain data, bounded, whoever works it out. */

export type CheckupSeverity = 'critical' | 'high' | 'medium' | 'low'

export interface Checkup {
  /** The release that was checked. */
  readonly release: number
  /** Expected share of the time that the worst way in answers, from 0 to 1; null: there is no way in. */
  readonly availability: number | null
  readonly downtimeSecondsPerYear: number | null
  /** Names of the parts that alone take a way in down. */
  readonly singlePointsOfFailure: readonly string[]
  /** What is no part, and alone takes a way in down: `the machine`. */
  readonly beneath: readonly string[]
  /** What is wrong, by root cause, the worst first. */
  readonly causes: readonly CheckupCause[]
}

export interface CheckupCause {
  /** As a heading. */
  readonly title: string
  /** Of the worst finding. */
  readonly severity: CheckupSeverity
  /** The worst first, at most 20. */
  readonly findings: readonly CheckupFinding[]
  /** How many there are besides. */
  readonly more: number
}

/** One thing that is wrong, with all parts that it is true of. */
export interface CheckupFinding {
  readonly rule: string
  readonly severity: CheckupSeverity
  /** One sentence without the parts' names and without its full stop. */
  readonly message: string
  /** Why it matters. */
  readonly reason: string
  /** What to do about it. */
  readonly advice: string
  /** Names, at most 20. */
  readonly parts: readonly string[]
  /** How many parts there are besides. */
  readonly moreParts: number
}
