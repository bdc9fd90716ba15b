/**
 * What a part may dial outside, as declared: `api.example.com:443`, `*.example.com:443`, `10.1.2.3:5432`,
 * `10.0.0.0/8:5432`. Pure.
 *
 * Invariant: a name is compared whole and in lower case; `*.` stands for one or more labels and never for none.
 */
import { SteadError } from '../../base/index.ts'
import { isIn, parseAddress, parseRange, type Range } from './addresses.ts'

export interface EgressRules {
  readonly names: readonly { readonly name: string; readonly port: number }[]
  /** `suffix` with its dot in front. */
  readonly below: readonly { readonly suffix: string; readonly port: number }[]
  readonly ranges: readonly { readonly range: Range; readonly port: number }[]
}

const labels = String.raw`(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?`
const namePattern = new RegExp(`^(\\*\\.)?(${labels})$`)

/** Reads declared entries. Throws `network.bad-egress`. */
export function parseEgress(entries: readonly string[]): EgressRules {
  const names: { name: string; port: number }[] = []
  const below: { suffix: string; port: number }[] = []
  const ranges: { range: Range; port: number }[] = []
  for (const entry of entries) {
    const colon = entry.lastIndexOf(':')
    const host = entry.slice(0, colon).toLowerCase()
    const port = Number(entry.slice(colon + 1))
    const range = parseRange(host)
    const named = namePattern.exec(host)
    if (colon < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) throw badEgress(entry)
    if (range !== null) ranges.push({ range, port })
    else if (named === null || host.length > 253 || /^[\d./]+$/.test(host)) throw badEgress(entry)
    else if (named[1] === undefined) names.push({ name: host, port })
    else below.push({ suffix: host.slice(1), port })
  }
  return { names, below, ranges }
}

function badEgress(entry: string): SteadError {
  return new SteadError({
    code: 'network.bad-egress',
    message: `${JSON.stringify(entry)} is nothing that can be opened to the outside`,
    hint: 'Write host:port, *.domain:port, address:port or range/bits:port.',
  })
}

export interface NamePorts {
  /** The ports that may be dialled at a name; none when the name is not allowed. */
  readonly ports: readonly number[]
  /** The name itself is declared, or only a domain above it. */
  readonly by: 'name' | 'domain'
}

/** What is declared for a name. */
export function portsOf(rules: EgressRules, name: string): NamePorts {
  const named = rules.names.filter((rule) => rule.name === name)
  const under = rules.below.filter(({ suffix }) => name.endsWith(suffix) && name.length > suffix.length)
  const ports = [...new Set([...named, ...under].map((rule) => rule.port))]
  return { ports, by: named.length > 0 ? 'name' : 'domain' }
}

/** A wider range is meant for the internet as a whole: it does not open what is closed to names. */
const closedRangeBitsMin = 8

/** Whether an address is declared itself, for a port. `closed`: it is one that no name may lead to. */
export function isDeclared(rules: EgressRules, address: string, port: number, closed: boolean): boolean {
  const number = parseAddress(address)
  return (
    number !== null &&
    rules.ranges.some(
      (rule) => rule.port === port && isIn(rule.range, number) && (!closed || rule.range.bits >= closedRangeBitsMin),
    )
  )
}
