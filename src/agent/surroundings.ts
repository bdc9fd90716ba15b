/** What an instance asks its agent. Invariant: every question is answered from what stands now, and nothing is waited for. */
import type { NameLookup, Rates, Target } from '../network/index.ts'
import type { Edge, InstanceAssignment } from '../protocol/index.ts'
import type { Incidents } from './incidents.ts'
import type { StatePlace } from './state.ts'

export interface Surroundings {
  /** Where an edge leads now. */
  targets(edge: Edge, consumer: InstanceAssignment): readonly Target[]
  /** Null when an instance with this edge may start; else why not, in a sentence. */
  missing(edge: Edge, consumer: InstanceAssignment): string | null
  /** App whose names the data behind an edge has: of a branch, the one that it was made from. */
  dataApp(edge: Edge, consumer: InstanceAssignment): string
  /** The state that an instance keeps itself, as its own from now on; null when it keeps none. Throws while another has it. */
  state(assignment: InstanceAssignment): Promise<StatePlace | null>
  /** Whether it is kept from running on purpose. */
  held(assignment: InstanceAssignment): boolean
  /** Whether a new stream of this edge is to be refused on purpose. */
  refuses(assignment: InstanceAssignment, edge: Edge): boolean
  changed(): void
  /** Looks up names outside, for all instances of the node. */
  readonly names: NameLookup
  /** Shares what the node's network carries. */
  readonly rates: Rates
  readonly incidents: Incidents
  /** A text without the values of secrets that this node knows. */
  redact(text: string): string
}
