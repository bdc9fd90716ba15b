/**
 * Pools: connections that each speak for many nodes. Keeps which nodes a pool speaks for and when each was heard of; one that
 * falls silent is told as away although its pool is there. Pure but for the clock that it is given.
 *
 * Invariants: heartbeats are never written; a beat costs one number.
 */
import type { NodeOffer, PoolNode, PoolUpward, TaskEnd } from '../protocol/index.ts'
import type { BatchEvent } from './events.ts'

/** A node whose beats stay away for so long is away. */
export const poolSilenceMs = 30_000
/** The fewest numbers that are set aside for a pool. */
const roomMin = 1024
/** Different offers that are remembered to be shared. */
const offersMax = 1000

interface Pool {
  readonly names: string[]
  /** What each has; those that have the same share one. */
  readonly offers: NodeOffer[]
  /** When each was heard of, in milliseconds of a clock that only goes on; Infinity: it is away. */
  heardMs: Float64Array
  readonly running: string[]
  readonly ended: TaskEnd[]
  readonly jobs: number[]
}

export class Pools {
  readonly #pools = new Map<string, Pool>()
  readonly #offers = new Map<string, NodeOffer>()

  get size(): number {
    return this.#pools.size
  }

  has(name: string): boolean {
    return this.#pools.has(name)
  }

  /** What follows from what a pool says. A node whose name does not begin with that of the pool is passed over: nobody speaks for others. */
  hear(name: string, message: PoolUpward, nowMs: number): BatchEvent[] {
    return message.type === 'pool-beats' ? this.#beats(name, message.nodes, nowMs) : this.#have(name, message, nowMs)
  }

  /** The connection has ended: all of its nodes are away. */
  gone(name: string): BatchEvent[] {
    const pool = this.#pools.get(name)
    this.#pools.delete(name)
    return pool === undefined ? [] : present(pool).map((node) => ({ kind: 'node-away', node }))
  }

  /** Nodes that have been silent for too long. */
  silent(nowMs: number): BatchEvent[] {
    const events: BatchEvent[] = []
    for (const { names, heardMs } of this.#pools.values())
      for (let index = 0; index < names.length; index++) {
        if (nowMs - (heardMs[index] ?? Infinity) <= poolSilenceMs) continue
        heardMs[index] = Infinity
        events.push({ kind: 'node-away', node: names[index] ?? '' })
      }
    return events
  }

  #have(name: string, said: Extract<PoolUpward, { type: 'pool-have' }>, nowMs: number): BatchEvent[] {
    const pool = this.#pools.get(name) ?? {
      names: [],
      offers: [],
      heardMs: new Float64Array(roomMin),
      running: [],
      ended: [],
      jobs: [],
    }
    this.#pools.set(name, pool)
    const came: PoolNode[] = []
    for (const node of said.nodes) {
      if (!node.name.startsWith(`${name}.`)) continue
      const offer = this.#shared(node.offer)
      const index = pool.names.push(node.name) - 1
      pool.offers.push(offer)
      came.push({ name: node.name, offer })
      if (index >= pool.heardMs.length) {
        const longer = new Float64Array(pool.heardMs.length * 2)
        longer.set(pool.heardMs)
        pool.heardMs = longer
      }
      pool.heardMs[index] = nowMs
    }
    pool.running.push(...said.running)
    pool.ended.push(...said.ended)
    pool.jobs.push(...said.jobs)
    const events: BatchEvent[] = came.length === 0 ? [] : [{ kind: 'pool-came', pool: name, nodes: came }]
    if (!said.last) return events
    const [running, ended, jobs] = [pool.running.splice(0), pool.ended.splice(0), pool.jobs.splice(0)]
    return [...events, { kind: 'node-came', node: name, offer: null, running, ended, jobs }]
  }

  #shared(offer: NodeOffer): NodeOffer {
    const key = JSON.stringify(offer)
    const known = this.#offers.get(key)
    if (known !== undefined) return known
    if (this.#offers.size >= offersMax) this.#offers.clear()
    this.#offers.set(key, offer)
    return offer
  }

  #beats(name: string, nodes: readonly number[], nowMs: number): BatchEvent[] {
    const pool = this.#pools.get(name)
    if (pool === undefined) return []
    const { heardMs, names, offers } = pool
    const back: PoolNode[] = []
    for (const index of nodes) {
      const [node, offer] = [names[index], offers[index]]
      if (node === undefined || offer === undefined) continue
      if (heardMs[index] === Infinity) back.push({ name: node, offer })
      heardMs[index] = nowMs
    }
    return back.length === 0 ? [] : [{ kind: 'pool-came', pool: name, nodes: back }]
  }
}

function present({ names, heardMs }: Pool): string[] {
  return names.filter((_, index) => heardMs[index] !== Infinity)
}
