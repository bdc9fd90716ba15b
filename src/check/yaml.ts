/**
 * YAML to trees. Documents are parsed one by one, so that a file of many stays small in memory; aliases are shared, not
 * copied, and what they would expand to is counted, so that a bomb is refused before it goes off. Merge keys are followed,
 * as Kubernetes and Compose follow them; the short tags of CloudFormation become the maps that they stand for.
 */
import { isAlias, isMap, isPair, isScalar, isSeq, parseDocument, Scalar } from 'yaml'
import type { Document, Node } from 'yaml'
import type { Place, Problem, SourceFile } from './source.ts'
import { depthMax, nodesMax } from './tree.ts'
import type { Entry, Tree } from './tree.ts'
import { readPlainYaml } from './yaml-plain.ts'

/** Largest single document, in UTF-16 units. An API server takes 3 MB. */
const documentMax = 4 * 1024 * 1024
/** Most documents of one file. */
const documentsMax = 20_000

export interface YamlDocument {
  /** Null when the document could not be read. */
  readonly tree: Tree | null
  readonly problems: readonly Problem[]
  /** Offsets of the part of the text that is this document. */
  readonly start: number
  readonly end: number
}

/** The documents of a YAML text, in order, without those that hold nothing. Never throws for what the text holds. */
export function readYaml(source: SourceFile): readonly YamlDocument[] {
  const parts = splitDocuments(source.text)
  if (parts.length > documentsMax) {
    const message = `the file holds ${parts.length} documents, and at most ${documentsMax} are read`
    const problem = { code: 'check.too-large', message, hint: 'Split it.', place: { source, offset: 0 } }
    return [{ tree: null, problems: [problem], start: 0, end: source.text.length }]
  }
  return parts.map(({ start, end }) => readDocument(source, start, end)).filter((read) => read !== null)
}

/** Where documents start and end: a marker at the first column always is one, in every context YAML has. */
function splitDocuments(text: string): readonly { start: number; end: number }[] {
  const marks = [...text.matchAll(/^---(?=[\s]|$)/gm)].map((match) => match.index)
  if (marks.length === 0) return [{ start: 0, end: text.length }]
  const edges = [...(marks[0] === 0 ? [] : [0]), ...marks]
  return edges.map((start, index) => ({ start, end: edges[index + 1] ?? text.length }))
}

function readDocument(source: SourceFile, start: number, end: number): YamlDocument | null {
  const part = source.text.slice(start, end)
  if (isEmptyPart(part)) return null
  const place = (offset: number): Place => ({ source, offset: Math.min(start + offset, source.text.length) })
  const failed = (problem: Problem): YamlDocument => ({ tree: null, problems: [problem], start, end })
  if (part.length > documentMax) {
    const message = `one document has ${part.length} characters, and at most ${documentMax} are read`
    return failed({ code: 'check.too-large', message, hint: null, place: place(0) })
  }
  const plain = readPlainYaml(part, start)
  if (plain !== null) return { tree: plain, problems: [], start, end }
  return readFully(source, part, start, end)
}

/** Reads a document by the full parser. */
export function readFully(source: SourceFile, part: string, start: number, end: number): YamlDocument {
  const place = (offset: number): Place => ({ source, offset: Math.min(start + offset, source.text.length) })
  const failed = (problem: Problem): YamlDocument => ({ tree: null, problems: [problem], start, end })
  const tooDeep = deepFlow(part)
  if (tooDeep !== null) return failed(depthProblem(place(tooDeep)))
  const parsed = parse(part)
  if (parsed === null) return failed(depthProblem(place(0)))
  const template = templateLine(part)
  const fatal = parsed.errors.find((error) => error.code !== 'DUPLICATE_KEY')
  if (fatal !== undefined) {
    const offset = fatal.pos[0]
    if (template !== null) return failed(templateProblem(place(template)))
    const message = `this is not YAML: ${(fatal.message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '').replace(/[.:]+$/, '')}`
    return failed({ code: 'check.bad-yaml', message, hint: null, place: place(offset) })
  }
  const converted = convert(parsed, start, part)
  if ('refused' in converted) {
    const { refused, offset } = converted
    if (refused === 'template') return failed(templateProblem(place(offset)))
    if (refused === 'depth') return failed(depthProblem(place(offset)))
    const code = /^aliases|holds itself/.test(refused) ? 'check.too-large' : 'check.bad-yaml'
    return failed({ code, message: refused, hint: null, place: place(offset) })
  }
  const problems = parsed.errors.map((error) => ({
    code: 'check.duplicate-key',
    message: 'the same key stands twice in one map: which one counts depends on who reads it',
    hint: 'Keep one of them.',
    place: place(error.pos[0]),
  }))
  return { tree: converted.tree, problems, start, end }
}

