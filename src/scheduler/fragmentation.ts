/**
 * Fragmentation of GPUs: how much of what is idle on a node is of no use to the tasks that usually come. For each typical
 * task, weighted by how often it comes, that is all of the idle thousandths when the node cannot take it, and otherwise
 * those of GPUs that have less than it wants. Tasks without GPUs can use none of it. (After "Beware of Fragmentation",
 * USENIX ATC 2023.)
 */
import type { NeedFacts } from './read.ts'

/** A task that usually comes; weights sum up to 1. */
export interface TypicalTask {
  readonly cpuMilli: number
  readonly gpuCount: number
  readonly gpuMilli: number
  /** Null: any model. */
  readonly gpuModels: readonly string[] | null
  readonly weight: number
}

/** What of the tasks that come decides what is usual: the most frequent ones that make up this share of all. */
const usualShare = 0.95

/** Counts the tasks that come. */
export class Usual {
  readonly #counts = new Map<string, { readonly task: Omit<TypicalTask, 'weight'>; count: number }>()
  total = 0

  add(needs: NeedFacts, cpuMilli: number, count: number): void {
    const { gpuCount, gpuMilli, gpuModels } = needs
    const key = `${cpuMilli} ${gpuCount} ${gpuMilli} ${gpuModels?.join('|') ?? ''}`
    const known = this.#counts.get(key)
    if (known === undefined) this.#counts.set(key, { task: { cpuMilli, gpuCount, gpuMilli, gpuModels }, count })
    else known.count += count
    this.total += count
  }

  /** The usual ones, the most frequent first; of equally frequent ones the one that came first. */
  typical(): TypicalTask[] {
    const sorted = [...this.#counts.values()].sort((a, b) => b.count - a.count)
    let covered = 0
    let length = 0
    while (length < sorted.length && covered < usualShare * this.total) covered += sorted[length++]?.count ?? 0
    return sorted.slice(0, length).map(({ task, count }) => ({ ...task, weight: count / covered }))
  }
}

/** Typical tasks, prepared for one model of GPUs. */
export class Fragmentation {
  readonly #tasks: readonly TypicalTask[]
  readonly #byModel = new Map<string, readonly TypicalTask[]>()
  /** Weight of tasks that want no GPU. */
  readonly #without: number

  constructor(tasks: readonly TypicalTask[]) {
    this.#tasks = tasks.filter(({ gpuCount }) => gpuCount > 0)
    this.#without = tasks.reduce((sum, { gpuCount, weight }) => sum + (gpuCount === 0 ? weight : 0), 0)
  }

  /** Idle thousandths that are of no use, on average over the typical tasks. */
  of(cpuMilli: number, free: Int16Array, model: string): number {
    let left = 0
    for (const milli of free) left += milli
    if (left === 0) return 0
    let sum = this.#without * left
    for (const task of this.#for(model)) {
      if (task.cpuMilli > cpuMilli) {
        sum += task.weight * left
        continue
      }
      let fitting = 0
      let small = 0
      for (const milli of free)
        if (milli >= task.gpuMilli) fitting++
        else small += milli
      sum += task.weight * (fitting >= task.gpuCount ? small : left)
    }
    return sum + this.#refused(model) * left
  }

  #for(model: string): readonly TypicalTask[] {
    let tasks = this.#byModel.get(model)
    if (tasks === undefined) {
      tasks = this.#tasks.filter(({ gpuModels }) => gpuModels === null || gpuModels.includes(model))
      this.#byModel.set(model, tasks)
    }
    return tasks
  }

  /** Weight of tasks that want GPUs of other models. */
  #refused(model: string): number {
    let accepted = 0
    for (const { weight } of this.#for(model)) accepted += weight
    let all = 0
    for (const { weight } of this.#tasks) all += weight
    return all - accepted
  }
}
