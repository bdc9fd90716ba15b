/**
 * From findings to changed files. Invariants: a file is changed only where a finding's edits say so, the changed text was read
 * again and holds what was meant, and mending the mended changes nothing.
 */
import type { Finding } from '../findings.ts'
import type { Edit } from '../rules/rule.ts'
import type { SourceFile } from '../source.ts'
import { at, plainOf } from '../tree.ts'
import type { Path } from '../tree.ts'
import { readJson } from '../json-text.ts'
import { readYaml } from '../yaml.ts'
import { canonicalJson } from '../../base/index.ts'
import { applyReplacements, editDocument } from './edit.ts'
import type { Replacement, ValueEdit } from './edit.ts'

export interface Fixed {
  readonly source: SourceFile
  readonly text: string
  readonly replacements: readonly Replacement[]
  /** Findings whose edits are in. */
  readonly mended: readonly Finding[]
}

export interface FixResult {
  readonly files: readonly Fixed[]
  /** What stays, with the reason of each. */
  readonly left: readonly { readonly finding: Finding; readonly why: string }[]
}

const notText = 'The file is no YAML and no JSON: change it by hand.'
const refused = 'The change could not be made without touching something else: make it by hand.'

/** Makes the edits of all findings. Pure: the texts come back, nobody writes them here. */
export function fixFindings(findings: readonly Finding[]): FixResult {
  const left: { finding: Finding; why: string }[] = []
  const bySource = new Map<SourceFile, Finding[]>()
  for (const finding of findings) {
    if (finding.left !== null) left.push({ finding, why: finding.left })
    if (finding.edits.length === 0) continue
    const { source } = finding.subject
    if (!/\.(?:ya?ml|json)$/.test(source.path) && source.path !== '-') {
      left.push({ finding, why: notText })
      continue
    }
    const list = bySource.get(source)
    if (list === undefined) bySource.set(source, [finding])
    else list.push(finding)
  }
  const files = [...bySource]
    .map(([source, members]) => fixSource(source, members, left))
    .filter((fixed) => fixed !== null)
  return { files, left }
}

function fixSource(
  source: SourceFile,
  findings: readonly Finding[],
  left: { finding: Finding; why: string }[],
): Fixed | null {
  const replacements: Replacement[] = []
  const mended: Finding[] = []
  const json = isJson(source)
  for (const document of json ? [{ start: 0, end: source.text.length }] : readYaml(source)) {
    const own = findings.filter(({ subject }) => subject.documentStart === document.start)
    if (own.length === 0) continue
    const edits = own.flatMap((finding) => finding.edits)
    const whole = editChecked(source.text, document, edits, json)
    if (whole !== null) {
      replacements.push(...whole)
      mended.push(...own)
      continue
    }
    // One of them cannot be made: try them one by one, keeping those that fit together.
    const kept: Edit[] = []
    for (const finding of own) {
      if (editChecked(source.text, document, [...kept, ...finding.edits], json) === null)
        left.push({ finding, why: refused })
      else {
        kept.push(...finding.edits)
        mended.push(finding)
      }
    }
    replacements.push(...(editChecked(source.text, document, kept, json) ?? []))
  }
  if (replacements.length === 0) return null
  return { source, text: applyReplacements(source.text, replacements), replacements, mended }
}

/** Whether a source was read as JSON, and must stay it. */
function isJson(source: SourceFile): boolean {
  return source.path.endsWith('.json') || source.text.trimStart().startsWith('{')
}

interface Part {
  readonly start: number
  readonly end: number
}

/** The replacements, after reading what they make and finding in it what was meant. */
function editChecked(text: string, part: Part, edits: readonly Edit[], json: boolean): readonly Replacement[] | null {
  const values: ValueEdit[] = edits.map(({ path, value }) => ({ path, value }))
  const replacements = editDocument(text, part.start, part.end, values, json)
  if (replacements === null) return null
  const shifted = replacements.map((found) => ({
    ...found,
    start: found.start - part.start,
    end: found.end - part.start,
  }))
  const changed = applyReplacements(text.slice(part.start, part.end), shifted)
  const source = { path: 'changed', text: changed }
  const read = json ? readJson(source) : readYaml(source)[0]
  if (
    read?.tree === undefined ||
    read.tree === null ||
    read.problems.some((problem) => problem.code !== 'check.duplicate-key')
  )
    return null
  const { tree } = read
  const holds = values.every(({ path, value }) => holdsAt(tree, path, value))
  return holds ? replacements : null
}

function holdsAt(
  tree: NonNullable<ReturnType<typeof readYaml>[number]['tree']>,
  path: Path,
  value: ValueEdit['value'],
): boolean {
  if (path.at(-1) === '+') {
    const list = at(tree, ...path.slice(0, -1))
    return list?.kind === 'list' && list.items.some((item) => canonicalJson(plainOf(item)) === canonicalJson(value))
  }
  const found = at(tree, ...path)
  return value === undefined
    ? found === undefined
    : found !== undefined && canonicalJson(plainOf(found)) === canonicalJson(value)
}
