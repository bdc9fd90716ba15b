/**
 * What is known and accepted: exceptions, each with a reason, an owner and an end; and a baseline of what was there before.
 * Invariant: an exception that has ended, or lacks one of these, suppresses nothing.
 */
import { SteadError } from '../base/index.ts'
import type { Finding } from './findings.ts'
import { formatPosition, positionOf } from './source.ts'
import type { Place, SourceFile } from './source.ts'
import { at, itemsOf, numberOf, offsetAt, textOf } from './tree.ts'
import type { Tree } from './tree.ts'
import { readJson } from './json-text.ts'
import { readYaml } from './yaml.ts'

export interface Suppression {
  /** Id of a rule, or the part before its dot for all of that room. */
  readonly rule: string
  /** As findings name it: `DaemonSet monitoring/node-exporter`; `*` stands for any text. */
  readonly object: string
  readonly reason: string
  readonly owner: string
  /** First moment at which it no longer counts. Milliseconds since 1970. */
  readonly untilMs: number
  readonly place: Place
}

/** Most exceptions of one file, and furthest end of one, in days: longer is a decision, and belongs into the design. */
const suppressionsMax = 2000
const daysMax = 366

/** The exceptions of a file. Throws `check.bad-suppressions` for the first that is not complete. */
export function readSuppressions(source: SourceFile, nowMs: number): readonly Suppression[] {
  const documents = readYaml(source)
  const problem = documents.flatMap((document) => document.problems)[0]
  if (problem !== undefined) throw bad(problem.place, problem.message)
  const tree = documents[0]?.tree ?? null
  if (tree === null) return []
  const list = at(tree, 'suppressions')
  if (list?.kind !== 'list') throw bad({ source, offset: tree.offset }, 'it has no list `suppressions`')
  if (list.items.length > suppressionsMax)
    throw bad({ source, offset: list.offset }, `it has more than ${suppressionsMax} exceptions`)
  return list.items.map((item) => readOne(source, item, nowMs))
}

function readOne(source: SourceFile, item: Tree, nowMs: number): Suppression {
  const place = { source, offset: item.offset }
  const text = (key: string, why: string): string => {
    const found = textOf(at(item, key))?.trim() ?? ''
    if (found === '') throw bad(place, `an exception without ${key} ${why}`)
    return found
  }
  const until = text('until', 'never ends')
  const dayMs = 86_400_000
  const startMs = /^\d{4}-\d{2}-\d{2}$/.test(until) ? Date.parse(`${until}T00:00:00Z`) : Number.NaN
  if (Number.isNaN(startMs))
    throw bad({ source, offset: offsetAt(item, ['until']) }, `until must be a day as 2027-01-31, not '${until}'`)
  if (startMs > nowMs + daysMax * dayMs)
    throw bad(
      { source, offset: offsetAt(item, ['until']) },
      `until may be at most ${daysMax} days from now: look at it again then`,
    )
  return {
    rule: text('rule', 'means nothing'),
    object: textOf(at(item, 'object')) ?? '*',
    reason: text('reason', 'cannot be judged later'),
    owner: text('owner', 'is nobody to ask about'),
    // The day itself still counts.
    untilMs: startMs + dayMs,
    place,
  }
}

function bad(place: Place, message: string): SteadError {
  return new SteadError({
    code: 'check.bad-suppressions',
    message: `${formatPosition(positionOf(place))}: ${message}.`,
    hint: 'Each entry has rule, object, reason, owner and until (a day).',
  })
}

export interface Sorted {
  /** What counts. */
  readonly open: readonly Finding[]
  readonly suppressed: readonly { readonly finding: Finding; readonly by: Suppression }[]
  /** In the baseline. */
  readonly known: readonly Finding[]
  /** Exceptions that ended and would still have something to suppress. */
  readonly ended: readonly Suppression[]
  /** Exceptions that nothing needs. */
  readonly unused: readonly Suppression[]
}

/** Takes out what is accepted and what was there before. */
export function sortFindings(
  findings: readonly Finding[],
  suppressions: readonly Suppression[],
  baseline: ReadonlySet<string>,
  nowMs: number,
): Sorted {
  const open: Finding[] = []
  const known: Finding[] = []
  const suppressed: { finding: Finding; by: Suppression }[] = []
  const ended = new Set<Suppression>()
  const used = new Set<Suppression>()
  for (const finding of findings) {
    const fitting = suppressions.filter((suppression) => fits(suppression, finding))
    for (const suppression of fitting) used.add(suppression)
    const by = fitting.find((suppression) => suppression.untilMs > nowMs)
    if (by !== undefined) suppressed.push({ finding, by })
    else {
      for (const suppression of fitting) ended.add(suppression)
      if (baseline.has(finding.fingerprint)) known.push(finding)
      else open.push(finding)
    }
  }
  return {
    open,
    known,
    suppressed,
    ended: [...ended],
    unused: suppressions.filter((suppression) => !used.has(suppression)),
  }
}

function fits(suppression: Suppression, finding: Finding): boolean {
  const { rule } = suppression
  if (rule !== finding.rule.id && !(rule.endsWith('.*') && finding.rule.id.startsWith(rule.slice(0, -1)))) return false
  return matches(suppression.object, finding.object)
}

/** `*` for any text; everything else as it is written. */
function matches(pattern: string, text: string): boolean {
  const parts = pattern.split('*')
  if (parts.length === 1) return pattern === text
  const [first = '', ...rest] = parts
  const last = rest.pop() ?? ''
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false
  let position = first.length
  for (const part of rest) {
    const found = text.indexOf(part, position)
    if (found === -1 || found + part.length > text.length - last.length) return false
    position = found + part.length
  }
  return true
}

/** A baseline's text: fingerprints, sorted, with what they were, so that a change of it can be reviewed. */
export function writeBaseline(findings: readonly Finding[]): string {
  const entries = [...findings]
    .map(({ fingerprint, rule, object }) => ({ fingerprint, rule: rule.id, object }))
    .sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1))
  const seen = new Set<string>()
  const lines = entries
    .filter(({ fingerprint }) => !seen.has(fingerprint) && seen.add(fingerprint) !== undefined)
    .map((entry) => `    ${JSON.stringify(entry)}`)
  return `{\n  "version": 1,\n  "findings": [${lines.length === 0 ? '' : `\n${lines.join(',\n')}\n  `}]\n}\n`
}

/** The fingerprints of a baseline. Throws `check.bad-baseline`. */
export function readBaseline(source: SourceFile): ReadonlySet<string> {
  const { tree, problems } = readJson(source)
  const [problem] = problems
  const place = problem?.place ?? { source, offset: 0 }
  const refuse = (message: string): SteadError =>
    new SteadError({
      code: 'check.bad-baseline',
      message: `${formatPosition(positionOf(place))}: ${message}.`,
      hint: 'Write it again with --write-baseline.',
    })
  if (problem !== undefined || tree === null) throw refuse(problem?.message ?? 'it is empty')
  if (numberOf(at(tree, 'version')) !== 1) throw refuse('it is no baseline of version 1')
  const fingerprints = itemsOf(at(tree, 'findings')).map((item) => textOf(at(item, 'fingerprint')))
  return new Set(fingerprints.filter((text) => text !== undefined))
}
