/**
 * What keeps a task off a node, all of it, each with a reason and with what would have to change. It asks the same questions as
 * `fit.ts`; a test holds that nothing is said here of a task that would fit.
 */
import type { Cluster } from './cluster.ts'
import { domainOf, expectedAgainst, hasUplinks, insideReservation, reservationAgainst, zoneAllowed } from './fit.ts'
import { selects, spokenSelector, tolerates } from './kinds.ts'
import { ownKey, type Job } from './job.ts'
import type { CordonReason } from './model.ts'
import { cordoned } from './nodes.ts'
import { freeFor } from './resources.ts'
import { formatAmount } from './units.ts'

/** Of a node that was cordoned without a word. */
const cordon: CordonReason = { reason: 'being cordoned', because: 'is cordoned', remedy: 'uncordon a node' }

/** One thing that keeps a task off a node. */
export interface Obstacle {
  /** What is counted over nodes: 'cpu', 'taint special'. */
  readonly reason: string
  readonly because: string
  /** How far the node is from doing, as a share of what is asked; for ordering. */
  readonly distance: number
  /** What the task would have to ask for instead, or what would have to change. */
  readonly remedy: string
}

/** Everything that keeps one more task of the job off a node. */
export function obstaclesOn(cluster: Cluster, job: Job, node: number): Obstacle[] {
  const { nodes } = cluster
  const obstacles: Obstacle[] = []
  const add = (reason: string, because: string, remedy: string, distance = 1): void => {
    obstacles.push({ reason, because, distance, remedy })
  }
  if (nodes.state[node] === cordoned) {
    const { reason, because, remedy } = cluster.cordons.get(node) ?? cordon
    add(reason, because, remedy)
  }
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
  reservationObstacles(cluster, job, node, add)
  forecastObstacle(cluster, job, node, add)
  return obstacles
}

function reservationObstacles(cluster: Cluster, job: Job, node: number, add: Add): void {
  const { nowMs, nodes, reservations } = cluster
  const against = reservationAgainst(cluster, job, node)
  if (against !== undefined && against.fromMs <= nowMs)
    add(
      'a reservation',
      `is reserved for '${against.name}' until ${against.untilMs} ms`,
      `wait until ${against.untilMs} ms`,
    )
  else if (against !== undefined)
    add(
      'a reservation',
      `is reserved for '${against.name}' from ${against.fromMs} ms on`,
      `set a time limit that ends before ${against.fromMs} ms`,
    )
  if (insideReservation(cluster, job, node)) return
  const own = reservations.get(job.facts.spec.reservation ?? '')
  if (own === undefined || nowMs >= own.untilMs)
    add('its reservation', 'is not for it: its reservation is over', 'submit it without the reservation')
  else if (!own.nodes.includes(nodes.nameOf(node)))
    add('its reservation', `is not one of its reservation '${own.name}'`, 'submit it without the reservation')
  else
    add(
      'its reservation',
      `is held for it from ${own.fromMs} ms on, when its reservation '${own.name}' begins`,
      `wait until ${own.fromMs} ms`,
    )
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
      const wanted = spokenSelector(selector)
      add(`label ${selector.label}`, `does not have ${wanted}`, `label a node so that it has ${wanted}`)
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
        fitting === 0
          ? `free ${gpuCount} GPU${gpuCount === 1 ? '' : 's'} on a node`
          : `ask for ${fitting} of the ${gpuCount} GPUs`,
        (gpuCount - fitting) / gpuCount,
      )
    else if (fitting < gpuCount)
      add(
        'GPUs',
        `has no GPU with ${gpuMilli / 1000} of it free (the most is ${Math.max(...free) / 1000})`,
        Math.max(...free) === 0
          ? `free ${gpuMilli / 1000} of a GPU`
          : `ask for ${Math.max(...free) / 1000} of a GPU instead of ${gpuMilli / 1000}`,
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
        `has no task of ${group.key}${level === 'node' ? '' : ` in its ${level}`}`,
        `drop the affinity to ${group.key}`,
      )
  for (const { group, level } of job.apart)
    if (groups.count(group, level, domainOf(cluster, level, node)) > 0) {
      if (group.key === ownKey(job.facts.name))
        add('one task a node', 'has a task of it already', 'allow several of its tasks on one node, or add nodes')
      else
        add(
          `anti-affinity to ${group.key}`,
          `has a task of ${group.key}${level === 'node' ? '' : ` in its ${level}`}`,
          `drop the anti-affinity to ${group.key}`,
        )
    }
  for (const { group, level } of job.repelledBy)
    if (groups.count(group, level, domainOf(cluster, level, node)) > 0)
      add(
        'anti-affinity of others',
        `has a task${level === 'node' ? '' : ` in its ${level}`} that wants none of these near`,
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
