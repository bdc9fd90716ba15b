/** JSON as a type, and its one canonical text: keys sorted, no spaces. Equal values give equal bytes, so texts can be digested. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Canonical text of a value. Throws TypeError for what JSON cannot hold (undefined, functions, NaN, infinities). */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`).join(',')}}`
  }
  throw new TypeError(`JSON cannot hold a value of type ${typeof value}`)
}

/** Whether two JSON values are the same value, whatever the order of their keys. */
export function jsonEqual(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b)
}
