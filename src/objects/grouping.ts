/**
 * How keys are grouped at a delimiter, and where a listing goes on behind a whole group: for stores that keep their keys in
 * the order of bytes. A group is passed over by a seek. Pure.
 */

/** Where a listing reads on. */
export interface Seek {
  readonly key: string
  /** Whether the key itself may still be shown. */
  readonly inclusive: boolean
}

/** What a listing narrows and groups by. */
export interface Grouping {
  readonly prefix: string
  readonly delimiter: string
}

/** Where a listing begins: at its prefix, behind the last key, or behind the whole group that was shown last. */
export function startOf({ prefix, delimiter }: Grouping, after: string): Seek {
  if (after === '' || Buffer.compare(Buffer.from(after), Buffer.from(prefix)) < 0)
    return { key: prefix, inclusive: true }
  const group = groupOf(after, prefix, delimiter)
  if (group !== undefined && group === after) return behind(group)
  return { key: after, inclusive: false }
}

/** What a key is shown as: everything up to and with the delimiter behind the prefix; undefined where there is none. */
export function groupOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined
  const at = key.indexOf(delimiter, prefix.length)
  return at === -1 ? undefined : key.slice(0, at + delimiter.length)
}

/** The first place behind all keys that begin with a group: its last character counted up, in the order of code points. */
export function behind(group: string): Seek {
  for (let end = group.length; end > 0;) {
    const isPair = end > 1 && (group.charCodeAt(end - 1) & 0xfc00) === 0xdc00
    const at = end - (isPair ? 2 : 1)
    const code = group.codePointAt(at) ?? 0
    if (code !== 0x10ffff) {
      const next = code === 0xd7ff ? 0xe000 : code + 1
      return { key: group.slice(0, at) + String.fromCodePoint(next), inclusive: true }
    }
    end = at
  }
  return { key: group, inclusive: false }
}
