/**
 * Control: keeps what should be in the store, hears what is from agents and gateways, decides, and tells them. All
 * deciding is in `decide`; this file turns events into turns.
 *
 * Invariant: what is told follows from records that are already durable; a turn that cannot write tells nothing.
 */
import { isSteadError, type Json, jsonEqual, randomId, SteadError } from '../base/index.ts'
import {
  type Ask,
  type DiskState,
  type Downward,
  type Incident,
  type LogLine,
  type RemoteStream,
  type Route,
  type StreamRoute,
  type StreamTarget,
  type Upward,
} from '../protocol/index.ts'
import type { Batch } from '../batch/index.ts'
import type { Vault } from '../secrets/index.ts'
import type { Lease, Operation } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import { Asks } from './asks.ts'
import { type Apply, applyChange, chooseHome, refuseOnFullDisk, removeChange, stillRuns } from './changes.ts'
import { askResource } from './data-asks.ts'
import { decide } from './decide.ts'
import type { Control, ControlOptions } from './face.ts'
import { assignmentsOf, neededBundles, needsBundle, nodeOf, routesFor, routesOf } from './derive.ts'
import { type IncidentAct, IncidentLog } from './incident-log.ts'
import { Observed } from './observed.ts'
import { NodeFaults } from './faults.ts'
import { type Order, orderChange } from './operate.ts'
import { AgentPeer, type FromAgent, GatewayPeer, peerAsked, refusalOf, refuse, theNode } from './peers.ts'
import type { PoolPeers } from './pools.ts'
import type { Credential } from './credentials.ts'
import { controlLease, fatal, keys, put, type Records, write, writeAll } from './records.ts'
import { Secrets } from './secrets.ts'
import type { ControlState } from './state.ts'
import { Releases } from './releases.ts'
import { RemoteStreams } from './remote-streams.ts'
import { streamsFor, streamsOf } from './streams.ts'
import { type AppView, viewOf } from './view.ts'

/** Others may take over when it was not renewed for so long. */
export const leaseTtlMs = 15_000
const tickMs = 1000
/** How long a control that has just started waits for the nodes it knows before it decides without them. */
const settleMs = 10_000
/** Route revisions of one start. The number of the start is in front, so that they grow over restarts. */
const routeRevisionsPerStart = 2 ** 32

/** What was opened before control could be made. */
interface Opened {
  readonly vault: Vault
  readonly credentials: Map<string, Credential>
  readonly agents: Map<string, AgentPeer>
  readonly pools: PoolPeers
  readonly batch: Batch
  /** Whom a failure of the batch side is told. */
  readonly failed: { with: ((error: unknown) => void) | null }
}

export class RunningControl implements Control {
  readonly #options: ControlOptions
  readonly #records: Records
  readonly #credentials: ReadonlyMap<string, Credential>
  readonly secrets: Secrets
  readonly #observed: Observed
  readonly #agents: Map<string, AgentPeer>
  readonly #pools: PoolPeers
  readonly batch: Batch
  readonly #gatewayPeers = new Map<string, GatewayPeer>()
  readonly #listeners = new Set<() => void>()
  readonly #incidentLog: IncidentLog
  readonly #asks: Asks
  readonly faults: NodeFaults
  readonly releases: Releases
  readonly #remote: RemoteStreams
  readonly #untold = new Set<string>()
  readonly #startedMs: number
  /** Until when nodes are waited for that have something to run and were not heard of yet. */
  readonly #settleUntilMs: number
  /** The vault guards its writes by the same. */
  readonly #held: { lease: Lease }
  #renewAtMs: number
  #routes: readonly Route[] | null = null
  #streams: readonly StreamRoute[] = []
  #routeRevision: number
  #dirty = false
  /** The store had no room when it was asked last. */
  #storeFull = false
  /** The last change of the records that was asked for. */
  #last: Promise<unknown> = Promise.resolve()
  #timer: Disposable | null = null
  #stopped = false
  #swept = false

