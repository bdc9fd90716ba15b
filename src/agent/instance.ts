/**
 * One instance on this node: carries out what `lifecycle` decides. Opens its place and edges, starts its sandbox from its
 * bundle, asks whether it is ready, and finds it again after the agent died.
 *
 * Invariant: a sandbox of this instance runs only while `lifecycle` is in a phase that has one; events are handled one
 * after another.
 */
import { join } from 'node:path'
import { isSteadError, messageOf, sleep } from '../base/index.ts'
import { formatDuration } from '../model/index.ts'
import type { Endpoint, Forwarder, HandOver, Place, Tap } from '../network/index.ts'
import type { AssignmentStatus, Edge, InstanceAssignment } from '../protocol/index.ts'
import { limitsWithin, type Sandbox, type SandboxSpec } from '../sandbox/index.ts'
import { Attempts } from './attempts.ts'
import { Containment } from './containment.ts'
import { type Delivery, grantsOf, sameGrants } from './delivery.ts'
import { debuggerDoor, instanceEnvironment, nameFiles } from './environment.ts'
import { bundleOf } from './fetch.ts'
import { Holds } from './holds.ts'
import { broughtBy, type Treatment, treatmentOf, usualStop } from './image.ts'
import { apart, layoutOf } from './layout.ts'
import { foundLife, frozenLife, type LifeEvent, newLife, policyOf, step } from './lifecycle.ts'
import { type OpenEdge, openEdges } from './open-edges.ts'
import type { AgentOptions } from './options.ts'
import { InstanceOutside } from './outside.ts'
import { probeBy, probeMs, type ProbeResult } from './probe.ts'
import { reasonOf } from './reason.ts'
import { readyState } from './state.ts'
import type { Surroundings } from './surroundings.ts'
import { systemOf } from './system.ts'
import { type Usage, unknownUsage, usageOf } from './usage.ts'

/** Between asking to end and killing, for one whose data has been exchanged: nothing that it could still do would be kept. */
const fencedStopMs = 500
/** How often an instance looks again whether the parts it uses are there. */
const waitMs = 250
const outputBytesMax = 16 * 1024 * 1024
const tmpBytes = 256 * 1024 * 1024

export class InstanceRunner {
  readonly #options: AgentOptions
  readonly #surroundings: Surroundings
  readonly #delivery: Delivery
  readonly attempts: Attempts
  readonly containment: Containment
  /** Of debuggers in it. */
  readonly holds: Holds = new Holds(
    () => this.#options.clock.nowMs(),
    (delayMs, run) => this.#later(delayMs, run),
    () => this.#surroundings.changed(),
  )
  #assignment: InstanceAssignment
  #life = newLife
  #sinceMs: number
  #sandbox: Sandbox | null = null
  #spec: SandboxSpec | null = null
  #place: Place | null = null
  /** By the edge's name for what it leads to. */
  readonly #forwarders = new Map<string, Forwarder>()
  readonly #outside: InstanceOutside
  /** What the edges have led to and may still have streams to. */
  readonly #used = new Set<string>()
  #servePort: number | null = null
  #usage: Usage = unknownUsage
  #exitCode: number | null = null
  #treatment: Treatment | null = null
  #isFenced = false
  /** Whether it is known what an earlier agent left. */
  #hasLooked = false
  /** What the running program was handed: by part, the version of its credential. */
  #handed: ReadonlyMap<string, number> = new Map()
  #timers = new Set<Disposable>()
  #nextCheck: Disposable | null = null
  /** It is another agent's now: nothing that happens is acted on. */
  #left = false
  #queue: Promise<void> = Promise.resolve()
  readonly #ended = Promise.withResolvers<void>()

