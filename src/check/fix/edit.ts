/**
 * Changes of values in a YAML text, as replacements of pieces of that text: everything else, comments, order, blank lines,
 * quotes, stays as it was written. Invariants: applying the replacements gives a text whose values are the old ones with
 * exactly the changes asked for, or the change is refused; what is already so needs no replacement, so twice is as good as once.
 */
import { isAlias, isMap, isPair, isScalar, isSeq, parseDocument } from 'yaml'
import type { Document, Node, Pair, YAMLMap, YAMLSeq } from 'yaml'
import { canonicalJson } from '../../base/index.ts'
import type { Json } from '../../base/index.ts'
import type { Path } from '../tree.ts'
import { inFlow, inBlock } from './render.ts'

/** A piece of a text, and what takes its place. Offsets are into the whole text. */
export interface Replacement {
  readonly start: number
  readonly end: number
  readonly text: string
}

export interface ValueEdit {
  /** From the root of the document; a last step `+` adds to a list. */
  readonly path: Path
  /** `undefined` takes the key away. */
  readonly value: Json | undefined
}

/** Edits by what they have in common, so that keys that go into one new map are written together. */
interface Wanted {
  value?: Json | undefined
  isSet: boolean
  readonly children: Map<string | number, Wanted>
  readonly additions: Json[]
}

class Refused extends Error {}

/**
 * The replacements that make the edits in the document that stands between two offsets of a text; null when one of them
 * cannot be made without guessing. `json`: the text is JSON, and must stay it.
 */
export function editDocument(
  text: string,
  start: number,
  end: number,
  edits: readonly ValueEdit[],
  json = false,
): readonly Replacement[] | null {
  const part = text.slice(start, end)
  const document = parseDocument(part, { keepSourceTokens: false, prettyErrors: false, logLevel: 'silent' })
  if (document.errors.some((error) => error.code !== 'DUPLICATE_KEY') || document.contents === null) return null
  const newline = part.includes('\r\n') ? '\r\n' : '\n'
  const editor = new Editor(part, document, newline, json)
  try {
    editor.apply(document.contents, wantedOf(edits), null)
  } catch (error) {
    if (error instanceof Refused) return null
    throw error
  }
  return editor.replacements.map((replacement) => ({
    ...replacement,
    start: replacement.start + start,
    end: replacement.end + start,
  }))
}

/** The text with the replacements made. They must not overlap. */
export function applyReplacements(text: string, replacements: readonly Replacement[]): string {
  const ordered = replacements
    .map((replacement, order) => ({ replacement, order }))
    .sort((a, b) => a.replacement.start - b.replacement.start || a.order - b.order)
  let result = ''
  let position = 0
  for (const { replacement } of ordered) {
    result += text.slice(position, replacement.start) + replacement.text
    position = replacement.end
  }
  return result + text.slice(position)
}

function wantedOf(edits: readonly ValueEdit[]): Wanted {
  const root: Wanted = { isSet: false, children: new Map(), additions: [] }
  for (const { path, value } of edits) {
    let node = root
    for (const [index, step] of path.entries()) {
      if (step === '+' && index === path.length - 1) {
        if (value !== undefined && !node.additions.includes(value)) node.additions.push(value)
        node = { isSet: false, children: new Map(), additions: [] }
        break
      }
      const next = node.children.get(step) ?? { isSet: false, children: new Map(), additions: [] }
      node.children.set(step, next)
      node = next
    }
    if (path.at(-1) !== '+') {
      node.isSet = true
      node.value = value
    }
  }
  return root
}

/** What stands where nothing stood: the value, or the map of what is wanted below. */
function newValue(wanted: Wanted): Json | undefined {
  if (wanted.isSet) return wanted.value
  if (wanted.additions.length > 0) return wanted.additions
  const entries = [...wanted.children].flatMap(([key, child]): [string, Json][] => {
    const value = newValue(child)
    return value === undefined ? [] : [[String(key), value]]
  })
  return entries.length === 0 ? undefined : Object.fromEntries(entries)
}

class Editor {
  readonly replacements: Replacement[] = []
  readonly #text: string
  readonly #document: Document.Parsed
  readonly #newline: string
  readonly #json: boolean

  constructor(text: string, document: Document.Parsed, newline: string, json: boolean) {
    this.#json = json
    this.#text = text
    this.#document = document
    this.#newline = newline
  }

