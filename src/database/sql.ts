/**
 * Takes SQL text apart into statements, by the rules of PostgreSQL's own scanner (with standard_conforming_strings, the
 * default). It understands just enough to know where a statement ends and which words stand outside quotes.
 *
 * Invariants: statements are verbatim slices of the text, in order, and between them lie only white space, comments and
 * semicolons; time grows with the length of the text only.
 */

/** One statement of a text. */
export interface Statement {
  /** From its first word to the character before its semicolon. */
  readonly text: string
  /** Where it starts in the whole text, in UTF-16 units. */
  readonly offset: number
  /** Line of its start, from 1. */
  readonly line: number
  /** Its words outside of quotes, comments and parentheses, in upper case; at most `wordsMax` of them. */
  readonly words: readonly string[]
}

const wordsMax = 64

/** The statements of a text. What is not closed (a quote, a comment) reaches to the end: the server will say so. */
export function splitStatements(text: string): readonly Statement[] {
  const statements: Statement[] = []
  let line = 1
  let lineCountedTo = 0
  let start = -1
  let end = 0
  let words: string[] = []
  let parentheses = 0
  let block = emptyBlock
  const finish = (): void => {
    if (start >= 0) {
      line += countNewlines(text, lineCountedTo, start)
      lineCountedTo = start
      statements.push({ text: text.slice(start, end), offset: start, line, words })
    }
    start = -1
    words = []
    parentheses = 0
    block = emptyBlock
  }
  for (let at = 0; at < text.length;) {
    const token = tokenAt(text, at)
    at = token.end
    if (token.kind === 'space') continue
    if (token.kind === ';' && parentheses === 0 && block.depth === 0) {
      finish()
      continue
    }
    if (start < 0) start = token.start
    end = token.end
    if (token.kind === '(') parentheses++
    if (token.kind === ')') parentheses = Math.max(0, parentheses - 1)
    if (token.kind === 'word' && parentheses === 0) {
      const word = text.slice(token.start, token.end).toUpperCase()
      block = blockAfter(block, word)
      if (words.length < wordsMax) words.push(word)
    }
  }
  finish()
  return statements
}

/** What a statement consists of, without white space and comments: words, quoted texts and names whole, all else as it comes. */
export function tokensOf(text: string): readonly string[] {
  const tokens: string[] = []
  for (let at = 0; at < text.length;) {
    const token = tokenAt(text, at)
    if (token.kind !== 'space') tokens.push(text.slice(token.start, token.end))
    at = token.end
  }
  return tokens
}

/** Position of a character of a statement in the whole text: line and column from 1, and the line's own text. */
export function placeOf(
  text: string,
  statement: Statement,
  position: number | null,
): { readonly line: number; readonly column: number; readonly lineText: string } {
  const before =
    position === null
      ? ''
      : charactersOf(statement.text)
          .slice(0, position - 1)
          .join('')
  const offset = statement.offset + before.length
  const lineStart = text.lastIndexOf('\n', offset - 1) + 1
  const lineEnd = text.indexOf('\n', offset)
  return {
    line: statement.line + countNewlines(before, 0, before.length),
    column: charactersOf(text.slice(lineStart, offset)).length + 1,
    lineText: text.slice(lineStart, lineEnd < 0 ? text.length : lineEnd),
  }
}

/** Characters as the server counts them; JavaScript counts UTF-16 units. */
export function charactersOf(text: string): readonly string[] {
  return Array.from(text)
}

interface Token {
  readonly kind: 'space' | 'word' | 'other' | ';' | '(' | ')'
  readonly start: number
  readonly end: number
}

const wordStart = /[A-Za-z_\u0080-\uffff]/
const word = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const number = /[0-9][\w.\u0080-\uffff]*/y
const parameter = /\$[0-9]+/y
const dollarQuote = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const spaces = /[ \t\n\r\f\v]+/y
const lineComment = /--[^\n\r]*/y

/** Length of what a sticky pattern matches here, or 0. */
function lengthOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0].length ?? 0
}

function tokenAt(text: string, at: number): Token {
  const char = text.charAt(at)
  const token = (kind: Token['kind'], end: number): Token => ({ kind, start: at, end })
  const space = lengthOf(spaces, text, at) || lengthOf(lineComment, text, at)
  if (space > 0) return token('space', at + space)
  if (text.startsWith('/*', at)) return token('space', endOfComment(text, at))
  if (char === ';' || char === '(' || char === ')') return token(char, at + 1)
  if (char === "'") return token('other', endOfQuote(text, at, "'"))
  if (char === '"') return token('other', endOfQuote(text, at, '"'))
  if (char === '$') {
    const tag = lengthOf(dollarQuote, text, at)
    if (tag > 0) return token('other', endAfter(text, text.slice(at, at + tag), at + tag))
    return token('other', at + (lengthOf(parameter, text, at) || 1))
  }
  if ((char === 'e' || char === 'E') && text.charAt(at + 1) === "'") return token('other', endOfEscapes(text, at + 1))
  if (wordStart.test(char)) return token('word', at + lengthOf(word, text, at))
  return token('other', at + (lengthOf(number, text, at) || 1))
}

/** Comments nest. */
function endOfComment(text: string, at: number): number {
  let depth = 0
  for (let index = at; index < text.length; index++) {
    if (text.startsWith('/*', index)) {
      depth++
      index++
    } else if (text.startsWith('*/', index)) {
      depth--
      index++
      if (depth === 0) return index + 1
    }
  }
  return text.length
}

/** A doubled quote needs no care: it ends one quoted piece and begins the next. */
function endOfQuote(text: string, at: number, quote: string): number {
  return endAfter(text, quote, at + 1)
}

function endAfter(text: string, what: string, from: number): number {
  const found = text.indexOf(what, from)
  return found < 0 ? text.length : found + what.length
}

/** A string with backslash escapes, and its continuations on further lines, which have escapes too. */
function endOfEscapes(text: string, at: number): number {
  for (let index = at + 1; index < text.length; index++) {
    const char = text.charAt(index)
    if (char === '\\') index++
    else if (char === "'" && text.charAt(index + 1) === "'") index++
    else if (char === "'") {
      const next = continuationOf(text, index + 1)
      if (next < 0) return index + 1
      index = next
    }
  }
  return text.length
}

/** Index of the quote that continues a string after a line break, or -1. */
function continuationOf(text: string, from: number): number {
  let index = from
  let newline = false
  for (;;) {
    const space = lengthOf(spaces, text, index) || lengthOf(lineComment, text, index)
    if (space === 0) return newline && text.charAt(index) === "'" ? index : -1
    newline ||= /[\n\r]/.test(text.slice(index, index + space))
    index += space
  }
}

/** Where we stand in a function with a body in SQL (`BEGIN ATOMIC ... END`), whose semicolons do not end the statement. */
interface Block {
  readonly leading: readonly string[]
  readonly depth: number
}

const emptyBlock: Block = { leading: [], depth: 0 }

function blockAfter(block: Block, text: string): Block {
  const leading = block.leading.length < 4 ? [...block.leading, text] : block.leading
  if (!/^CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE)\b/.test(leading.join(' '))) return { leading, depth: 0 }
  const opens = text === 'BEGIN' || (text === 'CASE' && block.depth > 0)
  const step = opens ? 1 : text === 'END' ? -1 : 0
  return { leading, depth: Math.max(0, block.depth + step) }
}

function countNewlines(text: string, from: number, to: number): number {
  let count = 0
  for (let at = text.indexOf('\n', from); at >= 0 && at < to; at = text.indexOf('\n', at + 1)) count++
  return count
}
