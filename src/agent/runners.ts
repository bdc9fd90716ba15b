/**
 * What runs on this node: a runner for each assignment of the plan, made when the plan names it and taken away when it
 * names it no more. It knows where what is here listens, and so where the edges of instances lead.
 *
 * Invariant: of each assignment there is at most one runner; what is being taken away comes anew only when it is gone.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SteadError } from '../base/index.ts'
import { stateType } from '../model/index.ts'
import { type Endpoint, NameLookup, type Rates, type Target } from '../network/index.ts'
import type {
  Assignment,
  AssignmentStatus,
  Edge,
  InstanceAssignment,
  Plan,
  ResourceAssignment,
} from '../protocol/index.ts'
import { syscallName } from '../sandbox/index.ts'
import { Attempts } from './attempts.ts'
import type { Breaking } from './breaking.ts'
import { Delivery } from './delivery.ts'
import { type Domains, placeOf } from './domains.ts'
import { Exchanges } from './exchange.ts'
import { Exposures } from './expose.ts'
import type { Incidents } from './incidents.ts'
import { isUserOf } from './host-ids.ts'
import { InstanceRunner } from './instance.ts'
import { type EndedBySystemCall, followKernelLog } from './kernel-log.ts'
import type { KnownValues } from './known-values.ts'
import type { MemoryFiles } from './memory-files.ts'
import type { AgentOptions } from './options.ts'
import { ResourceRunner } from './resource.ts'
import { stateEdge, type StatePlace, statePlace } from './state.ts'
import type { Surroundings } from './surroundings.ts'

/**
 * How the edges go when a successor comes: it may not listen yet for a moment; a stream at rest is cut without harm, and
 * its program dials again.
 */
const handOverMs = { acceptMs: 4000, idleMs: 2000, endMs: 60_000 } as const

/** What the agent has beside the runners, and they need. */
export interface RunnersNeed {
  readonly domains: Domains
  readonly breaking: () => Breaking
  readonly incidents: Incidents
  readonly rates: Rates
  readonly known: KnownValues
  readonly memory: MemoryFiles
  readonly plan: () => Plan
  /** What a task does with the data of an app now; null: nothing. */
  readonly working: (app: string) => string | null
  /** Something stands otherwise now. */
  readonly changed: () => void
}

export class Runners {
  readonly instances: Map<string, InstanceRunner> = new Map()
  readonly resources: Map<string, ResourceRunner> = new Map()
  readonly #options: AgentOptions
  readonly #need: RunnersNeed
  readonly #delivery: Delivery
  readonly #surroundings: Surroundings
  readonly exchanges: Exchanges
  /** The resources of the plan, by id: known before their runners act on it. */
  #planned: ReadonlyMap<string, ResourceAssignment> = new Map()
  /** Which instance has the state of a resource, by the ids of both. */
  readonly #stateOf = new Map<string, string>()
  /** The ways in from other nodes; null where there are none. */
  readonly #exposures: Exposures | null
  /** Under which name the way in to an assignment is open. */
  readonly #ways = new Map<string, string>()
  /** Open while instances with tripwires are here. */
  #kernelLog: Disposable | null = null
  /** While the agent starts: what it waits for before it says where things stand. */
  #looking: Promise<void>[] | null = []
  /** Assignments that are being ended and taken away. */
  readonly #removing = new Map<string, Promise<void>>()
  #leaving = false

