/**
 * Control: keeps what should be in the store, hears what is from agents and gateways, decides, and tells them. All
 * deciding is in `decide`; this file turns events into turns.
 *
 * Invariant: what is told follows from records that are already durable; a turn that cannot write tells nothing.
 */
import { assert, type Clock, jsonEqual, type Random, randomId, SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import {
  type Ask,
  type AssignmentStatus,
  type Downward,
  type LogLine,
  protocolVersion,
  type Route,
  type Upward,
} from '../protocol/index.ts'
import type { Lease, Operation, Store } from '../store/index.ts'
import type { Channel } from '../transport/index.ts'
import { decide } from './decide.ts'
import { assignmentsOf, type ResourceType, routesOf } from './derive.ts'
import { AgentPeer, GatewayPeer } from './peers.ts'
import { controlLease, keys, loadRecords, newIdentities, put, type Records, write } from './records.ts'
import type { ControlState, DesiredApp, GatewayView, InstanceRecord, NodeView } from './state.ts'

const leaseTtlMs = 15_000
const tickMs = 1000
/** How long a gateway that went silent is still waited for before an old instance is stopped. */
const gatewayLeaseMs = 15_000

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

/** What is known of an app now, for people and commands. */
export interface AppView {
  readonly app: DesiredApp
  readonly instances: readonly { readonly record: InstanceRecord; readonly status: AssignmentStatus | null }[]
  readonly resources: readonly {
    readonly part: string
    readonly type: string
    readonly status: AssignmentStatus | null
  }[]
  readonly routes: readonly Route[]
}

/** What an app should be. */
export interface Apply {
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  readonly home: string
}

export interface Control extends AsyncDisposable {
  /** Takes on a peer that has just connected; answers what to do with its messages. */
  accept(channel: Channel<Downward>): (message: Upward) => void
  /** Makes this what the app should be. Answers the release number; the same again when nothing has changed. */
  apply(apply: Apply): Promise<number>
  /** Everything of the app is to stop; its data stays. */
  stop(app: string): Promise<void>
  view(app: string): AppView | null
  apps(): readonly string[]
  /** Calls `run` soon after something may have changed. */
  onChange(run: () => void): Disposable
  /** Output of an assignment, from the node that has it. */
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
  const control = new RunningControl(options, lease, await loadRecords(options.store))
  control.start()
  return control
}

interface OpenAsk {
  readonly node: string
  readonly lines: LogLine[]
  done: boolean
  error: string | null
  wake: () => void
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
  readonly #asks = new Map<string, OpenAsk>()
  #lease: Lease
  #renewAtMs: number
  #routes: readonly Route[] = []
  #routeRevision = 0
  #dirty = false
  #turning: Promise<void> | null = null
  #timer: Disposable | null = null
  #stopped = false

  constructor(options: ControlOptions, lease: Lease, records: Records) {
    this.#options = options
    this.#lease = lease
    this.#records = records
    this.#renewAtMs = options.clock.monotonicMs() + leaseTtlMs / 3
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
    }
  }

  /** Asks for a turn; many askings before it starts make one turn. */
  #wake(): void {
    this.#dirty = true
    this.#turning ??= this.#turns().finally(() => {
      this.#turning = null
      if (this.#dirty && !this.#stopped) this.#wake()
    })
  }

  async #turns(): Promise<void> {
    try {
      while (this.#dirty && !this.#stopped) {
        this.#dirty = false
        await this.#turn()
      }
    } catch (error) {
      this.#stopped = true
      this.#options.onFatal(error)
    }
  }

  async #turn(): Promise<void> {
    const { clock, store, random } = this.#options
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
    const decision = decide(this.#state(), clock.nowMs(), (app, part) => `${app}.${part}.${randomId(random)}`)
    await write(store, this.#lease, [
      ...decision.put.map((record) => put(keys.instance(record.id), record)),
      ...decision.remove.map((id): Operation => ({ kind: 'delete', key: keys.instance(id) })),
      ...decision.jobs.map(({ key, run }) => put(keys.job(key), run)),
    ])
    for (const record of decision.put) this.#records.instances.set(record.id, record)
    for (const id of decision.remove) this.#records.instances.delete(id)
    for (const { key, run } of decision.jobs) this.#records.jobs.set(key, run)
    if (decision.put.length + decision.remove.length > 0) this.#dirty = true
    this.#tell()
    for (const listener of this.#listeners) listener()
  }

  /** Brings every connected peer up to date. */
  #tell(): void {
    const state = this.#state()
    const routes = routesOf(state)
    if (!jsonEqual(routes, this.#routes) || this.#routeRevision === 0) {
      this.#routes = routes
      this.#routeRevision += 1
    }
    for (const peer of this.#agents.values())
      peer.tell(this.#lease.epoch, assignmentsOf(state, peer.name, this.#options.types))
    for (const peer of this.#gatewayPeers.values()) peer.tell(this.#lease.epoch, this.#routeRevision, this.#routes)
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
        if (message.protocol !== protocolVersion) {
          const text = `control speaks protocol ${protocolVersion}, ${message.name} speaks ${message.protocol}`
          channel.send({ type: 'refused', code: 'control.other-protocol', message: text })
          channel.close()
          return
        }
        role = message.role
        name = message.name
        if (role === 'agent') this.#agentCame(name, channel)
        else this.#gatewayCame(name, channel)
      } else if (role === 'agent') this.#fromAgent(name, channel, message)
      else if (role === 'gateway' && message.type === 'applied') {
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
    this.#agents.get(name)?.channel.close()
    this.#agents.set(name, new AgentPeer(name, channel))
    this.#nodes.set(name, { connected: true, appliedRevision: 0, busy: [] })
  }

  #agentGone(name: string): void {
    this.#agents.delete(name)
    // What it last said stands: its instances go on without us.
    this.#nodes.set(name, { connected: false, appliedRevision: 0, busy: [] })
    for (const ask of this.#asks.values()) {
      if (ask.node !== name) continue
      ask.done = true
      ask.error = `node ${name} is not connected`
      ask.wake()
    }
    this.#wake()
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

  #fromAgent(name: string, channel: Channel<Downward>, message: Exclude<Upward, { type: 'hello' }>): void {
    switch (message.type) {
      case 'status': {
        const told = new Set(message.statuses.map((status) => status.id))
        if (message.full) for (const id of this.#idsOn(name)) if (!told.has(id)) this.#statuses.delete(id)
        for (const status of message.statuses) this.#statuses.set(status.id, status)
        return
      }
      case 'applied':
        this.#nodes.set(name, { connected: true, appliedRevision: message.revision, busy: message.busy })
        return
      case 'answer': {
        const ask = this.#asks.get(message.ask)
        if (ask === undefined) return
        ask.lines.push(...message.lines)
        ask.done ||= message.done
        ask.error ??= message.error
        ask.wake()
        return
      }
      case 'fetch-bundle':
        void this.#sendBundle(channel, message.digest)
        return
    }
  }

  #idsOn(node: string): string[] {
    return assignmentsOf(this.#state(), node, this.#options.types).map((assignment) => assignment.id)
  }

  async #sendBundle(channel: Channel<Downward>, digest: string): Promise<void> {
    let error: string | null = null
    try {
      for await (const piece of this.#options.readBundle(digest)) {
        channel.send({ type: 'bundle', digest, data: Buffer.from(piece).toString('base64'), done: false, error: null })
      }
    } catch (cause) {
      error = cause instanceof Error ? cause.message : 'the bundle could not be read'
    }
    channel.send({ type: 'bundle', digest, data: '', done: true, error })
  }

  async apply({ graph, bundles, home }: Apply): Promise<number> {
    await this.#turning
    const before = this.#records.apps.get(graph.app)
    if (before?.wanted === true && jsonEqual(before.graph, graph) && jsonEqual(before.bundles, bundles))
      return before.release
    const app: DesiredApp = {
      graph,
      bundles,
      release: (before?.release ?? 0) + 1,
      home: before?.home ?? home,
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
  }

  async stop(name: string): Promise<void> {
    await this.#turning
    const app = this.#records.apps.get(name)
    if (app === undefined || !app.wanted) return
    const stopped = { ...app, wanted: false }
    await write(this.#options.store, this.#lease, [put(keys.app(name), stopped)])
    this.#records.apps.set(name, stopped)
    this.#wake()
  }

  apps(): readonly string[] {
    return [...this.#records.apps.keys()]
  }

  view(name: string): AppView | null {
    const app = this.#records.apps.get(name)
    if (app === undefined) return null
    const statusOf = (id: string): AssignmentStatus | null => this.#statuses.get(id) ?? null
    return {
      app,
      instances: [...this.#records.instances.values()]
        .filter((record) => record.app === name)
        .map((record) => ({ record, status: statusOf(record.id) })),
      resources: app.graph.parts
        .filter((part) => part.kind === 'resource')
        .map((part) => ({ part: part.name, type: part.type, status: statusOf(`${name}.${part.name}`) })),
      routes: this.#routes.filter((route) => route.app === name),
    }
  }

  onChange(run: () => void): Disposable {
    this.#listeners.add(run)
    return { [Symbol.dispose]: () => void this.#listeners.delete(run) }
  }

  async *logs(
    assignment: string,
    { tail, follow, signal }: { tail: number | null; follow: boolean; signal: AbortSignal },
  ): AsyncIterable<LogLine> {
    const node =
      this.#records.instances.get(assignment)?.node ?? this.#records.apps.get(assignment.split('.')[0] ?? '')?.home
    const peer = node === undefined ? undefined : this.#agents.get(node)
    if (peer === undefined) {
      throw new SteadError({
        code: 'control.node-away',
        message: `the node of ${assignment} is not connected`,
        retry: 'later',
      })
    }
    const id = randomId(this.#options.random)
    const send = (ask: Ask): void => peer.channel.send({ type: 'ask', id, ask })
    const ask: OpenAsk = { node: peer.name, lines: [], done: false, error: null, wake: () => {} }
    this.#asks.set(id, ask)
    const onAbort = (): void => {
      ask.done = true
      ask.wake()
    }
    signal.addEventListener('abort', onAbort)
    try {
      send({ kind: 'logs', assignment, tail, follow })
      for (;;) {
        yield* ask.lines.splice(0)
        if (ask.error !== null)
          throw new SteadError({ code: 'control.logs-failed', message: ask.error, retry: 'later' })
        if (ask.done) return
        await new Promise<void>((resolve) => (ask.wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#asks.delete(id)
      send({ kind: 'cancel', ask: id })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    await this.#turning
    await this.#options.store.releaseLease(this.#lease.name, this.#lease.epoch)
  }
}
