/** The nodes as jobs see them. Invariant: a node that ends what had a place before starts nothing until that is over. */
import { isDeepStrictEqual } from 'node:util'
import type { NodeOffer } from '../protocol/index.ts'
import type { ExpectedLoad, NodeSpec } from '../scheduler/index.ts'
import type { Unstamped } from './events.ts'
import type { BatchJob } from './job.ts'

export interface KnownNode {
  offer: NodeOffer
  /** What it is expected to need for the parts of apps. */
  load: readonly ExpectedLoad[]
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
    this.#nodes.set(name, { offer, load: [], present, ending: new Set(), held: [] })
  }

  /** It has something else than it had: what the scheduler is to hear; nothing where it has not. What runs there stays. */
  change(name: string, offer: NodeOffer): readonly Unstamped[] {
    const known = this.#nodes.get(name)
    if (known === undefined || isDeepStrictEqual(known.offer, offer)) return []
    known.offer = offer
    const { labels = {}, capacity, bestEffortFactor = 1 } = nodeSpec(name, offer)
    const changed = { kind: 'change-node', node: name, labels, capacity, bestEffortFactor } as const
    return [changed, ...this.expect(name, known.load)]
  }

  /** What the parts of apps there will use, which is left to them where its owner wants that. */
  expect(name: string, load: readonly ExpectedLoad[]): readonly Unstamped[] {
    const known = this.#nodes.get(name)
    if (known === undefined) return []
    known.load = load
    return [{ kind: 'expect', node: name, load: known.offer.usesForecast === true ? load : [] }]
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
export function nodeSpec(name: string, offer: NodeOffer): NodeSpec {
  const { labels, bestEffortFactor } = offer
  return {
    name,
    labels,
    cordoned: true,
    capacity: capacityOf(offer),
    ...(bestEffortFactor === undefined ? {} : { bestEffortFactor }),
  }
}

function capacityOf({ cpu, memoryBytes, gpus, counted, realtimeCores }: NodeOffer): NodeSpec['capacity'] {
  return {
    cpu,
    memory: memoryBytes,
    ...(gpus === null ? {} : { gpus }),
    ...(counted === undefined ? {} : { counted }),
    ...(realtimeCores === undefined ? {} : { realtimeCores }),
  }
}