  constructor(
    options: ControlOptions,
    held: { lease: Lease },
    records: Records,
    start: number,
    { vault, credentials, agents, pools, batch, failed }: Opened,
  ) {
    const { clock, random } = options
    this.#agents = agents
    this.#pools = pools
    this.batch = batch
    failed.with = (error) => this.#fail(error)
    this.#options = options
    this.#held = held
    this.#records = records
    this.#observed = new Observed(clock, records)
    this.#credentials = credentials
    const exclusive = <T>(work: () => Promise<T>): Promise<T> => this.#exclusive(work)
    const own = { vault, random, types: options.types, state: () => this.#state(), exclusive, wake: () => this.#wake() }
    this.secrets = new Secrets(own, credentials)
    this.#incidentLog = new IncidentLog({
      known: records.incidents,
      clock,
      write: (operations) => writeAll(options.store, this.#held.lease, operations),
      exclusive: (work) => this.#exclusive(work),
      rotateAll: (app, part) => this.secrets.rotateAll(app, part),
      isConnected: (node) => this.#agents.has(node),
      askNode: (node, ask) => this.#ask(node, ask, new AbortController().signal),
    })
    this.#asks = new Asks(random)
    this.faults = new NodeFaults(records, random, async (node, what) => {
      for await (const _ of this.#ask(node, what, new AbortController().signal));
    })
    this.releases = new Releases({
      ...own,
      records,
      clock,
      traffic: (app) => this.#observed.traffic.of(app),
      write: (operations) => write(options.store, this.#held.lease, operations),
      isTold: (app) => !this.#untold.has(app),
      changed: (app) => void this.#untold.add(app),
      ask: (node, what, signal) => this.#ask(node, what, signal),
      secrets: this.secrets,
      place: (apply) => this.apply(apply),
      backupsOn: options.backupsOn ?? null,
    })
    this.#remote = new RemoteStreams(random)
    this.#routeRevision = start * routeRevisionsPerStart
    this.#renewAtMs = clock.monotonicMs() + leaseTtlMs / 3
    this.#startedMs = clock.nowMs()
    this.#settleUntilMs = clock.monotonicMs() + settleMs
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
      credentials: this.#credentials,
      nodes: this.#observed.nodes,
      gateways: this.#observed.gateways,
      statuses: this.#observed.statuses,
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
      if (isSteadError(error) && fatal.includes(error.code)) this.#fail(error)
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
    this.#exclusive(turn).catch((error: unknown) => {
      if (!isSteadError(error) || error.code !== 'store.disk-full') return this.#fail(error)
      // Nothing can be decided until there is room; what the records say already is told on.
      this.#storeFull = true
      this.#tell(false)
    })
  }

