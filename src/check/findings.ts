/**
 * From an inventory to findings: every rule is asked about every subject it is about, and the answers are counted, grouped by
 * root cause and ordered. Invariant: the answer is a function of the inputs: same order, same fingerprints, every time.
 */
import { createHash } from 'node:crypto'
import { describeSubject } from './inventory.ts'
import type { Inventory, Subject } from './inventory.ts'
import { rules } from './rules/registry.ts'
import { causes, severities } from './rules/rule.ts'
import type { CauseId, CheckOptions, Edit, Rule, Severity } from './rules/rule.ts'
import { positionOf } from './source.ts'
import type { Position, Problem } from './source.ts'

export interface Finding {
  readonly rule: Rule
  readonly severity: Severity
  readonly subject: Subject
  /** `Deployment shop/web`. */
  readonly object: string
  readonly message: string
  readonly position: Position
  readonly edits: readonly Edit[]
  readonly left: string | null
  /** Stays the same while the object has this finding, wherever it stands in its file. */
  readonly fingerprint: string
}

export interface Unknown {
  readonly rule: Rule
  readonly subject: Subject
  readonly object: string
  readonly message: string
  readonly position: Position
}

export interface Group {
  readonly cause: CauseId
  readonly title: string
  readonly severity: Severity
  readonly findings: readonly Finding[]
}

export interface Report {
  readonly findings: readonly Finding[]
  readonly unknowns: readonly Unknown[]
  /** How many subjects passed, by rule: a rule that is not here looked at nothing. */
  readonly passed: ReadonlyMap<string, number>
  readonly groups: readonly Group[]
  readonly problems: readonly Problem[]
  readonly objects: number
  /** Objects of kinds that nobody here knows. */
  readonly unknownObjects: readonly Subject[]
}

/** Asks all rules, or those chosen. */
export function checkInventory(inventory: Inventory, options: CheckOptions, chosen: readonly Rule[] = rules): Report {
  const findings: Finding[] = []
  const unknowns: Unknown[] = []
  const passed = new Map<string, number>()
  for (const rule of chosen) {
    for (const verdict of rule.check(inventory, options)) {
      const { subject } = verdict
      if (verdict.state === 'pass') {
        passed.set(rule.id, (passed.get(rule.id) ?? 0) + 1)
        continue
      }
      const object = describeSubject(subject)
      const { message, place } = verdict
      const position = positionOf(place)
      if (verdict.state === 'unknown') unknowns.push({ rule, subject, object, message, position })
      else {
        const severity = verdict.severity ?? rule.severity
        const fingerprint = fingerprintOf(rule.id, subject)
        findings.push({
          rule,
          severity,
          subject,
          object,
          message,
          position,
          edits: verdict.edits,
          left: verdict.left,
          fingerprint,
        })
      }
    }
  }
  findings.sort(compareFindings)
  const { problems, unknowns: unknownObjects } = inventory
  return {
    findings,
    unknowns,
    passed,
    groups: groupsOf(findings),
    problems,
    objects: countObjects(inventory),
    unknownObjects,
  }
}

function fingerprintOf(rule: string, subject: Subject): string {
  const parts = [rule, subject.platform, subject.kind, subject.namespace, subject.name, fileName(subject.source.path)]
  return createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 16)
}

/** Without folders: a fingerprint outlives a move, and does not depend on where it was checked from. */
function fileName(path: string): string {
  return path.split('/').at(-1) ?? path
}

function compareFindings(a: Finding, b: Finding): number {
  const bySeverity = severities.indexOf(b.severity) - severities.indexOf(a.severity)
  if (bySeverity !== 0) return bySeverity
  if (a.rule.id !== b.rule.id) return a.rule.id < b.rule.id ? -1 : 1
  if (a.position.file !== b.position.file) return a.position.file < b.position.file ? -1 : 1
  return a.position.line - b.position.line || a.position.column - b.position.column
}

/** Findings of one cause together, worst cause first. */
export function groupsOf(findings: readonly Finding[]): readonly Group[] {
  const groups = Map.groupBy(findings, (finding) => finding.rule.cause)
  return [...groups]
    .map(([cause, members]): Group => ({
      cause,
      title: causes[cause],
      severity: members[0]?.severity ?? 'low',
      findings: members,
    }))
    .sort(
      (a, b) =>
        severities.indexOf(b.severity) - severities.indexOf(a.severity) || b.findings.length - a.findings.length,
    )
}

function countObjects(inventory: Inventory): number {
  const { problems: _problems, ...lists } = inventory
  return Object.values(lists).reduce((sum, list) => sum + list.length, 0)
}

/** Whether a severity is at least another. */
export function isAtLeast(severity: Severity, least: Severity): boolean {
  return severities.indexOf(severity) >= severities.indexOf(least)
}
