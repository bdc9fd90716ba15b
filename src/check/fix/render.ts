/** Values as YAML text: in braces on one line, or as a block. Written so that every reader of YAML 1.1 and 1.2 reads the same. */
import type { Json } from '../../base/index.ts'

/** Texts that need no quotes in any context and mean no other type. */
const plain = /^[A-Za-z_/][A-Za-z0-9_./-]*(?:[ :][A-Za-z0-9_./-]+)*$/
const otherType = /^(?:y|n|yes|no|on|off|true|false|null|nan|inf|~)$/i

export function inFlow(value: Json): string {
  if (typeof value === 'string')
    return plain.test(value) && !otherType.test(value) && !value.includes(': ') ? value : JSON.stringify(value)
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map((item: Json) => inFlow(item)).join(', ')}]`
  const entries = Object.entries(value).map(([key, item]) => `${inFlow(key)}: ${inFlow(item)}`)
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`
}

/** Lines at a column, without a newline at the end. */
export function inBlock(value: Json, column: number, newline: string): string {
  const space = ' '.repeat(column)
  if (Array.isArray(value)) {
    return value
      .map((item: Json) => {
        if (typeof item !== 'object' || item === null || Object.keys(item).length === 0)
          return `${space}- ${inFlow(item)}`
        const block = inBlock(item, column + 2, newline)
        return `${space}- ${block.slice(column + 2)}`
      })
      .join(newline)
  }
  if (typeof value !== 'object' || value === null) return `${space}${inFlow(value)}`
  return Object.entries(value)
    .map(([key, item]) => {
      const isList = Array.isArray(item) && item.every((part: Json) => typeof part !== 'object')
      if (typeof item !== 'object' || item === null || isList || Object.keys(item).length === 0)
        return `${space}${inFlow(key)}: ${inFlow(item)}`
      return `${space}${inFlow(key)}:${newline}${inBlock(item, column + 2, newline)}`
    })
    .join(newline)
}
