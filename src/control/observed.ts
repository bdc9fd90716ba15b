/**
 * What nodes and gateways have said, in memory only: where their assignments stand, what they have applied, their disks and
 * the traffic. Invariant: what a node says counts for what is its own, and what was last heard of one that is away stands.
 */
import { assert, type Clock } from '../base/index.ts'
import type { AssignmentStatus, DiskState, Upward } from '../protocol/index.ts'
import { nodeOf, nodesIn } from './derive.ts'
import type { ControlState, GatewayView, NodeView } from './state.ts'
import { TrafficBook } from './traffic.ts'

/** How long a gateway that went silent is still waited for before an old instance is stopped. */
const gatewayLeaseMs = 15_000

export class Observed {
  readonly nodes: Map<string, NodeView> = new Map()
  readonly gateways: Map<string, GatewayView> = new Map()
  readonly statuses: Map<string, AssignmentStatus> = new Map()
  readonly disks: Map<string, DiskState> = new Map()
  readonly traffic: TrafficBook = new TrafficBook()
  readonly #clock: Clock
  readonly #records: Pick<ControlState, 'instances' | 'apps'>
  /** Nodes that have something to run and were not heard of yet. */
  readonly #expected: Set<string>

  constructor(clock: Clock, records: Pick<ControlState, 'instances' | 'apps'>) {
    this.#clock = clock
    this.#records = records
    this.#expected = nodesIn(records)
    for (const name of this.#expected) this.nodeAway(name)
  }

  /** Whether every node that has something to run has said where that stands. */
  get complete(): boolean {
    return this.#expected.size === 0
  }

  /** A node has no channel, or a new one that has not said anything yet. */
  nodeAway(name: string): void {
    // What it carried when it was last heard of, it carries until it says otherwise.
    const busy = this.nodes.get(name)?.busy ?? []
    const sinceMs = this.#clock.nowMs()
    this.nodes.set(name, { connected: false, sinceMs, toldRevision: 0, appliedRevision: 0, busy })
  }

  /** A node has been told a plan. */
  told(name: string, revision: number): void {
    const view = this.nodes.get(name)
    if (view !== undefined) this.nodes.set(name, { ...view, toldRevision: revision })
  }

  /** Takes what a node says of its assignments. */
  takeStatus(name: string, { full, statuses }: Extract<Upward, { type: 'status' }>): void {
    const view = this.nodes.get(name)
    if (view === undefined) return
    if (full) {
      for (const id of this.statuses.keys()) if (nodeOf(this.#records, id) === name) this.statuses.delete(id)
      this.#expected.delete(name)
      if (!view.connected) this.nodes.set(name, { ...view, connected: true, sinceMs: this.#clock.nowMs() })
    }
    for (const status of statuses) if (nodeOf(this.#records, status.id) === name) this.statuses.set(status.id, status)
  }

  /** Takes which plan is in force on a node, and what carries streams there. */
  takeApplied(name: string, { revision, busy }: Extract<Upward, { type: 'applied' }>): void {
    const view = this.nodes.get(name)
    if (view !== undefined) this.nodes.set(name, { ...view, appliedRevision: revision, busy })
  }

  gatewayCame(name: string): void {
    this.gateways.set(name, { connected: true, appliedRevision: 0, busy: [], leaseUntilMs: 0 })
  }

  gatewayGone(name: string): void {
    this.traffic.forget(name)
    const view = this.gateways.get(name)
    assert(view !== undefined, 'a gateway that goes had come')
    this.gateways.set(name, { ...view, connected: false, leaseUntilMs: this.#clock.nowMs() + gatewayLeaseMs })
  }

  /** Takes what a gateway says. */
  takeFromGateway(name: string, message: Upward): void {
    if (message.type === 'traffic') return this.traffic.receive(name, message.report)
    if (message.type !== 'applied') return
    const { revision, busy } = message
    this.gateways.set(name, { connected: true, appliedRevision: revision, busy, leaseUntilMs: 0 })
  }
}
