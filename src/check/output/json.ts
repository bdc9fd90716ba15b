/** The outcome as one JSON value, its format versioned: fields are added, never changed. */
import type { Json } from '../../base/index.ts'
import type { Finding } from '../findings.ts'
import { positionOf } from '../source.ts'
import type { Position } from '../source.ts'
import { verdictOf } from './outcome.ts'
import type { Outcome } from './outcome.ts'

export function reportJson(outcome: Outcome): Json {
  const { report } = outcome
  return {
    version: 1,
    verdict: verdictOf(outcome),
    failOn: outcome.failOn,
    files: outcome.files,
    objects: report.objects,
    groups: outcome.groups.map((group) => ({
      cause: group.cause,
      title: group.title,
      severity: group.severity,
      findings: group.findings.map(findingJson),
    })),
    unknowns: report.unknowns.map(({ rule, object, message, position }) => ({
      rule: rule.id,
      object,
      message,
      ...positionJson(position),
    })),
    passed: Object.fromEntries([...report.passed].sort(([a], [b]) => (a < b ? -1 : 1))),
    suppressed: outcome.suppressed.map(({ finding, by }) => ({
      ...findingJson(finding),
      reason: by.reason,
      owner: by.owner,
    })),
    known: outcome.known.length,
    problems: report.problems.map(({ code, message, place }) => ({
      code,
      message,
      ...positionJson(positionOf(place)),
    })),
    unknownObjects: report.unknownObjects.map(({ kind, name, source }) => ({ kind, name, file: source.path })),
    notes: outcome.notes,
  }
}

function positionJson({ file, line, column }: Position): {
  readonly file: string
  readonly line: number
  readonly column: number
} {
  return { file, line, column }
}

function findingJson(finding: Finding): { readonly [key: string]: Json } {
  return {
    rule: finding.rule.id,
    severity: finding.severity,
    object: finding.object,
    message: finding.message,
    ...positionJson(finding.position),
    fixable: finding.edits.length > 0,
    left: finding.left,
    fingerprint: finding.fingerprint,
  }
}
