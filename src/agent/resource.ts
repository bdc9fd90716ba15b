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
import type { Domain } from '../domain/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { AssignmentStatus, Phase, ResourceAssignment } from '../protocol/index.ts'
import type { Provider, ProviderContext, ProviderServer } from '../provider/index.ts'
import type { Sandbox } from '../sandbox/index.ts'
import { Attempts } from './attempts.ts'
import type { AgentOptions } from './options.ts'
import { endServer, lastLines, resourceContext, startProgram } from './resource-context.ts'
import { type Usage, unknownUsage, usageOf } from './usage.ts'

const readyTimeoutMs = 60_000
const pauseMinMs = 500
const pauseMaxMs = 30_000
/** How often one that is kept from running looks whether it may. */
const heldLookMs = 250
const heldReason = 'waits for the fault that was made on purpose to heal'

export class ResourceRunner {
  readonly #options: AgentOptions
  readonly #provider: Provider | null
  readonly #openDomain: (app: string) => Promise<Domain>
  readonly #held: (assignment: ResourceAssignment) => boolean
  readonly #changed: () => void
  readonly attempts: Attempts
  readonly #stop = new AbortController()
  #assignment: ResourceAssignment
  #phase: Phase = 'waiting'
  #reason: string | null = null
  #restarts = 0
  #usage: Usage = unknownUsage
  #sinceMs: number
  #sandbox: Sandbox | null = null
  #server: ProviderServer | null = null
  /** Where it answers when somebody else runs it. */
  #elsewhere: { readonly host: string; readonly port: number } | null = null
  /** The assignment that is in force, once all its steps are done. */
  #applied: ResourceAssignment | null = null
  #left = false
  /** Its server was found running: it answers before everything that was declared has been looked at again. */
  #found = false
  readonly #looked = Promise.withResolvers<void>()
  /** What is being brought into force, and what it was for that last worked or was given up. */
  #trying: ResourceAssignment
  #tried: ResourceAssignment | null = null
  #news = Promise.withResolvers<void>()
  readonly #done: Promise<void>

