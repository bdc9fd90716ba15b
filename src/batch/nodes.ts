/** The nodes as jobs see them. Invariant: a node that ends what had a place before starts nothing until that is over. */
import type { NodeOffer } from '../protocol/index.ts'
import type { NodeSpec } from '../scheduler/index.ts'
import type { BatchJob } from './job.ts'

export interface KnownNode {
  readonly offer: NodeOffer
  /** Connected, and has said what it has. */
  present: boolean
  /** Tasks that it was told to end and that have not. */
  readonly ending: Set<string>
  /** Tasks that wait for that. */
  readonly held: { readonly job: BatchJob; readonly position: number }[]
}

export class KnownNodes {
  readonly #nodes = new Map<string, KnownNode>()

  get size(): number {
    return this.#nodes.size
  }

  get(name: string): KnownNode | undefined {
    return this.#nodes.get(name)
  }

  add(name: string, offer: NodeOffer, present: boolean): void {
    this.#nodes.set(name, { offer, present, ending: new Set(), held: [] })
  }

  remove(name: string): void {
    this.#nodes.delete(name)
  }

  addressOf(name: string): string {
    return this.#nodes.get(name)?.offer.address ?? '127.0.0.1'
  }

  /** Whether a task has not begun because something else has not ended; a gang begins as one. */
  isHeld(job: BatchJob, position: number): boolean {
    const isGang = job.record.submission.gang !== null
    for (const { held } of this.#nodes.values())
      if (held.some((one) => one.job === job && (isGang || one.position === position))) return true
    return false
  }

  /** A task that is held is not started after all; answers whether it was held. */
  unhold(name: string, job: BatchJob, position: number): boolean {
    const held = this.#nodes.get(name)?.held ?? []
    const found = held.findIndex((one) => one.job === job && one.position === position)
    if (found >= 0) held.splice(found, 1)
    return found >= 0
  }

  all(): readonly { readonly node: string; readonly offer: NodeOffer; readonly present: boolean }[] {
    return [...this.#nodes].map(([node, { offer, present }]) => ({ node, offer, present }))
  }
}

/** A node for the scheduler; it takes in nothing before it has said what it has. */
export function nodeSpec(name: string, { cpu, memoryBytes, gpus, labels }: NodeOffer): NodeSpec {
  return { name, labels, cordoned: true, capacity: { cpu, memory: memoryBytes, ...(gpus === null ? {} : { gpus }) } }
}
