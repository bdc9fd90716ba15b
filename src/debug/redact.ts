/**
 * What is not shown to whoever looks into a process. Pure.
 *
 * Names that look like secrets are redacted inside the process, so that their values never leave it; texts that are known
 * to be secret are taken out of whatever has left it.
 */

/** Names of variables and properties whose values are not shown. */
export const secretName: RegExp =
  /pass(?:word|wd|phrase)?$|secret|token|api_?key|private_?key|credential|authorization|cookie|session_?id|^pwd$/i

export const redactedText = '[redacted]'

/** Whether an expression is, by its last name, a secret: `user.password`, `env["API_KEY"]`. */
export function looksSecret(expression: string): boolean {
  const last = /([\w$]+)['"`]?\]?\s*$/.exec(expression)?.[1]
  return last !== undefined && secretName.test(last)
}

/** A value as JSON has it, each of its texts as `change` makes it, names of properties included. */
export function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((item: unknown) => mapTexts(item, change))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [change(key), mapTexts(item, change)]))
}

/**
 * A text in which values stand beside their names, as debuggers print a structure or a dictionary, without those of names
 * that look like secrets: `{user = "a", password = "b"}`, `{'api_key': 'c'}`.
 */
export function redactText(text: string): string {
  return text.replaceAll(namedValue, (whole, name: string, quote: string, sign: string) =>
    secretName.test(name) ? `${name}${quote}${sign}${redactedText}` : whole,
  )
}

/** A name, perhaps in quotes; a sign; a value in quotes, or up to what ends one. */
const namedValue =
  /([A-Za-z_]\w*)(['"]?\]?)(\s*(?:=>|=|:)\s*)(?!\[redacted\])(?:(?:0x[0-9a-f]+ )?"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;}\])]+)/g
