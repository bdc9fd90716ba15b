/** The policies by name: how a node is chosen among all that fit. */
import type { Cluster } from './cluster.ts'
import { badInput } from './errors.ts'
import type { Strategy } from './place.ts'

/**
 * - `best-fit`: the node with the least room left, so that large tasks find room later
 * - `spread`: the node with the most room left, so that tasks disturb one another the least
 * - `cost`: nodes that are paid for already, then the cheapest
 */
export type PolicyName = 'best-fit' | 'spread' | 'cost'

/** The strategy of a policy. Throws `scheduler.bad-input`. */
export function strategyOf(policy: PolicyName, _cluster: Cluster): Strategy {
  switch (policy) {
    case 'best-fit':
      return { kind: 'tight' }
    case 'spread':
      return { kind: 'loose' }
    case 'cost':
      return { kind: 'cheap' }
    default:
      throw badInput('policy', 'best-fit, spread or cost', policy)
  }
}
