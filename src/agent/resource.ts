/**
 * One resource on this node, which is its home: drives its provider through provision, serve, prepare, grant, and keeps
 * the server running in a sandbox. A step that can succeed later is tried again with growing pauses; one that cannot is
 * given up, with the provider's own words, until the assignment changes.
 *
 * Invariant: `settled(consumer)` is true only while the server answers and the consumer has been let in, with everything
 * declared in place, or all that was before when a change was refused.
 */
import { join } from 'node:path'
import { isSteadError, jsonEqual, messageOf, sleep, SteadError } from '../base/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { AssignmentStatus, Phase, ResourceAssignment } from '../protocol/index.ts'
import type { Provider, ProviderContext, ProviderServer } from '../provider/index.ts'
import type { Sandbox } from '../sandbox/index.ts'
import { Attempts } from './attempts.ts'
import { aborted, Halts } from './halts.ts'
import { abandon, abandonMs, type OrEnded, Patience } from './leave-behind.ts'
import { Meter } from './meter.ts'
import type { AgentOptions } from './options.ts'
import { reasonOf } from './reason.ts'
import { type Domains, placeOf } from './domains.ts'
import { Elsewhere } from './elsewhere.ts'
import type { Exchanges } from './exchange.ts'
import { endServer, killServer, lastLines, resourceContext, startProgram } from './resource-context.ts'
import { LogLook, type Usage, unknownUsage, usageOf } from './usage.ts'

const readyTimeoutMs = 60_000
const pauseMinMs = 500
const pauseMaxMs = 30_000
/** How often one that is kept from running looks whether it may. */
const heldLookMs = 250
const heldReason = 'waits for the fault that was made on purpose to heal'

/** What a resource asks its agent. */
export interface ResourceNeed {
  readonly domains: Domains
  readonly exchanges: Exchanges
  /** Whether it is kept from running on purpose. */
  readonly held: (assignment: ResourceAssignment) => boolean
  readonly changed: () => void
}

export class ResourceRunner {
  readonly #options: AgentOptions
  readonly #provider: Provider | null
  readonly #need: ResourceNeed
  readonly attempts: Attempts
  readonly #stop = new AbortController()
  #assignment: ResourceAssignment
  #phase: Phase = 'waiting'
  #reason: string | null = null
  #restarts = 0
  #usage: Usage = unknownUsage
  readonly #meter: Meter
  readonly #log = new LogLook()
  #sinceMs: number
  #sandbox: Sandbox | null = null
  #server: ProviderServer | null = null
  readonly #elsewhere: Elsewhere
  /** The assignment that is in force, once all its steps are done. */
  #applied: ResourceAssignment | null = null
  #left = false
  /** What the provider said of the schema that is in force. */
  #schema: string | null = null
  /** How it is known that what the server acknowledges is on the disk. */
  #durability: string | null = null
  /** Generation of the data that it was last seen on; null before that is known. */
  #generation: number | null = null
  readonly #patience: Patience
  readonly #halts: Halts
  /** Its server was found running: it answers before everything that was declared has been looked at again. */
  #found = false
  readonly #looked = Promise.withResolvers<void>()
  /** What is being brought into force, and what it was for that last worked or was given up. */
  #trying: ResourceAssignment
  #tried: ResourceAssignment | null = null
  #news = Promise.withResolvers<void>()
  readonly #done: Promise<void>

  constructor(assignment: ResourceAssignment, options: AgentOptions, need: ResourceNeed) {
    this.#assignment = assignment
    this.#trying = assignment
    this.#options = options
    this.#need = need
    this.#provider = options.providers.get(assignment.type) ?? null
    this.#meter = new Meter(this.#provider)
    this.#elsewhere = new Elsewhere(options.network)
    this.#sinceMs = options.clock.nowMs()
    this.#halts = new Halts(options.clock)
    this.#patience = new Patience(options.clock)
    this.attempts = new Attempts(join(options.stateDir, 'instances', assignment.id), options.sandbox, options.clock)
    this.#done = this.#run()
  }

  get assignment(): ResourceAssignment {
    return this.#assignment
  }

