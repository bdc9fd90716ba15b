/** The edges of an instance, opened in its place: a listener for each part that it may dial. */
import { type Forwarder, type NetworkDriver, openForwarder, type Place, type Target } from '../network/index.ts'
import type { Edge, InstanceAssignment } from '../protocol/index.ts'
import type { Surroundings } from './surroundings.ts'

/** Where an edge really listens, for an instance: as planned where it has its own network, elsewhere a loopback port. */
export interface OpenEdge {
  readonly edge: Edge
  readonly host: string
  readonly address: string
  readonly port: number
}

export interface EdgesOf {
  readonly network: NetworkDriver
  readonly surroundings: Pick<Surroundings, 'refuses' | 'targets'>
  /** The newest: targets change often. */
  readonly assignment: () => InstanceAssignment
  /** Gets a forwarder for each edge that is dialled, by the edge's name. */
  readonly forwarders: Map<string, Forwarder>
  /** Gets what the edges have led to. */
  readonly used: Set<string>
}

/** Opens all of them. Throws what listening throws. */
export async function openEdges(place: Place, of: EdgesOf): Promise<OpenEdge[]> {
  const { network, surroundings, assignment, forwarders, used } = of
  const open: OpenEdge[] = []
  for (const edge of assignment().edges) {
    if (edge.port === 0) {
      open.push({ edge, host: edge.part, address: edge.address, port: 0 })
      continue
    }
    const current = (): Edge => assignment().edges.find((other) => other.as === edge.as) ?? edge
    const targets = (): readonly Target[] => {
      if (surroundings.refuses(assignment(), edge)) return []
      const now = surroundings.targets(current(), assignment())
      for (const { id } of now) used.add(id)
      return now
    }
    const forwarder = await openForwarder({ network, place, address: edge.address, port: edge.port, targets })
    forwarders.set(edge.as, forwarder)
    const host = network.capabilities.isolation === 'native' ? edge.part : forwarder.address
    open.push({ edge, host, address: forwarder.address, port: forwarder.port })
  }
  return open
}
