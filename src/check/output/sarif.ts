/** The outcome as SARIF 2.1.0, with fixes as replacements of text: what code hosts and editors read. */
import type { Json } from '../../base/index.ts'
import type { Finding, Unknown } from '../findings.ts'
import { fixFindings } from '../fix/fix.ts'
import type { Replacement } from '../fix/edit.ts'
import type { Rule, Severity } from '../rules/rule.ts'
import { positionOf } from '../source.ts'
import type { Position, SourceFile } from '../source.ts'
import type { Outcome } from './outcome.ts'

const levels: Readonly<Record<Severity, string>> = { critical: 'error', high: 'error', medium: 'warning', low: 'note' }

/** As code hosts order security findings, from 0 to 10. */
const scores: Readonly<Record<Severity, string>> = { critical: '9.5', high: '8.0', medium: '5.5', low: '3.0' }

export function reportSarif(outcome: Outcome, toolVersion: string): Json {
  const { open, suppressed, known, report } = outcome
  const all = [...open, ...known, ...suppressed.map(({ finding }) => finding)]
  const used = [...new Set([...all.map(({ rule }) => rule), ...report.unknowns.map(({ rule }) => rule)])]
  const index = new Map(used.map((rule, position) => [rule, position]))
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'stead check', version: toolVersion, rules: used.map(ruleSarif) } },
        columnKind: 'utf16CodeUnits',
        results: [
          ...open.map((finding) => resultSarif(finding, index)),
          ...known.map((finding) => ({ ...resultSarif(finding, index), baselineState: 'unchanged' })),
          ...suppressed.map(({ finding, by }) => ({
            ...resultSarif(finding, index),
            suppressions: [{ kind: 'external', status: 'accepted', justification: `${by.reason} (${by.owner})` }],
          })),
          ...report.unknowns.map((unknown) => unknownSarif(unknown, index)),
        ],
        invocations: [
          {
            executionSuccessful: report.problems.length === 0,
            toolExecutionNotifications: report.problems.map(({ code, message, place }) => ({
              level: 'error',
              descriptor: { id: code },
              message: { text: message },
              locations: [locationSarif(positionOf(place))],
            })),
          },
        ],
      },
    ],
  }
}

function ruleSarif(rule: Rule): { readonly [key: string]: Json } {
  return {
    id: rule.id,
    shortDescription: { text: rule.title },
    fullDescription: { text: rule.reason },
    helpUri: rule.reference,
    help: { text: `${rule.reason}\n\nFails:\n${rule.bad.text}\nPasses:\n${rule.good.text}` },
    defaultConfiguration: { level: levels[rule.severity] },
    properties: {
      tags: [rule.category],
      ...(rule.category === 'security' ? { 'security-severity': scores[rule.severity] } : {}),
    },
  }
}

function resultSarif(finding: Finding, index: ReadonlyMap<Rule, number>): { readonly [key: string]: Json } {
  const fixed = finding.edits.length > 0 ? fixFindings([finding]).files : []
  return {
    ruleId: finding.rule.id,
    ruleIndex: index.get(finding.rule) ?? 0,
    kind: 'fail',
    level: levels[finding.severity],
    message: { text: `${finding.object}: ${finding.message}${finding.left === null ? '' : `. ${finding.left}`}` },
    locations: [locationSarif(finding.position)],
    partialFingerprints: { 'steadCheck/v1': finding.fingerprint },
    ...(fixed.length === 0
      ? {}
      : {
          fixes: [
            {
              description: { text: finding.rule.title },
              artifactChanges: fixed.map(({ source, replacements }) => ({
                artifactLocation: { uri: uriOf(source.path) },
                replacements: replacements.map((replacement) => replacementSarif(source, replacement)),
              })),
            },
          ],
        }),
  }
}

function unknownSarif(unknown: Unknown, index: ReadonlyMap<Rule, number>): { readonly [key: string]: Json } {
  return {
    ruleId: unknown.rule.id,
    ruleIndex: index.get(unknown.rule) ?? 0,
    kind: 'open',
    level: 'none',
    message: { text: `${unknown.object}: ${unknown.message}` },
    locations: [locationSarif(unknown.position)],
  }
}

function locationSarif({ file, line, column }: Position): { readonly [key: string]: Json } {
  return {
    physicalLocation: { artifactLocation: { uri: uriOf(file) }, region: { startLine: line, startColumn: column } },
  }
}

function replacementSarif(source: SourceFile, { start, end, text }: Replacement): { readonly [key: string]: Json } {
  const from = positionOf({ source, offset: start })
  const to = positionOf({ source, offset: end })
  return {
    deletedRegion: { startLine: from.line, startColumn: from.column, endLine: to.line, endColumn: to.column },
    insertedContent: { text },
  }
}

function uriOf(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}
