/**
 * Control: keeps what should be in the store, hears what is from agents and gateways, decides, and tells them. All
 * deciding is in `decide`; this file turns events into turns.
 *
 * Invariant: what is told follows from records that are already durable; a turn that cannot write tells nothing.
 */
import { assert, type Clock, isSteadError, jsonEqual, type Random, randomId, SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import { type AssignmentStatus, type Downward, type LogLine, type Route, type Upward } from '../protocol/index.ts'
import type { Lease, Operation, Store } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import { Asks } from './asks.ts'
import { decide } from './decide.ts'
import { assignmentsOf, needsBundle, nodeOf, nodesIn, type ResourceType, routesFor, routesOf } from './derive.ts'
import { carryOut, type Order } from './operate.ts'
import { AgentPeer, GatewayPeer, refusalOf, refuse } from './peers.ts'
import {
  controlLease,
  countStart,
  keys,
  loadRecords,
  newIdentities,
  put,
  putsOf,
  type Records,
  takeIn,
  write,
  writeAll,
} from './records.ts'
import { type ControlState, type DesiredApp, type GatewayView, type NodeView } from './state.ts'
import { type AppView, viewOf } from './view.ts'

const leaseTtlMs = 15_000
const tickMs = 1000
/** How long a gateway that went silent is still waited for before an old instance is stopped. */
const gatewayLeaseMs = 15_000
/** How long a control that has just started waits for the nodes it knows before it decides without them. */
const settleMs = 10_000
/** Route revisions of one start. The number of the start is in front, so that they grow over restarts. */
const routeRevisionsPerStart = 2 ** 32

export interface ControlOptions {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly types: readonly ResourceType[]
  /** Name of this control; of two with different names only one works at a time. */
  readonly holder: string
  /** Called with what ends it: another control has taken over, or the store failed. */
  readonly onFatal: (error: unknown) => void
  /** Gives the bytes of a bundle to a node that lacks it. */
  readonly readBundle: (digest: string) => AsyncIterable<Uint8Array>
}

/** What an app should be. */
export interface Apply {
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  /** Node that holds the app's data from now on. Without it control chooses; an app that has a home keeps it. */
  readonly home?: string
}

export interface Control extends AsyncDisposable {
  /** Takes on a peer that has just connected; answers what to do with its messages. */
  accept(channel: Channel<Downward>): (message: Upward) => void
  /**
   * Makes this what the app should be. Answers the release number; the same again when nothing has changed. Throws
   * `control.no-node` when it has to choose a home and no node is connected, `control.stopped`.
   */
  apply(apply: Apply): Promise<number>
  /** Everything of the app is to stop; its data stays. */
  stop(app: string): Promise<void>
  /** Carries out what a person asks of a part; answers the instance that was made, if any. Throws what `carryOut` does. */
  operate(order: Order): Promise<string | null>
  view(app: string): AppView | null
  apps(): readonly string[]
  /** The nodes that control knows, and whether it hears them now. */
  nodes(): readonly { readonly name: string; readonly connected: boolean }[]
  /** Calls `run` soon after something may have changed. */
  onChange(run: () => void): Disposable
  /** Output of an assignment, from the node that has it. Throws `control.node-away`, `control.logs-failed`. */
  logs(
    assignment: string,
    options: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine>
}

/** Starts control on a store. Throws `control.elsewhere` when another one holds the lease. */
export async function startControl(options: ControlOptions): Promise<Control> {
  const lease = await options.store.acquireLease(controlLease, options.holder, leaseTtlMs)
  if (lease === null) {
    throw new SteadError({
      code: 'control.elsewhere',
      message: 'another control holds this store',
      hint: `It stops being the one ${leaseTtlMs / 1000} s after it dies.`,
      retry: 'later',
    })
  }
  const start = await countStart(options.store, lease)
  const control = new RunningControl(options, lease, await loadRecords(options.store), start)
  control.start()
  return control
}

class RunningControl implements Control {
  readonly #options: ControlOptions
  readonly #records: Records
  readonly #nodes = new Map<string, NodeView>()
  readonly #gateways = new Map<string, GatewayView>()
  readonly #statuses = new Map<string, AssignmentStatus>()
  readonly #agents = new Map<string, AgentPeer>()
  readonly #gatewayPeers = new Map<string, GatewayPeer>()
  readonly #listeners = new Set<() => void>()
  readonly #asks: Asks
  readonly #startedMs: number
  /** Nodes that have something to run and were not heard of yet, and until when they are waited for. */
  readonly #expected: Set<string>
  readonly #settleUntilMs: number
  #lease: Lease
  #renewAtMs: number
  #routes: readonly Route[] | null = null
  #routeRevision: number
  #dirty = false
  /** The last change of the records that was asked for. */
  #last: Promise<unknown> = Promise.resolve()
  #timer: Disposable | null = null
  #stopped = false

  constructor(options: ControlOptions, lease: Lease, records: Records, start: number) {
    const { clock, random } = options
    this.#options = options
    this.#lease = lease
    this.#records = records
    this.#asks = new Asks(random)
    this.#routeRevision = start * routeRevisionsPerStart
    this.#renewAtMs = clock.monotonicMs() + leaseTtlMs / 3
    this.#startedMs = clock.nowMs()
    this.#settleUntilMs = clock.monotonicMs() + settleMs
    this.#expected = nodesIn(records)
    for (const name of this.#expected) this.#nodeAway(name)
  }

  start(): void {
    const tick = (): void => {
      if (this.#stopped) return
      this.#wake()
      this.#timer = this.#options.clock.after(tickMs, tick)
    }
    tick()
  }

  #state(): ControlState {
    return {
      ...this.#records,
      nodes: this.#nodes,
      gateways: this.#gateways,
      statuses: this.#statuses,
      routeRevision: this.#routeRevision,
      startedMs: this.#startedMs,
    }
  }

  /**
   * Runs one change of the records after another: each starts from what the last one has written. When it is not known
   * whether the store has taken a change, what is in memory is not to be trusted, and control ends.
   */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(() => {
      if (this.#stopped) throw new SteadError({ code: 'control.stopped', message: 'this control has stopped' })
      return work()
    })
    this.#last = result.catch((error: unknown) => {
      if (isSteadError(error) && ['control.replaced', 'store.outcome-unknown'].includes(error.code)) this.#fail(error)
    })
    return result
  }

  #fail(error: unknown): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#options.onFatal(error)
  }

  /** Asks for a turn; many askings before it starts make one turn. */
  #wake(): void {
    if (this.#dirty || this.#stopped) return
    this.#dirty = true
    const turn = async (): Promise<void> => {
      this.#dirty = false
      await this.#turn()
    }
    this.#exclusive(turn).catch((error: unknown) => this.#fail(error))
  }

  async #turn(): Promise<void> {
    const { clock, store } = this.#options
    if (clock.monotonicMs() >= this.#renewAtMs) {
      const renewed = await store.acquireLease(controlLease, this.#options.holder, leaseTtlMs)
      if (renewed?.epoch !== this.#lease.epoch) {
        throw new SteadError({
          code: 'control.replaced',
          message: 'another control has taken over',
          hint: 'This one stops and changes nothing.',
        })
      }
      this.#lease = renewed
      this.#renewAtMs = clock.monotonicMs() + leaseTtlMs / 3
    }
    // What was not heard of yet looks as if it did not run; acting on that would replace what serves.
    if (this.#expected.size > 0 && clock.monotonicMs() < this.#settleUntilMs) return
    const decision = decide(this.#state(), clock.nowMs(), this.#newId)
    await writeAll(store, this.#lease, [
      ...decision.jobs.map(({ key, record }) => put(keys.job(key), record)),
      ...decision.put.map((record) => put(keys.instance(record.id), record)),
      ...decision.remove.map((id): Operation => ({ kind: 'delete', key: keys.instance(id) })),
    ])
    for (const record of decision.put) this.#records.instances.set(record.id, record)
    for (const id of decision.remove) {
      this.#records.instances.delete(id)
      this.#statuses.delete(id)
    }
    for (const { key, record } of decision.jobs) this.#records.jobs.set(key, record)
    if (decision.put.length + decision.remove.length > 0) this.#wake()
    this.#tell(decision.put.some((record) => record.phase === 'retiring'))
    for (const listener of this.#listeners) listener()
  }

  /** Brings every connected peer up to date. `retired`: the gateways are to acknowledge, also when no route has changed. */
  #tell(retired: boolean): void {
    const state = this.#state()
    const routes = routesOf(state)
    if (retired || !jsonEqual(routes, this.#routes)) {
      this.#routes = routes
      this.#routeRevision += 1
    }
    for (const [name, peer] of this.#agents) {
      const view = this.#nodes.get(name)
      if (view?.connected !== true) continue
      peer.tell(this.#lease.epoch, assignmentsOf(state, name, this.#options.types))
      this.#nodes.set(name, { ...view, toldRevision: peer.revision })
    }
    for (const peer of this.#gatewayPeers.values())
      peer.tell(this.#lease.epoch, this.#routeRevision, routesFor(routes, state, peer.name))
  }

  accept(channel: Channel<Downward>): (message: Upward) => void {
    let role: 'agent' | 'gateway' | null = null
    let name = ''
    void channel.closed.then(() => {
      if (role === 'agent' && this.#agents.get(name)?.channel === channel) this.#agentGone(name)
      if (role === 'gateway' && this.#gatewayPeers.get(name)?.channel === channel) this.#gatewayGone(name)
    })
    return (message) => {
      if (message.type === 'hello') {
        const refusal = refusalOf(message, channel.identity)
        if (refusal !== null) return refuse(channel, refusal)
        if (role !== null) return channel.close()
        role = message.role
        name = message.name
        if (role === 'agent') this.#agentCame(name, channel)
        else this.#gatewayCame(name, channel)
      } else if (role === 'agent') this.#fromAgent(name, channel, message)
      else if (message.type === 'applied' && this.#gatewayPeers.get(name)?.channel === channel) {
        this.#gateways.set(name, {
          connected: true,
          appliedRevision: message.revision,
          busy: message.busy,
          leaseUntilMs: 0,
        })
      }
      this.#wake()
    }
  }

  #agentCame(name: string, channel: Channel<Downward>): void {
    const before = this.#agents.get(name)?.channel
    if (before !== undefined)
      refuse(before, { code: 'control.name-taken', message: `another agent has come as ${name}` })
    const readBundle = (digest: string): AsyncIterable<Uint8Array> => this.#bundleFor(name, digest)
    this.#agents.set(name, new AgentPeer(name, channel, readBundle))
    this.#nodeAway(name)
  }

  #agentGone(name: string): void {
    this.#agents.delete(name)
    // What it last said stands: its instances go on without us.
    this.#nodeAway(name)
    this.#asks.nodeGone(name)
    this.#wake()
  }

  #nodeAway(name: string): void {
    const sinceMs = this.#options.clock.nowMs()
    // What it carried when it was last heard of, it carries until it says otherwise.
    const busy = this.#nodes.get(name)?.busy ?? []
    this.#nodes.set(name, { connected: false, sinceMs, toldRevision: 0, appliedRevision: 0, busy })
  }

  #gatewayCame(name: string, channel: Channel<Downward>): void {
    this.#gatewayPeers.get(name)?.channel.close()
    this.#gatewayPeers.set(name, new GatewayPeer(name, channel))
    this.#gateways.set(name, { connected: true, appliedRevision: 0, busy: [], leaseUntilMs: 0 })
  }

  #gatewayGone(name: string): void {
    this.#gatewayPeers.delete(name)
    const view = this.#gateways.get(name)
    assert(view !== undefined, 'a gateway that goes had come')
    this.#gateways.set(name, { ...view, connected: false, leaseUntilMs: this.#options.clock.nowMs() + gatewayLeaseMs })
    this.#wake()
  }

  /** What a node says counts for what is its own, and for nothing else. */
  #fromAgent(name: string, channel: Channel<Downward>, message: Exclude<Upward, { type: 'hello' }>): void {
    const view = this.#nodes.get(name)
    const peer = this.#agents.get(name)
    if (view === undefined || peer?.channel !== channel) return
    switch (message.type) {
      case 'status': {
        const own = message.statuses.filter((status) => nodeOf(this.#records, status.id) === name)
        if (message.full) {
          for (const id of this.#statuses.keys()) if (nodeOf(this.#records, id) === name) this.#statuses.delete(id)
          this.#expected.delete(name)
          if (!view.connected) this.#nodes.set(name, { ...view, connected: true, sinceMs: this.#options.clock.nowMs() })
        }
        for (const status of own) this.#statuses.set(status.id, status)
        return
      }
      case 'applied':
        this.#nodes.set(name, { ...view, appliedRevision: message.revision, busy: message.busy })
        return
      case 'answer':
        return this.#asks.receive(name, message)
      case 'fetch-bundle':
        return peer.bundles.send(message)
    }
  }

  /** The bytes of a bundle for a node that has something to run from it. */
  async *#bundleFor(node: string, digest: string): AsyncIterable<Uint8Array> {
    if (!needsBundle(this.#records, node, digest)) throw new Error(`nothing on ${node} runs from it`)
    yield* this.#options.readBundle(digest)
  }

  /** Two apps cannot have one way in: the gateway would have to refuse every table. */
  #refuseTakenRoutes(graph: Graph): void {
    for (const other of this.#records.apps.values()) {
      if (other.graph.app === graph.app || !other.wanted) continue
      const taken = graph.routes.find((route) =>
        other.graph.routes.some(({ host, path }) => host === route.host && path === route.path),
      )
      if (taken === undefined) continue
      throw new SteadError({
        code: 'control.route-taken',
        message: `${taken.host}${taken.path} leads to the app ${other.graph.app} already`,
        hint: 'Stop that app, or give one of them another host.',
      })
    }
  }

  apply({ graph, bundles, home }: Apply): Promise<number> {
    return this.#exclusive(async () => {
      const before = this.#records.apps.get(graph.app)
      this.#refuseTakenRoutes(graph)
      const same = before !== undefined && jsonEqual([before.graph, before.bundles], [graph, bundles])
      if (same && before.wanted) return before.release
      const app: DesiredApp = {
        graph,
        bundles,
        release: same ? before.release : (before?.release ?? 0) + 1,
        home: before?.home ?? home ?? this.#chooseHome(graph.app),
        wanted: true,
      }
      const { identities, counters } = newIdentities(graph, this.#records, this.#options.random)
      await write(this.#options.store, this.#lease, [
        put(keys.app(graph.app), app),
        put(keys.counters, counters),
        ...[...identities].map(([key, identity]) => put(keys.identity(key), identity)),
      ])
      for (const [key, identity] of identities) this.#records.identities.set(key, identity)
      this.#records.counters = counters
      this.#records.apps.set(graph.app, app)
      this.#wake()
      return app.release
    })
  }

  /** The connected node that is home to the fewest apps. */
  #chooseHome(app: string): string {
    const apps = [...this.#records.apps.values()]
    const load = (node: string): number => apps.filter((other) => other.home === node).length
    const nodes = [...this.#nodes].filter(([, view]) => view.connected).map(([name]) => name)
    const [home] = nodes.toSorted((a, b) => load(a) - load(b) || (a < b ? -1 : 1))
    if (home !== undefined) return home
    throw new SteadError({
      code: 'control.no-node',
      message: `no node is connected that could be the home of ${app}`,
      hint: 'Start an agent, or name the node.',
      retry: 'later',
    })
  }

  stop(name: string): Promise<void> {
    return this.#exclusive(async () => {
      const app = this.#records.apps.get(name)
      if (app === undefined || !app.wanted) return
      const stopped = { ...app, wanted: false }
      await write(this.#options.store, this.#lease, [put(keys.app(name), stopped)])
      this.#records.apps.set(name, stopped)
      this.#wake()
    })
  }

  operate(order: Order): Promise<string | null> {
    return this.#exclusive(async () => {
      const { clock, random, store } = this.#options
      const done = carryOut(order, this.#state(), clock.nowMs(), random, this.#newId)
      await write(store, this.#lease, putsOf(done))
      takeIn(this.#records, done)
      this.#wake()
      return done.instance
    })
  }

  readonly #newId = (app: string, part: string): string => `${app}.${part}.${randomId(this.#options.random)}`

  apps(): readonly string[] {
    return [...this.#records.apps.keys()]
  }

  nodes(): readonly { readonly name: string; readonly connected: boolean }[] {
    return [...this.#nodes].map(([name, { connected }]) => ({ name, connected }))
  }

  view(name: string): AppView | null {
    return viewOf(this.#state(), name, this.#routes ?? [], this.#options.clock.nowMs())
  }

  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => void this.#listeners.delete(run) }
  }

  async *logs(
    assignment: string,
    { tail, follow, signal }: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine> {
    const peer = this.#agents.get(nodeOf(this.#records, assignment) ?? '')
    if (peer === undefined) {
      throw new SteadError({
        code: 'control.node-away',
        message: `the node of ${assignment} is not connected`,
        retry: 'later',
      })
    }
    const what = { kind: 'logs', assignment, tail, follow } as const
    yield* this.#asks.logs(peer.name, (id, ask) => peer.channel.send({ type: 'ask', id, ask }), what, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    await this.#last
    await this.#options.store.releaseLease(this.#lease.name, this.#lease.epoch)
  }
}