  constructor(
    assignment: ResourceAssignment,
    options: AgentOptions,
    openDomain: (app: string) => Promise<Domain>,
    held: (assignment: ResourceAssignment) => boolean,
    changed: () => void,
  ) {
    this.#assignment = assignment
    this.#trying = assignment
    this.#options = options
    this.#openDomain = openDomain
    this.#held = held
    this.#changed = changed
    this.#provider = options.providers.get(assignment.type) ?? null
    this.#sinceMs = options.clock.nowMs()
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
    }
  }

  /** Looks at what its server uses now. */
  async measure(): Promise<void> {
    const sandbox = this.#sandbox
    const usage = sandbox === null ? unknownUsage : await usageOf(sandbox)
    if (this.#sandbox === sandbox) this.#usage = usage
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
    if (this.#elsewhere !== null && answers) return { kind: 'tcp', ...this.#elsewhere }
    return answers && this.#server !== null ? { kind: 'unix', path: this.#server.socketPath } : null
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
    this.#changed()
  }

  async #run(): Promise<void> {
    let pauseMs = pauseMinMs
    while (!this.#stop.signal.aborted) {
      const assignment = this.#assignment
      this.#trying = assignment
      // What is tried again has not come to its end yet.
      this.#tried = null
      try {
        await this.#unheld()
        await this.#serve(assignment, () => (pauseMs = pauseMinMs))
      } catch (error) {
        this.#looked.resolve()
        if (this.#stop.signal.aborted) break
        const final = isSteadError(error) && error.retry === 'never'
        const words =
          isSteadError(error) && error.hint !== undefined ? `${error.message}\n${error.hint}` : messageOf(error)
        // A server that goes on serves what was in force before: a bad migration takes nothing away.
        if (this.#sandbox === null && this.#elsewhere === null) this.#applied = null
        if (final) this.#tried = this.#trying
        this.#to(final ? 'gave-up' : 'backing-off', words)
        const over = sleep(this.#options.clock, pauseMs, this.#stop.signal).catch(() => {})
        // What was assigned meanwhile is tried at once; what failed is not tried again before something changes.
        const next = this.#assignment === this.#trying ? this.#news.promise : Promise.resolve()
        await (final ? Promise.race([next, aborted(this.#stop.signal)]) : over)
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs)
        this.#restarts += 1
      }
    }
    // The next agent's now, with its edges still open here for a while.
    if (this.#left) return
    this.#applied = null
    this.#to('stopping', null)
    await this.#stopServer()
    this.#to('stopped', null)
  }

  /** Waits while it is kept from running on purpose. */
  async #unheld(): Promise<void> {
    while (this.#held(this.#assignment)) {
      if (this.#phase !== 'backing-off' || this.#reason !== heldReason) this.#to('backing-off', heldReason)
      await sleep(this.#options.clock, heldLookMs, this.#stop.signal)
    }
  }

  /** One life of the server: until it ends or the resource is to stop, and throws then. */
  async #serve(first: ResourceAssignment, onReady: () => void): Promise<never> {
    const provider = this.#provider
    if (provider === null) {
      throw new SteadError({
        code: 'agent.no-provider',
        message: `this node has no provider for ${first.type}`,
        hint: 'Upgrade the node.',
      })
    }
    this.#to('starting', null)
    const context = await this.#context(first)
    await this.#startServer(await provider.provision(context), context)
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
    const orEnded = <T>(work: Promise<T>): Promise<T> =>
      Promise.race(ended === undefined ? [work, stopped] : [work, ended, stopped])

    this.#elsewhere = provider.endpoint?.(context) ?? null
    if (this.#server !== null || this.#elsewhere !== null) await orEnded(provider.ready(context, readyTimeoutMs))
    let granted: ResourceAssignment['grants'] = []
    for (;;) {
      const news = this.#news.promise
      const assignment = this.#assignment
      if (!jsonEqual(assignment.config, first.config)) {
        // Only a server that is provisioned anew reads its settings.
        await this.#stopServer()
        throw new SteadError({ code: 'agent.config-changed', message: 'its configuration has changed', retry: 'now' })
      }
      this.#trying = assignment
      const current = await this.#context(assignment)
      this.#elsewhere = provider.endpoint?.(current) ?? null
      await orEnded(provider.prepare(current))
      for (const grant of assignment.grants) await orEnded(provider.grant(current, grant))
      const letIn = new Set(assignment.grants.map((grant) => grant.user))
      const gone = new Set([...granted.map((grant) => grant.user), ...assignment.revoked])
      for (const user of gone) if (!letIn.has(user)) await orEnded(provider.revoke(current, user))
      granted = assignment.grants
      this.#applied = assignment
      this.#tried = assignment
      this.#to('ready', null)
      onReady()
      await orEnded(news)
    }
  }

  async #context(assignment: ResourceAssignment): Promise<ProviderContext> {
    const domain = await this.#openDomain(assignment.app)
    return resourceContext(this.#options, assignment, domain.path, () => this.#lastLines())
  }

  async #startServer(server: ProviderServer | null, context: ProviderContext): Promise<void> {
    const before = this.#server
    this.#server = server
    if (server === null) return
    this.#sandbox ??= await this.attempts.adopt()
    if (this.#sandbox !== null && (before === null || jsonEqual(before, server))) {
      // A turn of the event loop: what ended before it was adopted has said so by then.
      const turn = sleep(this.#options.clock, 0).then(() => false)
      const ended = await Promise.race([this.#sandbox.exited.then(() => true), turn])
      if (!ended) {
        this.#found = true
        this.#changed()
        return
      }
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
    if (sandbox !== null && this.#server !== null) await endServer(this.#options, sandbox, this.#server)
    this.#sandbox = null
  }

  #lastLines(): Promise<string> {
    return lastLines(this.attempts.output({}))
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
