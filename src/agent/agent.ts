/**
 * The agent of a node: keeps what its plan says running. The plan comes from control, is kept on disk before it is acted
 * on, and stays in force while control is away.
 *
 * Invariant: nothing runs on this node that its plan does not name, and no plan of an older epoch is ever taken.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { assert, jsonEqual, sleep } from '../base/index.ts'
import type { Domain } from '../domain/index.ts'
import { Rates } from '../network/index.ts'
import {
  type AssignmentStatus,
  type DebuggerOf,
  type Downward,
  downwardSchema,
  type Plan,
  protocolVersion,
  type Upward,
} from '../protocol/index.ts'
import { type Box, openBox } from '../secrets/index.ts'
import { type Channel, dialForever, type TransportAddress } from '../transport/index.ts'
import { Answers, type AnswerSources } from './answers.ts'
import { DataTasks } from './data-tasks.ts'
import { breakableOf } from './breakable.ts'
import { Breaking } from './breaking.ts'
import { DiskWatch } from './disk.ts'
import { incidentsAsked } from './containment.ts'
import { declaredBytes, Domains } from './domains.ts'
import { BundleFetcher } from './fetch.ts'
import type { Hold } from './holds.ts'
import { Incidents } from './incidents.ts'
import { KnownValues } from './known-values.ts'
import { Looks } from './looks.ts'
import { MemoryFiles } from './memory-files.ts'
import type { AgentOptions } from './options.ts'
import { readPlan, writePlan } from './plan-file.ts'
import { Runners } from './runners.ts'
import { Streams } from './streams.ts'
import { NodeOffers } from './node-offer.ts'
import { Tasks } from './tasks.ts'

/** A server of the platform's own is not judged by this agent. */
const noHold: Hold = { stands() {}, [Symbol.dispose]() {} }
/** How long a start looks for what runs already before it speaks with control. */
const lookMs = 5000
/** How often everything is reported again, changed or not, and streams are counted. */
const reportMs = 1000
/** How many reports there are to one look at what programs use. */
const reportsPerMeasure = 3

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
  readonly #runners: Runners
  readonly #dataTasks: DataTasks
  readonly #domains: Domains
  readonly #answers: Answers
  readonly #fetcher: BundleFetcher
  readonly #offers: NodeOffers
  readonly #rates: Rates
  readonly #tasks: Tasks
  readonly #incidents: Incidents
  readonly #breaking: Breaking
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

  constructor(options: AgentOptions, box: Box) {
    this.#box = box
    this.#known = new KnownValues(options.onNotice)
    this.#memory = new MemoryFiles(options.runDir)
    if (!this.#memory.inMemory)
      options.onNotice('secrets of running programs lie on the disk: this machine has no file system in memory')
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
    this.#incidents = new Incidents(join(options.stateDir, 'incidents'), options.clock, options.random)
    const { nodeFile: file, advertise: address, onNotice } = options
    const leftOfNetwork = (bits: number): number | null => this.#rates.leftForCounted(bits)
    const { capabilities } = options.sandbox
    this.#offers = new NodeOffers({ file, address, capabilities, onNotice, leftOfNetwork })
    this.#rates = new Rates({ holds: options.network.capabilities.rates === 'native', onNotice })
    this.#rates.carries(this.#offers.networkBits())
    this.#runners = new Runners(this.#options, {
      domains: this.#domains,
      breaking: () => this.#breaking,
      incidents: this.#incidents,
      rates: this.#rates,
      known: this.#known,
      memory: this.#memory,
      plan: () => this.#plan,
      working: (app) => this.#dataTasks.working(app),
      changed: () => this.#changed(),
    })
    const { instances, resources } = this.#runners
    this.#dataTasks = new DataTasks(this.#options, { domains: this.#domains, resources, instances })
    const breakable = breakableOf(instances, resources, domain, () => this.#changed())
    this.#breaking = new Breaking(join(options.stateDir, 'faults.json'), options.clock, breakable, options.onNotice)
    const { clock, random } = options
    const looks = new Looks({ clock, random, hide: (text) => this.#known.redact(text) })
    const hold = (id: string, whose: DebuggerOf | null): Hold => instances.get(id)?.holds.take(whose) ?? noHold
    const streams = new Streams({
      sandbox: (id) => this.#runners.of(id)?.sandbox ?? null,
      connect: (id, port) => {
        const endpoint = this.#runners.of(id)?.endpointAt(port) ?? null
        return endpoint === null ? null : options.network.connect(endpoint)
      },
      look: (id, look, whose) => {
        const sandbox = this.#runners.of(id)?.sandbox ?? null
        return sandbox === null ? null : looks.open(sandbox, look, () => hold(id, whose))
      },
      hold,
      tap: (id) => instances.get(id)?.tap() ?? null,
      core: (id) => instances.get(id)?.attempts.cores.path ?? null,
      partOf: (pid) => this.#runners.withProcess(pid),
      clock,
      onNotice: options.onNotice,
    })
    this.#tasks = new Tasks(options, this.#offers, this.#rates)
    const sources = {
      breaking: this.#breaking,
      attempts: (id: string) => this.#runners.of(id)?.attempts ?? this.#tasks.outputOf(id),
      deleteData: (app: string) => this.#runners.deleteData(app),
      data: (...asked: Parameters<AnswerSources['data']>) => this.#dataTasks.run(...asked),
      incidents: (ask: Parameters<AnswerSources['incidents']>[0]) =>
        incidentsAsked(this.#incidents, (id) => instances.get(id)?.containment, ask),
    }
    this.#answers = new Answers(sources, streams)
    this.#disk = new DiskWatch({ ...options, onChange: (disk) => this.#channel?.send({ type: 'disk', disk }) })
    this.#planPath = join(options.stateDir, 'plan.json')
    this.#plan = readPlan(this.#planPath, box) ?? { epoch: 0, revision: 0, assignments: [] }
    this.#fetcher = new BundleFetcher(options.importBundle, (request) => {
      this.#channel?.send({ type: 'fetch-bundle', ...request })
      return this.#channel !== null
    })
  }

  async start(control: TransportAddress): Promise<void> {
    this.#runners.carryOut()
    await this.#runners.sweep()
    await this.#tasks.adopt()
    // Until everything was looked for, a report would say that what serves does not run.
    await Promise.race([this.#runners.looked(), sleep(this.#options.clock, lookMs)])
    this.#runners.settle()
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
        this.#tasks.connected((message) => channel.send(message))
      },
      onMessage: (message) => this.#hear(message),
      onDown: (reason) => {
        this.#channel = null
        this.#answers.lost()
        this.#tasks.disconnected()
        const own = reason.code === 'transport.closed-here'
        if (!own && reason.message !== this.#lastReason)
          this.#options.onNotice(`${name} lost control: ${reason.message}`)
        this.#lastReason = reason.message
        this.#fetcher.disconnected()
      },
    })
    const tick = (): void => {
      this.#reports += 1
      if (this.#reports % reportsPerMeasure === 1) this.#runners.measure()
      this.#report(false)
      this.#sendApplied()
      this.#tasks.bound()
      this.#tasks.offerAgain()
      this.#rates.carries(this.#offers.networkBits())
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
      case 'tasks':
        return this.#tasks.hear(message)
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
    this.#runners.carryOut()
    // First what stands otherwise now: whoever hears that the plan is taken may ask what is in force.
    this.#report(false)
    this.#sendApplied()
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
    return this.#runners.statuses()
  }

  #report(full: boolean): void {
    const now = new Map(this.#runners.statuses().map((status) => [status.id, status]))
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
    this.#channel?.send({ type: 'applied', revision: this.#plan.revision, busy: [...this.#runners.busy()] })
  }

  async #disconnect(): Promise<void> {
    this.#runners.disconnect()
    this.#timer?.[Symbol.dispose]()
    this.#breaking.leave()
    this.#disk[Symbol.dispose]()
    this.#answers.abort()
    await this.#link?.[Symbol.asyncDispose]()
    this.#channel = null
    this.#fetcher.disconnected()
  }

  async leave(): Promise<{ readonly handedOver: Promise<void> }> {
    await this.#disconnect()
    await this.#tasks.leave()
    this.#runners.leaveResources()
    await this.#domains.leave()
    this.#memory.close()
    return { handedOver: this.#runners.leaveInstances() }
  }

  /** Stops everything on this node: instances first, then what they use, then the domains. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disconnect()
    await Promise.all([this.#tasks.stop(), this.#runners.stop()])
    await this.#domains.close()
    this.#memory.close()
  }
}
