/**
 * The connections of pools, which speak for many nodes that only run submitted jobs. Nothing else of control turns for them.
 * Invariant: a name is that of one connection, pool or agent.
 */
import type { Batch } from '../batch/index.ts'
import type { Downward, Upward } from '../protocol/index.ts'
import type { Channel } from '../transport/index.ts'
import { type Refusal, refuse } from './peers.ts'

export class PoolPeers {
  readonly #channels = new Map<string, Channel<Downward>>()

  /** Why a pool or an agent that says hello cannot be called so; null: it can. */
  refusalOf({ role, name }: Extract<Upward, { type: 'hello' }>, agents: ReadonlyMap<string, unknown>): Refusal | null {
    const isTaken = (role === 'pool' && agents.has(name)) || (role === 'agent' && this.#channels.has(name))
    return isTaken ? { code: 'control.name-taken', message: `something else is called ${name}` } : null
  }

  came(batch: Batch, name: string, channel: Channel<Downward>): void {
    const before = this.#channels.get(name)
    if (before !== undefined) {
      refuse(before, { code: 'control.name-taken', message: `another pool has come as ${name}` })
      batch.poolGone(name)
    }
    this.#channels.set(name, channel)
  }

  hear(batch: Batch, name: string, channel: Channel<Downward>, message: Upward): void {
    if (this.#channels.get(name) !== channel) return
    if (message.type === 'tasks-ended') batch.hear(name, message)
    else if (message.type === 'pool-have' || message.type === 'pool-beats') batch.hearPool(name, message)
  }

  /** The connection has ended. */
  gone(batch: Batch, name: string, channel: Channel<Downward>): void {
    if (this.#channels.get(name) !== channel) return
    this.#channels.delete(name)
    batch.poolGone(name)
  }

  of(name: string): Channel<Downward> | undefined {
    return this.#channels.get(name)
  }
}
