/** Findings for people: by root cause, worst first, each with where it is and what to do; then what is unknown, and what is next. */
import type { Finding, Group } from '../findings.ts'
import { isAtLeast } from '../findings.ts'
import type { Rule, Severity } from '../rules/rule.ts'
import { formatPosition, positionOf } from '../source.ts'
import type { Problem } from '../source.ts'
import type { Paint } from './paint.ts'
import { complexityLine, costLine, uptimeLine } from './figures.ts'
import type { Outcome } from './outcome.ts'

export interface TextOptions {
  /** Every finding, not only the first few of each rule. */
  readonly all: boolean
  readonly paint: Paint
}

/** Findings of one rule that are shown unless all are. */
const shownMax = 3

const colours: Readonly<Record<Severity, 'red' | 'yellow' | 'dim'>> = {
  critical: 'red',
  high: 'red',
  medium: 'yellow',
  low: 'dim',
}

export function reportText(outcome: Outcome, options: TextOptions): string {
  const parts = [
    ...outcome.groups.map((group) => groupText(group, options)),
    ...sectionOf('Not read', problemLines(outcome, options)),
    ...sectionOf('Unknown', unknownLines(outcome, options)),
    ...sectionOf(
      'Exceptions that ended',
      outcome.ended.map(
        (found) =>
          `${formatPosition(positionOf(found.place))}  ${found.rule} for ${found.object} (${found.owner}: ${found.reason})`,
      ),
    ),
    ...sectionOf(
      'Exceptions that nothing needs',
      outcome.unused.map((found) => `${formatPosition(positionOf(found.place))}  ${found.rule} for ${found.object}`),
    ),
    summary(outcome, options),
  ]
  return parts.join('\n\n')
}

function groupText(group: Group, options: TextOptions): string {
  const { paint } = options
  const head = `${paint(colours[group.severity], group.severity.toUpperCase())}  ${paint('bold', group.title)} (${group.findings.length})`
  const byRule = new Map<Rule, Finding[]>()
  for (const finding of group.findings) byRule.set(finding.rule, [...(byRule.get(finding.rule) ?? []), finding])
  return [head, ...[...byRule].map(([rule, findings]) => ruleText(rule, findings, options))].join('\n')
}

function ruleText(rule: Rule, findings: readonly Finding[], { all, paint }: TextOptions): string {
  const shown = all ? findings : findings.slice(0, shownMax)
  const rest = findings.length - shown.length
  const fixable = findings.filter((finding) => finding.edits.length > 0 && finding.left === null).length
  const byHand = paint('yellow', 'by hand')
  const lefts = [...new Set(shown.map((finding) => finding.left).filter((left) => left !== null))]
  return [
    `  ${paint('bold', rule.id)}  ${paint('dim', rule.title)}`,
    ...shown.flatMap((finding) => [
      `    ${formatPosition(finding.position)}  ${finding.object}: ${finding.message}`,
      ...(all && lefts.length > 1 && finding.left !== null ? [`      ${byHand} ${finding.left}`] : []),
    ]),
    ...(rest > 0 ? [paint('dim', `    and ${rest} more (--all)`)] : []),
    ...(fixable > 0
      ? [`    ${paint('green', 'mend')} ${fixable === findings.length ? '' : `${fixable} of them `}with --fix`]
      : []),
    ...(all && lefts.length > 1 ? [] : lefts.slice(0, 2).map((left) => `    ${byHand} ${left}`)),
  ].join('\n')
}

function sectionOf(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : [[title, ...lines.map((line) => `  ${line}`)].join('\n')]
}

/** What could not be read, one line for each sentence that is the same. */
function problemLines(outcome: Outcome, { all, paint }: TextOptions): readonly string[] {
  const same = new Map<string, Problem[]>()
  for (const problem of outcome.report.problems) {
    const key = `${problem.message}\0${problem.hint ?? ''}`
    same.set(key, [...(same.get(key) ?? []), problem])
  }
  return [...same.values()].flatMap((problems) => {
    const shown = all ? problems : problems.slice(0, shownMax)
    const hint = problems[0]?.hint ?? null
    return [
      ...shown.map(({ place, message }) => `${formatPosition(positionOf(place))}  ${message}`),
      ...(problems.length > shown.length ? [paint('dim', `and ${problems.length - shown.length} more (--all)`)] : []),
      ...(hint === null ? [] : [paint('dim', `  ${hint}`)]),
    ]
  })
}

function unknownLines(outcome: Outcome, { all, paint }: TextOptions): readonly string[] {
  const lines = outcome.report.unknowns.map(
    (found) => `${formatPosition(found.position)}  ${found.object}: ${found.message} (${found.rule.id})`,
  )
  const shown = all ? lines : lines.slice(0, shownMax)
  const kinds = new Map<string, number>()
  for (const { kind } of outcome.report.unknownObjects) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  const objects = [...kinds].map(([kind, count]) => `${count} × ${kind}`)
  return [
    ...shown,
    ...(lines.length > shown.length ? [paint('dim', `and ${lines.length - shown.length} more (--all)`)] : []),
    ...(objects.length > 0 ? [`nothing is known about objects of these kinds: ${objects.join(', ')}`] : []),
    ...outcome.notes,
  ]
}

function summary(outcome: Outcome, { paint }: TextOptions): string {
  const { report, open, suppressed, known } = outcome
  const silent = outcome.rulesAsked - outcome.rulesThatLooked
  const failing = open.filter((finding) => isAtLeast(finding.severity, outcome.failOn)).length
  const fixable = open.filter((finding) => finding.edits.length > 0).length
  const verdict =
    failing > 0
      ? paint('red', `${failing} findings of ${outcome.failOn} or worse`)
      : paint('green', `nothing of ${outcome.failOn} or worse`)
  const also = [
    ...(open.length > failing ? [`${open.length - failing} below`] : []),
    ...(suppressed.length > 0 ? [`${suppressed.length} excepted`] : []),
    ...(known.length > 0 ? [`${known.length} in the baseline`] : []),
    ...(report.unknowns.length > 0 ? [`${report.unknowns.length} unknown`] : []),
    ...(report.problems.length > 0 ? [`${report.problems.length} not read`] : []),
  ]
  const figures = [
    outcome.uptime === null ? null : uptimeLine(outcome.uptime),
    outcome.cost === null ? null : costLine(outcome.cost),
    outcome.complexity === null ? null : complexityLine(outcome.complexity),
  ].filter((line) => line !== null)
  const lines = [
    ...figures,
    `${verdict}${also.length === 0 ? '' : `, ${also.join(', ')}`}: ${report.objects} objects in ${outcome.files} files`,
    paint('dim', `${outcome.rulesThatLooked} rules found something to look at; ${silent} did not, and say nothing`),
    ...(fixable > 0
      ? [paint('dim', `--diff shows how ${fixable} are mended, --fix does it; --explain RULE says why`)]
      : []),
  ]
  return lines.join('\n')
}

/** Everything about a rule. */
export function explainText(rule: Rule, paint: Paint): string {
  const example = (text: string): string => text.trimEnd().replace(/^/gm, '    ')
  return [
    `${paint('bold', rule.id)}  ${rule.category}, ${rule.severity}`,
    rule.title,
    '',
    rule.reason,
    '',
    `${paint('red', 'fails')} (${rule.bad.path})`,
    example(rule.bad.text),
    '',
    `${paint('green', 'passes')} (${rule.good.path})`,
    example(rule.good.text),
    '',
    rule.reference,
  ].join('\n')
}
