/**
 * The agent of a node: keeps what its plan says running. The plan comes from control, is kept on disk before it is acted
 * on, and stays in force while control is away.
 *
 * Invariant: nothing runs on this node that its plan does not name, and no plan of an older epoch is ever taken.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { assert, jsonEqual, messageOf, sleep, SteadError } from '../base/index.ts'
import type { Domain } from '../domain/index.ts'
import { type Endpoint, NameLookup, type Target } from '../network/index.ts'
import {
  type Assignment,
  type AssignmentStatus,
  type Downward,
  downwardSchema,
  type Edge,
  type Plan,
  protocolVersion,
  type Upward,
} from '../protocol/index.ts'
import { syscallName } from '../sandbox/index.ts'
import { type Box, openBox } from '../secrets/index.ts'
import { type Channel, dialForever, type TransportAddress } from '../transport/index.ts'
import { Answers, type AnswerSources } from './answers.ts'
import { Attempts } from './attempts.ts'
import { dataTask } from './data-tasks.ts'
import { breakableOf } from './breakable.ts'
import { Breaking } from './breaking.ts'
import { DiskWatch } from './disk.ts'
import { Exposures } from './expose.ts'
import { incidentsAsked } from './containment.ts'
import { Delivery } from './delivery.ts'
import { declaredBytes, Domains } from './domains.ts'
import { BundleFetcher } from './fetch.ts'
import { Incidents } from './incidents.ts'
import { type EndedBySystemCall, followKernelLog } from './kernel-log.ts'
import { InstanceRunner, type Surroundings } from './instance.ts'
import { KnownValues } from './known-values.ts'
import { MemoryFiles } from './memory-files.ts'
import type { AgentOptions } from './options.ts'
import { readPlan, writePlan } from './plan-file.ts'
import { ResourceRunner } from './resource.ts'
import { Streams } from './streams.ts'

/** How long a start looks for what runs already before it speaks with control. */
const lookMs = 5000
/** How often everything is reported again, changed or not, and streams are counted. */
const reportMs = 1000
/** How many reports there are to one look at what programs use. */
const reportsPerMeasure = 3

/**
 * How the edges go when a successor comes: it may not listen yet for a moment; a stream at rest is cut without harm, and
 * its program dials again.
 */
const handOverMs = { acceptMs: 4000, idleMs: 2000, endMs: 60_000 } as const

export interface Agent extends AsyncDisposable {
  /** Where everything stands, as the agent sees it. */
  statuses(): AssignmentStatus[]
  /**
   * Lets go of everything without stopping it: instances and servers go on, and the next agent on this directory finds
   * them. Resolves when nothing is acted on any more; `handedOver` when also the last stream of an edge has ended.
   */
  leave(): Promise<{ readonly handedOver: Promise<void> }>
}

/** Starts the agent: first what the plan on disk says, then what control says at `control`. */
export async function startAgent(options: AgentOptions, control: TransportAddress): Promise<Agent> {
  for (const name of ['instances', 'tasks']) mkdirSync(join(options.stateDir, name), { recursive: true, mode: 0o711 })
  mkdirSync(options.runDir, { recursive: true, mode: 0o711 })
  const agent = new RunningAgent(options, await openBox(options.keys, options.random))
  await agent.start(control)
  return agent
}

class RunningAgent implements Agent {
  readonly #options: AgentOptions
  readonly #planPath: string
  readonly #box: Box
  readonly #known: KnownValues
  readonly #memory: MemoryFiles
  readonly #delivery: Delivery
  readonly #instances = new Map<string, InstanceRunner>()
  readonly #resources = new Map<string, ResourceRunner>()
  readonly #domains: Domains
  readonly #answers: Answers
  readonly #fetcher: BundleFetcher
  readonly #incidents: Incidents
  readonly #surroundings: Surroundings
  /** Open while instances with tripwires are here. */
  #kernelLog: Disposable | null = null
  /** The ways in from other nodes; null where there are none. */
  readonly #exposures: Exposures | null
  readonly #breaking: Breaking
  readonly #looking: Promise<void>[] = []
  /** Assignments that are being ended and taken away. */
  readonly #removing = new Map<string, Promise<void>>()
  #plan: Plan
  /** Whether control has told its plan over the channel that is open. */
  #told = false
  #channel: Channel<Upward> | null = null
  #lastReason = ''
  #link: AsyncDisposable | null = null
  readonly #disk: DiskWatch
  #timer: Disposable | null = null
  #reported = new Map<string, AssignmentStatus>()
  #reportSoon = false
  #reports = 0
  #leaving = false

