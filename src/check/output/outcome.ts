/** What a check comes to, once exceptions and the baseline are taken out. What every output writes. */
import type { UptimeReport } from '../availability/uptime.ts'
import type { Complexity } from '../complexity.ts'
import type { CostReport } from '../cost/estimate.ts'
import { groupsOf, isAtLeast } from '../findings.ts'
import type { Group, Report } from '../findings.ts'
import { rules } from '../rules/registry.ts'
import type { Severity } from '../rules/rule.ts'
import { sortFindings } from '../suppressions.ts'
import type { Sorted, Suppression } from '../suppressions.ts'

export interface Outcome extends Sorted {
  readonly report: Report
  readonly groups: readonly Group[]
  /** The severity from which on a finding fails the check. */
  readonly failOn: Severity
  readonly files: number
  readonly rulesAsked: number
  readonly rulesThatLooked: number
  /** More that is unknown, as sentences. */
  readonly notes: readonly string[]
  /** Uptime and cost, where there is something to work out. */
  readonly uptime: UptimeReport | null
  readonly cost: CostReport | null
  readonly complexity: Complexity | null
}

export interface OutcomeOptions {
  readonly suppressions: readonly Suppression[]
  readonly baseline: ReadonlySet<string>
  readonly failOn: Severity
  readonly nowMs: number
  readonly files: number
  readonly notes: readonly string[]
  readonly uptime: UptimeReport | null
  readonly cost: CostReport | null
  readonly complexity: Complexity | null
}

export function outcomeOf(report: Report, options: OutcomeOptions): Outcome {
  const sorted = sortFindings(report.findings, options.suppressions, options.baseline, options.nowMs)
  const looked = new Set([
    ...report.passed.keys(),
    ...report.findings.map(({ rule }) => rule.id),
    ...report.unknowns.map(({ rule }) => rule.id),
  ])
  return {
    ...sorted,
    report,
    groups: groupsOf(sorted.open),
    failOn: options.failOn,
    files: options.files,
    rulesAsked: rules.length,
    rulesThatLooked: looked.size,
    notes: options.notes,
    uptime: options.uptime,
    cost: options.cost,
    complexity: options.complexity,
  }
}

/** What a file may lack and still be read for the rest: told, and no reason to stop a pipeline. */
const told: ReadonlySet<string> = new Set(['check.not-followed', 'check.unrendered-template'])

/** What the check answers to a script: findings that count, or inputs that could not be read, or nothing that was. */
export function verdictOf({ open, failOn, report }: Outcome): 'passed' | 'failed' | 'unread' {
  if (open.some((finding) => isAtLeast(finding.severity, failOn))) return 'failed'
  const unread = report.problems.some(({ code }) => !told.has(code))
  // Nothing that was looked at is nothing that passed.
  return unread || report.objects === 0 ? 'unread' : 'passed'
}
