/** The outcome as one JSON value, its format versioned: fields are added, never changed. */
import type { Json } from '../../base/index.ts'
import type { UptimeReport } from '../availability/uptime.ts'
import type { CostReport } from '../cost/estimate.ts'
import type { Finding, Group } from '../findings.ts'
import { unifiedDiff } from '../fix/diff.ts'
import { fixFindings } from '../fix/fix.ts'
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
      patch: patchOf(group),
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
    uptime: outcome.uptime === null ? null : uptimeJson(outcome.uptime),
    cost: outcome.cost === null ? null : costJson(outcome.cost),
    complexity: outcome.complexity === null ? null : { ...outcome.complexity },
  }
}

/** One patch for all that has this cause; '' when nothing can be mended by itself. */
function patchOf(group: Group): string {
  const { files } = fixFindings(group.findings)
  return files.map(({ source, text }) => unifiedDiff(source.path, source.text, text)).join('')
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

/** Uptime as plain data: also what a graph is drawn with. */
export function uptimeJson(report: UptimeReport): Json {
  return {
    entries: report.entries.map((entry) => ({
      name: entry.name,
      availability: entry.availability,
      nines: entry.nines,
      downtimeSecondsPerYear: entry.downtimeSecondsPerYear,
      singlePointsOfFailure: entry.singles.map(({ id, label, kind, availability }) => ({
        id,
        label,
        kind,
        availability,
      })),
      pairs: entry.pairs.map(([a, b]) => [a.label, b.label]),
      parts: entry.parts.map(({ id, label, kind, availability }) => ({ id, label, kind, availability })),
      improvements: entry.improvements.map((found) => ({ ...found })),
      levels: entry.rungs.map(({ nines, availability, downtimeSecondsPerYear, demands, estimate }) => ({
        nines,
        availability,
        downtimeSecondsPerYear,
        estimate,
        demands: demands.map(({ text, met }) => ({ text, met })),
      })),
      demandsMet: entry.demandsMet,
    })),
    assumptions: { ...report.assumptions },
    beside: report.beside.map((found) => ({ ...found })),
  }
}

export function costJson(report: CostReport): Json {
  return {
    sums: report.sums.map((sum) => ({ ...sum })),
    lines: report.lines.map(({ object, what, quantity, unit, perMonth, fixed, price }) => ({
      object,
      what,
      quantity,
      unit,
      perMonth,
      fixed,
      currency: price.currency,
      region: `${price.vendor} ${price.region}`,
      day: price.source.day,
      source: price.source.url,
    })),
    formulas: report.formulas.map((found) => ({ ...found })),
    unpriced: report.unpriced.map((found) => ({ ...found })),
    priced: report.priced,
    resources: report.resources,
  }
}
