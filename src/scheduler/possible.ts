/**
 * What could never be: jobs that no node holds even when it is empty, or that no quota lets in. They are refused when they
 * are submitted, with what is lacking; a cluster without nodes refuses nothing.
 */
import type { Accounts } from './accounts.ts'
import type { Cluster } from './cluster.ts'
import { impossible, unknownName } from './errors.ts'
import { type KindFilter, spokenSelector } from './kinds.ts'
import { gone } from './nodes.ts'
import type { JobFacts } from './read.ts'
import { formatAmount } from './units.ts'

/** How many tasks an empty node holds. */
function roomOf({ nodes }: Cluster, facts: JobFacts, filter: KindFilter, node: number): number {
  if (nodes.state[node] === gone || !nodes.kinds.accepts(filter, nodes.kind[node] ?? -1)) return 0
  const { needs, spec } = facts
  if (spec.near?.required === true && !spec.near.nodes.includes(nodes.nameOf(node))) return 0
  let room = spec.onePerNode === true ? 1 : Infinity
  for (const [resource, amount] of needs.amounts)
    room = Math.min(room, Math.floor(nodes.totalOf(nodes.resources.known(resource) ?? -1, node) / amount))
  const gpus = nodes.gpus.get(node)?.free.length ?? 0
  if (needs.gpuCount > 0)
    room = Math.min(
      room,
      needs.gpuMilli === 1000 ? Math.floor(gpus / needs.gpuCount) : gpus * Math.floor(1000 / needs.gpuMilli),
    )
  if (needs.cpuTime !== null && nodes.realtimeCoresOf(node) === 0) return 0
  return room
}

/** Throws `scheduler.impossible` when the job could never start, `scheduler.unknown-name` for a reservation that is not there. */
export function checkPossible(cluster: Cluster, accounts: Accounts, facts: JobFacts): void {
  const { nodes } = cluster
  const { name, spec, needs } = facts
  if (spec.reservation !== undefined && !cluster.reservations.has(spec.reservation))
    throw unknownName('reservation', spec.reservation)
  const together = spec.gang === true ? facts.count : 1
  for (const [resource, quota] of accounts.get(facts.account).quota ?? []) {
    const each =
      resource === 'tasks'
        ? 1
        : resource === 'gpu'
          ? needs.gpuCount * needs.gpuMilli
          : (needs.amounts.find(([known]) => known === resource)?.[1] ?? 0)
    if (each * together > quota)
      throw impossible(
        name,
        `it needs ${formatAmount(resource, each * together)} at once, and the quota of '${facts.account}' is ${formatAmount(resource, quota)}`,
        'Ask for less, or raise the quota.',
      )
  }
  if (nodes.count === 0) return
  const filter = nodes.kinds.filterOf(facts)
  let left = together
  for (let node = 0; node < nodes.size && left > 0; node++) left -= roomOf(cluster, facts, filter, node)
  if (left <= 0) return
  if (left < together)
    throw impossible(
      name,
      `all nodes together, empty, hold ${together - left} of its ${together} tasks at once`,
      'Make the gang smaller, or add nodes.',
    )
  throw impossible(name, lacking(cluster, facts, filter), 'Ask for less, or add a node that has it.')
}

/** What no node has: the first need that alone cannot be met, else that no node has all of them. */
function lacking(cluster: Cluster, facts: JobFacts, filter: KindFilter): string {
  const { nodes } = cluster
  const { needs, spec } = facts
  const accepted: number[] = []
  for (let node = 0; node < nodes.size; node++)
    if (nodes.state[node] !== gone && nodes.kinds.accepts(filter, nodes.kind[node] ?? -1)) accepted.push(node)
  if (accepted.length === 0) {
    const asks = [
      ...(spec.selector ?? []).map(spokenSelector),
      ...(needs.gpuCount === 0
        ? []
        : [needs.gpuModels === null ? 'GPUs' : `GPU model (${needs.gpuModels.join(', ')})`]),
      ...(facts.clockErrorNsMax === Infinity ? [] : [`clock bound (${facts.clockErrorNsMax} ns)`]),
    ]
    return `no node has what it asks for${asks.length === 0 ? ', or all have taints that it does not tolerate' : `: ${asks.join(', and ')}`}`
  }
  for (const [resource, amount] of needs.amounts) {
    const most = Math.max(
      ...accepted.slice(0, 100_000).map((node) => nodes.totalOf(nodes.resources.known(resource) ?? -1, node)),
    )
    if (most < amount)
      return `it needs ${formatAmount(resource, amount)}, and ${most === 0 ? 'no node that it accepts has any' : `the largest node that it accepts has ${formatAmount(resource, most)}`}`
  }
  const gpus = Math.max(...accepted.slice(0, 100_000).map((node) => nodes.gpus.get(node)?.free.length ?? 0))
  if (needs.gpuCount > gpus)
    return `it needs ${needs.gpuCount} GPUs on one node, and no node that it accepts has more than ${gpus}`
  if (needs.cpuTime !== null) return 'it reserves CPU time, and no node that it accepts has cores for that'
  if (spec.near?.required === true) return `its data is on ${spec.near.nodes.join(', ')}, and none of these can hold it`
  return 'no single node that it accepts has everything that it needs'
}
