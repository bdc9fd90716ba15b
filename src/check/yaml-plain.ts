/**
 * The YAML that nearly all manifests are written in, read quickly: block maps and lists, scalars on one line, literal blocks,
 * braces and brackets on one line. Invariant: for a text outside of that, or with any doubt about it, the answer is null and
 * the full parser decides; for a text inside, the tree is the one that the full parser would give. A test compares the two.
 */
import { depthMax } from './tree.ts'
import type { Entry, Scalar, Tree } from './tree.ts'

/** Thrown, without a stack, to give up: the full parser takes over. */
const giveUp: unique symbol = Symbol('give up')

const key = /(?:"([^"\\\n]*)"|'([^'\n]*)'|([A-Za-z0-9_$/](?:[A-Za-z0-9_.$/-]| (?=[A-Za-z0-9_.$/-]))*)):(?=[ \n]|$)/y
const doubleQuoted = /"(?:[^"\\\n\t]|\\["\\/bfnrt]|\\u(?!d[89ab])[0-9a-f]{4})*"/iy
const singleQuoted = /'(?:[^'\n\t]|'')*'/y
/** Up to a comment or the end of the line. First characters that mean something else are left to the full parser. */
const plainBlock = /[A-Za-z0-9_$/.(<=+~^;\\](?:[^\n\t:#]|:(?=[^\s])|(?<=[^ ])#)*/y
const plainFlow = /[A-Za-z0-9_$/.(<=+~^;\\](?:[^\n\t:#,[\]{}]|:(?=[^\s,[\]{}]))*/y
const restOfLine = /[ ]*(?:(?<=[ ])#[^\n]*)?(?:\n|$)/y
const literalHeader = /\|([+-]?)[ ]*(?:(?<=[ ])#[^\n]*)?\n/y

/** The tree of a document, or null: not of this kind. `base` is added to every offset. */
export function readPlainYaml(text: string, base: number): Tree | null {
  if (text.includes('\r') || text.includes('\ufeff')) return null
  try {
    return new PlainReader(text, base).document()
  } catch (error) {
    if (error === giveUp) return null
    throw error
  }
}

class PlainReader {
  readonly #text: string
  readonly #base: number
  /** Start of the line that comes next, unless a line is at hand. */
  #next = 0
  /** The first character of the line at hand, and its column. */
  #at = 0
  #column = 0
  #atHand = false

  constructor(text: string, base: number) {
    this.#text = text
    this.#base = base
  }

  document(): Tree {
    const text = this.#text
    if (text.startsWith('---')) {
      this.#next = 3
      this.#endLine(3)
    }
    if (!this.#line() || this.#column !== 0) throw giveUp
    const tree = this.#block(0)
    if (this.#line()) throw giveUp
    return tree
  }

  /** Finds the next line that is neither blank nor a comment; false at the end. */
  #line(): boolean {
    if (this.#atHand) return true
    const text = this.#text
    for (let start = this.#next; start < text.length;) {
      let at = start
      while (text.charCodeAt(at) === 32) at++
      const code = text.charCodeAt(at)
      if (at >= text.length) break
      if (code === 10) start = at + 1
      else if (code === 35) {
        const end = text.indexOf('\n', at)
        if (end === -1) break
        start = end + 1
      } else {
        this.#at = at
        this.#column = at - start
        this.#atHand = true
        return true
      }
    }
    this.#next = text.length
    return false
  }

  /** The map or list that begins at the line at hand. */
  #block(depth: number): Tree {
    if (depth > depthMax) throw giveUp
    return this.#isItem() ? this.#list(this.#column, depth) : this.#map(this.#column, depth)
  }

  #isItem(): boolean {
    if (this.#text.charCodeAt(this.#at) !== 45) return false
    const after = this.#text[this.#at + 1]
    return after === ' ' || after === '\n' || after === undefined
  }

  #map(column: number, depth: number): Tree {
    const entries = new Map<string, Entry>()
    const offset = this.#base + this.#at
    let size = 1
    while (this.#line() && this.#column === column) {
      if (this.#isItem()) throw giveUp
      const at = this.#at
      key.lastIndex = at
      const found = key.exec(this.#text)
      if (found === null) throw giveUp
      const name = found[1] ?? found[2] ?? found[3] ?? ''
      if (entries.has(name)) throw giveUp
      this.#atHand = false
      const value = this.#value(key.lastIndex, column, depth, true)
      entries.set(name, { keyOffset: this.#base + at, value })
      size += value.size
    }
    if (this.#atHand && this.#column > column) throw giveUp
    return { kind: 'map', offset, entries, size }
  }

  #list(column: number, depth: number): Tree {
    const items: Tree[] = []
    const offset = this.#base + this.#at
    let size = 1
    while (this.#line() && this.#column === column && this.#isItem()) {
      const dash = this.#at
      let at = dash + 1
      while (this.#text.charCodeAt(at) === 32) at++
      key.lastIndex = at
      let item: Tree
      if (key.test(this.#text)) {
        // A map that begins on the line of the dash.
        this.#at = at
        this.#column = column + at - dash
        if (depth >= depthMax) throw giveUp
        item = this.#map(this.#column, depth + 1)
      } else {
        this.#atHand = false
        item = this.#value(dash + 1, column, depth, false)
      }
      items.push(item)
      size += item.size
    }
    if (this.#atHand && this.#column > column) throw giveUp
    return { kind: 'list', offset, items, size }
  }

  /** What stands after a colon or dash, of a thing that stands at `column`. */
  #value(from: number, column: number, depth: number, inMap: boolean): Tree {
    const text = this.#text
    let at = from
    while (text.charCodeAt(at) === 32) at++
    const first = text[at]
    if (first === undefined || first === '\n' || (first === '#' && at > from)) {
      this.#endLine(from)
      if (this.#line() && (this.#column > column || (inMap && this.#column === column && this.#isItem())))
        return this.#block(depth + 1)
      return scalar(null, this.#base + from, true)
    }
    if (first === '|') return this.#literal(at, column)
    const tree = first === '{' || first === '[' ? this.#flow(at, depth + 1) : this.#inline(at, plainBlock)
    this.#endLine(this.#end)
    // A deeper line would go on with this value.
    if (this.#line() && this.#column > column) throw giveUp
    return tree
  }

  /** Where the value that was read last ends. */
  #end = 0

  #inline(at: number, plain: RegExp): Tree {
    const first = this.#text[at]
    const offset = this.#base + at
    if (first === '"') return scalar(String(JSON.parse(this.#take(doubleQuoted, at))), offset, false)
    if (first === "'") return scalar(this.#take(singleQuoted, at).slice(1, -1).replaceAll("''", "'"), offset, false)
    // `-1` and `--flag` are scalars, `- x` is none.
    let start = at
    while (this.#text.charCodeAt(start) === 45) start++
    this.#take(plain, start)
    const word = this.#text.slice(at, this.#end).trimEnd()
    if (word.endsWith(':') || word.startsWith('---')) throw giveUp
    return scalar(valueOf(word), offset, true)
  }

  #take(pattern: RegExp, at: number): string {
    pattern.lastIndex = at
    const found = pattern.exec(this.#text)
    if (found === null) throw giveUp
    this.#end = pattern.lastIndex
    return found[0]
  }

  /** After a value nothing but a comment may stand on its line. */
  #endLine(from: number): void {
    restOfLine.lastIndex = from
    if (!restOfLine.test(this.#text)) throw giveUp
    this.#next = restOfLine.lastIndex
    this.#atHand = false
  }

  #flow(at: number, depth: number): Tree {
    if (depth > depthMax) throw giveUp
    const text = this.#text
    const isMap = text[at] === '{'
    const close = isMap ? '}' : ']'
    const offset = this.#base + at
    const entries = new Map<string, Entry>()
    const items: Tree[] = []
    let size = 1
    let position = this.#spaces(at + 1)
    while (text[position] !== close) {
      if (isMap) {
        key.lastIndex = position
        const found = key.exec(text)
        const name = found?.[1] ?? found?.[2] ?? found?.[3]
        if (name === undefined || entries.has(name)) throw giveUp
        const keyOffset = this.#base + position
        const value = this.#flowValue(this.#spaces(key.lastIndex), depth)
        entries.set(name, { keyOffset, value })
        size += value.size
      } else {
        const value = this.#flowValue(position, depth)
        items.push(value)
        size += value.size
      }
      position = this.#spaces(this.#end)
      if (text[position] === ',') position = this.#spaces(position + 1)
      else if (text[position] !== close) throw giveUp
    }
    this.#end = position + 1
    return isMap ? { kind: 'map', offset, entries, size } : { kind: 'list', offset, items, size }
  }

  #flowValue(at: number, depth: number): Tree {
    const first = this.#text[at]
    if (first === '{' || first === '[') return this.#flow(at, depth + 1)
    const tree = this.#inline(at, plainFlow)
    // A pair in a list, or a key with a colon in it.
    if (this.#text[this.#spaces(this.#end)] === ':') throw giveUp
    return tree
  }

  #spaces(at: number): number {
    let position = at
    while (this.#text.charCodeAt(position) === 32) position++
    return position
  }

  /** A literal block: its lines without the indentation of the first. */
  #literal(at: number, column: number): Tree {
    const text = this.#text
    literalHeader.lastIndex = at
    const header = literalHeader.exec(text)
    if (header === null) throw giveUp
    let start = literalHeader.lastIndex
    let indent = -1
    const lines: string[] = []
    while (start < text.length) {
      const newline = text.indexOf('\n', start)
      const end = newline === -1 ? text.length : newline
      let first = start
      while (first < end && text.charCodeAt(first) === 32) first++
      const own = first - start
      if (first === end) {
        // Blank: more spaces than the block has are content, and before its first line they are a doubt.
        if (indent === -1 ? own > 0 : own > indent) {
          if (indent === -1) throw giveUp
          lines.push(text.slice(start + indent, end))
        } else lines.push('')
      } else {
        if (indent === -1) {
          if (own <= column) break
          indent = own
        }
        if (own < indent) {
          if (own > column) throw giveUp
          break
        }
        lines.push(text.slice(start + indent, end))
      }
      if (newline === -1) {
        // No newline ends the text: what that means for the last line is left to the full parser.
        throw giveUp
      }
      start = newline + 1
    }
    this.#next = start
    this.#atHand = false
    if (indent === -1) throw giveUp
    let count = lines.length
    while (count > 0 && lines[count - 1] === '') count--
    const body = lines.slice(0, count).join('\n')
    const value = header[1] === '-' ? body : header[1] === '+' ? lines.join('\n') + '\n' : `${body}\n`
    if (this.#line() && this.#column > column) throw giveUp
    return scalar(value, this.#base + at, false)
  }
}

function scalar(value: Scalar, offset: number, plain: boolean): Tree {
  return { kind: 'scalar', offset, value, plain, size: 1 }
}

/** A plain word as YAML 1.2 takes it. */
function valueOf(word: string): Scalar {
  const code = word.charCodeAt(0)
  if ((code >= 48 && code <= 57) || code === 43 || code === 45 || code === 46) {
    if (/^[-+]?\d+$/.test(word) || /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/.test(word)) return Number(word)
    // Octal, hexadecimal, infinite.
    if (/^0[xo]|^[-+]?\.[in]/i.test(word)) throw giveUp
    return word
  }
  switch (word) {
    case '~':
    case 'null':
    case 'Null':
    case 'NULL':
      return null
    case 'true':
    case 'True':
    case 'TRUE':
      return true
    case 'false':
    case 'False':
    case 'FALSE':
      return false
    default:
      return word
  }
}