  apply(given: Node | null, wanted: Wanted, parent: Pair | null): void {
    const node = isAlias(given) ? (given.resolve(this.#document) ?? null) : given
    if (wanted.isSet && wanted.value !== undefined) return this.#replace(node, wanted.value, parent)
    if (wanted.children.size === 0 && wanted.additions.length === 0) return
    if (isMap(node)) return this.#map(node, wanted)
    if (isSeq(node)) return this.#list(node, wanted)
    if (isScalar(node) && node.value !== null) throw new Refused('a value stands where a map is wanted')
    const value = newValue(wanted)
    if (value !== undefined) this.#replace(node, value, parent)
  }

  #map(node: YAMLMap, wanted: Wanted): void {
    const missing: [string, Json][] = []
    for (const [key, child] of wanted.children) {
      const pair = findPair(node, String(key), this.#document)
      if (pair === null) {
        const value = newValue(child)
        if (value !== undefined) missing.push([String(key), value])
      } else if (child.isSet && child.value === undefined) this.#removePair(node, pair)
      else this.apply(isNode(pair.value) ? pair.value : null, child, pair)
    }
    if (missing.length > 0) this.#insertPairs(node, missing)
  }

  #list(node: YAMLSeq, wanted: Wanted): void {
    for (const [index, child] of wanted.children) {
      const item = typeof index === 'number' ? node.items[index] : undefined
      if (!isNode(item)) throw new Refused('the list has no such item')
      this.apply(item, child, null)
    }
    const present = node.items.map((item) => (isScalar(item) ? item.value : null))
    const additions = wanted.additions.filter((value) => !present.includes(value))
    if (additions.length > 0) this.#addItems(node, additions)
  }

  #replace(node: Node | null, value: Json, parent: Pair | null): void {
    if (node !== null && canonicalJson(plainOf(node, this.#document)) === canonicalJson(value)) return
    if (node?.range === undefined || node.range === null || parent === null) throw new Refused('nothing to replace')
    const [from, to] = node.range
    const isEmpty = isScalar(node) && node.value === null
    const nested = typeof value === 'object' && value !== null
    if (!nested || this.#inFlow(node)) {
      const text = this.#flow(value)
      const lead = from === to && this.#text[from - 1] === ':' ? ' ' : ''
      this.replacements.push({
        start: from,
        end: isScalar(node) ? to : trimmedEnd(this.#text, from, to),
        text: `${lead}${text}`,
      })
      return
    }
    if (!isEmpty) throw new Refused('a map would take the place of a value')
    const key = parent.key
    const column = isNode(key) && key.range ? this.#column(key.range[0]) : 0
    const lines = inBlock(value, column + 2, this.#newline)
    // An explicit null goes; a comment after it stays on its line.
    if (to > from) this.replacements.push({ start: this.#text[from - 1] === ' ' ? from - 1 : from, end: to, text: '' })
    const lineEnd = this.#lineEnd(to)
    this.replacements.push({ start: lineEnd, end: lineEnd, text: `${this.#newline}${lines}` })
  }

  #insertPairs(node: YAMLMap, pairs: readonly (readonly [string, Json])[]): void {
    if (!node.range) throw new Refused('the map has no place')
    if (node.flow === true) {
      const close = node.range[1] - 1
      const written = pairs.map(([key, value]) => `${this.#flow(key)}: ${this.#flow(value)}`)
      const body = written.join(', ')
      if (node.items.length === 0)
        this.replacements.push({ start: node.range[0], end: node.range[1], text: `{ ${body} }` })
      else {
        const last = this.#text.slice(0, close).trimEnd().length
        const comma = this.#text[last - 1] === ',' ? '' : ','
        const ownLines = this.#ownLines(node)
        const between = ownLines === null ? ' ' : `${this.#newline}${' '.repeat(ownLines)}`
        this.replacements.push({ start: last, end: last, text: `${comma}${between}${written.join(`,${between}`)}` })
      }
      return
    }
    const first = node.items[0]?.key
    if (!isNode(first) || !first.range) throw new Refused('the map has no key to stand beside')
    const column = this.#column(first.range[0])
    const body = inBlock(Object.fromEntries(pairs), column, this.#newline)
    this.#insertAfter(node, body)
  }

  /** New lines below the last line of a block. */
  #insertAfter(node: YAMLMap | YAMLSeq, body: string): void {
    const at = this.#blockEnd(node)
    if (at > 0 && this.#text[at - 1] === '\n')
      this.replacements.push({ start: at, end: at, text: `${body}${this.#newline}` })
    else this.replacements.push({ start: at, end: at, text: `${this.#newline}${body}` })
  }

  #addItems(node: YAMLSeq, items: readonly Json[]): void {
    if (!node.range) throw new Refused('the list has no place')
    if (node.flow === true) {
      const body = items.map((item) => this.#flow(item)).join(', ')
      if (node.items.length === 0)
        this.replacements.push({ start: node.range[0], end: node.range[1], text: `[${body}]` })
      else {
        const last = this.#text.slice(0, node.range[1] - 1).trimEnd().length
        this.replacements.push({ start: last, end: last, text: `${this.#text[last - 1] === ',' ? ' ' : ', '}${body}` })
      }
      return
    }
    const column = this.#column(node.range[0])
    const body = items.map((item) => `${' '.repeat(column)}- ${inFlow(item)}`).join(this.#newline)
    this.#insertAfter(node, body)
  }

  #removePair(node: YAMLMap, pair: Pair): void {
    const key = pair.key
    if (node.flow === true || node.items.length < 2 || node.items[0] === pair || !isNode(key) || !key.range)
      throw new Refused('the key cannot be taken away without moving others')
    const value = isNode(pair.value) ? pair.value : null
    const lineStart = this.#text.lastIndexOf('\n', key.range[0] - 1) + 1
    const end = this.#lineEnd(lastOffset(value) ?? key.range[1])
    this.replacements.push({ start: lineStart, end: Math.min(end + this.#newline.length, this.#text.length), text: '' })
  }

  #flow(value: Json): string {
    return this.#json ? JSON.stringify(value) : inFlow(value)
  }

  /** The column of a map's keys in braces when each stands on a line of its own, as tools print it; else null. */
  #ownLines(node: YAMLMap): number | null {
    const key = node.items.at(-1)?.key
    if (!isNode(key) || !key.range) return null
    const column = this.#column(key.range[0])
    return /^[ ]*$/.test(this.#text.slice(key.range[0] - column, key.range[0])) ? column : null
  }

  /** Where the last line with something of this block ends, before its newline. */
  #blockEnd(node: Node): number {
    const last = lastOffset(node)
    if (last === null) throw new Refused('the block has no end')
    // A literal's end is after its last newline.
    if (last > 0 && this.#text[last - 1] === '\n') return last
    return this.#lineEnd(last)
  }

  #lineEnd(offset: number): number {
    const found = this.#text.indexOf('\n', offset)
    if (found === -1) return this.#text.length
    return this.#text[found - 1] === '\r' ? found - 1 : found
  }

  #column(offset: number): number {
    return offset - (this.#text.lastIndexOf('\n', offset - 1) + 1)
  }

  /** Whether a value stands inside braces or brackets: there a block has no place. */
  #inFlow(node: Node): boolean {
    return insideFlow(this.#document.contents, node)
  }
}

function insideFlow(root: Node | null, wanted: Node): boolean {
  const start = wanted.range?.[0] ?? 0
  let node: Node | null = root
  while (node !== null && node !== wanted) {
    if ((isMap(node) || isSeq(node)) && node.flow === true) return true
    const children: (Node | null)[] = isMap(node)
      ? node.items.map((pair) => (isNode(pair.value) ? pair.value : null))
      : isSeq(node)
        ? node.items.map((item) => (isNode(item) ? item : null))
        : []
    node =
      children.find(
        (child) =>
          child !== null &&
          child.range !== null &&
          child.range !== undefined &&
          child.range[0] <= start &&
          start <= child.range[2],
      ) ?? null
  }
  return false
}

/** The end of the last scalar, or closing bracket, inside a node. */
function lastOffset(node: Node | null): number | null {
  if (node === null) return null
  if (isMap(node) && node.flow !== true) {
    const pair = node.items.at(-1)
    if (!isPair(pair)) return node.range?.[1] ?? null
    const value = isNode(pair.value) ? pair.value : null
    const key = isNode(pair.key) ? (pair.key.range?.[1] ?? null) : null
    return value === null || (isScalar(value) && value.value === null && value.range?.[0] === value.range?.[1])
      ? key === null
        ? null
        : key + 1
      : lastOffset(value)
  }
  if (isSeq(node) && node.flow !== true) {
    const item = node.items.at(-1)
    return isNode(item) ? lastOffset(item) : (node.range?.[1] ?? null)
  }
  return node.range?.[1] ?? null
}

/** A pair of the map itself, or of one that it merges. */
function findPair(node: YAMLMap, key: string, document: Document.Parsed): Pair | null {
  const own = node.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === key)
  if (own !== undefined) return own
  for (const pair of node.items) {
    if (!isScalar(pair.key) || pair.key.value !== '<<') continue
    const sources = isSeq(pair.value) ? pair.value.items : [pair.value]
    for (const source of sources) {
      const target = isAlias(source) ? source.resolve(document) : source
      const found = isMap(target) ? findPair(target, key, document) : null
      if (found !== null) return found
    }
  }
  return null
}

/** The value of a node; null for what JSON has no word for, which no edit asks for. */
function plainOf(node: Node, document: Document.Parsed): unknown {
  const value: unknown = node.toJS(document)
  return typeof value === 'number' && !Number.isFinite(value) ? null : (value ?? null)
}

function trimmedEnd(text: string, from: number, to: number): number {
  return from + text.slice(from, to).trimEnd().length
}

function isNode(value: unknown): value is Node {
  return isScalar(value) || isMap(value) || isSeq(value) || isAlias(value)
}
