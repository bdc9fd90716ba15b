/**
 * One resource on this node, which is its home: drives its provider through provision, serve, prepare, grant, and keeps
 * the server running in a sandbox. A step that can succeed later is tried again with growing pauses; one that cannot is
 * given up, with the provider's own words, until the assignment changes.
 *
 * Invariant: `settled(consumer)` is true only while the server answers, everything declared is in place and the consumer
 * has been let in.
 */
import { chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { isSteadError, jsonEqual, messageOf, randomId, sleep, SteadError } from '../base/index.ts'
import type { Domain } from '../domain/index.ts'
import type { Endpoint } from '../network/index.ts'
import type { AssignmentStatus, Phase, ResourceAssignment } from '../protocol/index.ts'
import type { ProgramResult, Provider, ProviderContext, ProviderProgram, ProviderServer } from '../provider/index.ts'
import { limitsWithin, type Mount, type Sandbox, type SandboxSpec } from '../sandbox/index.ts'
import { mayChangeOwner, type AgentOptions } from './options.ts'

const readyTimeoutMs = 60_000
const pauseMinMs = 500
const pauseMaxMs = 30_000
const outputBytesMax = 16 * 1024 * 1024
const tailLines = 20

export class ResourceRunner {
  readonly #options: AgentOptions
  readonly #provider: Provider | null
  readonly #openDomain: (app: string) => Promise<Domain>
  readonly #changed: () => void
  readonly recordDir: string
  readonly #stop = new AbortController()
  #assignment: ResourceAssignment
  #phase: Phase = 'waiting'
  #reason: string | null = null
  #restarts = 0
  #sinceMs: number
  #sandbox: Sandbox | null = null
  #server: ProviderServer | null = null
  /** The assignment that is in force, once all its steps are done. */
  #applied: ResourceAssignment | null = null
  #news = Promise.withResolvers<void>()
  readonly #done: Promise<void>

  constructor(
    assignment: ResourceAssignment,
    options: AgentOptions,
    openDomain: (app: string) => Promise<Domain>,
    changed: () => void,
  ) {
    this.#assignment = assignment
    this.#options = options
    this.#openDomain = openDomain
    this.#changed = changed
    this.#provider = options.providers.get(assignment.type) ?? null
    this.#sinceMs = options.clock.nowMs()
    this.recordDir = join(options.stateDir, 'instances', assignment.id)
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
      memoryBytes: null,
    }
  }

  /** Where its edges lead; null while nothing answers, and for a resource without a server. */
  endpoint(): Endpoint | null {
    return this.#applied === null || this.#server === null ? null : { kind: 'unix', path: this.#server.socketPath }
  }

  /** Whether a consumer may start: everything it was promised is in place. */
  settled(consumer: string): boolean {
    return (
      this.#applied !== null &&
      jsonEqual(this.#applied, this.#assignment) &&
      this.#applied.grants.some((grant) => grant.consumer === consumer)
    )
  }

  /** Stops the server and resolves when it is gone. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error('stopped'))
    await this.#done
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
      const news = this.#news.promise
      try {
        await this.#serve(assignment, () => (pauseMs = pauseMinMs))
      } catch (error) {
        if (this.#stop.signal.aborted) break
        const final = isSteadError(error) && error.retry === 'never'
        const words =
          isSteadError(error) && error.hint !== undefined ? `${error.message}\n${error.hint}` : messageOf(error)
        this.#applied = null
        this.#to(final ? 'gave-up' : 'backing-off', words)
        const over = sleep(this.#options.clock, pauseMs, this.#stop.signal).catch(() => {})
        await (final ? Promise.race([news, aborted(this.#stop.signal)]) : over)
        pauseMs = Math.min(pauseMs * 2, pauseMaxMs)
        this.#restarts += 1
      }
    }
    this.#applied = null
    this.#to('stopping', null)
    await this.#stopServer()
    this.#to('stopped', null)
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
    await this.#startServer(await provider.provision(context))
    const ended = this.#sandbox?.exited.then(async (exit) => {
      this.#sandbox = null
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

    if (this.#server !== null) await orEnded(provider.ready(context, readyTimeoutMs))
    let granted: ResourceAssignment['grants'] = []
    for (;;) {
      const news = this.#news.promise
      const assignment = this.#assignment
      const current = await this.#context(assignment)
      await orEnded(provider.prepare(current))
      for (const grant of assignment.grants) await orEnded(provider.grant(current, grant))
      for (const old of granted) {
        if (!assignment.grants.some((grant) => grant.user === old.user))
          await orEnded(provider.revoke(current, old.user))
      }
      granted = assignment.grants
      this.#applied = assignment
      this.#to('ready', null)
      onReady()
      await orEnded(news)
    }
  }

  async #context(assignment: ResourceAssignment): Promise<ProviderContext> {
    const { clock, random, runDir, stateDir } = this.#options
    const domain = await this.#openDomain(assignment.app)
    const dataDir = join(domain.path, assignment.part)
    const socketDir = join(runDir, assignment.id)
    for (const directory of [dataDir, socketDir]) {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      if (mayChangeOwner()) chownSync(directory, assignment.hostUid, assignment.hostUid)
    }
    const bundle = assignment.bundle === null ? null : await this.#options.openBundle(assignment.bundle)
    const specFor = (id: string, program: ProviderProgram, memoryBytes: number): SandboxSpec =>
      this.#spec(assignment, id, program, memoryBytes, join(stateDir, 'instances', id), [dataDir, socketDir])
    return {
      app: assignment.app,
      name: assignment.part,
      config: assignment.config,
      dataDir,
      socketDir,
      adminPassword: assignment.adminPassword,
      filesDir: bundle?.path ?? null,
      run: async (program) => {
        const id = `${assignment.id}.task-${randomId(random)}`
        const sandbox = await this.#options.sandbox.start(specFor(id, program, taskMemoryBytes))
        using _timer = clock.after(program.timeoutMs, () => void sandbox.kill())
        return this.#finish(id, sandbox)
      },
      serve: async (server) => {
        const id = `${assignment.id}.side-${randomId(random)}`
        const sandbox = await this.#options.sandbox.start(specFor(id, { ...server, timeoutMs: 0 }, server.memoryBytes))
        const exited = this.#finish(id, sandbox)
        return {
          exited,
          [Symbol.asyncDispose]: async () => {
            await this.#end(sandbox, server)
            await exited
          },
        }
      },
      serverOutput: () => this.#lastLines(),
      clock,
      random,
    }
  }

  #spec(
    assignment: ResourceAssignment,
    id: string,
    program: ProviderProgram,
    memoryBytes: number,
    recordDir: string,
    writes: readonly string[],
  ): SandboxSpec {
    const { sandbox } = this.#options
    const mount =
      (access: Mount['access']) =>
      (path: string): Mount => ({ source: path, target: path, access })
    return {
      id,
      argv: program.argv,
      env: { PATH: '/usr/bin:/bin', HOME: '/tmp', ...program.env },
      cwd: '/',
      mounts: [...program.reads.map(mount('read-only')), ...[...writes, ...program.writes].map(mount('read-write'))],
      files: [],
      hostUid: assignment.hostUid,
      limits: limitsWithin(sandbox.capabilities, { memoryBytes, cpuCores: 1, pidsMax: 256, tmpBytes }).limits,
      syscalls: sandbox.capabilities.syscallFilter === 'native' ? 'default' : 'none',
      network: null,
      recordDir,
      outputBytesMax,
    }
  }

  async #startServer(server: ProviderServer | null): Promise<void> {
    const { sandbox } = this.#options
    const before = this.#server
    this.#server = server
    if (server === null) return
    this.#sandbox ??= await sandbox.adopt(this.recordDir)
    if (this.#sandbox !== null && (before === null || jsonEqual(before, server))) {
      const ended = await Promise.race([this.#sandbox.exited.then(() => true), Promise.resolve(false)])
      if (!ended) return
    }
    await this.#stopServer()
    await sandbox.remove(this.recordDir)
    const domain = await this.#openDomain(this.#assignment.app)
    const writes = [join(domain.path, this.#assignment.part), join(this.#options.runDir, this.#assignment.id)]
    const place = await this.#options.network.place(this.#assignment.id)
    const spec = this.#spec(
      this.#assignment,
      this.#assignment.id,
      { ...server, timeoutMs: 0 },
      server.memoryBytes,
      this.recordDir,
      writes,
    )
    const network = this.#options.network.capabilities.isolation === 'native' ? place : null
    this.#sandbox = await sandbox.start({ ...spec, network })
    // Its namespace lives on with its processes; the place is only needed to start them.
    place[Symbol.dispose]()
  }

  async #stopServer(): Promise<void> {
    const sandbox = this.#sandbox
    if (sandbox !== null && this.#server !== null) await this.#end(sandbox, this.#server)
    this.#sandbox = null
  }

  async #end(sandbox: Sandbox, server: ProviderServer): Promise<void> {
    sandbox.signal(server.stopSignal)
    using _timer = this.#options.clock.after(server.stopTimeoutMs, () => void sandbox.kill())
    await sandbox.exited
  }

  /** Waits for a task to end and takes its output and records away. */
  async #finish(id: string, sandbox: Sandbox): Promise<ProgramResult> {
    const recordDir = join(this.#options.stateDir, 'instances', id)
    const exit = await sandbox.exited
    const output = await this.#lastLines(recordDir)
    await this.#options.sandbox.remove(recordDir)
    return { code: exit.cause === 'code' ? exit.code : null, sentence: exit.sentence, output }
  }

  async #lastLines(recordDir = this.recordDir): Promise<string> {
    const lines: string[] = []
    for await (const line of this.#options.sandbox.output(recordDir, { tail: tailLines })) lines.push(line.text)
    return lines.join('\n')
  }
}

const tmpBytes = 64 * 1024 * 1024
const taskMemoryBytes = 512 * 1024 * 1024

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
