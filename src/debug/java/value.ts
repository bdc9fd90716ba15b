/** Values of Java as they are sent: a letter for the kind, and the value. Pure. */
import type { JdwpReader } from '../jdwp/codec.ts'
import { refused } from '../refusals.ts'

/** Whole numbers are `bigint`, so that a long keeps its digits; a reference is the id of its object, 0n for null. */
export type JavaValue =
  | { readonly kind: 'whole'; readonly type: 'byte' | 'char' | 'short' | 'int' | 'long'; readonly value: bigint }
  | { readonly kind: 'real'; readonly type: 'float' | 'double'; readonly value: number }
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** A text that was written here, or read from the machine: not an object there. */
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'reference'; readonly tag: number; readonly id: bigint }
  | { readonly kind: 'void' }

export const nullValue: JavaValue = { kind: 'reference', tag: 0x4c, id: 0n }

const letter = (text: string): number => text.charCodeAt(0)
export const arrayTag: number = letter('[')
export const stringTag: number = letter('s')

/** Reads a value of a kind that is known. Throws `debug.refused` for a kind that is not. */
export function valueOfTag(reader: JdwpReader, tag: number): JavaValue {
  switch (String.fromCharCode(tag)) {
    case 'B':
      return { kind: 'whole', type: 'byte', value: BigInt(reader.signedByte()) }
    case 'C':
      return { kind: 'whole', type: 'char', value: BigInt(reader.char()) }
    case 'S':
      return { kind: 'whole', type: 'short', value: BigInt(reader.short()) }
    case 'I':
      return { kind: 'whole', type: 'int', value: BigInt(reader.int()) }
    case 'J':
      return { kind: 'whole', type: 'long', value: reader.long() }
    case 'F':
      return { kind: 'real', type: 'float', value: reader.float() }
    case 'D':
      return { kind: 'real', type: 'double', value: reader.double() }
    case 'Z':
      return { kind: 'boolean', value: reader.byte() !== 0 }
    case 'V':
      return { kind: 'void' }
    case 'L':
    case '[':
    case 's':
    case 't':
    case 'g':
    case 'l':
    case 'c':
      return { kind: 'reference', tag, id: reader.id() }
    default:
      throw refused(`the Java machine sent a value of the unknown kind ${tag}`, 'It may be newer than this debugger.')
  }
}

/** Reads a value with its kind before it. */
export function valueIn(reader: JdwpReader): JavaValue {
  return valueOfTag(reader, reader.byte())
}

/** Reads part of an array: objects have their own kinds, numbers share one. */
export function valuesIn(reader: JdwpReader): readonly JavaValue[] {
  const tag = reader.byte()
  const own = tag === letter('L') || tag === arrayTag || tag === stringTag || 'tglc'.includes(String.fromCharCode(tag))
  return reader.list((item) => (own ? valueIn(item) : valueOfTag(item, tag)))
}

/** An id of an object with its kind before it. */
export function taggedIdIn(reader: JdwpReader): { readonly tag: number; readonly id: bigint } {
  return { tag: reader.byte(), id: reader.id() }
}

/** The kind that a variable of this signature is asked for with. */
export function tagOfSignature(signature: string): number {
  return letter(signature.startsWith('L') ? 'L' : signature.slice(0, 1))
}

/** As it is written in a program: `com.acme.Order`, `int[]`. */
export function typeOfSignature(signature: string): string {
  if (signature.startsWith('[')) return `${typeOfSignature(signature.slice(1))}[]`
  if (signature.startsWith('L')) return signature.slice(1, -1).replaceAll('/', '.')
  return primitives[signature] ?? signature
}

const primitives: Readonly<Record<string, string>> = {
  B: 'byte',
  C: 'char',
  D: 'double',
  F: 'float',
  I: 'int',
  J: 'long',
  S: 'short',
  Z: 'boolean',
  V: 'void',
}

/** Without its package. */
export function shortName(type: string): string {
  return type.slice(type.lastIndexOf('.') + 1)
}

/** Of what is no object, as a program would write it. */
export function shownPlain(value: Exclude<JavaValue, { kind: 'reference' }>): string {
  switch (value.kind) {
    case 'whole':
      return value.type === 'char' ? `'${String.fromCharCode(Number(value.value))}'` : String(value.value)
    case 'real':
      return Number.isInteger(value.value) ? value.value.toFixed(1) : String(value.value)
    case 'boolean':
      return String(value.value)
    case 'text':
      return JSON.stringify(value.value)
    case 'void':
      return 'void'
  }
}