  constructor(options: AgentOptions, need: RunnersNeed) {
    this.#options = options
    this.#need = need
    this.#delivery = new Delivery(need.memory, options.providers, options.sandbox.capabilities)
    this.#surroundings = {
      targets: (edge, consumer) => this.#targets(edge, consumer),
      missing: (edge, consumer) => this.#missing(edge, consumer),
      dataApp: (edge, consumer) => this.#dataApp(edge, consumer),
      state: (assignment) => this.#state(assignment),
      held: ({ app, part }) => need.breaking().held(app, part),
      refuses: ({ app, part }, edge) => need.breaking().refuses(app, part, edge.part),
      changed: () => {
        need.changed()
        // It may be the last of its generation that has ended.
        this.exchanges.wake()
      },
      names: new NameLookup({ clock: options.clock }),
      rates: need.rates,
      incidents: need.incidents,
      redact: (text) => need.known.redact(text),
    }
    this.exchanges = new Exchanges(options, {
      domains: need.domains,
      servers: (app) => this.#serversOf(app),
      older: (app, generation) => this.#older(app, generation),
      working: need.working,
    })
    this.#exposures = options.advertise === null ? null : new Exposures(options, options.advertise, need.changed)
  }

  /** The runner of an assignment; null when it is not on this node. */
  of(id: string): InstanceRunner | ResourceRunner | null {
    return this.instances.get(id) ?? this.resources.get(id) ?? null
  }

  /** The assignment that a process of this machine belongs to; null when it belongs to none. */
  withProcess(pid: number): string | null {
    for (const [id, { sandbox }] of [...this.instances, ...this.resources])
      if (sandbox !== null && (sandbox.pid === pid || sandbox.members().includes(pid))) return id
    return null
  }

  /** Resolves when everything that ran before this agent has been looked for. */
  async looked(): Promise<void> {
    await Promise.allSettled(this.#looking ?? [])
  }

  /** Looking is over: what comes now comes by plan. */
  settle(): void {
    this.#looking = null
    this.#exposures?.sweep()
  }

  /** Makes runners for what is new, tells the others, and ends what the plan names no more. */
  carryOut(): void {
    const { assignments } = this.#need.plan()
    this.#need.known.learn(assignments)
    const planned = new Set(assignments.map((assignment) => assignment.id))
    this.#planned = new Map(assignments.flatMap((one) => (one.kind === 'resource' ? [[one.id, one]] : [])))
    // Before anything is done for a newer generation, nothing of an older one reaches any data.
    for (const runner of this.instances.values()) runner.cut((edge) => this.#isFenced(edge, runner.assignment))
    // Servers first: an instance that is found is connected to them at once.
    const servers = assignments.filter((assignment) => assignment.kind === 'resource')
    const instances = assignments.filter((assignment) => assignment.kind !== 'resource')
    for (const assignment of [...servers, ...instances]) this.#assign(assignment)
    for (const [id, runner] of this.instances) if (!planned.has(id)) this.#remove(id, () => this.#endInstance(runner))
    for (const [id, runner] of this.resources) if (!planned.has(id)) this.#remove(id, () => this.#endResource(runner))
    this.#need.breaking().keepOnly(assignments)
    this.exchanges.wake()
  }

  #assign(assignment: Assignment): void {
    // It comes anew when what is left of it is gone.
    if (this.#removing.has(assignment.id)) return
    if (assignment.kind === 'resource') {
      const known = this.resources.get(assignment.id)
      if (known === undefined && !assignment.wanted) return
      if ((this.#options.providers.get(assignment.type)?.port ?? null) !== null) this.#expose(assignment.id)
      if (known !== undefined && !(known.status().phase === 'stopped' && assignment.wanted))
        return known.update(assignment)
      const runner = new ResourceRunner(assignment, this.#options, {
        domains: this.#need.domains,
        exchanges: this.exchanges,
        held: ({ app, part }) => this.#need.breaking().held(app, part),
        changed: () => this.#resourceChanged(),
      })
      this.resources.set(assignment.id, runner)
      this.#look(runner.looked)
      // Wanted again while it stopped: the plan says so, and no later message will.
      void runner.done.then(() => {
        if (!this.#leaving) this.carryOut()
      })
      return
    }
    const known = this.instances.get(assignment.id)
    if (known !== undefined) {
      known.update(assignment)
      return known.cut((edge) => this.#isFenced(edge, assignment))
    }
    const runner = new InstanceRunner(assignment, this.#options, this.#surroundings, this.#delivery)
    this.instances.set(assignment.id, runner)
    if (assignment.http !== null || assignment.ready.kind === 'tcp') this.#expose(assignment.id)
    if (runner.containment.isOn)
      this.#kernelLog ??= followKernelLog(this.#options.clock, (ended) => this.#endedBySystemCall(ended))
    this.#look(this.#servers().then(() => runner.begin()))
  }

  #look(looking: Promise<void>): void {
    this.#looking?.push(looking)
  }

  /** Resolves when the servers that instances may be connected to have been looked for, while the agent starts. */
  async #servers(): Promise<void> {
    if (this.#looking !== null) await Promise.all([...this.resources.values()].map((runner) => runner.looked))
  }

  /**
   * Data that was exchanged is behind another port than the data before it: who is cut off from control, on another node, and
   * works on for the older generation reaches nothing by the address that he has.
   */
  #expose(id: string): void {
    const way = this.#wayOf(id)
    const before = this.#ways.get(id)
    this.#ways.set(id, way)
    if (before !== undefined && before !== way) void this.#exposures?.remove(before)
    this.#exposures?.open(way, () => this.#local(id))
  }

  #wayOf(id: string): string {
    const planned = this.#planned.get(id)
    const place = planned === undefined ? null : placeOf(planned)
    return place === null || place.copy !== null || place.generation === 1 ? id : `${id}@${place.generation}`
  }

  /** Ends and forgets an assignment, once; should the plan name it again meanwhile, it is made anew after that. */
  #remove(id: string, end: () => Promise<void>): void {
    if (this.#removing.has(id)) return
    const removal = end()
      .then(() => this.#exposures?.remove(this.#ways.get(id) ?? id))
      .catch((error: unknown) => this.#options.onNotice(messageOf(error)))
      .then(() => {
        this.#removing.delete(id)
        this.#ways.delete(id)
        this.instances.delete(id)
        this.resources.delete(id)
        if (!this.#leaving && this.#need.plan().assignments.some((assignment) => assignment.id === id)) this.carryOut()
      })
    this.#removing.set(id, removal)
  }

  async #endInstance(runner: InstanceRunner): Promise<void> {
    runner.update({ ...runner.assignment, wanted: false })
    await runner.ended
    await runner.attempts.remove()
    this.#delivery.remove(runner.assignment.id)
  }

  async #endResource(runner: ResourceRunner): Promise<void> {
    await runner.stop()
    await runner.attempts.remove()
  }

  /** Ends what earlier agents left behind that no plan names: instances whose plan was lost, and all tasks. */
  async sweep(): Promise<void> {
    const { stateDir, sandbox, clock } = this.#options
    // What is there now is of an earlier agent; what comes later is ours.
    const tasks = readdirSync(join(stateDir, 'tasks'))
    this.#need.memory.sweep(new Set(this.instances.keys()))
    for (const name of readdirSync(join(stateDir, 'instances'))) {
      if (this.instances.has(name) || this.resources.has(name)) continue
      const left = new Attempts(join(stateDir, 'instances', name), sandbox, clock)
      await (await left.adopt())?.kill()
      await left.remove()
    }
    for (const name of tasks) {
      const recordDir = join(stateDir, 'tasks', name)
      await (await sandbox.adopt(recordDir))?.kill()
      await sandbox.remove(recordDir)
    }
  }

  /** Where an assignment listens on this node; null when it is not here, or not ready. */
  #local(id: string): Endpoint | null {
    const resource = this.resources.get(id)
    if (resource !== undefined) return resource.endpoint()
    const status = this.instances.get(id)?.status()
    return status?.phase === 'ready' ? status.endpoint : null
  }

  /** What is on this node is known better here than by control; processes and socket files are only ever this node's. */
  #targets(edge: Edge, consumer: InstanceAssignment): readonly Target[] {
    if (this.#isFenced(edge, consumer)) return []
    const own = edge.resource !== null && this.resources.has(edge.resource) ? edge.resource : null
    const told = own === null ? edge.targets : [{ id: own, endpoint: null }]
    return told.flatMap(({ id, endpoint }) => {
      const remote = endpoint?.kind === 'tcp' ? endpoint : null
      const to = this.instances.has(id) || id === own ? this.#local(id) : remote
      return to === null ? [] : [{ id, endpoint: to }]
    })
  }

  #missing(edge: Edge, consumer: InstanceAssignment): string | null {
    const waits = `waits for ${edge.part}`
    if (this.#isFenced(edge, consumer)) return `${waits}, whose data is of another generation`
    if (edge.type === 'secret' && edge.grant === null) {
      const [app = ''] = edge.resource?.split('.') ?? []
      return `${edge.part} has no value: stead secret set ${edge.part} --app ${app}`
    }
    const [other] = edge.type !== stateType ? [] : this.#onState(edge.resource ?? '', consumer.id)
    if (other !== undefined) return `waits until ${other.assignment.id} has ended, which has ${edge.part}`
    const resource = edge.resource === null ? undefined : this.resources.get(edge.resource)
    if (resource !== undefined) return resource.settled(consumer.part) ? null : waits
    return edge.port === 0 || this.#targets(edge, consumer).length > 0 ? null : waits
  }

  /** The other instances that work on a state, or are about to. */
  #onState(resource: string, own: string): readonly InstanceRunner[] {
    return [...this.instances.values()].filter(({ assignment: { id, edges }, isRunning }) => {
      return id !== own && isRunning && edges.some((edge) => edge.type === stateType && edge.resource === resource)
    })
  }

  async #state(assignment: InstanceAssignment): Promise<StatePlace | null> {
    const id = stateEdge(assignment)?.resource ?? null
    const planned = id === null ? undefined : this.#planned.get(id)
    if (id === null || planned === undefined) return null
    // Of two that are about to start the first to come here has it.
    const other = this.#onState(id, assignment.id).find((runner) => {
      return runner.sandbox !== null || runner.assignment.id === this.#stateOf.get(id)
    })
    if (other !== undefined) {
      const message = `${other.assignment.id} still has ${planned.part}`
      throw new SteadError({ code: 'agent.in-use', message, retry: 'now' })
    }
    this.#stateOf.set(id, assignment.id)
    const place = placeOf(planned)
    return statePlace(await this.#need.domains.pathOf(place), planned, place)
  }

  /** Whether an edge leads nowhere because the data behind it is not of the generation that the instance works on. */
  #isFenced({ resource }: Edge, consumer: InstanceAssignment): boolean {
    const planned = resource === null ? undefined : this.#planned.get(resource)
    if (planned === undefined) return false
    const { copy, generation } = placeOf(planned)
    return copy === null && generation !== generationOf(consumer)
  }

  /** The app whose names the data behind an edge has. */
  #dataApp({ resource }: Edge, { app }: InstanceAssignment): string {
    const planned = resource === null ? undefined : this.#planned.get(resource)
    return planned === undefined ? app : placeOf(planned).app
  }

  /** What waits for it looks again. */
  #resourceChanged(): void {
    this.#need.changed()
    this.exchanges.wake()
    for (const runner of this.instances.values()) runner.look()
  }

  /** What runs of an app and is of a generation before this one. */
  #older(app: string, generation: number): string[] {
    return [...this.instances.values()]
      .filter(({ assignment }) => assignment.app === app && generationOf(assignment) < generation)
      .filter((runner) => runner.isRunning)
      .map(({ assignment }) => assignment.id)
  }

  /** The resources on the live data of an app, as long as their servers may run. */
  #serversOf(app: string): string[] {
    const onLive = [...this.resources.values()].filter(({ assignment }) => {
      const place = placeOf(assignment)
      return place.app === app && place.copy === null
    })
    return onLive.filter((runner) => runner.status().phase !== 'stopped').map(({ assignment }) => assignment.id)
  }

  statuses(): AssignmentStatus[] {
    return [...this.instances.values(), ...this.resources.values()]
      .map((runner) => runner.status())
      .map((status) => {
        if (this.#exposures === null || status.endpoint === null) return status
        return { ...status, endpoint: this.#exposures.endpoint(this.#ways.get(status.id) ?? status.id) }
      })
  }

  /** All instances of a part on this node have one user: which of them it was is not known, so each is contained. */
  #endedBySystemCall({ hostUid, pid, call }: EndedBySystemCall): void {
    const name = syscallName(call, process.arch === 'arm64' ? 'arm64' : 'x64') ?? `number ${call}`
    for (const { assignment, containment } of this.instances.values())
      if (isUserOf(assignment.hostUid, hostUid))
        containment.trip('system-call', `its process ${pid} was ended for the system call ${name}`)
  }

  /** Deletes what an app has stored here. Throws `agent.in-use` while anything of it is there. */
  async deleteData(app: string): Promise<void> {
    const running = [...this.instances.values(), ...this.resources.values()].filter(
      (runner) =>
        appsOf(runner.assignment).includes(app) && !['stopped', 'succeeded', 'failed'].includes(runner.status().phase),
    )
    if (running.length > 0) {
      throw new SteadError({
        code: 'agent.in-use',
        message: `${running.map((runner) => runner.assignment.part).join(', ')} of ${app} still runs on this node`,
        retry: 'later',
      })
    }
    await this.#need.domains.destroy(app)
    this.exchanges.forget(app)
  }

  /** Looks at what everything uses now. */
  measure(): void {
    for (const runner of [...this.instances.values(), ...this.resources.values()]) void runner.measure()
  }

  /** What the edges of this node have open streams to. */
  busy(): ReadonlySet<string> {
    return new Set([...this.instances.values()].flatMap((runner) => runner.busy()))
  }

  /** From now on nothing of what ends is begun anew. */
  disconnect(): void {
    this.#leaving = true
    this.#kernelLog?.[Symbol.dispose]()
  }

  leaveResources(): void {
    for (const runner of this.resources.values()) runner.leave()
  }

  /** Hands the edges over; resolves when the last of their streams has ended. */
  async leaveInstances(): Promise<void> {
    const handOver = { clock: this.#options.clock, ...handOverMs }
    await Promise.all([...this.instances.values()].map((runner) => runner.leave(handOver)))
    await this.#exposures?.[Symbol.asyncDispose]()
  }

  /** Stops everything: instances first, then what they use. */
  async stop(): Promise<void> {
    for (const runner of this.instances.values()) runner.update({ ...runner.assignment, wanted: false })
    await Promise.all([...this.instances.values()].map((runner) => runner.ended))
    await Promise.all([...this.resources.values()].map((runner) => runner.stop()))
    await Promise.all(this.#removing.values())
    await this.#exposures?.[Symbol.asyncDispose]()
    for (const id of this.instances.keys()) this.#delivery.remove(id)
  }
}

/** The app of an assignment, and the one whose data it is about. */
function appsOf(assignment: Assignment): readonly string[] {
  return assignment.kind === 'resource' ? [assignment.app, placeOf(assignment).app] : [assignment.app]
}

function generationOf({ generation }: InstanceAssignment): number {
  return generation ?? 1
}
