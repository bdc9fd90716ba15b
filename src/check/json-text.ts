/**
 * JSON to trees, with offsets. Strict as `JSON.parse` is, which decides what the text means; this only adds where things
 * stand, and bounds: depth and number of values. A key that stands twice counts with its last value, as it does there.
 */
import type { Problem, SourceFile } from './source.ts'
import { depthMax, nodesMax } from './tree.ts'
import type { Entry, Scalar, Tree } from './tree.ts'

class JsonFault extends Error {
  readonly offset: number
  /** JSON, but more of it than is read. */
  readonly tooLarge: boolean
  constructor(message: string, offset: number, tooLarge = false) {
    super(message)
    this.offset = offset
    this.tooLarge = tooLarge
  }
}

const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
// A string without control characters; escapes are checked by JSON.parse.
// oxlint-disable-next-line no-control-regex
const string = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y
const space = /[ \t\r\n]*/y

/** The one value of a JSON text. Never throws for what the text holds. */
export function readJson(source: SourceFile): { readonly tree: Tree | null; readonly problems: readonly Problem[] } {
  try {
    return { tree: scan(source.text, startOf(source.text)), problems: [] }
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
    const code = error.tooLarge ? 'check.too-large' : 'check.bad-json'
    const message = error.tooLarge ? error.message : `this is not JSON: ${error.message}`
    return { tree: null, problems: [{ code, message, hint: null, place: { source, offset: error.offset } }] }
  }
}

/** Where the value starts: wrappers of Terraform print the command before the plan. */
function startOf(text: string): number {
  if (/^\s*[[{]/.test(text) && !text.startsWith('[command]')) return text.startsWith('\ufeff') ? 1 : 0
  const match = /^[{[](?=\s*["\]}])/m.exec(text)
  return match?.index ?? 0
}

function scan(text: string, start: number): Tree {
  let position = start
  let count = 0

  function skip(): void {
    space.lastIndex = position
    space.test(text)
    position = space.lastIndex
  }

  function take(pattern: RegExp): string | null {
    pattern.lastIndex = position
    const found = pattern.exec(text)
    if (found === null) return null
    position = pattern.lastIndex
    return found[0]
  }

  function fault(expected: string): never {
    const found =
      position >= text.length ? 'the text ends' : `there is ${JSON.stringify(text.slice(position, position + 12))}`
    throw new JsonFault(`${found} where ${expected} should be`, position)
  }

  function text_(): string {
    const offset = position
    const quoted = take(string) ?? fault('a text in double quotes')
    if (!quoted.includes('\\')) return quoted.slice(1, -1)
    try {
      return String(JSON.parse(quoted))
    } catch {
      throw new JsonFault('a text holds an escape that JSON does not have', offset)
    }
  }

  function scalar(value: Scalar, offset: number): Tree {
    return { kind: 'scalar', offset, value, plain: typeof value !== 'string', size: 1 }
  }

  function value(depth: number): Tree {
    if (depth > depthMax) throw new JsonFault(`the document is nested deeper than ${depthMax} levels`, position, true)
    if (++count > nodesMax) throw new JsonFault(`the document holds more than ${nodesMax} values`, position, true)
    skip()
    const offset = position
    const first = text[position]
    if (first === '{') return map(depth, offset)
    if (first === '[') return list(depth, offset)
    if (first === '"') return scalar(text_(), offset)
    for (const [word, meaning] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (!text.startsWith(word, position)) continue
      position += word.length
      return scalar(meaning, offset)
    }
    return scalar(Number(take(number) ?? fault('a value')), offset)
  }

  function map(depth: number, offset: number): Tree {
    const entries = new Map<string, Entry>()
    let size = 1
    position++
    skip()
    while (text[position] !== '}') {
      if (entries.size > 0) {
        if (text[position] !== ',') fault('a comma or }')
        position++
        skip()
      }
      const keyOffset = position
      const key = text_()
      skip()
      if (text[position] !== ':') fault('a colon')
      position++
      const child = value(depth + 1)
      // Last one counts; deleting keeps a repeated key from looking like a first one.
      entries.delete(key)
      entries.set(key, { keyOffset, value: child })
      size += child.size
      skip()
    }
    position++
    return { kind: 'map', offset, entries, size }
  }

  function list(depth: number, offset: number): Tree {
    const items: Tree[] = []
    let size = 1
    position++
    skip()
    while (text[position] !== ']') {
      if (items.length > 0) {
        if (text[position] !== ',') fault('a comma or ]')
        position++
      }
      const child = value(depth + 1)
      items.push(child)
      size += child.size
      skip()
    }
    position++
    return { kind: 'list', offset, items, size }
  }

  const tree = value(0)
  skip()
  // After a wrapper's plan more of its own words may follow.
  if (start > 1) return tree
  if (position < text.length) fault('the end')
  return tree
}
