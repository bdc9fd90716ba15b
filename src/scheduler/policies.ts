/** The policies by name: how a node is chosen among all that fit. */
import type { Cluster } from './cluster.ts'
import { badInput } from './errors.ts'
import type { NeedFacts } from './read.ts'
import type { Strategy } from './place.ts'
import { compactScore, fgdScore, FragmentationScorer } from './scored.ts'

/**
 * - `best-fit`: the node with the least room left, so that large tasks find room later
 * - `spread`: the node with the most room left, so that tasks disturb one another the least
 * - `cost`: nodes that are paid for already, then the cheapest
 * - `fgd`: GPUs are left so that tasks like those that came can use them, as published (see scored.ts)
 * - `compact`: the same aim with scores that are not truncated
 *
 * The last two look at every node, and learn from the tasks that are submitted what is usual.
 */
export type PolicyName = 'best-fit' | 'spread' | 'cost' | 'fgd' | 'compact'

/** The strategy of a policy. Throws `scheduler.bad-input`. */
export function strategyOf(policy: PolicyName, cluster: Cluster, usual: readonly NeedFacts[]): Strategy {
  switch (policy) {
    case 'best-fit':
      return { kind: 'tight' }
    case 'spread':
      return { kind: 'loose' }
    case 'cost':
      return { kind: 'cheap' }
    case 'fgd':
      return { kind: 'scored', scorer: new FragmentationScorer(cluster, fgdScore, usual) }
    case 'compact':
      return { kind: 'scored', scorer: new FragmentationScorer(cluster, compactScore, usual) }
    default:
      throw badInput('policy', 'best-fit, spread, cost, fgd or compact', policy)
  }
}
