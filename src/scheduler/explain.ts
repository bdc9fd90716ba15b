/**
 * Why a task waits, for a person: one sentence to act on, the nodes that come nearest with what they lack, and what would
 * have to change. What keeps it off a node is asked in obstacles.ts.
 */
import type { Accounts } from './accounts.ts'
import type { Cluster } from './cluster.ts'
import { waitingOf, type Job } from './job.ts'
import type { Dependency } from './model.ts'
import { gone } from './nodes.ts'
import { type Obstacle, obstaclesOn } from './obstacles.ts'
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

/** A start that a job was promised. */
export interface PromisedStart {
  readonly job: string
  readonly startMs: number
}

/** How many near misses are named. */
const nearestMax = 5

/** Nodes that come nearest, of which the remedies are told. */
const keptMax = 100

/** What was found on a node. */
interface Found {
  readonly node: number
  readonly obstacles: readonly Obstacle[]
  readonly distance: number
}

interface Look {
  readonly present: number
  readonly fitting: readonly number[]
  /** Nodes by the one thing that keeps the task off them. */
  readonly counts: ReadonlyMap<string, number>
  /** Nodes that lack more than one thing. */
  readonly several: number
  /** The nearest first. */
  readonly near: readonly Found[]
}

const endings: Readonly<Record<NonNullable<Dependency['when']>, string>> = {
  success: 'has ended well',
  failure: 'has failed',
  end: 'has ended',
  start: 'has started',
}

/** Why the job's next task waits. `promises`: who was promised a start, the first in line first. */
export function explainJob(
  cluster: Cluster,
  accounts: Accounts,
  job: Job,
  promises: readonly PromisedStart[],
): Explanation {
  const { name, account, spec } = job.facts
  if (job.state === 'held') {
    const waits = (spec.after ?? []).map(({ job: other, when = 'success' }) => `job '${other}' ${endings[when]}`)
    return say(`job '${name}' waits until ${listed(waits)}.`)
  }
  if (waitingOf(job) === 0) return say(`nothing of job '${name}' waits.`)
  if (job.running >= job.facts.atOnceMax)
    return say(`job '${name}' runs ${counted(job.running, 'task')}, and may run no more at once.`, [
      'wait until one of them ends',
      'submit it with a larger bound',
    ])
  const over = accounts.exceeds(job, spec.gang === true ? waitingOf(job) : 1)
  if (over !== null)
    return say(
      `job '${name}' waits because account '${account}' holds ${formatAmount(over.resource, over.held)} of the ${formatAmount(over.resource, over.quota)} in its quota.`,
      [`raise the quota of '${account}'`, `end other tasks of '${account}'`],
    )
  cluster.others.refresh(job)
  const look = lookedAt(cluster, job)
  if (look.present === 0) return say(`job '${name}' waits because there are no nodes.`, ['add a node'])
  const own = promises.find((promise) => promise.job === name)
  const promised = own === undefined ? '' : ` It starts at ${own.startMs} ms at the latest.`
  if (look.fitting.length === 0) return misses(cluster, job, look, promised)
  const together = spec.gang === true ? roomOf(cluster, job, look.fitting) : Infinity
  const { sentence, remedies } =
    together < waitingOf(job) ? splitGang(job, together) : turn(cluster, job, look.fitting, promises[0])
  return say(sentence + promised, remedies)
}

/** Asks every node. */
function lookedAt(cluster: Cluster, job: Job): Look {
  const fitting: number[] = []
  const counts = new Map<string, number>()
  let near: Found[] = []
  let present = 0
  let several = 0
  for (let node = 0; node < cluster.nodes.size; node++) {
    if (cluster.nodes.state[node] === gone) continue
    present++
    const obstacles = obstaclesOn(cluster, job, node)
    const [only, second] = obstacles
    if (only === undefined) {
      fitting.push(node)
      continue
    }
    if (second === undefined) counts.set(only.reason, (counts.get(only.reason) ?? 0) + 1)
    else several++
    near.push({ node, obstacles, distance: obstacles.reduce((sum, { distance }) => sum + distance, 0) })
    if (near.length > 10 * keptMax) near = nearestOf(near)
  }
  return { present, fitting, counts, several, near: nearestOf(near) }
}

function nearestOf(found: readonly Found[]): Found[] {
  const order = (a: Found, b: Found): number =>
    a.obstacles.length - b.obstacles.length || a.distance - b.distance || a.node - b.node
  return found.toSorted(order).slice(0, keptMax)
}

