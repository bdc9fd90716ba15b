/**
 * The peers of control: for each connected agent and gateway, what it was told last, and the smallest message that brings
 * it up to date: a snapshot first, deltas then.
 */
import { jsonEqual } from '../base/index.ts'
import type { Assignment, Downward, Route } from '../protocol/index.ts'
import type { Channel } from '../transport/index.ts'

/** A connected agent. */
export class AgentPeer {
  readonly name: string
  readonly channel: Channel<Downward>
  #told: Map<string, Assignment> | null = null
  #revision = 0

  constructor(name: string, channel: Channel<Downward>) {
    this.name = name
    this.channel = channel
  }

  /** Tells the agent what has changed, if anything has. */
  tell(epoch: number, assignments: readonly Assignment[]): void {
    const next = new Map(assignments.map((assignment) => [assignment.id, assignment]))
    if (this.#told === null) {
      this.#revision += 1
      this.channel.send({ type: 'plan', plan: { epoch, revision: this.#revision, assignments } })
    } else {
      const told = this.#told
      const put = assignments.filter((assignment) => !jsonEqual(told.get(assignment.id) ?? null, assignment))
      const remove = [...told.keys()].filter((id) => !next.has(id))
      if (put.length === 0 && remove.length === 0) return
      const base = this.#revision
      this.#revision += 1
      this.channel.send({ type: 'plan-delta', epoch, base, revision: this.#revision, put, remove })
    }
    this.#told = next
  }
}

/** A connected gateway. */
export class GatewayPeer {
  readonly name: string
  readonly channel: Channel<Downward>
  #toldRevision = -1

  constructor(name: string, channel: Channel<Downward>) {
    this.name = name
    this.channel = channel
  }

  /** Tells the gateway the table, unless it has it. */
  tell(epoch: number, revision: number, routes: readonly Route[]): void {
    if (this.#toldRevision === revision) return
    this.#toldRevision = revision
    this.channel.send({ type: 'routes', epoch, table: { revision, routes } })
  }
}