  update(assignment: ResourceAssignment): void {
    if (jsonEqual(assignment, this.#assignment)) return
    this.#assignment = assignment
    if (!assignment.wanted) this.#stop.abort(new Error('not wanted'))
    this.#wake()
  }

  #wake(): void {
    this.#news.resolve()
    this.#news = Promise.withResolvers()
  }

  status(): AssignmentStatus {
    return {
      id: this.#assignment.id,
      phase: this.#phase,
      reason: this.#reason,
      restarts: this.#restarts,
      sinceMs: this.#sinceMs,
      endpoint: this.endpoint(),
      pid: this.#sandbox?.pid ?? null,
      ...this.#usage,
      settled: this.#tried === this.#assignment,
      credentials: this.#applied?.grants.map(({ consumer, version }) => `${consumer}@${version}`) ?? [],
      ...(this.#generation === null ? {} : { generation: this.#generation }),
      ...(this.#applied === null ? {} : { schema: this.#schema }),
      ...(this.#durability === null ? {} : { durability: this.#durability }),
      ...(this.#meter.values === null ? {} : { metrics: this.#meter.values }),
    }
  }

  /** Looks at what its server uses now. */
  async measure(): Promise<void> {
    const sandbox = this.#sandbox
    const log = await this.#log.seen(this.#applied && this.#provider, () => this.liveContext())
    const usage = sandbox === null ? unknownUsage : { ...(await usageOf(sandbox)), ...log }
    if (this.#sandbox === sandbox) this.#usage = usage
    await this.#meter.read(() => (this.#applied === null ? null : this.#context(this.#applied)))
  }

  /** Kills its server, as an accident would; answers whether there was one. */
  killNow(): boolean {
    const sandbox = this.#sandbox
    sandbox?.kill().catch((error: unknown) => this.#options.onNotice(`${this.#assignment.id}: ${messageOf(error)}`))
    return sandbox !== null
  }

  /** Where its edges lead; null while nothing answers, and for a resource without a server. */
  endpoint(): Endpoint | null {
    const answers = this.#applied !== null || this.#found
    if (this.#server === null) return answers ? this.#elsewhere.endpoint : null
    return answers ? { kind: 'unix', path: this.#server.socketPath } : null
  }

  /** The server, while it runs. */
  get sandbox(): Sandbox | null {
    return this.#sandbox
  }

  /** As `endpoint`; a server has no other ports. */
  endpointAt(port: number | null): Endpoint | null {
    return port === null ? this.endpoint() : null
  }

  /**
   * Whether a consumer may start: everything it was promised is in place, or what was there before, when that could not
   * be changed.
   */
  settled(consumer: string): boolean {
    const inForce = this.#phase === 'gave-up' || jsonEqual(this.#applied, this.#assignment)
    return this.#applied !== null && inForce && this.#applied.grants.some((grant) => grant.consumer === consumer)
  }

  /** Lets go of the server without ending it: it goes on, and the next agent finds it. */
  leave(): void {
    this.#left = true
    this.#stop.abort(new Error('left'))
  }

  /** Stops the server and resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'))
    await this.#done
  }

  /** Resolves when it is known whether its server runs already, or cannot be known now. */
  get looked(): Promise<void> {
    return this.#looked.promise
  }

  /** Resolves when it has stopped. */
  get done(): Promise<void> {
    return this.#done
  }

  #to(phase: Phase, reason: string | null): void {
    if (phase !== this.#phase) this.#sinceMs = this.#options.clock.nowMs()
    this.#phase = phase
    this.#reason = reason
    this.#need.changed()
  }

  async #run(): Promise<void> {
    let pauseMs = pauseMinMs
    while (!this.#stop.signal.aborted) {
      const assignment = this.#assignment
      this.#trying = assignment
      // What is tried again has not come to its end yet.
      this.#tried = null
      try {
        await this.#unhalted()
        await this.#unheld()
        await this.#serve(assignment, () => (pauseMs = pauseMinMs))
      } catch (error) {
        this.#looked.resolve()
        if (this.#stop.signal.aborted) break
        const final = isSteadError(error) && error.retry === 'never'
        const words = reasonOf(error)
        // A server that goes on serves what was in force before: a bad migration takes nothing away.
        if (this.#server === null ? this.#elsewhere.endpoint === null : this.#sandbox === null) this.#applied = null
        if (this.#noteLost(this.#trying, words, final)) continue
        if (final) this.#tried = this.#trying
        this.#to(final ? 'gave-up' : 'backing-off', words)
        const over = sleep(this.#options.clock, pauseMs, this.#stop.signal).catch(() => {})
        // What was assigned meanwhile is tried at once; what failed is not tried again before something changes.
        const next = this.#assignment === this.#trying ? this.#news.promise : Promise.resolve()
        await Promise.race([next, aborted(this.#stop.signal), ...(final ? [] : [over])])
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs)
        this.#restarts += 1
      }
    }
    // The next agent's now, with its edges still open here for a while.
    if (this.#left) return
    this.#applied = null
    this.#elsewhere.close()
    this.#to('stopping', null)
    await this.#stopServer()
    this.#to('stopped', null)
  }

  /** Waits while it is kept from running on purpose. */
  async #unheld(): Promise<void> {
    while (this.#need.held(this.#assignment)) {
      if (this.#phase !== 'backing-off' || this.#reason !== heldReason) this.#to('backing-off', heldReason)
      await sleep(this.#options.clock, heldLookMs, this.#stop.signal)
    }
  }

  /** Stands still for as long as somebody wants it to. */
  async #unhalted(): Promise<void> {
    for (let halt = this.#halts.wanted; halt !== null; halt = this.#halts.wanted) {
      this.#applied = null
      this.#to('waiting', halt.reason)
      await this.#stopServer()
      halt.standing.resolve()
      await Promise.race([halt.over.promise, aborted(this.#stop.signal)])
      this.#stop.signal.throwIfAborted()
    }
  }

  /**
   * Stops its server and keeps it stopped until what is answered is disposed of. Throws `agent.data-busy` when that does not
   * come about in time.
   */
  halt(reason: string): Promise<Disposable> {
    const halting = this.#halts.want(reason, this.#done)
    this.#wake()
    return halting
  }

  /**
   * One life of the server: until the data is to be exchanged or it is to stand still, and then it has stopped; throws when
   * it has ended by itself, or the resource is to stop.
   */
  async #serve(first: ResourceAssignment, onReady: () => void): Promise<void> {
    const { exchanges } = this.#need
    const place = placeOf(first)
    const isDue = await exchanges.isDue(place)
    this.#patience.look(isDue ? place.generation : null)
    if (isDue && exchanges.noted(place, first.part) !== null) return await this.#exchange(first)
    const provider = this.#provider
    if (provider === null) {
      const message = `this node has no provider for ${first.type}`
      throw new SteadError({ code: 'agent.no-provider', message, hint: 'Upgrade the node.' })
    }
    this.#to('starting', null)
    const context = await this.#context(first)
    const toFinish = isDue ? null : exchanges.noted(place, first.part)
    const isNew = toFinish !== null && toFinish.note !== 'finished'
    // What was put back from a copy is as a crash would have left it.
    if ((isNew || place.copy !== null) && (await this.#running()) === null) {
      await provider.recover(context)
      await exchanges.step('recovered', first.id)
    }
    await this.#startServer(await provider.provision(context), context, isDue)
    this.#looked.resolve()
    const sandbox = this.#sandbox
    const ended = sandbox?.exited.then(async (exit) => {
      if (this.#sandbox === sandbox) this.#sandbox = null
      this.#found = false
      throw new SteadError({
        code: 'agent.server-ended',
        message: `the server ${exit.sentence}`,
        hint: await this.#lastLines(),
        retry: 'later',
      })
    })
    // Handled wherever it is raced; without this an end between two races would be an unhandled rejection.
    ended?.catch(() => {})
    const stopped = aborted(this.#stop.signal).then(() => Promise.reject(new Error('stopped')))
    stopped.catch(() => {})
    const orEnded: OrEnded = (work) => Promise.race(ended === undefined ? [work, stopped] : [work, ended, stopped])

    await this.#elsewhere.look(provider, context, this.#server && first)
    const readyMs = isDue ? abandonMs : readyTimeoutMs
    if (this.#server !== null || this.#elsewhere.endpoint !== null) await orEnded(provider.ready(context, readyMs))
    this.#durability = isDue ? null : await this.#prove(provider, context, orEnded)
    let careful: readonly string[] = []
    if (isNew) {
      await exchanges.step('started', first.id)
      const dir = exchanges.dirOf(place, first.part)
      // Where nothing could be written down, it finds nothing there and is careful.
      careful = await orEnded(provider.carry?.(context, dir, place.generation) ?? Promise.resolve([]))
      await exchanges.step('carried', first.id)
      exchanges.note(place, first.part, 'finished')
      await exchanges.step('finished', first.id)
    }
    const lost = toFinish?.note === 'lost' ? [`went back without what was to outlive that: ${toFinish.reason}`] : []
    const said = lost.length + careful.length === 0 ? null : [...lost, ...careful].join('; ')
    let granted: ResourceAssignment['grants'] = []
    for (;;) {
      const news = this.#news.promise
      const assignment = this.#assignment
      if (await exchanges.isDue(placeOf(assignment))) return await this.#leaveBehind(assignment, provider, orEnded)
      if (this.#halts.wanted !== null) return
      if (!jsonEqual(assignment.config, first.config) || placeOf(assignment).copy !== place.copy) {
        // Only a server that is provisioned anew reads its settings.
        await this.#stopServer()
        throw new SteadError({ code: 'agent.config-changed', message: 'its configuration has changed', retry: 'now' })
      }
      this.#trying = assignment
      const current = await this.#context(assignment)
      await this.#elsewhere.look(provider, current, this.#server && assignment)
      const { schema } = await orEnded(provider.prepare(current, assignment.phase))
      for (const grant of assignment.grants) await orEnded(provider.grant(current, grant))
      const letIn = new Set(assignment.grants.map((grant) => grant.user))
      const gone = new Set([...granted.map((grant) => grant.user), ...assignment.revoked])
      for (const user of gone) if (!letIn.has(user)) await orEnded(provider.revoke(current, user))
      granted = assignment.grants
      if (isNew) await exchanges.step('granted', first.id)
      this.#schema = schema
      this.#applied = assignment
      this.#tried = assignment
      this.#to('ready', said)
      onReady()
      await orEnded(news)
    }
  }

  /** How it is known that what the server acknowledges is on the disk. Where that is not so, the server stops. */
  async #prove(provider: Provider, context: ProviderContext, orEnded: OrEnded): Promise<string | null> {
    try {
      return await orEnded(provider.durability?.(context) ?? Promise.resolve(null))
    } catch (error) {
      if (!this.#stop.signal.aborted) await this.#stopServer()
      throw error
    }
  }

  /** While its server answers, and as soon as nobody else does ask it: writes what must outlive its data, and exchanges that. */
  async #leaveBehind(assignment: ResourceAssignment, provider: Provider, orEnded: OrEnded): Promise<void> {
    const { exchanges } = this.#need
    const place = placeOf(assignment)
    const tell = (reason: string): void => this.#to('waiting', reason)
    const { clock } = this.#options
    this.#trying = assignment
    this.#tried = null
    this.#applied = null
    this.#found = false
    tell('its data is exchanged')
    await exchanges.step('fenced', assignment.id)
    const beforeMs = clock.monotonicMs()
    await orEnded(exchanges.quiet(place, this.#stop.signal, tell))
    await exchanges.step('quiet', assignment.id)
    this.#patience.excuse(place.generation, beforeMs)
    const context = await this.#context(assignment)
    await abandon(context, provider, exchanges.dirOf(place, assignment.part), orEnded)
    await exchanges.step('abandoned', assignment.id)
    exchanges.note(place, assignment.part, 'abandoned')
    await exchanges.step('noted', assignment.id)
    await this.#exchange(assignment)
  }

  /** Going back does not fail because what is left behind cannot be asked any more; that is said, and noted. */
  #noteLost(assignment: ResourceAssignment, reason: string, final: boolean): boolean {
    const place = placeOf(assignment)
    const { exchanges } = this.#need
    // What has failed may be something else: a plan, say, that does not fit the data at all.
    if (!this.#patience.isOver(place.generation, final)) return false
    if (exchanges.noted(place, assignment.part) !== null) return false
    exchanges.note(place, assignment.part, 'lost', reason)
    this.#options.onNotice(
      `${assignment.id} goes back without what was to outlive that, as it could not be asked: ${reason}`,
    )
    return true
  }

  /** Nothing of it runs after this, and its data is the one of the generation that is planned. */
  async #exchange(assignment: ResourceAssignment): Promise<void> {
    const { exchanges } = this.#need
    const place = placeOf(assignment)
    const tell = (reason: string): void => this.#to('waiting', reason)
    const running = await this.#running()
    if (running !== null) {
      await killServer(running)
      this.#found = false
      this.#sandbox = null
    }
    this.#looked.resolve()
    await exchanges.step('stopped', assignment.id)
    await exchanges.quiet(place, this.#stop.signal, tell)
    await exchanges.exchange(place, assignment.id, this.#stop.signal, tell)
    this.#patience.look(null)
  }

  /** Its server, of this agent or an earlier one, if it runs. */
  async #running(): Promise<Sandbox | null> {
    const sandbox = this.#sandbox ?? (await this.attempts.adopt())
    if (sandbox === null) return null
    // A turn of the event loop: what ended before it was adopted has said so by then.
    const turn = sleep(this.#options.clock, 0).then(() => false)
    const ended = await Promise.race([sandbox.exited.then(() => true), turn])
    return ended ? null : sandbox
  }

  /** The context in which its server answers, for a release that has it like this. Throws `agent.not-serving`. */
  async liveContext(as: Partial<Pick<ResourceAssignment, 'config' | 'bundle'>> = {}): Promise<ProviderContext> {
    const { id } = this.#assignment
    if (this.#applied === null || this.#halts.wanted !== null) {
      throw new SteadError({
        code: 'agent.not-serving',
        message: `${id} does not answer now${this.#reason === null ? '' : `: ${this.#reason}`}`,
        retry: 'later',
      })
    }
    return this.#context({ ...this.#assignment, ...as })
  }

  async #context(assignment: ResourceAssignment): Promise<ProviderContext> {
    const place = placeOf(assignment)
    const { domains } = this.#need
    const tree = await domains.pathOf(place)
    this.#generation = place.copy === null ? (await domains.of(place.app)).generation : place.generation
    return resourceContext(this.#options, assignment, { tree }, () => this.#lastLines())
  }

  async #startServer(server: ProviderServer | null, context: ProviderContext, isDue: boolean): Promise<void> {
    const before = this.#server
    this.#server = server
    if (server === null) return
    this.#sandbox = await this.#running()
    if (this.#sandbox !== null && (before === null || jsonEqual(before, server))) {
      // What is to be left behind is for nobody any more.
      this.#found = !isDue
      this.#need.changed()
      return
    }
    await this.#stopServer()
    const { number, recordDir } = await this.attempts.next()
    const how = {
      id: `${this.#assignment.id}.${number}`,
      recordDir,
      memoryBytes: server.memoryBytes,
      writes: [context.dataDir, context.socketDir],
    }
    this.#sandbox = await startProgram(this.#options, this.#assignment, server, how)
  }

  async #stopServer(): Promise<void> {
    const sandbox = this.#sandbox
    this.#found = false
    if (sandbox !== null) await endServer(this.#options, sandbox, this.#server ?? unknownServer)
    this.#sandbox = null
  }

  #lastLines(): Promise<string> {
    return lastLines(this.attempts.output({}))
  }
}

/** How a server is stopped that an earlier agent has started, before its provider was asked. */
const unknownServer = { stopSignal: 'SIGTERM', stopTimeoutMs: 2000 } as const