  async #turn(): Promise<void> {
    const { clock, store } = this.#options
    if (clock.monotonicMs() >= this.#renewAtMs) {
      const renewed = await store.acquireLease(controlLease, this.#options.holder, leaseTtlMs)
      // It runs out while a full disk keeps it from being renewed. The very next epoch says that nobody else has had it.
      const ranOut = this.#storeFull && renewed?.epoch === this.#held.lease.epoch + 1
      if (renewed === null || (renewed.epoch !== this.#held.lease.epoch && !ranOut)) {
        throw new SteadError({
          code: 'control.replaced',
          message: 'another control has taken over',
          hint: 'This one stops and changes nothing.',
        })
      }
      this.#held.lease = renewed
      this.#storeFull = false
      this.#renewAtMs = clock.monotonicMs() + leaseTtlMs / 3
    }
    // What was not heard of yet looks as if it did not run; acting on that would replace what serves.
    if (!this.#observed.complete && clock.monotonicMs() < this.#settleUntilMs) return
    await this.#incidentLog.take(this.#state())
    if (await this.secrets.turn(clock.nowMs())) this.#wake()
    await this.releases.complete()
    if (!this.#swept) this.releases.sweep()
    this.#swept = true
    if (await this.releases.turn(clock.nowMs())) this.#wake()
    const decision = decide(this.#state(), clock.nowMs(), this.#newId)
    await writeAll(store, this.#held.lease, [
      ...decision.jobs.map(({ key, record }) => put(keys.job(key), record)),
      ...decision.put.map((record) => put(keys.instance(record.id), record)),
      ...decision.remove.map((id): Operation => ({ kind: 'delete', key: keys.instance(id) })),
    ])
    for (const record of decision.put) this.#records.instances.set(record.id, record)
    for (const id of decision.remove) {
      this.#records.instances.delete(id)
      this.#observed.statuses.delete(id)
    }
    for (const { key, record } of decision.jobs) this.#records.jobs.set(key, record)
    if (decision.put.length + decision.remove.length > 0) this.#wake()
    this.#tell(decision.put.some((record) => record.phase === 'retiring'))
    for (const listener of this.#listeners) listener()
  }

  /** Brings every connected peer up to date. `retired`: the gateways are to acknowledge, also when no route has changed. */
  #tell(retired: boolean): void {
    const state = this.#state()
    const routes = routesOf(state, this.#options.types)
    const streams = streamsOf(state)
    if (retired || !jsonEqual(routes, this.#routes) || !jsonEqual(streams, this.#streams)) {
      this.#routes = routes
      this.#streams = streams
      this.#routeRevision += 1
    }
    for (const [name, peer] of this.#agents) {
      if (this.#observed.nodes.get(name)?.connected !== true) continue
      peer.tell(this.#held.lease.epoch, assignmentsOf(state, name, this.#options.types))
      this.#observed.told(name, peer.revision)
    }
    this.#untold.clear()
    for (const peer of this.#gatewayPeers.values()) {
      const own = { routes: routesFor(routes, state, peer.name), streams: streamsFor(streams, state, peer.name) }
      peer.tell(this.#held.lease.epoch, { revision: this.#routeRevision, ...own })
    }
  }

  accept(channel: Channel<Downward>): (message: Upward) => void {
    let role: 'agent' | 'gateway' | 'pool' | null = null
    let name = ''
    void channel.closed.then(() => {
      if (role === 'agent' && this.#agents.get(name)?.channel === channel) this.#agentGone(name)
      if (role === 'gateway' && this.#gatewayPeers.get(name)?.channel === channel) this.#gatewayGone(name)
      if (role === 'pool') this.#pools.gone(this.batch, name, channel)
    })
    return (message) => {
      if (message.type === 'hello') {
        const refusal = refusalOf(message, channel.identity) ?? this.#pools.refusalOf(message, this.#agents)
        if (refusal !== null) return refuse(channel, refusal)
        if (role !== null) return channel.close()
        ;({ role, name } = message)
        if (role === 'agent') this.#agentCame(message, channel)
        else if (role === 'pool') return this.#pools.came(this.batch, name, channel)
        else this.#gatewayCame(name, channel)
      } else if (role === 'pool') return this.#pools.hear(this.batch, name, channel, message)
      else if (message.type === 'tasks-have' || message.type === 'tasks-ended' || message.type === 'tasks-offer') {
        return this.#agents.get(name)?.channel === channel ? this.batch.hear(name, message) : undefined
      } else if (role === 'agent') this.#fromAgent(name, channel, message)
      else if (this.#gatewayPeers.get(name)?.channel === channel) this.#observed.takeFromGateway(name, message)
      this.#wake()
    }
  }

  #agentCame(hello: Extract<Upward, { type: 'hello' }>, channel: Channel<Downward>): void {
    const { name } = hello
    const before = this.#agents.get(name)?.channel
    if (before !== undefined)
      refuse(before, { code: 'control.name-taken', message: `another agent has come as ${name}` })
    const readBundle = (digest: string): AsyncIterable<Uint8Array> => this.#bundleFor(name, digest)
    this.#agents.set(name, new AgentPeer(hello, channel, readBundle))
    this.#observed.nodeAway(name)
  }

  #agentGone(name: string): void {
    this.#agents.delete(name)
    // What it last said stands: its instances go on without us.
    this.#observed.nodeAway(name)
    this.#asks.nodeGone(name)
    this.#remote.nodeGone(name)
    this.batch.nodeGone(name)
    this.#wake()
  }

  #gatewayCame(name: string, channel: Channel<Downward>): void {
    this.#gatewayPeers.get(name)?.channel.close()
    this.#gatewayPeers.set(name, new GatewayPeer(name, channel))
    this.#observed.gatewayCame(name)
  }

  #gatewayGone(name: string): void {
    this.#gatewayPeers.delete(name)
    this.#observed.gatewayGone(name)
    this.#wake()
  }

  /** What a node says counts for what is its own, and for nothing else. */
  #fromAgent(name: string, channel: Channel<Downward>, message: FromAgent): void {
    const peer = this.#agents.get(name)
    if (peer?.channel !== channel) return
    switch (message.type) {
      case 'status':
        this.batch.hearLoad(name, message)
        return this.#observed.takeStatus(name, message)
      case 'applied':
        return this.#observed.takeApplied(name, message)
      case 'answer':
        return this.#asks.receive(name, message)
      case 'faults':
        return this.faults.hear(name, message.faults)
      case 'disk':
        return void this.#observed.disks.set(name, message.disk)
      case 'output':
      case 'taken':
      case 'ended':
        return this.#remote.receive(name, message)
      case 'fetch-bundle':
        return peer.bundles.send(message)
      case 'traffic':
      case 'pool-have':
      case 'pool-beats':
        return
    }
  }

  /** The bytes of a bundle for a node that has something to run from it. */
  async *#bundleFor(node: string, digest: string): AsyncIterable<Uint8Array> {
    if (!this.releases.lends(digest) && !needsBundle(this.#records, node, digest))
      throw new Error(`nothing on ${node} runs from it`)
    yield* this.#options.readBundle(digest)
  }

  apply(wanted: Apply): Promise<number> {
    return this.#exclusive(async () => {
      refuseOnFullDisk(this.#observed.disks, wanted.graph.app)
      const choose = (): string => chooseHome(this.#records, this.#observed.nodes, wanted.graph.app)
      this.releases.refuseBusy(wanted.graph.app)
      const { clock, backupsOn = null } = this.#options
      const change = applyChange(this.#records, wanted, { choose, backupsOn }, this.#credentials, clock.nowMs())
      if (change === null) return this.#records.apps.get(wanted.graph.app)?.release ?? 0
      await this.secrets.ensure(wanted.graph)
      await write(this.#options.store, this.#held.lease, change.operations)
      change.take()
      this.#untold.add(change.app.graph.app)
      this.#wake()
      return change.app.release
    })
  }

  stop(name: string): Promise<void> {
    return this.#exclusive(async () => {
      const app = this.#records.apps.get(name)
      if (app === undefined || !app.wanted) return
      this.releases.refuseBusy(name)
      const stopped = { ...app, wanted: false }
      await write(this.#options.store, this.#held.lease, [put(keys.app(name), stopped)])
      this.#records.apps.set(name, stopped)
      this.#wake()
    })
  }

  operate(order: Order): Promise<string | null> {
    return this.#exclusive(async () => {
      const { clock, store } = this.#options
      const change = orderChange(order, this.#records, this.#state(), clock.nowMs(), this.#newId)
      await write(store, this.#held.lease, change.operations)
      change.take()
      this.#wake()
      return change.instance
    })
  }

  readonly #newId = (app: string, part: string): string => `${app}.${part}.${randomId(this.#options.random)}`

  async remove(name: string): Promise<void> {
    const app = this.#records.apps.get(name)
    if (app === undefined) return
    if (app.branch !== undefined)
      return this.releases.removeBranch(app.branch.app, name.slice(app.branch.app.length + 2))
    if (app.wanted || this.view(name)?.running === true) throw stillRuns(name)
    this.releases.refuseBranches(name)
    // First the data, then what is known of it: a crash between the two leaves an app that can be removed again.
    const signal = new AbortController().signal
    for await (const _ of this.#ask(app.home, { kind: 'delete-data', app: name }, signal));
    return this.#exclusive(async () => {
      const change = removeChange(this.#records, name, app.release)
      await this.secrets.forget(name)
      await writeAll(this.#options.store, this.#held.lease, change.operations)
      change.take()
      this.#wake()
    })
  }

  apps(): readonly string[] {
    return [...this.#records.apps.keys()]
  }

  nodes(): readonly { readonly name: string; readonly connected: boolean }[] {
    return [...this.#observed.nodes].map(([name, { connected }]) => ({ name, connected }))
  }

  view(name: string): AppView | null {
    const told = { traffic: this.#observed.traffic, faults: this.faults, untold: this.#untold }
    return viewOf(this.#state(), name, this.#routes ?? [], told, this.#options.clock.nowMs())
  }

  disks(): ReadonlyMap<string, DiskState> {
    return this.#observed.disks
  }

  bundles(): ReadonlySet<string> {
    return neededBundles(this.#records)
  }

  administer(app: string, part: string, order: Json): Promise<Json> {
    return askResource((node, what, signal) => this.#ask(node, what, signal), this.#records.apps.get(app), part, order)
  }

  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => void this.#listeners.delete(run) }
  }

  logs(
    assignment: string,
    { tail, follow, signal }: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine> {
    const node = nodeOf(this.#records, assignment) ?? ''
    return this.#ask(node, { kind: 'logs', assignment, tail, follow }, signal)
  }

  taskLogs(
    { id, node }: { readonly id: string; readonly node: string },
    { tail, follow, signal }: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine> {
    return this.#ask(node, { kind: 'logs', assignment: id, tail, follow }, signal)
  }

  incidents(app: string, act?: IncidentAct): Promise<Incident[]> {
    return this.#incidentLog.ask(app, act)
  }

  open(target: StreamTarget): RemoteStream {
    const node = target.kind === 'trace' ? theNode(target.node, this.#agents) : nodeOf(this.#records, target.assignment)
    const peer = peerAsked(this.#agents, node ?? '', target.kind)
    return this.#remote.open(peer.name, (id, ask) => peer.ask(id, ask), target)
  }

  /** Asks a node. Throws `control.node-away`, `control.ask-failed`. */
  async *#ask(node: string, what: Exclude<Ask, { kind: 'cancel' }>, signal: AbortSignal): AsyncIterable<LogLine> {
    const peer = peerAsked(this.#agents, node, what.kind)
    yield* this.#asks.ask(peer.name, (id, ask) => peer.channel.send({ type: 'ask', id, ask }), what, signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    await this.batch.close()
    await this.#last
    await this.#options.store.releaseLease(this.#held.lease.name, this.#held.lease.epoch)
  }
}
