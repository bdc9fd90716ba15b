/**
 * Policies that score every node: the reading of fragmentation that was published (`fgd`), and one of our own (`compact`).
 * A score depends on the node and on the kind of task alone, so it is remembered until the node changes; a placement then
 * scores some dozens of nodes and reads the rest.
 *
 * Ties: the node that was added first. With `fgd` scores are whole numbers of 0 .. 100 as in the published program, and
 * most of them are ties: which node wins those is half of the result.
 */
import type { Cluster } from './cluster.ts'
import type { Fit } from './fit.ts'
import { Fragmentation, Usual } from './fragmentation.ts'
import { chooseGpus } from './gpus.ts'
import type { Job } from './job.ts'
import { freeFor } from './resources.ts'
import { open } from './nodes.ts'
import type { Scorer } from './place.ts'
import type { NeedFacts } from './read.ts'

/** What a score is made of. */
interface Candidate {
  readonly cpuBefore: number
  readonly cpuAfter: number
  readonly before: Int16Array
  readonly after: Int16Array
  readonly model: string
  /** Of the largest node that there was: cpu in thousandths, GPUs in thousandths. */
  readonly largest: { readonly cpu: number; readonly gpuMilli: number }
}

export type Scoring = (fragmentation: Fragmentation, candidate: Candidate) => number

/** As published: the change of fragmentation through a sigmoid, truncated. */
export function fgdScore(
  fragmentation: Fragmentation,
  { cpuBefore, cpuAfter, before, after, model }: Candidate,
): number {
  const change = fragmentation.of(cpuBefore, before, model) - fragmentation.of(cpuAfter, after, model)
  return Math.trunc(100 / (1 + Math.exp(-change / 1000)))
}

/** A step of `compact` is 40 thousandths of a GPU, as near the middle of the published scores. */
const stepsOfGpu = 25

/** How far cpu and GPUs that are left are from the proportion in which the largest node has them, 0 to 1. */
function unevenness(cpuMilli: number, free: Int16Array, { cpu, gpuMilli }: Candidate['largest']): number {
  let left = 0
  for (const milli of free) left += milli
  return Math.abs(cpuMilli / cpu - left / Math.max(1, gpuMilli))
}

/**
 * Ours. The same aim, and cpu and GPUs are used up together: a node with GPUs and no cpu left is as useless as the other way
 * round, long before a typical task no longer fits. Becoming wholly uneven costs as much as a whole fragmented GPU. Not
 * squashed, so that large changes still count; but in steps, so that nodes that are nearly as good are ties, and the
 * first is filled before the next is begun.
 */
export function compactScore(fragmentation: Fragmentation, candidate: Candidate): number {
  const { cpuBefore, cpuAfter, before, after, model, largest } = candidate
  const fragmented = fragmentation.of(cpuAfter, after, model) - fragmentation.of(cpuBefore, before, model)
  const uneven = unevenness(cpuAfter, after, largest) - unevenness(cpuBefore, before, largest)
  return Math.round(-stepsOfGpu * (fragmented / 1000 + uneven))
}

function cpuOf(needs: NeedFacts): number {
  return needs.amounts.find(([resource]) => resource === 'cpu')?.[1] ?? 0
}

interface Remembered {
  scores: Float64Array
  gpus: Int32Array
  stamps: Int32Array
}

export class FragmentationScorer implements Scorer {
  readonly #cluster: Cluster
  readonly #scoring: Scoring
  readonly #usual = new Usual()
  readonly #remembered = new Map<string, Remembered>()
  #fragmentation = new Fragmentation([])
  /** What is usual is worked out again when twice as many tasks have come. */
  #refreshAt = 1

  /** `usual`: tasks like those that will come; when there are none, it learns. */
  constructor(cluster: Cluster, scoring: Scoring, usual: readonly NeedFacts[]) {
    this.#cluster = cluster
    this.#scoring = scoring
    for (const needs of usual) this.#usual.add(needs, cpuOf(needs), 1)
    if (usual.length === 0) return
    this.#fragmentation = new Fragmentation(this.#usual.typical())
    this.#refreshAt = Infinity
  }

  /** Tasks have come. */
  learn(job: Job, count: number): void {
    if (this.#refreshAt === Infinity) return
    this.#usual.add(job.facts.needs, cpuOf(job.facts.needs), count)
    if (this.#usual.total < this.#refreshAt) return
    while (this.#refreshAt <= this.#usual.total) this.#refreshAt *= 2
    this.#fragmentation = new Fragmentation(this.#usual.typical())
    this.#remembered.clear()
  }

  best(job: Job, fit: Fit): number {
    const { nodes } = this.#cluster
    const remembered = this.#rememberedFor(job)
    const [cpu, memory] = [freeFor(job.takes.cpu), freeFor(job.takes.memory)]
    let best = -1
    let bestScore = -Infinity
    for (let node = 0; node < nodes.size; node++) {
      if (nodes.state[node] !== open) continue
      if ((nodes.free[0]?.[node] ?? 0) < cpu || (nodes.free[1]?.[node] ?? 0) < memory) continue
      const score = this.#scoreOf(job, node, remembered)
      if (score > bestScore && fit.fitsWhole(node)) {
        best = node
        bestScore = score
      }
    }
    return best
  }

  /** The GPUs with which the node had its score. */
  gpusFor(job: Job, node: number): number {
    const remembered = this.#rememberedFor(job)
    this.#scoreOf(job, node, remembered)
    return remembered.gpus[node] ?? 0
  }

  #rememberedFor(job: Job): Remembered {
    const { gpuCount, gpuMilli } = job.facts.needs
    const key = `${job.takes.cpu} ${job.takes.memory} ${gpuCount} ${gpuMilli}`
    let remembered = this.#remembered.get(key)
    const { size } = this.#cluster.nodes
    if (remembered === undefined || remembered.stamps.length < size) {
      remembered = {
        scores: new Float64Array(size),
        gpus: new Int32Array(size),
        stamps: new Int32Array(size).fill(-1),
      }
      this.#remembered.set(key, remembered)
    }
    return remembered
  }

  #scoreOf(job: Job, node: number, remembered: Remembered): number {
    const { nodes } = this.#cluster
    const stamp = nodes.stamp[node] ?? 0
    if (remembered.stamps[node] === stamp) return remembered.scores[node] ?? 0
    const { gpuCount, gpuMilli } = job.facts.needs
    const gpus = nodes.gpus.get(node)
    const before = gpus?.free ?? new Int16Array(0)
    const cpuBefore = nodes.free[0]?.[node] ?? 0
    let bestScore = -Infinity
    let bestBits = 0
    const choices: number[] = []
    if (gpuCount === 0) choices.push(0)
    else if (gpuMilli === 1000) choices.push(chooseGpus(before, gpuCount, gpuMilli))
    else before.forEach((milli, gpu) => milli >= gpuMilli && choices.push(1 << gpu))
    for (const bits of choices) {
      if (bits === 0 && gpuCount > 0) continue
      const after = before.map((milli, gpu) => ((bits & (1 << gpu)) === 0 ? milli : milli - gpuMilli))
      const candidate: Candidate = {
        cpuBefore,
        cpuAfter: cpuBefore - job.takes.cpu,
        before,
        after,
        model: gpus?.model ?? '',
        largest: nodes.largest,
      }
      const score = this.#scoring(this.#fragmentation, candidate)
      if (score <= bestScore) continue
      bestScore = score
      bestBits = bits
    }
    remembered.stamps[node] = stamp
    remembered.scores[node] = bestScore
    remembered.gpus[node] = bestBits
    return bestScore
  }
}
