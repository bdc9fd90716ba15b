/**
 * What a task takes and what is checked of it, by column. Invariant: it never changes, so all jobs that need the same share
 * one.
 */
import type { NeedFacts } from './read.ts'
import { cpuColumn, memoryColumn, sharedColumnOf, type Resources } from './resources.ts'

/** Of those that jobs need, how many are kept for jobs to come. */
const keptMax = 1000

export interface Takes {
  /** The needs that this was made from; others that are the same need not be kept. */
  readonly needs: NeedFacts
  readonly cpu: number
  readonly memory: number
  /** What a task takes; also in shared columns, which are only checked when the request is best effort. */
  readonly columns: readonly number[]
  readonly amounts: readonly number[]
  /** What is checked beside guaranteed cpu and memory. */
  readonly checkedColumns: readonly number[]
  readonly checkedAmounts: readonly number[]
  /** Bits per second, for uplinks. */
  readonly network: number
}

export class TakesTable {
  readonly #resources: Resources
  readonly #openShared: (column: number) => void
  readonly #kept = new Map<string, Takes>()

  /** `openShared`: somebody asks for a squeezable resource as best effort. */
  constructor(resources: Resources, openShared: (column: number) => void) {
    this.#resources = resources
    this.#openShared = openShared
  }

  of(needs: NeedFacts): Takes {
    const key = keyOf(needs)
    const known = this.#kept.get(key)
    if (known !== undefined) return known
    const made = this.#make(needs)
    // Jobs keep theirs; what is forgotten here is only made again.
    if (this.#kept.size >= keptMax) this.#kept.clear()
    this.#kept.set(key, made)
    return made
  }

  #make(needs: NeedFacts): Takes {
    const { amounts: asked, bestEffort } = needs
    const columns: number[] = []
    const amounts: number[] = []
    const checkedColumns: number[] = []
    const checkedAmounts: number[] = []
    let [cpu, memory, network] = [0, 0, 0]
    for (const [resource, amount] of asked) {
      const column = this.#resources.column(resource)
      const shared = sharedColumnOf(column)
      const squeezed = shared !== undefined && bestEffort.some((name) => name === resource)
      if (squeezed) this.#openShared(column)
      else {
        columns.push(column)
        amounts.push(amount)
        if (resource === 'network') network = amount
      }
      if (shared !== undefined) {
        columns.push(shared)
        amounts.push(amount)
      }
      if (!squeezed && column === cpuColumn) cpu = amount
      else if (column === memoryColumn) memory = amount
      else {
        checkedColumns.push(squeezed ? shared : column)
        checkedAmounts.push(amount)
      }
    }
    return { needs, cpu, memory, network, columns, amounts, checkedColumns, checkedAmounts }
  }
}

/** The same for the same needs. No name of a resource holds a slash. */
function keyOf({ amounts, bestEffort, gpuCount, gpuMilli, gpuModels, cpuTime }: NeedFacts): string {
  let key = ''
  for (const [resource, amount] of amounts) key += `${resource}/${amount}/`
  for (const resource of bestEffort) key += resource
  return gpuCount === 0 && cpuTime === null ? key : `${key}/${JSON.stringify([gpuCount, gpuMilli, gpuModels, cpuTime])}`
}
