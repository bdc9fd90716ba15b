/**
 * How available single things are taken to be, where nobody has measured them: round figures of the order that operators
 * publish, meant to be replaced by what you measure. All of them are shown with every result.
 */

export type PartKind =
  | 'instance'
  | 'node'
  | 'zone'
  | 'provider'
  | 'dns'
  | 'certificate'
  | 'balancer'
  | 'gateway'
  | 'database'
  | 'secret'
  | 'registry'
  | 'monitoring'

export type Assumptions = Readonly<Record<PartKind, number>>

export const assumptions: Assumptions = {
  /** One copy of a program that is restarted when it crashes. */
  instance: 0.999,
  /** A machine, its disk and kernel, upgrades included. */
  node: 0.999,
  /** Power, cooling and network of one place. */
  zone: 0.9995,
  /** What all zones of a provider share. */
  provider: 0.9999,
  dns: 0.9999,
  /** Certificates that are renewed by a program. */
  certificate: 0.9999,
  balancer: 0.9999,
  /** The platform's own way in. */
  gateway: 0.9995,
  database: 0.9995,
  secret: 0.9999,
  /** Needed to start, not to go on. */
  registry: 0.999,
  /** Its absence makes every repair later, and takes nothing down. */
  monitoring: 0.999,
}

/** What each figure is about, for people. */
export const assumptionLabels: Readonly<Record<PartKind, string>> = {
  instance: 'one instance of a program',
  node: 'a machine',
  zone: 'a zone',
  provider: 'a provider',
  dns: 'name resolution',
  certificate: 'a certificate',
  balancer: 'a load balancer',
  gateway: "the platform's gateway",
  database: 'a managed database',
  secret: 'a store of secrets',
  registry: 'a registry of images',
  monitoring: 'the monitoring',
}

/** Figures with some replaced: `node=0.9995`. Null for text that is no such pair. */
export function assume(base: Assumptions, texts: readonly string[]): Assumptions | null {
  let result = base
  for (const text of texts) {
    const [kind = '', figure = ''] = text.split('=')
    const value = Number(figure)
    if (!(kind in base) || figure === '' || !(value > 0 && value <= 1)) return null
    result = { ...result, [kind]: value }
  }
  return result
}