/** Whether a document holds nothing but markers, directives and comments. Ends at the first line with more. */
function isEmptyPart(part: string): boolean {
  for (let start = 0; start < part.length;) {
    const newline = part.indexOf('\n', start)
    const end = newline === -1 ? part.length : newline
    const line = part.slice(start, end).replace(/^---/, '').trim()
    if (line !== '' && !line.startsWith('#') && !line.startsWith('%') && line !== '...') return false
    start = end + 1
  }
  return true
}

/** The document, or null where it is nested too deep for the parser's own recursion. */
function parse(part: string): Document.Parsed | null {
  try {
    return parseDocument(part, { keepSourceTokens: false, prettyErrors: false, merge: false, logLevel: 'silent' })
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function depthProblem(place: Place): Problem {
  const message = `the document is nested deeper than ${depthMax} levels`
  return { code: 'check.too-large', message, hint: null, place }
}

function templateProblem(place: Place): Problem {
  const message = 'this is a template that was not rendered: it holds {{ }} where YAML has values'
  const hint = 'Check what the template makes: `helm template . | stead check -`, or `kustomize build | stead check -`.'
  return { code: 'check.unrendered-template', message, hint, place }
}

/** Offset of the first template action that cannot be part of a YAML text, or null. */
function templateLine(part: string): number | null {
  if (!part.includes('{{')) return null
  const match =
    /^[ \t]*(?:\{\{|[^\n#'"]*?[:-][ \t]+\{\{)|\{\{-|\{\{\s*(?:\.|include |define |range |if |end|with |template )/m.exec(
      part,
    )
  return match === null ? null : match.index + match[0].indexOf('{{')
}

/** Offset where brackets are nested too deep, or null. A cheap look before the parser recurses. */
function deepFlow(part: string): number | null {
  let depth = 0
  for (let index = 0; index < part.length; index++) {
    const code = part.charCodeAt(index)
    if (code === 91 || code === 123) {
      if (++depth > depthMax * 8) return index
    } else if (code === 93 || code === 125) depth = Math.max(0, depth - 1)
  }
  return null
}

type Converted = { readonly tree: Tree | null } | { readonly refused: string; readonly offset: number }

class Refusal extends Error {
  readonly offset: number
  constructor(reason: string, offset: number) {
    super(reason)
    this.offset = offset
  }
}

function convert(document: Document.Parsed, base: number, part: string): Converted {
  const anchors = new Map<string, Tree>()
  const open = new Set<string>()

  function visit(node: Node | null, depth: number, fallback: number): Tree {
    const local = node?.range?.[0] ?? fallback
    if (depth > depthMax) throw new Refusal('depth', local)
    if (node === null) return { kind: 'scalar', offset: base + fallback, value: null, plain: true, size: 1 }
    if (isAlias(node)) {
      const target = anchors.get(node.source)
      if (target !== undefined) return target
      const why = open.has(node.source)
        ? `holds itself through the alias *${node.source}`
        : `names no anchor with the alias *${node.source}`
      throw new Refusal(`the document ${why}`, local)
    }
    const anchor = isMap(node) || isSeq(node) || isScalar(node) ? node.anchor : undefined
    if (anchor !== undefined) open.add(anchor)
    const plain = build(node, depth, local)
    const tree = node.tag?.startsWith('!') === true ? tagged(node.tag, plain) : plain
    if (tree.size > nodesMax) throw new Refusal(`aliases expand the document to more than ${nodesMax} values`, local)
    if (anchor !== undefined) {
      open.delete(anchor)
      anchors.set(anchor, tree)
    }
    return tree
  }

  function build(node: Node, depth: number, local: number): Tree {
    const offset = base + local
    if (isScalar(node)) {
      const { value } = node
      const plain = node.type === Scalar.PLAIN
      const known =
        typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number' || value === null
      return { kind: 'scalar', offset, value: known ? value : (node.source ?? null), plain, size: 1 }
    }
    if (isSeq(node)) {
      const items = node.items.map((item) => visit(isNodeLike(item) ? item : null, depth + 1, local))
      return { kind: 'list', offset, items, size: sizeOf(items) }
    }
    if (!isMap(node)) return { kind: 'scalar', offset, value: null, plain: true, size: 1 }
    const entries = new Map<string, Entry>()
    const merged: Tree[] = []
    for (const pair of node.items) {
      if (!isPair(pair)) continue
      const { key } = pair
      const keyAt = isNodeLike(key) ? (key.range?.[0] ?? local) : local
      if (!isScalar(key)) {
        if (part.startsWith('{{', local) || part.startsWith('{{', keyAt - 1))
          throw new Refusal('template', Math.min(local, keyAt))
        const target = isAlias(key) ? visit(key, depth + 1, keyAt) : null
        if (target?.kind !== 'scalar') throw new Refusal('a key of a map is not a text', keyAt)
        entries.set(String(target.value), {
          keyOffset: base + keyAt,
          value: visit(isNodeLike(pair.value) ? pair.value : null, depth + 1, keyAt),
        })
        continue
      }
      const value = visit(isNodeLike(pair.value) ? pair.value : null, depth + 1, keyAt)
      if (key.value === '<<' && key.type === Scalar.PLAIN)
        merged.push(...(value.kind === 'list' ? value.items : [value]))
      else entries.set(keyText(key), { keyOffset: base + keyAt, value })
    }
    for (const source of merged)
      if (source.kind === 'map')
        for (const [name, entry] of source.entries) if (!entries.has(name)) entries.set(name, entry)
    return { kind: 'map', offset, entries, size: sizeOf([...entries.values()].map((entry) => entry.value)) }
  }

  try {
    if (document.contents === null) return { tree: null }
    return { tree: visit(document.contents, 0, 0) }
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.message, offset: error.offset }
    if (error instanceof RangeError) return { refused: 'depth', offset: 0 }
    throw error
  }
}

function isNodeLike(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
}

function sizeOf(trees: readonly Tree[]): number {
  return trees.reduce((sum, tree) => sum + tree.size, 1)
}

/** A key as text: `80:` is the key "80". */
function keyText(key: Scalar): string {
  return typeof key.value === 'string' ? key.value : (key.source ?? String(key.value))
}

/** `!Ref x` is `{ Ref: x }`, `!Sub x` is `{ "Fn::Sub": x }`; other tags leave the value as it is. */
function tagged(tag: string, tree: Tree): Tree {
  const name = tag.slice(1)
  const known =
    /^(?:Ref|Condition|Base64|Cidr|FindInMap|GetAtt|GetAZs|If|ImportValue|Join|Select|Split|Sub|Transform|And|Equals|Not|Or)$/
  if (!known.test(name)) return tree
  const key = name === 'Ref' || name === 'Condition' ? name : `Fn::${name}`
  return {
    kind: 'map',
    offset: tree.offset,
    entries: new Map([[key, { keyOffset: tree.offset, value: tree }]]),
    size: tree.size + 1,
  }
}
