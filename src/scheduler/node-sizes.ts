/**
 * What nodes have: those that have the same share one size. Invariant: a size that no node has is forgotten, so nodes that change
 * often leave nothing behind.
 */
import type { NodeFacts } from './read.ts'
import { baseColumnOf, type Resources } from './resources.ts'

export interface NodeSize {
  readonly number: number
  readonly key: string
  /** By column of the resource; what is shared is not in it. */
  readonly amounts: readonly number[]
  /** How much of what can be squeezed all tasks together may ask for. */
  readonly factor: number
  readonly realtimeCores: number
  readonly gpuCount: number
  nodes: number
}

export class NodeSizes {
  readonly #resources: Resources
  readonly #all: (NodeSize | undefined)[] = []
  readonly #byKey = new Map<string, NodeSize>()
  readonly #unused: number[] = []

  constructor(resources: Resources) {
    this.#resources = resources
  }

  get(number: number): NodeSize | undefined {
    return this.#all[number]
  }

  /** The size of one more node. Throws `scheduler.too-large`. */
  take({ amounts, bestEffortFactor, realtimeCores, gpuCount }: NodeFacts): NodeSize {
    let key = `${bestEffortFactor}/${realtimeCores}/${gpuCount}`
    for (const [resource, amount] of amounts) key += `/${resource}/${amount}`
    const known = this.#byKey.get(key)
    if (known !== undefined) {
      known.nodes++
      return known
    }
    const byColumn: number[] = []
    for (const [resource, amount] of amounts) {
      const column = this.#resources.column(resource)
      while (byColumn.length <= column) byColumn.push(0)
      byColumn[column] = amount
    }
    const number = this.#unused.pop() ?? this.#all.length
    const made = { number, key, amounts: byColumn, factor: bestEffortFactor, realtimeCores, gpuCount, nodes: 1 }
    this.#all[number] = made
    this.#byKey.set(key, made)
    return made
  }

  /** A node has it no more. */
  letGo(size: NodeSize): void {
    if (--size.nodes > 0) return
    this.#byKey.delete(size.key)
    this.#all[size.number] = undefined
    this.#unused.push(size.number)
  }
}

/** How much of a column a node of the size has; of what is shared, as much as all tasks may ask for. */
export function amountOf(size: NodeSize | undefined, column: number): number {
  if (size === undefined) return 0
  const base = baseColumnOf(column)
  return base === undefined ? (size.amounts[column] ?? 0) : Math.floor((size.amounts[base] ?? 0) * size.factor)
}
