/**
 * The nodes as jobs see them, and the records of what they have. Invariants: a node is in one record, one of its own or one of its
 * pool that it shares with others; what changes is among the writes that are taken next.
 */
import { isDeepStrictEqual } from 'node:util'
import type { NodeOffer } from '../protocol/index.ts'
import type { ExpectedLoad, NodeSpec } from '../scheduler/index.ts'
import type { Unstamped } from './events.ts'
import type { Write } from './ledger.ts'
import { type BatchRecords, type CordonRecord, keys, type PoolRecord } from './records.ts'

/** Nodes of a pool in one record: a million records would be a million writes. */
const chunkSize = 500

/** The nodes of one record of a pool. */
interface Chunk {
  readonly pool: string
  readonly number: number
  readonly names: string[]
}

export interface KnownNode {
  offer: NodeOffer
  /** What it is expected to need for the parts of apps. */
  load: readonly ExpectedLoad[]
  /** Connected, and has said what it has. */
  present: boolean
  /** Null: it has a record of its own. */
  readonly chunk: Chunk | null
}

const nothing: readonly never[] = []

export class KnownNodes {
  readonly #nodes = new Map<string, KnownNode>()
  /** The last record of each pool, in which there is room. */
  readonly #open = new Map<string, Chunk>()
  readonly #changed = new Set<Chunk>()
  readonly #cordons = new Map<string, CordonRecord>()
  #writes = new Map<string, NodeOffer | CordonRecord | null>()

  get size(): number {
    return this.#nodes.size
  }

  get(name: string): KnownNode | undefined {
    return this.#nodes.get(name)
  }

  /** `pool` speaks for it; null: it speaks for itself. */
  add(name: string, offer: NodeOffer, pool: string | null): void {
    const chunk = pool === null ? null : this.#roomOf(pool)
    chunk?.names.push(name)
    this.#nodes.set(name, { offer, load: nothing, present: true, chunk })
    this.#note(name, offer, chunk)
  }

  /** Somebody wants that it takes in nothing new; null: it may again. Also of one that goes and comes back. */
  setCordon(name: string, cordon: CordonRecord | null): void {
    if (cordon === null) this.#cordons.delete(name)
    else this.#cordons.set(name, cordon)
    this.#writes.set(keys.cordon(name), cordon)
  }

  cordonOf(name: string): CordonRecord | null {
    return this.#cordons.get(name) ?? null
  }

  /** Whether it takes in new tasks: what the scheduler is to hear, and why not. */
  openness(name: string): Unstamped {
    const cordon = this.cordonOf(name)
    if (cordon !== null)
      return {
        kind: 'cordon',
        node: name,
        why: {
          reason: 'being cordoned',
          because: `was cordoned by ${cordon.by} at ${cordon.sinceMs} ms`,
          remedy: `open it: stead job node ${name} open`,
        },
      }
    if (this.#nodes.get(name)?.present === true) return { kind: 'uncordon', node: name }
    return {
      kind: 'cordon',
      node: name,
      why: {
        reason: 'being away',
        because: 'is away: its agent is not connected',
        remedy: `start the agent of ${name} again`,
      },
    }
  }

  /** Takes up what was written. Nobody is present. */
  restore({ nodes, pools, cordons }: Pick<BatchRecords, 'nodes' | 'pools' | 'cordons'>): void {
    for (const [name, cordon] of cordons) this.#cordons.set(name, cordon)
    for (const [name, offer] of nodes) this.#nodes.set(name, { offer, load: nothing, present: false, chunk: null })
    for (const [key, { offers, nodes: indexes }] of pools) {
      const slash = key.lastIndexOf('/')
      const chunk: Chunk = { pool: key.slice(0, slash), number: Number(key.slice(slash + 1)), names: [] }
      for (const [name, index] of Object.entries(indexes)) {
        const offer = offers[index]
        if (offer === undefined) continue
        chunk.names.push(name)
        this.#nodes.set(name, { offer, load: nothing, present: false, chunk })
      }
      if (chunk.number >= (this.#open.get(chunk.pool)?.number ?? 0)) this.#open.set(chunk.pool, chunk)
    }
  }

  /** It has something else than it had: what the scheduler is to hear; nothing where it has not. What runs there stays. */
  change(name: string, offer: NodeOffer): readonly Unstamped[] {
    const known = this.#nodes.get(name)
    if (known === undefined || known.offer === offer || isDeepStrictEqual(known.offer, offer)) return []
    known.offer = offer
    this.#note(name, offer, known.chunk)
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
    const chunk = this.#nodes.get(name)?.chunk ?? null
    this.#nodes.delete(name)
    chunk?.names.splice(chunk.names.indexOf(name), 1)
    this.#note(name, null, chunk)
  }

  addressOf(name: string): string {
    return this.#nodes.get(name)?.offer.address ?? '127.0.0.1'
  }

  all(): readonly { readonly node: string; readonly offer: NodeOffer; readonly present: boolean }[] {
    return [...this.#nodes].map(([node, { offer, present }]) => ({ node, offer, present }))
  }

  /** What is to be written. */
  take(): readonly Write[] {
    if (this.#writes.size + this.#changed.size === 0) return nothing
    const writes: Write[] = [...this.#writes]
    for (const chunk of this.#changed) writes.push([keys.pool(chunk.pool, chunk.number), this.#recordOf(chunk)])
    this.#writes = new Map()
    this.#changed.clear()
    return writes
  }

  #note(name: string, offer: NodeOffer | null, chunk: Chunk | null): void {
    if (chunk === null) this.#writes.set(keys.node(name), offer)
    else this.#changed.add(chunk)
  }

  #roomOf(pool: string): Chunk {
    const open = this.#open.get(pool)
    if (open !== undefined && open.names.length < chunkSize) return open
    const next: Chunk = { pool, number: open === undefined ? 0 : open.number + 1, names: [] }
    this.#open.set(pool, next)
    return next
  }

  /** Null: nobody is left in it. */
  #recordOf({ names }: Chunk): PoolRecord | null {
    if (names.length === 0) return null
    const numbers = new Map<NodeOffer, number>()
    const nodes: Record<string, number> = {}
    for (const name of names) {
      const offer = this.#nodes.get(name)?.offer
      if (offer === undefined) continue
      const number = numbers.get(offer) ?? numbers.size
      numbers.set(offer, number)
      nodes[name] = number
    }
    return { offers: [...numbers.keys()], nodes }
  }
}

/** A node for the scheduler; it takes in nothing before it has said what it has. */
export function nodeSpec(name: string, offer: NodeOffer, cordoned = true): NodeSpec {
  const { labels, bestEffortFactor } = offer
  return {
    name,
    labels,
    cordoned,
    capacity: capacityOf(offer),
    ...(bestEffortFactor === undefined ? {} : { bestEffortFactor }),
  }
}

function capacityOf({ cpu, memoryBytes, gpus, counted, realtimeCores, networkBits }: NodeOffer): NodeSpec['capacity'] {
  return {
    cpu,
    memory: memoryBytes,
    ...(gpus === null ? {} : { gpus }),
    ...(networkBits === undefined ? {} : { network: Math.floor(networkBits) }),
    ...(counted === undefined ? {} : { counted }),
    ...(realtimeCores === undefined ? {} : { realtimeCores }),
  }
}
