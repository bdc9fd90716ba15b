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

/** Shorter texts are in too much else. */
const secretCharactersMin = 4

/** Takes known secret texts out of a value as JSON has them, names of properties included. */
export function withoutSecrets(value: unknown, secrets: readonly string[]): unknown {
  const texts = secrets.filter((text) => text.length >= secretCharactersMin)
  if (texts.length === 0) return value
  const clean = (text: string): string => texts.reduce((left, secret) => left.replaceAll(secret, redactedText), text)
  const walk = (node: unknown): unknown => {
    if (typeof node === 'string') return clean(node)
    if (Array.isArray(node)) return node.map(walk)
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(Object.entries(node).map(([key, item]) => [clean(key), walk(item)]))
  }
  return walk(value)
}
