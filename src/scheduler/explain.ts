/**
 * Why a task waits, for a person: one sentence to act on, the nodes that come nearest with what they lack, and what would
 * have to change. It asks the same questions as `fit.ts`, but all of them, of every node, and remembers the answers; a test
 * holds that nothing is said here of a task that would fit.
 */
import type { Accounts } from './accounts.ts'
import type { Cluster } from './cluster.ts'
import { domainOf, expectedAgainst, hasUplinks, insideReservation, reservedAgainst, zoneAllowed } from './fit.ts'
import { selects, tolerates } from './kinds.ts'
import { waitingOf, type Job } from './job.ts'
import { cordoned, gone } from './nodes.ts'
import { freeFor } from './resources.ts'
import { formatAmount } from './units.ts'

/** A node that would do but for one thing. */
export interface NearMiss {
  readonly node: string
  /** 'lacks 300 MiB memory', 'is cordoned'. */
  readonly because: string
}

export interface Explanation {
  /** One sentence. */
  readonly sentence: string
  /** How many nodes fail for each reason alone; nodes with several reasons count under none. */
  readonly reasons: readonly { readonly reason: string; readonly nodes: number }[]
  /** The nearest first. */
  readonly nearest: readonly NearMiss[]
  /** Each of them would be enough. */
  readonly remedies: readonly string[]
}

/** How many near misses are named. */
const nearestMax = 5

/** One thing that keeps a task off a node. */
interface Obstacle {
  /** What is counted over nodes: 'cpu', 'taint special'. */
  readonly reason: string
  readonly because: string
  /** How far the node is from doing, as a share of what is asked; for ordering. */
  readonly distance: number
  /** What the task would have to ask for instead, or what would have to change. */
  readonly remedy: string
}

/** Everything that keeps one more task of the job off a node. */
function obstaclesOn(cluster: Cluster, job: Job, node: number): Obstacle[] {
  const { nodes } = cluster
  const obstacles: Obstacle[] = []
  const add = (reason: string, because: string, remedy: string, distance = 1): void => {
    obstacles.push({ reason, because, distance, remedy })
  }
  if (nodes.state[node] === cordoned) add('being cordoned', 'is cordoned', 'uncordon a node')
  kindObstacles(cluster, job, node, add)
  const amounts: [number, number][] = [
    [0, job.takes.cpu],
    [1, job.takes.memory],
    ...Array.from(job.takes.checkedColumns, (column, index): [number, number] => [
      column,
      job.takes.checkedAmounts[index] ?? 0,
    ]),
  ]
  for (const [column, needed] of amounts) {
    const free = nodes.freeOf(column, node)
    if (free >= freeFor(needed)) continue
    const resource = nodes.resources.names[column] ?? ''
    const plain = resource.replace('best-effort ', '')
    add(
      resource,
      `lacks ${formatAmount(plain, needed - Math.max(0, free))}`,
      free <= 0
        ? `free ${formatAmount(plain, needed)} on a node`
        : `ask for ${formatAmount(plain, free)} instead of ${formatAmount(plain, needed)}`,
      (needed - free) / needed,
    )
  }
  deviceObstacles(cluster, job, node, add)
  if (!hasUplinks(cluster, job, node)) add('uplink', 'is behind a full uplink', 'lower the network floor')
  neighbourObstacles(cluster, job, node, add)
  if (reservedAgainst(cluster, job, node))
    add('reserved', 'is reserved for others', 'wait until the reservation ends, or set a shorter time limit')
  forecastObstacle(cluster, job, node, add)
  if (!insideReservation(cluster, job, node))
    add(
      'not in its reservation',
      'is not in its reservation, or it is not time yet',
      'wait until the reservation begins',
    )
  return obstacles
}

function forecastObstacle(cluster: Cluster, job: Job, node: number, add: Add): void {
  const load = expectedAgainst(cluster, job, node)
  if (load === null) return
  const wanted = (['cpu', 'memory', 'network'] as const).filter(
    (resource) => load[resource] > 0 && job.takes[resource] > 0,
  )
  const amounts = wanted.map((resource) => formatAmount(resource, load[resource])).join(' and ')
  const begun = load.fromMs <= cluster.nowMs
  add(
    'its forecast',
    begun
      ? `is expected to need ${amounts} for other things until ${load.untilMs} ms`
      : `is expected to need ${amounts} for other things from ${load.fromMs} ms on`,
    begun ? 'wait until then, or ask for less' : `set a time limit that ends before ${load.fromMs} ms, or ask for less`,
  )
}

