/**
 * The faults that are made on purpose, as control knows them: which nodes have to make one, and what those tell. Invariant:
 * control keeps nothing of them: the nodes hold the leases, and say it again when control comes back.
 */
import { type Random, randomId, SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { Ask, Fault, FaultCounts, FaultStatus } from '../protocol/index.ts'
import type { Records } from './records.ts'
import type { InstanceRecord } from './state.ts'

/** Has a node do something; resolves when it has. */
export type Order = (node: string, what: Extract<Ask, { kind: 'break' | 'heal' }>) => Promise<void>

export class NodeFaults {
  /** By node, as it said last. */
  readonly #told = new Map<string, readonly FaultStatus[]>()
  readonly #records: Pick<Records, 'apps' | 'instances'>
  readonly #random: Random
  readonly #order: Order

  constructor(records: Pick<Records, 'apps' | 'instances'>, random: Random, order: Order) {
    this.#records = records
    this.#random = random
    this.#order = order
  }

  hear(node: string, faults: readonly FaultStatus[]): void {
    this.#told.set(node, faults)
  }

  of(app: string): FaultStatus[] {
    return merged(app, this.#told.values())
  }

  /**
   * Breaks something of an app on every node where it has a place; answers the fault's id. It heals by itself. Throws
   * `control.unknown-part`, `control.fault-refused`, `control.node-away`, `control.ask-failed` in the node's words.
   */
  async break(name: string, fault: Fault, leaseMs: number): Promise<string> {
    const app = this.#records.apps.get(name)
    if (app?.wanted !== true) throw refused(`${name} does not run`)
    const { graph, home } = app
    const instances = [...this.#records.instances.values()].filter((record) => record.app === name)
    const lease = { id: randomId(this.#random), app: graph.app, fault, leaseMs }
    const nodes = nodesOf(fault, graph, home, instances)
    await Promise.all(nodes.map((node) => this.#order(node, { kind: 'break', lease })))
    return lease.id
  }

  /** Heals a fault before its time, wherever it lasts. */
  async heal(app: string, id: string): Promise<void> {
    const nodes = [...this.#told].filter(([, faults]) =>
      faults.some((fault) => fault.id === id && fault.app === app && fault.endedMs === null),
    )
    await Promise.all(nodes.map(([node]) => this.#order(node, { kind: 'heal', fault: id })))
  }
}

/** The nodes on which a fault of an app has its place. Throws `control.unknown-part`, `control.fault-refused`. */
function nodesOf(
  fault: Fault,
  graph: Graph,
  home: string,
  instances: readonly Pick<InstanceRecord, 'node' | 'part'>[],
): readonly string[] {
  if (fault.kind === 'fill-disk') return [home]
  const part = graph.parts.find(({ name }) => name === fault.part)
  if (part === undefined) {
    throw new SteadError({
      code: 'control.unknown-part',
      message: `${graph.app} has no part called ${fault.part}`,
      hint: `It has: ${graph.parts.map(({ name }) => name).join(', ')}.`,
    })
  }
  if (fault.kind === 'cut' && (part.kind === 'resource' || !part.uses.some((use) => use.part === fault.uses)))
    throw refused(`${fault.part} does not use ${fault.uses}`)
  if (part.kind === 'resource') return [home]
  const nodes = new Set(instances.filter((instance) => instance.part.name === part.name).map(({ node }) => node))
  if (nodes.size === 0) throw refused(`nothing of ${part.name} runs now`)
  return [...nodes]
}

/** What the nodes say of an app's faults, one entry for each fault: costs add up, and it is over when it is everywhere. */
function merged(app: string, told: Iterable<readonly FaultStatus[]>): FaultStatus[] {
  const found = new Map<string, FaultStatus>()
  for (const fault of [...told].flat().filter((status) => status.app === app)) {
    const other = found.get(fault.id)
    found.set(fault.id, other === undefined ? fault : both(other, fault))
  }
  return [...found.values()].toSorted((a, b) => a.sinceMs - b.sinceMs)
}

function both(a: FaultStatus, b: FaultStatus): FaultStatus {
  const sum = (name: keyof FaultCounts): number => a.counts[name] + b.counts[name]
  return {
    ...a,
    sinceMs: Math.min(a.sinceMs, b.sinceMs),
    untilMs: Math.max(a.untilMs, b.untilMs),
    endedMs: a.endedMs === null || b.endedMs === null ? null : Math.max(a.endedMs, b.endedMs),
    counts: {
      killed: sum('killed'),
      streamsReset: sum('streamsReset'),
      streamsRefused: sum('streamsRefused'),
      filledBytes: sum('filledBytes'),
    },
  }
}

function refused(message: string): SteadError {
  return new SteadError({ code: 'control.fault-refused', message })
}
