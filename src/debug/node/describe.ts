/**
 * Turns a value of a running program into one that JSON can carry. It is sent into the process as text, so it stands
 * alone: no import, no name from outside.
 *
 * Invariants: it runs none of the program's code (no getter, no `toJSON`, no proxy trap) and what it makes is bounded.
 */

export interface DescribeOptions {
  /** Names whose values are replaced. */
  readonly secret: RegExp
  readonly redacted: string
  readonly isProxy: (value: unknown) => boolean
}

export function describeValue(value: unknown, { secret, redacted, isProxy }: DescribeOptions): unknown {
  const depthMax = 4
  const entriesMax = 50
  const charactersMax = 1000
  let left = 500
  const text = (whole: string): string =>
    whole.length > charactersMax ? `${whole.slice(0, charactersMax)}… (${whole.length} characters)` : whole
  const walk = (node: unknown, depth: number, above: readonly object[]): unknown => {
    left--
    if (typeof node === 'string') return text(node)
    if (typeof node === 'number') return Number.isFinite(node) ? node : String(node)
    if (typeof node === 'boolean' || node === null) return node
    if (typeof node === 'undefined') return '[undefined]'
    if (typeof node === 'bigint') return `${node}n`
    if (typeof node === 'symbol') return String(node)
    if (isProxy(node)) return '[Proxy]'
    if (typeof node === 'function') return '[Function]'
    if (above.includes(node)) return '[Circular]'
    if (left <= 0 || depth > depthMax) return Array.isArray(node) ? '[Array]' : '[Object]'
    const inner = [...above, node]
    const own = (key: string): unknown => {
      if (secret.test(key)) return redacted
      const descriptor = Object.getOwnPropertyDescriptor(node, key)
      if (descriptor === undefined) return '[undefined]'
      return 'value' in descriptor ? walk(descriptor.value, depth + 1, inner) : '[Getter]'
    }
    if (node instanceof Date)
      return Number.isNaN(Date.prototype.getTime.call(node)) ? 'Invalid Date' : Date.prototype.toISOString.call(node)
    if (node instanceof RegExp) return '[RegExp]'
    if (ArrayBuffer.isView(node)) return `[${node.byteLength} bytes]`
    if (Array.isArray(node)) {
      const items: unknown[] = []
      for (let index = 0; index < node.length && index < entriesMax && left > 0; index++) items.push(own(String(index)))
      if (node.length > items.length) items.push(`… ${node.length - items.length} more`)
      return items
    }
    if (node instanceof Map || node instanceof Set) {
      const isMap = node instanceof Map
      const name = isMap ? `Map(${node.size})` : `Set(${node.size})`
      const items: unknown[] = []
      const each = (item: unknown, key: unknown): void => {
        if (items.length >= entriesMax || left <= 0) return
        const hidden = isMap && typeof key === 'string' && secret.test(key)
        const shown = hidden ? redacted : walk(item, depth + 1, inner)
        items.push(isMap ? [walk(key, depth + 1, inner), shown] : shown)
      }
      if (isMap) Map.prototype.forEach.call(node, each)
      else Set.prototype.forEach.call(node, each)
      return { [name]: items }
    }
    const keys = Object.keys(node)
    const shown: Record<string, unknown> = {}
    if (node instanceof Error)
      for (const key of ['name', 'message']) if (Object.hasOwn(node, key)) shown[key] = own(key)
    for (const key of keys.slice(0, entriesMax)) if (left > 0) shown[text(key)] = own(key)
    if (keys.length > entriesMax) shown['…'] = `${keys.length - entriesMax} more`
    return shown
  }
  return walk(value, 0, [])
}