type Add = (reason: string, because: string, remedy: string, distance?: number) => void

function kindObstacles(cluster: Cluster, job: Job, node: number, add: Add): void {
  const kind = cluster.nodes.kindOf(node)
  const { spec, needs, clockErrorNsMax } = job.facts
  if (kind === undefined) return
  for (const selector of spec.selector ?? [])
    if (!selects(selector, kind.labels)) {
      const wanted =
        'values' in selector ? ` ${selector.operator} ${selector.values.join(', ')}` : ` ${selector.operator}`
      add(
        `label ${selector.label}`,
        `does not meet ${selector.label}${wanted}`,
        `label a node so that ${selector.label}${wanted}`,
      )
    }
  for (const taint of kind.taints)
    if (!tolerates(spec.tolerations ?? [], taint))
      add(`taint ${taint.key}`, `has the taint ${taint.key}`, `tolerate the taint ${taint.key}`)
  if (
    needs.gpuCount > 0 &&
    kind.gpuModel !== '' &&
    needs.gpuModels !== null &&
    !needs.gpuModels.includes(kind.gpuModel)
  )
    add('GPU model', `has GPUs of model ${kind.gpuModel}`, `accept GPUs of model ${kind.gpuModel}`)
  if (kind.clockErrorNs > clockErrorNsMax)
    add(
      'clock',
      `has a clock error of ${kind.clockErrorNs === Infinity ? 'unknown size' : `${kind.clockErrorNs} ns`}`,
      'allow a larger clock error',
    )
  if (spec.near?.required === true && !spec.near.nodes.includes(cluster.nodes.nameOf(node)))
    add(
      'data elsewhere',
      `does not hold its data (${spec.near.nodes.join(', ')} does)`,
      'make being near its data a wish',
    )
}

function deviceObstacles(cluster: Cluster, job: Job, node: number, add: Add): void {
  const { gpuCount, gpuMilli, cpuTime } = job.facts.needs
  if (gpuCount > 0) {
    const free = cluster.nodes.gpus.get(node)?.free ?? new Int16Array(0)
    const fitting = free.filter((milli) => milli >= gpuMilli).length
    if (free.length === 0) add('GPUs', 'has no GPUs', 'add a node with GPUs')
    else if (fitting < gpuCount && gpuMilli === 1000)
      add(
        'GPUs',
        `lacks ${gpuCount - fitting} free GPU${gpuCount - fitting === 1 ? '' : 's'}`,
        fitting === 0 ? 'add a node with such GPUs' : `ask for ${fitting} of the ${gpuCount} GPUs`,
        (gpuCount - fitting) / gpuCount,
      )
    else if (fitting < gpuCount)
      add(
        'GPUs',
        `has at most ${Math.max(...free)} thousandths of a GPU free`,
        `ask for ${Math.max(...free)} thousandths of a GPU instead of ${gpuMilli}`,
        (gpuMilli - Math.max(...free)) / gpuMilli,
      )
  }
  if (cpuTime !== null && cluster.coreFor(node, cpuTime) < 0)
    add('CPU time', 'has no core on which the reserved time meets its deadline', 'reserve less CPU time')
}

function neighbourObstacles(cluster: Cluster, job: Job, node: number, add: Add): void {
  const { groups } = cluster
  for (const { group, level, own } of job.together)
    if (groups.count(group, level, domainOf(cluster, level, node)) === 0 && !(own && group.total === 0))
      add(
        `affinity to ${group.key}`,
        `has no task of ${group.key} in its ${level}`,
        `drop the affinity to ${group.key}`,
      )
  for (const { group, level } of job.apart)
    if (groups.count(group, level, domainOf(cluster, level, node)) > 0)
      add(
        `anti-affinity to ${group.key}`,
        `has a task of ${group.key} in its ${level}`,
        `drop the anti-affinity to ${group.key}`,
      )
  for (const { group, level } of job.repelledBy)
    if (groups.count(group, level, domainOf(cluster, level, node)) > 0)
      add(
        'anti-affinity of others',
        `has a task in its ${level} that wants none of these near`,
        'drop the anti-affinity of the others',
      )
  for (const skew of job.skews)
    if (!skew.allows(cluster.nodes, domainOf(cluster, skew.level, node)))
      add(
        `spread by ${skew.level}`,
        `is in a ${skew.level} that has more than its part already`,
        `allow a skew of more than ${skew.skewMax}, or make room in the emptier ${skew.level}s`,
      )
  // The other zone rules were asked above; what is left of them is latency.
  const zone = cluster.nodes.zone[node] ?? 0
  const latencyOnly: Job = { ...job, together: [], apart: [], repelledBy: [], skews: [] }
  if (!zoneAllowed(cluster, latencyOnly, zone))
    add(
      'latency',
      'is too far from those that it talks to',
      'allow a higher latency, or measure the missing pairs of zones',
    )
}