function say(sentence: string, remedies: readonly string[] = []): Explanation {
  return { sentence, reasons: [], nearest: [], remedies }
}

/** No node takes it. */
function misses(cluster: Cluster, job: Job, { present, counts, several, near }: Look, promised: string): Explanation {
  const { name } = job.facts
  const single = near.filter(({ obstacles }) => obstacles.length === 1)
  const reasons = [...counts].map(([reason, nodes]) => ({ reason, nodes })).sort((a, b) => b.nodes - a.nodes)
  const nearest = single
    .slice(0, nearestMax)
    .flatMap(({ node, obstacles }) => obstacles.map(({ because }) => ({ node: cluster.nodes.nameOf(node), because })))
  const [first] = near
  const lacks = listed((first?.obstacles ?? []).map(({ because }) => because))
  const where = `node ${cluster.nodes.nameOf(first?.node ?? -1)}`
  const but = reasons.map(({ reason, nodes }) => `${counted(nodes, 'node')} but for ${reason}`).join(', ')
  const sentence =
    present === 1
      ? `job '${name}' waits because ${where}, the only one, ${lacks}.`
      : single.length === 0
        ? `job '${name}' fits none of ${present} nodes, and each lacks more than one thing; ${where} comes nearest, which ${lacks}.`
        : `job '${name}' fits ${but}${several > 0 ? `, and ${several} ${several === 1 ? 'lacks' : 'lack'} more` : ''}; ${where} ${lacks}.`
  const looked = single.length === 0 ? near.slice(0, 1) : single
  const remedies = new Set(looked.map(({ obstacles }) => listed(obstacles.map(({ remedy }) => remedy))))
  return { sentence: sentence + promised, reasons, nearest, remedies: [...remedies].slice(0, nearestMax) }
}

/** There is room, but not for all of a gang. */
function splitGang(job: Job, room: number): { sentence: string; remedies: readonly string[] } {
  return {
    sentence: `job '${job.facts.name}' waits because its ${waitingOf(job)} tasks start together, and at most ${room} of them fit now.`,
    remedies: [`make the gang smaller: ${room}`, 'add nodes'],
  }
}

/** There is room, and it is not for this one. */
function turn(
  { nowMs }: Cluster,
  job: Job,
  fitting: readonly number[],
  first: PromisedStart | undefined,
): { sentence: string; remedies: readonly string[] } {
  const { name, spec, timeLimitMs } = job.facts
  const room = `${counted(fitting.length, 'node')} ${fitting.length === 1 ? 'has' : 'have'} room`
  if (first !== undefined && first.job !== name)
    return {
      sentence: `job '${name}' waits its turn: ${room}, but job '${first.job}' goes first, and starts at ${first.startMs} ms at the latest.`,
      remedies: [
        ...(nowMs + timeLimitMs > first.startMs ? [`set a time limit that ends before ${first.startMs} ms`] : []),
        `raise its priority above that of job '${first.job}'`,
      ],
    }
  if (spec.gang === true)
    return {
      sentence: `job '${name}' waits because its ${waitingOf(job)} tasks start together and do not fit together.`,
      remedies: ['make the gang smaller', 'add nodes'],
    }
  return { sentence: `job '${name}' waits its turn: ${room}, and others go first.`, remedies: ['raise its priority'] }
}

/** How many of its tasks the nodes hold by their amounts: no more than that fit. */
function roomOf({ nodes }: Cluster, job: Job, fitting: readonly number[]): number {
  const { takes, onePerNode, facts } = job
  const { gpuCount, gpuMilli } = facts.needs
  const columns: readonly (readonly [number, number])[] = [
    [0, takes.cpu],
    [1, takes.memory],
    ...takes.checkedColumns.map((column, index) => [column, takes.checkedAmounts[index] ?? 0] as const),
  ]
  return fitting.reduce((sum, node) => {
    let room = onePerNode ? 1 : waitingOf(job)
    for (const [column, needed] of columns)
      if (needed > 0) room = Math.min(room, Math.floor(nodes.freeOf(column, node) / needed))
    if (gpuCount > 0) {
      const shares = [...(nodes.gpus.get(node)?.free ?? [])].reduce((all, free) => all + Math.floor(free / gpuMilli), 0)
      room = Math.min(room, Math.floor(shares / gpuCount))
    }
    return sum + room
  }, 0)
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function listed(parts: readonly string[]): string {
  return parts.length < 2 ? parts.join('') : `${parts.slice(0, -1).join(', ')} and ${parts.at(-1)}`
}
