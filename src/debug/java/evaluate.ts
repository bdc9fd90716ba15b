/** What an expression is worth in a stopped program. Numbers are computed as Java computes them. Pure but for what it is handed. */
import { badRequest } from '../refusals.ts'
import { type Expression, parseExpression } from './expression.ts'
import { type JavaValue, nullValue, shownPlain } from './value.ts'

/** What of the program can be asked for. */
export interface Program {
  /** A variable, or a field of `this`, or of the class. Throws `debug.bad-request` for what there is not. */
  name(name: string): Promise<JavaValue>
  field(of: JavaValue, name: string): Promise<JavaValue>
  element(of: JavaValue, index: number): Promise<JavaValue>
  /** Runs a method without arguments; of `this` where `of` is null. */
  call(of: JavaValue | null, name: string): Promise<JavaValue>
  /** The text of a string; null for what is none. */
  text(of: JavaValue): Promise<string | null>
}

/** Throws `debug.bad-request` for what cannot be evaluated, and what `program` throws. */
export async function evaluate(text: string, program: Program): Promise<JavaValue> {
  return await worthOf(parseExpression(text), program)
}

async function worthOf(expression: Expression, program: Program): Promise<JavaValue> {
  switch (expression.kind) {
    case 'whole':
      return whole(expression.value, expression.long ? 'long' : 'int')
    case 'real':
      return { kind: 'real', type: 'double', value: expression.value }
    case 'text':
      return { kind: 'text', value: expression.value }
    case 'char':
      return { kind: 'whole', type: 'char', value: BigInt(expression.value.charCodeAt(0)) }
    case 'name':
      return constants.get(expression.name) ?? (await program.name(expression.name))
    case 'field':
      return await program.field(await worthOf(expression.of, program), expression.name)
    case 'element': {
      const index = await worthOf(expression.index, program)
      if (index.kind !== 'whole') throw badRequest('an element of an array is named by a whole number', 'As in a[0].')
      return await program.element(await worthOf(expression.of, program), Number(index.value))
    }
    case 'call': {
      const of = expression.of === null ? null : await worthOf(expression.of, program)
      if (expression.given === null) return await program.call(of, expression.name)
      return await equal(of, await worthOf(expression.given, program), program)
    }
    case 'unary': {
      const value = await worthOf(expression.of, program)
      if (expression.operator === '!') return truth(!isTrue(value))
      return value.kind === 'real'
        ? { ...value, value: -value.value }
        : arithmetic('-', whole(0n, 'int'), numberOf(value, '-'))
    }
    case 'binary':
      return await binary(expression.operator, expression.left, expression.right, program)
  }
}

async function binary(operator: string, left: Expression, right: Expression, program: Program): Promise<JavaValue> {
  const first = await worthOf(left, program)
  // The second is not looked at where the first decides.
  if (operator === '&&') return truth(isTrue(first) && isTrue(await worthOf(right, program)))
  if (operator === '||') return truth(isTrue(first) || isTrue(await worthOf(right, program)))
  const second = await worthOf(right, program)
  if (operator === '==' || operator === '!=') return truth(same(first, second) === (operator === '=='))
  if (operator === '+') {
    const [one, other] = [await program.text(first), await program.text(second)]
    if (one !== null || other !== null)
      return { kind: 'text', value: (one ?? joined(first)) + (other ?? joined(second)) }
  }
  const [one, other] = [numberOf(first, operator), numberOf(second, operator)]
  switch (operator) {
    case '<':
      return truth(one.value < other.value)
    case '>':
      return truth(one.value > other.value)
    case '<=':
      return truth(one.value <= other.value)
    case '>=':
      return truth(one.value >= other.value)
    default:
      return arithmetic(operator, one, other)
  }
}

type Numeric = Extract<JavaValue, { kind: 'whole' | 'real' }>

function arithmetic(operator: string, one: Numeric, other: Numeric): JavaValue {
  if (one.kind === 'real' || other.kind === 'real') {
    const [a, b] = [Number(one.value), Number(other.value)]
    const value = { '+': a + b, '-': a - b, '*': a * b, '/': a / b, '%': a % b }[operator] ?? Number.NaN
    const isDouble = one.type === 'double' || other.type === 'double'
    return isDouble
      ? { kind: 'real', type: 'double', value }
      : { kind: 'real', type: 'float', value: Math.fround(value) }
  }
  const [a, b] = [one.value, other.value]
  if ((operator === '/' || operator === '%') && b === 0n)
    throw badRequest('a whole number is divided by zero', 'Ask for less.')
  const value =
    operator === '+' ? a + b : operator === '-' ? a - b : operator === '*' ? a * b : operator === '/' ? a / b : a % b
  return one.type === 'long' || other.type === 'long'
    ? whole(BigInt.asIntN(64, value), 'long')
    : whole(BigInt.asIntN(32, value), 'int')
}

/** Whether a condition holds. Throws `debug.bad-request` for what is neither true nor false. */
export function isTrue(value: JavaValue): boolean {
  if (value.kind === 'boolean') return value.value
  throw badRequest('what is to hold is neither true nor false', 'Compare it with something.')
}

/** As `==` says: references by their object, also texts. */
function same(one: JavaValue, other: JavaValue): boolean {
  if (one.kind === 'reference' && other.kind === 'reference') return one.id === other.id
  if (one.kind === 'boolean' && other.kind === 'boolean') return one.value === other.value
  if (one.kind === 'text' || other.kind === 'text') {
    throw badRequest("a text is no object of the program, and '==' compares objects", 'Ask a.equals("text").')
  }
  const [a, b] = [numberOf(one, '=='), numberOf(other, '==')]
  return a.kind === 'whole' && b.kind === 'whole' ? a.value === b.value : Number(a.value) === Number(b.value)
}

/** `equals` of texts, which needs nothing of the program to run. */
async function equal(one: JavaValue | null, other: JavaValue, program: Program): Promise<JavaValue> {
  const [first, second] = [one === null ? null : await program.text(one), await program.text(other)]
  if (first === null || second === null)
    throw badRequest("'equals' compares texts here", 'Compare fields of it instead.')
  return truth(first === second)
}

function numberOf(value: JavaValue, operator: string): Numeric {
  if (value.kind === 'whole' || value.kind === 'real') return value
  throw badRequest(`'${operator}' needs numbers here`, 'Name fields that are numbers.')
}

/** As Java puts it into a text. */
function joined(value: JavaValue): string {
  if (value.kind === 'reference') return value.id === 0n ? 'null' : 'an object'
  return value.kind === 'whole' && value.type === 'char' ? String.fromCharCode(Number(value.value)) : shownPlain(value)
}

function whole(value: bigint, type: 'int' | 'long'): Numeric {
  return { kind: 'whole', type, value }
}

function truth(value: boolean): JavaValue {
  return { kind: 'boolean', value }
}

const constants: ReadonlyMap<string, JavaValue> = new Map([
  ['true', truth(true)],
  ['false', truth(false)],
  ['null', nullValue],
])
