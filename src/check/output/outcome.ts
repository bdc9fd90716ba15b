/** What a check comes to, once exceptions and the baseline are taken out. What every output writes. */
import { groupsOf, isAtLeast } from '../findings.ts'
import type { Finding, Group, Report } from '../findings.ts'
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
  /** More that is unknown, as sentences: advisories that are not there, versions that were not asked for. */
  readonly notes: readonly string[]
}

export interface OutcomeOptions {
  readonly suppressions: readonly Suppression[]
  readonly baseline: ReadonlySet<string>
  readonly failOn: Severity
  readonly nowMs: number
  readonly files: number
  readonly notes: readonly string[]
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
  }
}

/** What the check answers to a script: findings that count, or inputs that could not be read. */
export function verdictOf(outcome: Outcome): 'passed' | 'failed' | 'unread' {
  if (outcome.open.some((finding: Finding) => isAtLeast(finding.severity, outcome.failOn))) return 'failed'
  return outcome.report.problems.some((problem) => problem.code !== 'check.not-followed') ? 'unread' : 'passed'
}
