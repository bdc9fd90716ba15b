/**
 * Public SSH keys, and the lines that tie each to a person in the `authorized_keys` of the account that the platform runs
 * as. Pure. Invariant: such a key opens the platform as that person and nothing else: no shell, no forwarding.
 */

const types = [
  'ssh-ed25519',
  'sk-ssh-ed25519@openssh.com',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ecdsa-sha2-nistp256@openssh.com',
  'ssh-rsa',
]
const begin = '# stead: the lines up to the end mark are written by `stead access`'
const end = '# stead: end'

/** The key in the text of a `.pub` file, without its comment; null when there is not exactly one. */
export function keyIn(text: string): string | null {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('#'))
  const [type = '', body = ''] = lines[0]?.trim().split(/\s+/) ?? []
  const key = `${type} ${body}`
  return lines.length === 1 && isPublicKey(key) ? key : null
}

/** Whether a text is `type base64` and the base64 says the same type. */
export function isPublicKey(key: string): boolean {
  const [type = '', body = '', ...more] = key.split(' ')
  if (!types.includes(type) || more.length > 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(body)) return false
  const bytes = Buffer.from(body, 'base64')
  return (
    bytes.length > 4 + type.length &&
    bytes.readUInt32BE(0) === type.length &&
    bytes.toString('latin1', 4, 4 + type.length) === type
  )
}

/** The line of a key. `entrance`: the words that start `stead` on this machine, without quotes or control characters. */
export function authorizedLine(entrance: readonly string[], person: string, key: string): string {
  const words = [...entrance, 'access', 'serve', '--as', person].map(quoted).join(' ')
  return `command="${words}",restrict ${key} stead:${person}`
}

/** The text of an `authorized_keys` file with these lines of ours in place of those before; the rest is left as it is. */
export function withLines(text: string, lines: readonly string[]): string {
  const rows = text === '' ? [] : text.replace(/\n$/, '').split('\n')
  const from = rows.indexOf(begin)
  const to = rows.indexOf(end, from)
  const others = from === -1 || to === -1 ? rows : rows.toSpliced(from, to - from + 1)
  const own = lines.length === 0 ? [] : [begin, ...lines, end]
  return [...others, ...own].map((row) => `${row}\n`).join('')
}

/** A word for the shell, inside the double quotes of an option, where sshd reads `\"` as `"`. */
function quoted(word: string): string {
  return /^[\w./=:@+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`).replaceAll('"', '\\"')}'`
}
