/**
 * IPv4 addresses and ranges, and which of them no name may lead to. Pure.
 *
 * Invariant: an address that is not plainly out on the internet is dialled only when the declaration names it, whatever
 * a name server says: names can be made to point at the host, its neighbours, or a cloud's metadata.
 */

export interface Range {
  readonly base: number
  readonly bits: number
}

/** An address as a number; null for what is none. */
export function parseAddress(text: string): number | null {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255))
    return null
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

/** `10.0.0.0/8`, or one address; null for what is neither. Bits beyond the prefix are ignored. */
export function parseRange(text: string): Range | null {
  const [address = '', bitsText = '32', rest] = text.split('/')
  const base = parseAddress(address)
  const bits = Number(bitsText)
  if (base === null || rest !== undefined || !/^\d{1,2}$/.test(bitsText) || bits > 32) return null
  return { base: prefixOf(base, bits), bits }
}

function prefixOf(address: number, bits: number): number {
  const size = 2 ** (32 - bits)
  return Math.floor(address / size) * size
}

/** Whether an address lies in a range. */
export function isIn({ base, bits }: Range, address: number): boolean {
  return prefixOf(address, bits) === base
}

/** Why a private address is closed: the one reason that a person may well answer by declaring it. */
export const privateAddress = 'a private address'

const closed: readonly (readonly [string, string])[] = [
  ['0.0.0.0/8', 'no address of another machine'],
  ['10.0.0.0/8', privateAddress],
  ['100.64.0.0/10', privateAddress],
  ['127.0.0.0/8', "the host's loopback"],
  ['169.254.0.0/16', 'a link-local address, where clouds keep their metadata'],
  ['168.63.129.16/32', "a cloud's own address"],
  ['172.16.0.0/12', privateAddress],
  ['192.0.0.0/24', 'a reserved address'],
  ['192.168.0.0/16', privateAddress],
  ['198.18.0.0/15', 'a reserved address'],
  ['224.0.0.0/3', 'a multicast or reserved address'],
]
const ranges = closed.map(([text, what]) => ({ range: parseRange(text), what }))

/** Why an address is dialled only when it is declared itself; null when a name may lead there. `own`: the host's addresses. */
export function whyClosed(address: string, own: readonly string[]): string | null {
  const number = parseAddress(address)
  if (number === null) return 'no IPv4 address'
  const found = ranges.find(({ range }) => range !== null && isIn(range, number))
  return found?.what ?? (own.includes(address) ? 'an address of this host' : null)
}
