/**
 * The peers of control: for each connected agent and gateway, what it was told last, and the smallest message that brings
 * it up to date: a snapshot first, deltas then.
 */
import { jsonEqual, SteadError } from '../base/index.ts'
import {
  type Ask,
  askSince,
  type Assignment,
  type Downward,
  protocolVersion,
  protocolVersionMin,
  type RouteTable,
  type Upward,
} from '../protocol/index.ts'
import type { Channel } from '../transport/index.ts'
import { BundleSender } from './bundles.ts'

/** A connected agent. */
export class AgentPeer {
  readonly name: string
  /** Version of the protocol it speaks. */
  readonly protocol: number
  readonly channel: Channel<Downward>
  readonly bundles: BundleSender
  #told: Map<string, Assignment> | null = null
  #revision = 0

  constructor(
    { name, protocol }: { readonly name: string; readonly protocol: number },
    channel: Channel<Downward>,
    readBundle: (digest: string) => AsyncIterable<Uint8Array>,
  ) {
    this.name = name
    this.protocol = protocol
    this.channel = channel
    this.bundles = new BundleSender(channel, readBundle)
  }

  /** Revision of the plan it was told last; 0 before the first. */
  get revision(): number {
    return this.#revision
  }

  /** Asks the agent something, or says more of it; what it does not know is not said. */
  ask(id: string, ask: Ask): void {
    if (this.protocol >= askSince[ask.kind]) this.channel.send({ type: 'ask', id, ask })
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
  tell(epoch: number, { revision, routes, streams = [] }: RouteTable): void {
    if (this.#toldRevision === revision) return
    this.#toldRevision = revision
    const more = streams.length === 0 ? {} : { streams }
    this.channel.send({ type: 'routes', epoch, table: { revision, routes, ...more } })
  }
}

/** What a peer is told that is not taken on, or no more. */
export interface Refusal {
  readonly code: string
  readonly message: string
}

/** What an agent says beside its hello and what it does for submitted jobs. */
export type FromAgent = Exclude<Upward, { type: 'hello' | 'tasks-have' | 'tasks-ended' | 'tasks-offer' }>

/** Why a peer is not taken on; null when it is. */
export function refusalOf(hello: Extract<Upward, { type: 'hello' }>, identity: string | null): Refusal | null {
  const { name, protocol } = hello
  if (protocol < protocolVersionMin || protocol > protocolVersion) {
    const message = `control speaks protocols ${protocolVersionMin} to ${protocolVersion}, ${name} speaks ${protocol}`
    return { code: 'control.other-protocol', message }
  }
  if (identity !== null && identity !== name)
    return { code: 'control.other-name', message: `the key of ${identity} cannot speak for ${name}` }
  return null
}

/** Says why, and closes. */
export function refuse(channel: Channel<Downward>, refusal: Refusal): void {
  channel.send({ type: 'refused', ...refusal })
  channel.close()
}

/** The node that is asked. Throws `control.node-away`, `control.older-node`. */
export function peerAsked(agents: ReadonlyMap<string, AgentPeer>, node: string, kind: Ask['kind']): AgentPeer {
  const peer = agents.get(node)
  if (peer === undefined) {
    throw new SteadError({
      code: 'control.node-away',
      message: `node ${node} is not connected, and only it can answer`,
      hint: 'It is asked again when it has come back; see `stead status`.',
      retry: 'later',
    })
  }
  if (peer.protocol < askSince[kind]) {
    throw new SteadError({
      code: 'control.older-node',
      message: `node ${node} runs an older Stead that cannot do this`,
      hint: 'Upgrade it, then try again.',
    })
  }
  return peer
}

/** The node that is meant: the one that is named, or the only one. Throws `control.unknown-node`. */
export function theNode(named: string | null, agents: ReadonlyMap<string, unknown>): string {
  const names = [...agents.keys()]
  const [only, ...more] = names
  if (named !== null && names.includes(named)) return named
  if (named === null && only !== undefined && more.length === 0) return only
  throw new SteadError({
    code: 'control.unknown-node',
    message: named === null ? 'there are several nodes: which one?' : `no node called ${named} is connected`,
    hint: names.length === 0 ? 'None is.' : `There are: ${names.join(', ')}.`,
  })
}