/** Why the job's next task waits. `promisedMs` is its promised start, if there is one. */
export function explainJob(cluster: Cluster, accounts: Accounts, job: Job, promisedMs: number | null): Explanation {
  const { name, account } = job.facts
  const say = (sentence: string, remedies: string[] = []): Explanation => ({
    sentence,
    reasons: [],
    nearest: [],
    remedies,
  })
  if (job.state === 'held') {
    const names = (job.facts.spec.after ?? []).map((dependency) => dependency.job)
    return say(`job '${name}' waits for ${names.join(', ')}.`)
  }
  if (waitingOf(job) === 0) return say(`nothing of job '${name}' waits.`)
  if (job.running >= job.facts.atOnceMax)
    return say(`job '${name}' runs ${job.running} tasks, and may run no more at once.`, ['raise its own bound'])
  const gang = job.facts.spec.gang === true
  const over = accounts.exceeds(job, gang ? waitingOf(job) : 1)
  if (over !== null)
    return say(
      `job '${name}' waits because account '${account}' holds ${formatAmount(over.resource, over.held)} of the ${formatAmount(over.resource, over.quota)} in its quota.`,
      [`raise the quota of '${account}'`, `end other tasks of '${account}'`],
    )
  cluster.others.refresh(job)
  const single = new Map<string, { count: number; obstacles: [number, Obstacle][] }>()
  let fitting = 0
  let present = 0
  let several = 0
  for (let node = 0; node < cluster.nodes.size; node++) {
    if (cluster.nodes.state[node] === gone) continue
    present++
    const obstacles = obstaclesOn(cluster, job, node)
    const [obstacle] = obstacles
    if (obstacle === undefined) fitting++
    else if (obstacles.length > 1) several++
    else {
      const entry = single.get(obstacle.reason) ?? { count: 0, obstacles: [] }
      single.set(obstacle.reason, entry)
      entry.count++
      entry.obstacles.push([node, obstacle])
    }
  }
  const promise = promisedMs === null ? '' : ` It starts at ${promisedMs} ms at the latest.`
  if (present === 0) return say(`job '${name}' waits because there are no nodes.`, ['add a node'])
  if (fitting > 0)
    return say(
      gang
        ? `job '${name}' waits because its ${waitingOf(job)} tasks start together and do not fit together.${promise}`
        : `job '${name}' waits its turn: ${fitting} of ${present} nodes have room, and others go first.${promise}`,
      gang ? ['make the gang smaller', 'add nodes'] : ['raise its priority'],
    )
  const reasons = [...single].map(([reason, { count }]) => ({ reason, nodes: count })).sort((a, b) => b.nodes - a.nodes)
  const misses = [...single.values()]
    .flatMap(({ obstacles }) => obstacles)
    .sort(([nodeA, a], [nodeB, b]) => a.distance - b.distance || nodeA - nodeB)
  const nearest = misses
    .slice(0, nearestMax)
    .map(([node, { because }]) => ({ node: cluster.nodes.nameOf(node), because }))
  const [first] = nearest
  const [reason] = reasons
  const but = reasons
    .map(({ reason: one, nodes }) => `${nodes} ${nodes === 1 ? 'node' : 'nodes'} but for ${one}`)
    .join(', ')
  const sentence =
    first === undefined || reason === undefined
      ? present === 1
        ? `job '${name}' does not fit the only node, which lacks more than one thing.${promise}`
        : `job '${name}' fits none of ${present} nodes, and each lacks more than one thing.${promise}`
      : `job '${name}' fits ${but}${several > 0 ? `, and ${several} ${several === 1 ? 'lacks' : 'lack'} more` : ''}; node ${first.node} ${first.because}.${promise}`
  const remedies = [...new Set(misses.slice(0, 100).map(([, { remedy }]) => remedy))].slice(0, nearestMax)
  return { sentence, reasons, nearest, remedies }
}