  constructor(assignment: InstanceAssignment, options: AgentOptions, surroundings: Surroundings, delivery: Delivery) {
    this.#delivery = delivery
    this.#assignment = assignment
    this.#options = options
    this.#surroundings = surroundings
    this.#sinceMs = options.clock.nowMs()
    this.attempts = new Attempts(join(options.stateDir, 'instances', assignment.id), options.sandbox, options.clock)
    this.#outside = new InstanceOutside(
      options,
      surroundings,
      (text) => this.attempts.notes.add(text),
      (text) => surroundings.redact(text),
    )
    this.containment = new Containment(options, surroundings.incidents, {
      assignment: () => this.#assignment,
      sandbox: () => this.#sandbox,
      refused: () => this.#outside.refused() ?? [],
      different: () => this.#outside.different,
      attempts: this.attempts,
      redact: (text) => surroundings.redact(text),
      event: (event) => this.#event(event),
      enqueue: (work) => this.#enqueue(work),
      changed: () => surroundings.changed(),
    })
  }

  get assignment(): InstanceAssignment {
    return this.#assignment
  }

  /** Takes it into care: finds a running one from before, or starts it when it may. Resolves when it has looked. */
  begin(): Promise<void> {
    this.#enqueue(async () => {
      const found = await this.attempts.adopt()
      this.#hasLooked = true
      if (found === null) return this.#check()
      await this.#adopted(found)
      if (!this.#assignment.wanted) this.#event({ kind: 'stop' })
    })
    return this.#queue
  }

  /** Takes the newest assignment: targets of edges change often, and whether it is wanted. */
  update(assignment: InstanceAssignment): void {
    this.#assignment = assignment
    if (!assignment.wanted) this.#event({ kind: 'stop' })
    else if (this.#life.phase === 'waiting') this.#check()
    else this.#enqueue(() => this.#renew())
  }

  status(): AssignmentStatus {
    const { id } = this.#assignment
    const { phase, reason, restarts } = this.#life
    const pid = this.#sandbox?.pid ?? null
    const port = this.#servePort
    const endpoint = pid !== null && port !== null && this.#place !== null ? this.#place.endpoint(pid, port) : null
    const refused = this.#outside.refused()
    const incident = this.containment.summary()
    const exitCode = phase === 'succeeded' || phase === 'failed' ? this.#exitCode : null
    const credentials = [...this.#handed].map(([part, version]) => `${part}@${version}`)
    return {
      id,
      phase,
      reason,
      restarts,
      sinceMs: this.#sinceMs,
      endpoint,
      pid,
      ...this.#usage,
      credentials,
      ...this.holds.status,
      ...this.attempts.status,
      ...(exitCode === null ? {} : { exitCode }),
      ...(refused && { refused }),
      ...(incident && { incident }),
    }
  }

  /** The program, while it runs. */
  get sandbox(): Sandbox | null {
    return this.#sandbox
  }

  get #ready(): Treatment['ready'] {
    return this.#treatment?.ready ?? this.#assignment.ready
  }

  /** Where a port of it is reached from this node, null for the one it serves on; null while it cannot be. */
  endpointAt(port: number | null): Endpoint | null {
    const pid = this.#sandbox?.pid
    const wanted = port ?? this.#servePort
    return pid === undefined || wanted === null || this.#place === null ? null : this.#place.endpoint(pid, wanted)
  }

  /** Watches its packets; null while it does not run, or has no network of its own. */
  readonly tap = (): Tap | null => this.#place?.tap() ?? null

  /** Looks at what it uses now. */
  async measure(): Promise<void> {
    const sandbox = this.#sandbox
    const usage = sandbox === null ? unknownUsage : await usageOf(sandbox)
    const carried = this.#outside.carried()
    if (this.#sandbox === sandbox) this.#usage = carried === null ? usage : { ...usage, carried }
  }

  /** Kills its program, as an accident would; answers whether there was one. */
  killNow(): boolean {
    this.#kill(this.#sandbox)
    return this.#sandbox !== null
  }

  /** Cuts off what is open towards a part; answers how many streams there were. */
  reset(part: string): number {
    const edges = this.#assignment.edges.filter((edge) => edge.part === part)
    return edges.reduce((sum, edge) => sum + (this.#forwarders.get(edge.as)?.reset() ?? 0), 0)
  }

  /** Cuts off what is open on edges that lead nowhere now; a program that has nothing to work on any more ends soon. */
  cut(isFenced: (edge: Edge) => boolean): void {
    const fenced = this.#assignment.edges.filter(isFenced)
    for (const edge of fenced) this.#forwarders.get(edge.as)?.reset()
    this.#isFenced = fenced.length > 0
    if (this.#isFenced && this.#life.phase === 'stopping') this.#later(fencedStopMs, () => this.#kill(this.#sandbox))
  }

  /** Looks again whether it may start, if that is what it waits for. */
  look(): void {
    if (this.#hasLooked && this.#life.phase === 'waiting') this.#check()
  }

  /** Whether a program of it runs or is about to, or may have been left running by an earlier agent. */
  get isRunning(): boolean {
    return (
      !this.#hasLooked ||
      this.#sandbox !== null ||
      ['starting', 'ready', 'unready', 'stopping'].includes(this.#life.phase)
    )
  }

  /** What this instance's edges have open streams to, on this node or another. */
  busy(): readonly string[] {
    for (const id of this.#used)
      if (this.#forwarders.values().every((forwarder) => forwarder.streamsTo(id) === 0)) this.#used.delete(id)
    return [...this.#used]
  }

  /** Resolves when nothing of it runs any more and nothing will. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /**
   * Lets go without ending the program: it goes on, and the next agent finds it. Resolves when its edges are the next
   * agent's alone.
   */
  async leave(handOver: HandOver | null): Promise<void> {
    this.#left = true
    this.#clearTimers()
    this.containment.unwatch()
    // Its outside is made anew by the next agent: what is open there is told so now.
    this.#outside.close()
    if (handOver !== null)
      await Promise.all([...this.#forwarders.values()].map((forwarder) => forwarder.handOver(handOver)))
    this.#closeNetwork()
  }

  #enqueue(work: () => Promise<void> | void): void {
    this.#queue = this.#queue
      .then(work)
      .catch((error: unknown) => this.#options.onNotice(`${this.#assignment.id}: ${messageOf(error)}`))
  }

  #event(event: LifeEvent): void {
    this.#enqueue(async () => {
      if (this.#left) return
      const before = this.#life
      const { life, commands } = step(before, event, policyOf(this.#assignment))
      this.#life = life
      if (life.phase !== before.phase) this.#sinceMs = this.#options.clock.nowMs()
      if (life.phase !== before.phase || life.reason !== before.reason) this.#surroundings.changed()
      if (life.phase === 'ready' && before.phase === 'starting') this.attempts.noteServing()
      if (['stopped', 'succeeded', 'failed'].includes(life.phase)) this.#ended.resolve()
      for (const command of commands) {
        if (command.kind === 'start') await this.#start()
        else if (command.kind === 'check') this.#check()
        else if (command.kind === 'pause') this.#later(command.forMs, () => this.#event({ kind: 'timer' }))
        else if (command.kind === 'kill') this.#kill(this.#sandbox)
        else this.#terminate()
      }
    })
  }

  #later(delayMs: number, run: () => void): void {
    const timer = this.#options.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
  }

  #clearTimers(): void {
    this.#nextCheck?.[Symbol.dispose]()
    for (const timer of this.#timers) timer[Symbol.dispose]()
    this.#timers.clear()
  }

  /** Looks whether it may start; again a little later when it may not. */
  #check(): void {
    this.#nextCheck?.[Symbol.dispose]()
    if (this.#life.phase !== 'waiting') return
    const { edges, wanted } = this.#assignment
    if (!wanted) return this.#event({ kind: 'stop' })
    const reason = this.#surroundings.held(this.#assignment)
      ? 'waits for the fault that was made on purpose to heal'
      : edges.map((edge) => this.#surroundings.missing(edge, this.#assignment)).find((missing) => missing !== null)
    if (reason === undefined) return this.#event({ kind: 'possible' })
    this.#event({ kind: 'blocked', reason })
    this.#nextCheck = this.#options.clock.after(waitMs, () => this.#check())
  }

  async #start(): Promise<void> {
    try {
      const { network, sandbox, providers } = this.#options
      const bundle = await bundleOf(this.#options, this.#assignment.part, this.#assignment.bundle)
      this.#treatment = await treatmentOf(this.#assignment, bundle)
      const place = await network.place(this.#assignment.id)
      this.#place = place
      const edges = await this.#openEdges(place)
      const hasOutside = await this.#outside.open(this.#assignment, place, edges, 'new')
      this.#servePort = await this.#portToServe(place)
      const { number, recordDir } = await this.attempts.next()
      // Also its host name inside.
      const id = `${this.#assignment.id}.${number}`
      this.attempts.leaveCore(id, this.#assignment.limits.coreBytesMax)
      const layout = layoutOf(sandbox, bundle, recordDir)
      const isolated = layout.hostsPath !== null
      const assignment = this.#assignment
      const brought = await broughtBy(this.#options, assignment, bundle, layout)
      const secretsDir = this.#delivery.dirFor(assignment, layout)
      const by = { providers, dataApp: (edge: Edge): string => this.#surroundings.dataApp(edge, assignment) }
      const told = instanceEnvironment(assignment, edges, by, brought.env, this.#servePort, secretsDir)
      const { files, mounts, ...filter } = this.#delivery.prepare(assignment, told.files, secretsDir)
      const names = nameFiles(layout, edges, id, hasOutside)
      const door = debuggerDoor(brought.argv, told.env, isolated ? '/run' : join(recordDir, 'files'))
      const state = await this.#surroundings.state(assignment)
      const own = await readyState(this.#options, assignment, state)
      const program: SandboxSpec = {
        ...brought,
        id,
        env: { ...told.env, ...door.env, ...own.env },
        mounts: [...brought.mounts, ...mounts, ...own.mounts],
        files: [...files, ...names, ...door.files, ...(isolated ? this.containment.decoy() : [])],
        hostUid: this.#assignment.hostUid,
        limits: limitsWithin(sandbox.capabilities, { ...this.#assignment.limits, tmpBytes }).limits,
        ...apart(assignment, this.#servePort),
        syscalls: this.containment.isOn && layout.syscalls === 'strict' ? 'guarded' : layout.syscalls,
        network: network.capabilities.isolation === 'native' ? place : null,
        recordDir,
        outputBytesMax,
        ...filter,
      }
      const spec = systemOf(program, { assignment, bundle, state, secretsDir })
      this.#spec = spec
      this.#handed = grantsOf(assignment)
      this.#running(await sandbox.start(spec))
    } catch (error) {
      this.#closeNetwork()
      this.#event({ kind: 'start-failed', reason: reasonOf(error), retry: isSteadError(error) ? error.retry : 'now' })
    }
  }

  #openEdges(place: Place): Promise<OpenEdge[]> {
    return openEdges(place, {
      network: this.#options.network,
      surroundings: this.#surroundings,
      assignment: () => this.#assignment,
      forwarders: this.#forwarders,
      used: this.#used,
    })
  }

  async #portToServe(place: Place): Promise<number | null> {
    const { http, ready } = this.#assignment
    const wanted = http ?? (ready.kind === 'tcp' ? ready.port : null)
    return wanted === null ? null : place.servePort(wanted)
  }

  /** Gives the running program newer versions of its secrets, if it takes them as it runs. */
  #renew(): void {
    const sandbox = this.#sandbox
    if (sandbox === null || sameGrants(this.#handed, grantsOf(this.#assignment))) return
    if (!this.#delivery.renew(this.#assignment, sandbox)) return
    this.#handed = grantsOf(this.#assignment)
    this.#surroundings.changed()
  }

  #running(sandbox: Sandbox): void {
    const { timeoutMs } = this.#assignment
    this.#sandbox = sandbox
    this.containment.watch(sandbox, this.#options.sandbox.capabilities.isolation !== 'refused')
    this.#surroundings.changed()
    let timedOut = false
    void sandbox.exited.then((ended) => {
      const exit = timedOut
        ? { ...ended, sentence: `was ended after its time limit of ${formatDuration(timeoutMs ?? 0)}` }
        : ended
      this.#exitCode = exit.code
      this.#sandbox = null
      this.#usage = unknownUsage
      if (this.#left) return
      this.containment.unwatch()
      if (exit.signal === 'SIGSYS') this.containment.trip('system-call', 'it made a system call to escape with')
      this.containment.ended()
      if (this.#life.phase !== 'stopping') this.attempts.noteEnd(exit, this.#assignment.kind)
      this.#clearTimers()
      this.#closeNetwork()
      this.#event({ kind: 'exited', exit })
    })
    if (this.#assignment.kind === 'job') {
      if (timeoutMs === null) return
      return this.holds.due(timeoutMs, () => {
        timedOut = true
        this.#kill(sandbox)
      })
    }
    this.holds.due(this.#ready.timeoutMs, () => this.#event({ kind: 'ready-timeout' }))
    this.#probeLoop(sandbox)
  }

  /** Takes back what an earlier agent started. What ended while nobody looked is taken as an end now, with its kept exit. */
  async #adopted(sandbox: Sandbox): Promise<void> {
    const { network, onNotice } = this.#options
    const found = {
      starts: this.attempts.count(),
      served: this.attempts.hasServed(),
      everServed: this.attempts.hasEverServed(),
    }
    this.#life = foundLife(found, policyOf(this.#assignment))
    const frozen = this.containment.wasFrozen()
    if (frozen !== null) this.#life = frozenLife(this.#life, frozen)
    try {
      this.#treatment = await treatmentOf(this.#assignment, await this.#options.openBundle(this.#assignment.bundle))
      const place = network.capabilities.isolation === 'native' ? await this.#placeOf(sandbox) : null
      if (place !== null) {
        this.#place = place
        const edges = await this.#openEdges(place)
        await this.#outside.open(this.#assignment, place, edges, 'found')
        this.#servePort = await this.#portToServe(place)
      }
    } catch (error) {
      onNotice(`${this.#assignment.id} is started again, its edges could not be: ${messageOf(error)}`)
      this.#closeNetwork()
    }
    // What came while nobody looked is handed over now; the same again changes nothing.
    this.#delivery.renew(this.#assignment, sandbox)
    this.#handed = grantsOf(this.#assignment)
    this.#running(sandbox)
    // Without its edges it is of no use; they can only be given to a new one.
    if (this.#place === null) this.#kill(sandbox)
  }

  /** The place of a program that still runs. The process id of one that has ended may be another's by now. */
  async #placeOf(sandbox: Sandbox): Promise<Place | null> {
    const ended = await Promise.race([sandbox.exited.then(() => true), sleep(this.#options.clock, 0).then(() => false)])
    return ended ? null : this.#options.network.adopt(this.#assignment.id, sandbox.pid)
  }

  #probeLoop(sandbox: Sandbox): void {
    let pauseMs: number = probeMs.start
    const again = async (): Promise<void> => {
      if (this.#sandbox !== sandbox) return
      const result = await this.#probe().catch(messageOf)
      if (this.#sandbox !== sandbox) return
      if (result === null) this.#event({ kind: 'probe-ok' })
      else if (!this.holds.any) this.#event({ kind: 'probe-failed', reason: result })
      pauseMs = Math.min(pauseMs * 1.5, probeMs.startMax)
      this.#later(result === null ? probeMs.ready : pauseMs, () => void again())
    }
    this.#later(pauseMs, () => void again())
  }

  async #probe(): Promise<ProbeResult> {
    const machine = this.#assignment.isolation === 'kernel' ? (this.#sandbox?.machine() ?? null) : null
    return await probeBy(this.#options, this.#ready, this.endpointAt(null), this.#spec, machine)
  }

  #terminate(): void {
    const sandbox = this.#sandbox
    if (sandbox === null) return
    const { stopSignal, stopMs } = this.#treatment ?? usualStop
    sandbox.signal(stopSignal)
    this.#later(this.#isFenced ? fencedStopMs : stopMs, () => this.#kill(sandbox))
  }

  #kill(sandbox: Sandbox | null): void {
    sandbox?.kill().catch((error: unknown) => this.#options.onNotice(`${this.#assignment.id}: ${messageOf(error)}`))
  }

  #closeNetwork(): void {
    this.#outside.close()
    for (const forwarder of this.#forwarders.values()) void forwarder[Symbol.asyncDispose]()
    this.#forwarders.clear()
    this.#place?.[Symbol.dispose]()
    this.#place = null
  }
}
