/**
 * The expressions that a Java program is asked for: names, fields, elements of arrays, calls without arguments, `equals`, and
 * what operators make of them. A program's own compiler is not there, so that this is all there is. Pure.
 *
 * Invariant: an expression changes nothing: there is no assignment in it, and only a call can run something of the program.
 */
import { badRequest } from '../refusals.ts'

export type Expression =
  | { readonly kind: 'whole'; readonly value: bigint; readonly long: boolean }
  | { readonly kind: 'real'; readonly value: number }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'char'; readonly value: string }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'field'; readonly of: Expression; readonly name: string }
  | { readonly kind: 'element'; readonly of: Expression; readonly index: Expression }
  | { readonly kind: 'call'; readonly of: Expression | null; readonly name: string; readonly given: Expression | null }
  | { readonly kind: 'unary'; readonly operator: string; readonly of: Expression }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Expression; readonly right: Expression }

const lengthMax = 2000
const depthMax = 100

/** From the loosest to the tightest. */
const levels: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<=', '>=', '<', '>'],
  ['+', '-'],
  ['*', '/', '%'],
]

const token =
  /\s*(?:(\d+\.\d*(?:[eE][+-]?\d+)?[fFdD]?|\.\d+[fFdD]?|\d+[fFdD])|(0x[0-9a-fA-F]+|\d+)([lL]?)|([A-Za-z_$][\w$]*)|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.))'|(\|\||&&|[=!<>]=|[-+*/%<>!.()[\],]))/y

type Token =
  | { readonly kind: 'operator' | 'name' | 'text' | 'char'; readonly text: string }
  | { readonly kind: 'real'; readonly value: number }
  | { readonly kind: 'whole'; readonly value: bigint; readonly long: boolean }

/** Throws `debug.bad-request` for what is none of these. */
export function parseExpression(text: string): Expression {
  const tokens = tokensOf(text)
  let at = 0
  let depth = 0
  const wrong = (what: string): Error =>
    badRequest(`'${text}' cannot be evaluated: ${what}`, 'Names, fields, a[0], calls without arguments, and operators.')
  const peek = (): string | null => {
    const next = tokens[at]
    return next?.kind === 'operator' ? next.text : null
  }
  const eat = (operator: string): boolean => {
    if (peek() !== operator) return false
    at++
    return true
  }
  const need = (operator: string): void => {
    if (!eat(operator)) throw wrong(`a '${operator}' is missing`)
  }
  const binary = (level: number): Expression => {
    const operators = levels[level]
    if (operators === undefined) return unary()
    let left = binary(level + 1)
    for (let operator = peek(); operator !== null && operators.includes(operator); operator = peek()) {
      at++
      left = { kind: 'binary', operator, left, right: binary(level + 1) }
    }
    return left
  }
  const unary = (): Expression => {
    if (++depth > depthMax) throw wrong('it is nested too deeply')
    try {
      for (const operator of ['-', '!']) if (eat(operator)) return { kind: 'unary', operator, of: unary() }
      return postfix(primary())
    } finally {
      depth--
    }
  }
  const postfix = (start: Expression): Expression => {
    let of = start
    for (;;) {
      if (eat('[')) {
        of = { kind: 'element', of, index: binary(0) }
        need(']')
      } else if (eat('.')) {
        const name = nameHere()
        of = peek() === '(' ? call(of, name) : { kind: 'field', of, name }
      } else return of
    }
  }
  const nameHere = (): string => {
    const next = tokens[at++]
    if (next?.kind !== 'name') throw wrong('a name is missing after the dot')
    return next.text
  }
  const call = (of: Expression | null, name: string): Expression => {
    need('(')
    const given = peek() === ')' ? null : binary(0)
    need(')')
    if (given !== null && name !== 'equals') throw wrong(`${name} cannot be called with arguments`)
    return { kind: 'call', of, name, given }
  }
  const primary = (): Expression => {
    const next = tokens[at++]
    if (next === undefined) throw wrong('it ends too early')
    switch (next.kind) {
      case 'whole':
        return { kind: 'whole', value: next.value, long: next.long }
      case 'real':
        return { kind: 'real', value: next.value }
      case 'text':
        return { kind: 'text', value: next.text }
      case 'char':
        return { kind: 'char', value: next.text }
      case 'name':
        return peek() === '(' ? call(null, next.text) : { kind: 'name', name: next.text }
      case 'operator': {
        if (next.text !== '(') throw wrong(`'${next.text}' does not belong there`)
        const inside = binary(0)
        need(')')
        return inside
      }
    }
  }
  const found = binary(0)
  if (at < tokens.length) throw wrong('it goes on after its end')
  return found
}

function tokensOf(text: string): readonly Token[] {
  if (text.length > lengthMax) throw badRequest(`an expression has at most ${lengthMax} characters`, 'Ask for less.')
  const tokens: Token[] = []
  const end = text.trimEnd().length
  token.lastIndex = 0
  for (let at = 0; at < end; at = token.lastIndex) {
    const found = token.exec(text)
    if (found === null) {
      throw badRequest(
        `'${text}' cannot be evaluated: '${text.slice(at).trim().slice(0, 10)}' is no part of an expression here`,
        'Names, fields, a[0], calls without arguments, and operators; there is no assignment.',
      )
    }
    const [, real, whole, long, name, quoted, char, operator = ''] = found
    if (real !== undefined) tokens.push({ kind: 'real', value: Number.parseFloat(real) })
    else if (whole !== undefined) tokens.push({ kind: 'whole', value: BigInt(whole), long: long !== '' })
    else if (name !== undefined) tokens.push({ kind: 'name', text: name })
    else if (quoted !== undefined) tokens.push({ kind: 'text', text: unescaped(quoted) })
    else if (char !== undefined) tokens.push({ kind: 'char', text: unescaped(char) })
    else tokens.push({ kind: 'operator', text: operator })
  }
  return tokens
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, letter: string) => ({ n: '\n', t: '\t', r: '\r', 0: '\0' })[letter] ?? letter)
}