  constructor(options: AgentOptions, box: Box) {
    this.#box = box
    this.#known = new KnownValues(options.onNotice)
    this.#memory = new MemoryFiles(options.runDir)
    if (!this.#memory.inMemory)
      options.onNotice('secrets of running programs lie on the disk: this machine has no file system in memory')
    this.#delivery = new Delivery(this.#memory, options.providers, options.sandbox.capabilities)
    this.#options = {
      ...options,
      sandbox: this.#known.hiddenFrom(options.sandbox),
      openBundle: async (digest) => (await options.openBundle(digest)) ?? this.#fetcher.fetch(digest),
    }
    this.#domains = new Domains(
      options,
      (app) => declaredBytes(this.#plan, app),
      (app, path) => this.#breaking.sweep(app, path),
    )
    const domain = (app: string): Promise<Domain> => this.#domains.of(app)
    const breakable = breakableOf(this.#instances, this.#resources, domain, () => this.#changed())
    this.#breaking = new Breaking(join(options.stateDir, 'faults.json'), options.clock, breakable, options.onNotice)
    this.#incidents = new Incidents(join(options.stateDir, 'incidents'), options.clock, options.random)
    this.#surroundings = {
      targets: (edge) => this.#targets(edge),
      missing: (edge, consumer) => this.#missing(edge, consumer),
      held: ({ app, part }) => this.#breaking.held(app, part),
      refuses: ({ app, part }, edge) => this.#breaking.refuses(app, part, edge.part),
      changed: () => this.#changed(),
      names: new NameLookup({ clock: options.clock }),
      incidents: this.#incidents,
      redact: (text) => this.#known.redact(text),
    }
    const runnerOf = (id: string): InstanceRunner | ResourceRunner | null =>
      this.#instances.get(id) ?? this.#resources.get(id) ?? null
    const streams = new Streams({
      sandbox: (id) => runnerOf(id)?.sandbox ?? null,
      connect: (id, port) => {
        const endpoint = runnerOf(id)?.endpointAt(port) ?? null
        return endpoint === null ? null : options.network.connect(endpoint)
      },
      onNotice: options.onNotice,
    })
    const sources = {
      breaking: this.#breaking,
      attempts: (id: string) => runnerOf(id)?.attempts ?? null,
      deleteData: (app: string) => this.#deleteData(app),
      data: (...[app, task]: Parameters<AnswerSources['data']>) => dataTask(this.#domains, app, task),
      incidents: (ask: Parameters<AnswerSources['incidents']>[0]) =>
        incidentsAsked(this.#incidents, (id) => this.#instances.get(id)?.containment, ask),
    }
    this.#answers = new Answers(sources, streams)
    this.#disk = new DiskWatch({ ...options, onChange: (disk) => this.#channel?.send({ type: 'disk', disk }) })
    this.#planPath = join(options.stateDir, 'plan.json')
    this.#plan = readPlan(this.#planPath, box) ?? { epoch: 0, revision: 0, assignments: [] }
    this.#fetcher = new BundleFetcher(options.importBundle, (request) => {
      this.#channel?.send({ type: 'fetch-bundle', ...request })
      return this.#channel !== null
    })
    this.#exposures =
      options.advertise === null ? null : new Exposures(options, options.advertise, () => this.#changed())
  }

  async start(control: TransportAddress): Promise<void> {
    this.#carryOut()
    await this.#sweep()
    // Until everything was looked for, a report would say that what serves does not run.
    await Promise.race([Promise.allSettled(this.#looking), sleep(this.#options.clock, lookMs)])
    this.#looking.length = 0
    this.#exposures?.sweep()
    const { clock, random, name } = this.#options
    this.#link = dialForever<Upward, Downward>(control, {
      clock,
      random,
      schema: downwardSchema,
      onOpen: (channel) => {
        this.#channel = channel
        this.#told = false
        channel.send({ type: 'hello', protocol: protocolVersion, role: 'agent', name })
        this.#breaking.tellAgain()
        this.#report(true)
        this.#reportFaults()
        channel.send({ type: 'disk', disk: this.#disk.state })
      },
      onMessage: (message) => this.#hear(message),
      onDown: (reason) => {
        this.#channel = null
        this.#answers.abort()
        const own = reason.code === 'transport.closed-here'
        if (!own && reason.message !== this.#lastReason)
          this.#options.onNotice(`${name} lost control: ${reason.message}`)
        this.#lastReason = reason.message
        this.#fetcher.disconnected()
      },
    })
    const tick = (): void => {
      this.#reports += 1
      if (this.#reports % reportsPerMeasure === 1)
        for (const runner of [...this.#instances.values(), ...this.#resources.values()]) void runner.measure()
      this.#report(false)
      this.#sendApplied()
      this.#timer = clock.after(reportMs, tick)
    }
    this.#timer = clock.after(reportMs, tick)
  }

  #hear(message: Downward): void {
    switch (message.type) {
      case 'plan':
        if (message.plan.epoch < this.#plan.epoch) return this.#refuseOlder(message.plan.epoch)
        this.#told = true
        return this.#take(message.plan)
      case 'plan-delta': {
        // A delta for another plan than ours means that something was lost: a new channel brings a snapshot.
        if (message.epoch !== this.#plan.epoch || message.base !== this.#plan.revision) return this.#channel?.close()
        const gone = new Set([...message.remove, ...message.put.map((assignment) => assignment.id)])
        const kept = this.#plan.assignments.filter((assignment) => !gone.has(assignment.id))
        return this.#take({ epoch: message.epoch, revision: message.revision, assignments: [...kept, ...message.put] })
      }
      case 'ask': {
        const channel = this.#channel
        assert(channel !== null, 'an ask came over a channel')
        void this.#answers.answer(message.id, message.ask, (answer) => channel.send(answer))
        return
      }
      case 'bundle':
        return this.#fetcher.receive(message)
      case 'refused':
        return this.#options.onNotice(message.message)
      case 'routes':
        return
    }
  }

  /** A control that has been replaced, or whose store was set back: what it wants may be long over. */
  #refuseOlder(epoch: number): void {
    const { name, onNotice } = this.#options
    onNotice(
      `${name} has a plan of epoch ${this.#plan.epoch} and takes none of epoch ${epoch}, which is an older control's`,
    )
    this.#channel?.close()
  }

  #take(plan: Plan): void {
    // A full disk keeps no new plan from being followed that changes nothing: then the one that is kept will do.
    if (!jsonEqual(plan.assignments, this.#plan.assignments) || plan.epoch !== this.#plan.epoch)
      writePlan(this.#planPath, plan, this.#box)
    this.#plan = plan
    this.#carryOut()
    // First what stands otherwise now: whoever hears that the plan is taken may ask what is in force.
    this.#report(false)
    this.#sendApplied()
  }

  /** Makes runners for what is new, tells the others, and ends what the plan names no more. */
  #carryOut(): void {
    this.#known.learn(this.#plan.assignments)
    const planned = new Set(this.#plan.assignments.map((assignment) => assignment.id))
    // Servers first: an instance that is found is connected to them at once.
    const servers = this.#plan.assignments.filter((assignment) => assignment.kind === 'resource')
    const instances = this.#plan.assignments.filter((assignment) => assignment.kind !== 'resource')
    for (const assignment of [...servers, ...instances]) this.#assign(assignment)
    for (const [id, runner] of this.#instances) if (!planned.has(id)) this.#remove(id, () => this.#endInstance(runner))
    for (const [id, runner] of this.#resources) if (!planned.has(id)) this.#remove(id, () => this.#endResource(runner))
    this.#breaking.keepOnly(this.#plan.assignments)
  }

  #assign(assignment: Assignment): void {
    // It comes anew when what is left of it is gone.
    if (this.#removing.has(assignment.id)) return
    if (assignment.kind === 'resource') {
      const known = this.#resources.get(assignment.id)
      if (known !== undefined && !(known.status().phase === 'stopped' && assignment.wanted))
        return known.update(assignment)
      if (!assignment.wanted) return
      const runner = new ResourceRunner(
        assignment,
        this.#options,
        (app) => this.#domains.of(app),
        ({ app, part }) => this.#breaking.held(app, part),
        () => this.#changed(),
      )
      this.#resources.set(assignment.id, runner)
      this.#look(runner.looked)
      // Wanted again while it stopped: the plan says so, and no later message will.
      void runner.done.then(() => {
        if (!this.#leaving) this.#carryOut()
      })
      if ((this.#options.providers.get(assignment.type)?.port ?? null) !== null) this.#expose(assignment.id)
      return
    }
    const known = this.#instances.get(assignment.id)
    if (known !== undefined) return known.update(assignment)
    const runner = new InstanceRunner(assignment, this.#options, this.#surroundings, this.#delivery)
    this.#instances.set(assignment.id, runner)
    if (assignment.http !== null || assignment.ready.kind === 'tcp') this.#expose(assignment.id)
    if (runner.containment.isOn)
      this.#kernelLog ??= followKernelLog(this.#options.clock, (ended) => this.#endedBySystemCall(ended))
    this.#look(this.#servers().then(() => runner.begin()))
  }

  /** While the agent starts: what it waits for before it says where things stand. */
  #look(looking: Promise<void>): void {
    if (this.#link === null) this.#looking.push(looking)
  }

  /** Resolves when the servers that instances may be connected to have been looked for, while the agent starts. */
  async #servers(): Promise<void> {
    if (this.#link === null) await Promise.all([...this.#resources.values()].map((runner) => runner.looked))
  }

  #expose(id: string): void {
    this.#exposures?.open(id, () => this.#local(id))
  }

  /** Ends and forgets an assignment, once; should the plan name it again meanwhile, it is made anew after that. */
  #remove(id: string, end: () => Promise<void>): void {
    if (this.#removing.has(id)) return
    const removal = end()
      .then(() => this.#exposures?.remove(id))
      .catch((error: unknown) => this.#options.onNotice(messageOf(error)))
      .then(() => {
        this.#removing.delete(id)
        this.#instances.delete(id)
        this.#resources.delete(id)
        if (!this.#leaving && this.#plan.assignments.some((assignment) => assignment.id === id)) this.#carryOut()
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
  async #sweep(): Promise<void> {
    const { stateDir, sandbox, clock } = this.#options
    this.#memory.sweep(new Set(this.#instances.keys()))
    for (const name of readdirSync(join(stateDir, 'instances'))) {
      if (this.#instances.has(name) || this.#resources.has(name)) continue
      const left = new Attempts(join(stateDir, 'instances', name), sandbox, clock)
      await (await left.adopt())?.kill()
      await left.remove()
    }
    for (const name of readdirSync(join(stateDir, 'tasks'))) {
      const recordDir = join(stateDir, 'tasks', name)
      await (await sandbox.adopt(recordDir))?.kill()
      await sandbox.remove(recordDir)
    }
  }

  /** Where an assignment listens on this node; null when it is not here, or not ready. */
  #local(id: string): Endpoint | null {
    const resource = this.#resources.get(id)
    if (resource !== undefined) return resource.endpoint()
    const status = this.#instances.get(id)?.status()
    return status?.phase === 'ready' ? status.endpoint : null
  }

  /** What is on this node is known better here than by control; processes and socket files are only ever this node's. */
  #targets(edge: Edge): readonly Target[] {
    const own = edge.resource !== null && this.#resources.has(edge.resource) ? edge.resource : null
    const told = own === null ? edge.targets : [{ id: own, endpoint: null }]
    return told.flatMap(({ id, endpoint }) => {
      const remote = endpoint?.kind === 'tcp' ? endpoint : null
      const to = this.#instances.has(id) || id === own ? this.#local(id) : remote
      return to === null ? [] : [{ id, endpoint: to }]
    })
  }

  #missing(edge: Edge, consumer: string): string | null {
    const waits = `waits for ${edge.part}`
    if (edge.type === 'secret' && edge.grant === null) {
      const [app = ''] = edge.resource?.split('.') ?? []
      return `${edge.part} has no value: stead secret set ${edge.part} --app ${app}`
    }
    const resource = edge.resource === null ? undefined : this.#resources.get(edge.resource)
    if (resource !== undefined) return resource.settled(consumer) ? null : waits
    return edge.port === 0 || this.#targets(edge).length > 0 ? null : waits
  }

  #changed(): void {
    if (this.#reportSoon) return
    this.#reportSoon = true
    queueMicrotask(() => {
      this.#reportSoon = false
      this.#report(false)
      this.#reportFaults()
    })
  }

  statuses(): AssignmentStatus[] {
    return [...this.#instances.values(), ...this.#resources.values()]
      .map((runner) => runner.status())
      .map((status) => {
        if (this.#exposures === null || status.endpoint === null) return status
        return { ...status, endpoint: this.#exposures.endpoint(status.id) }
      })
  }

  #report(full: boolean): void {
    const now = new Map(this.statuses().map((status) => [status.id, status]))
    const changed = [...now.values()].filter(
      (status) => full || !jsonEqual(status, this.#reported.get(status.id) ?? null),
    )
    const lost = [...this.#reported.keys()].some((id) => !now.has(id))
    if (this.#channel === null || (!full && !lost && changed.length === 0)) return
    this.#channel.send({ type: 'status', full: full || lost, statuses: full || lost ? [...now.values()] : changed })
    this.#reported = now
  }

  #reportFaults(): void {
    const faults = this.#channel === null ? null : this.#breaking.news()
    if (faults !== null) this.#channel?.send({ type: 'faults', faults })
  }

  #sendApplied(): void {
    // Before control has told its plan, the revision in force is one of an earlier channel.
    if (!this.#told) return
    const busy = new Set([...this.#instances.values()].flatMap((runner) => runner.busy()))
    this.#channel?.send({ type: 'applied', revision: this.#plan.revision, busy: [...busy] })
  }

  /** All instances of a part on this node have one user: which of them it was is not known, so each is contained. */
  #endedBySystemCall({ hostUid, pid, call }: EndedBySystemCall): void {
    const name = syscallName(call, process.arch === 'arm64' ? 'arm64' : 'x64') ?? `number ${call}`
    for (const { assignment, containment } of this.#instances.values())
      if (assignment.hostUid === hostUid)
        containment.trip('system-call', `its process ${pid} was ended for the system call ${name}`)
  }

  /** Deletes what an app has stored here. Throws `agent.in-use` while anything of it is there. */
  async #deleteData(app: string): Promise<void> {
    const running = [...this.#instances.values(), ...this.#resources.values()].filter(
      (runner) => runner.assignment.app === app && !['stopped', 'succeeded', 'failed'].includes(runner.status().phase),
    )
    if (running.length > 0) {
      throw new SteadError({
        code: 'agent.in-use',
        message: `${running.map((runner) => runner.assignment.part).join(', ')} of ${app} still runs on this node`,
        retry: 'later',
      })
    }
    await this.#domains.destroy(app)
  }

  async #disconnect(): Promise<void> {
    this.#leaving = true
    this.#timer?.[Symbol.dispose]()
    this.#breaking.leave()
    this.#disk[Symbol.dispose]()
    this.#kernelLog?.[Symbol.dispose]()
    this.#answers.abort()
    await this.#link?.[Symbol.asyncDispose]()
    this.#channel = null
    this.#fetcher.disconnected()
  }

  async leave(): Promise<{ readonly handedOver: Promise<void> }> {
    await this.#disconnect()
    for (const runner of this.#resources.values()) runner.leave()
    await this.#domains.leave()
    this.#memory.close()
    const handOver = { clock: this.#options.clock, ...handOverMs }
    const edges = Promise.all([...this.#instances.values()].map((runner) => runner.leave(handOver)))
    return { handedOver: edges.then(() => this.#exposures?.[Symbol.asyncDispose]()) }
  }

  /** Stops everything on this node: instances first, then what they use, then the domains. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disconnect()
    for (const runner of this.#instances.values()) runner.update({ ...runner.assignment, wanted: false })
    await Promise.all([...this.#instances.values()].map((runner) => runner.ended))
    await Promise.all([...this.#resources.values()].map((runner) => runner.stop()))
    await Promise.all(this.#removing.values())
    await this.#exposures?.[Symbol.asyncDispose]()
    await this.#domains.close()
    for (const id of this.#instances.keys()) this.#delivery.remove(id)
    this.#memory.close()
  }
}
