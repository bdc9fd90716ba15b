/**
 * The tasks of submitted jobs on this node: starts them, follows them to their end, finds them again after this agent died.
 *
 * Invariants: a task of an attempt runs once, however often it is started; its end is told until control says that the job
 * is over, anew on every connection; its output is kept until control says that it may go.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../base/index.ts'
import { NameLookup, type NetworkDriver, type Place, type Rates } from '../network/index.ts'
import {
  type TaskEnd,
  type TaskExit,
  type TaskJob,
  type TasksDownward,
  tasksInMessageMax,
  type TaskStart,
  type TaskStop,
  type TasksUpward,
} from '../protocol/index.ts'
import type { Sandbox, SandboxDriver } from '../sandbox/index.ts'
import type { NodeOffers } from './node-offer.ts'
import type { AgentOptions } from './options.ts'
import { notStarted, taskExitOf } from './task-exit.ts'
import { type KeptOutput, keptOutput } from './task-output.ts'
import { TaskOutside, type TaskOutsideNeeds } from './task-outside.ts'
import { isSeries, type PlaceNeeds, TaskPlace } from './task-place.ts'
import { entryOf, taskSpec } from './task-spec.ts'
import { TaskStarts } from './task-starts.ts'

/** Kept output of a task that shares its place; looked at once a second, so it is beyond this for a moment. */
const sharedOutputBytesMax = 8 * 2 ** 20
/** Ends are told at most so often: what ends in between is told together. */
const tellEveryMs = 5
/** In the directory of a task: this agent was shut down under it. */
const interruptedFile = 'interrupted'

interface LiveJob {
  readonly job: TaskJob
  readonly dir: string
  readonly running: Map<string, Sandbox>
  readonly ended: Map<string, TaskEnd>
  /** Those of a job whose tasks share them. */
  readonly places: TaskPlace[]
  /** Places that were ever made. */
  placesMade: number
  /** Where its sandboxes have their sockets: tasks of one job reach one another. */
  network: Promise<Place> | null
  /** What they may dial outside; null: nothing, or there is no network yet. */
  outside: TaskOutside | null
}

export type TasksOptions = Pick<AgentOptions, 'stateDir' | 'clock' | 'sandbox' | 'unsandboxed' | 'network' | 'onNotice'>

export class Tasks {
  readonly #options: TasksOptions
  readonly #liveDir: string
  readonly #keptDir: string
  readonly #offers: NodeOffers
  readonly #outside: TaskOutsideNeeds
  /** What was told last of what the node has, as text. */
  #offered = ''
  readonly #jobs = new Map<number, LiveJob>()
  readonly #starts = new TaskStarts<LiveJob>({
    run: (live, start) => this.#start(live, start),
    isPlaced: (live) => this.#isPlaced(live),
    stop: (stop) => this.#stop(stop),
  })
  readonly #kills = new Set<Disposable>()
  /** Jobs that are being put away. */
  readonly #closing = new Map<number, Promise<void>>()
  #send: ((message: TasksUpward) => void) | null = null
  #told: TaskEnd[] = []
  #toldAtMs = -Infinity
  #epoch = 0
  #leaving = false

  constructor(options: TasksOptions, offers: NodeOffers, rates: Rates) {
    this.#options = options
    this.#outside = { options, rates, names: new NameLookup({ clock: options.clock }) }
    this.#offers = offers
    this.#liveDir = join(options.stateDir, 'jobs', 'live')
    this.#keptDir = join(options.stateDir, 'jobs', 'kept')
    for (const dir of [this.#liveDir, this.#keptDir]) mkdirSync(dir, { recursive: true, mode: 0o711 })
  }

  /** Finds what an earlier agent has left. */
  async adopt(): Promise<void> {
    for (const name of readdirSync(this.#liveDir)) {
      const dir = join(this.#liveDir, name)
      const kept = join(dir, 'job.json')
      if (!existsSync(kept)) {
        rmSync(dir, { recursive: true, force: true })
        continue
      }
      const live = this.#open(JSON.parse(readFileSync(kept, 'utf8')) as TaskJob)
      for (const entry of readdirSync(join(dir, 'tasks'))) await this.#adoptTask(live, entry)
      for (const entry of readdirSync(join(dir, 'places'))) await this.#adoptPlace(live, Number(entry))
      await this.#hold(live).catch((error: unknown) => this.#options.onNotice(messageOf(error)))
    }
  }

  async #adoptTask(live: LiveJob, entry: string): Promise<void> {
    const { onNotice } = this.#options
    const recordDir = join(live.dir, 'tasks', entry)
    const task = `${live.job.job}-${entry}`
    try {
      const driver = this.#driverOf(live.job)
      const sandbox = await driver.adopt(recordDir)
      if (sandbox === null) {
        // What a place has started is known by the place; only its output is here.
        if (!isSeries(live.job, driver)) rmSync(recordDir, { recursive: true, force: true })
        return
      }
      await this.#adoptNetwork(live, sandbox)
      this.#follow(live, task, recordDir, sandbox)
    } catch (error) {
      onNotice(`task ${task} of a job could not be found again: ${messageOf(error)}`)
    }
  }

  async #adoptPlace(live: LiveJob, number: number): Promise<void> {
    live.placesMade = Math.max(live.placesMade, number)
    try {
      const place = await TaskPlace.adopt(this.#placeNeeds(live, number, null))
      if (place === null) return
      await this.#adoptNetwork(live, place.sandbox)
      this.#settle(live, place)
    } catch (error) {
      this.#options.onNotice(`tasks of job ${live.job.job} could not be found again: ${messageOf(error)}`)
    }
  }

  #placeNeeds(live: LiveJob, number: number, network: Place | null): PlaceNeeds {
    const { job, dir } = live
    const { clock, sandbox, unsandboxed } = this.#options
    return {
      job,
      clock,
      sandbox,
      unsandboxed,
      dir: join(dir, 'places', String(number)),
      outDir: join(dir, 'out'),
      tasksDir: join(dir, 'tasks'),
      network,
      ended: (task, exit, endedMs) => {
        this.#ended(live, task, exit, endedMs ?? clock.nowMs())
        const free = live.places.find(({ isFree }) => isFree)
        // Who waits goes there, and need not have a place made.
        if (free !== undefined) this.#starts.takeOver(live, (start) => this.#runIn(free, live, start))
      },
    }
  }

  /** Follows a place to its end; what runs there is known by it. */
  #settle(live: LiveJob, place: TaskPlace): void {
    live.places.push(place)
    void place.sandbox.exited.then(() => {
      const at = live.places.indexOf(place)
      if (at >= 0) live.places.splice(at, 1)
    })
  }

  /** A connection has come: everything is told, then what happens. */
  connected(send: (message: TasksUpward) => void): void {
    this.#send = send
    const running = [...this.#jobs.values()].flatMap((live) => [
      ...live.running.keys(),
      ...live.places.flatMap(({ current }) => current ?? []),
    ])
    for (const task of this.#starts.tasks()) running.push(task)
    const ended = [...this.#jobs.values()].flatMap((live) => [...live.ended.values()])
    const jobs = [...this.#jobs.keys(), ...readdirSync(this.#keptDir).map(Number)]
    const messages = Math.max(
      1,
      Math.ceil(running.length / tasksInMessageMax),
      Math.ceil(ended.length / tasksInMessageMax),
    )
    const offer = this.#offers.now()
    this.#offered = JSON.stringify(offer)
    for (let index = 0; index < messages; index++) {
      const [from, to] = [index * tasksInMessageMax, (index + 1) * tasksInMessageMax]
      send({
        type: 'tasks-have',
        offer,
        running: running.slice(from, to),
        ended: ended.slice(from, to),
        jobs: index === 0 ? jobs : [],
        last: index === messages - 1,
      })
    }
  }

  disconnected(): void {
    this.#send = null
  }

  hear({ epoch, jobs, start, stop, over, forget }: TasksDownward): void {
    // An older control's: what it wants may be long over.
    if (epoch < this.#epoch || this.#leaving) return
    this.#epoch = epoch
    for (const job of jobs) this.#open(job)
    for (const one of start) this.#take(one)
    for (const one of stop) this.#stop(one)
    for (const job of over) this.#over(job)
    for (const job of forget) void this.#forget(job)
  }

  /** The kept output of a task; null when there is none here. */
  outputOf(task: string): KeptOutput | null {
    if (!/^\d+-\d+-\d+$/.test(task)) return null
    const [job = ''] = task.split('-')
    const runs = (): boolean => this.#jobs.get(Number(job))?.places.some(({ current }) => current === task) ?? false
    const dirs = [join(this.#liveDir, job), join(this.#keptDir, job)]
    return dirs.map((dir) => keptOutput(dir, task, this.#options, runs)).find((found) => found !== null) ?? null
  }

  /** Looks that no output grows without end; once a second. */
  bound(): void {
    for (const live of this.#jobs.values()) for (const place of live.places) place.bound(sharedOutputBytesMax)
  }

  /** Says so when the node has something else than it had. */
  offerAgain(): void {
    if (this.#send === null) return
    const offer = this.#offers.now()
    const text = JSON.stringify(offer)
    if (text === this.#offered) return
    this.#offered = text
    this.#send({ type: 'tasks-offer', offer })
  }

  /** Lets go of everything; it goes on, and the next agent finds it. */
  async leave(): Promise<void> {
    this.#leaving = true
    this.#send = null
    for (const live of this.#jobs.values()) for (const place of live.places) place.close()
    for (const timer of this.#kills) timer[Symbol.dispose]()
    // What is being started is either running or not, for whoever comes next.
    await Promise.all([...this.#closing.values(), this.#starts.leave()])
  }

  /** Ends everything: the node goes. What it was is told by the next agent. */
  async stop(): Promise<void> {
    await this.leave()
    const sandboxes = [...this.#jobs.values()].flatMap((live) =>
      [...live.running].map(([task, sandbox]) => {
        writeFileSync(join(live.dir, 'tasks', entryOf(task), interruptedFile), '')
        return sandbox
      }),
    )
    const places = [...this.#jobs.values()].flatMap((live) => live.places)
    for (const place of places) place.interrupt()
    await Promise.allSettled([...sandboxes, ...places.map(({ sandbox }) => sandbox)].map((sandbox) => sandbox.kill()))
    for (const live of this.#jobs.values()) await closeNetwork(live)
  }

  #driverOf({ isolation }: TaskJob): SandboxDriver {
    return isolation === 'none' ? this.#options.unsandboxed : this.#options.sandbox
  }

  #open(job: TaskJob): LiveJob {
    const known = this.#jobs.get(job.job)
    if (known !== undefined) return known
    const dir = join(this.#liveDir, String(job.job))
    for (const name of ['tasks', 'places']) mkdirSync(join(dir, name), { recursive: true, mode: 0o711 })
    writeFileSync(join(dir, 'job.json'), JSON.stringify(job), { mode: 0o600 })
    const live: LiveJob = {
      job,
      dir,
      running: new Map(),
      ended: new Map(),
      places: [],
      placesMade: 0,
      network: null,
      outside: null,
    }
    this.#jobs.set(job.job, live)
    return live
  }

  #take(start: TaskStart): void {
    const live = this.#jobs.get(start.job)
    if (live === undefined || live.running.has(start.task) || this.#starts.has(start.task)) return
    if (live.places.some(({ current }) => current === start.task)) return
    const ended = live.ended.get(start.task)
    if (ended !== undefined) return this.#tell(ended)
    const free = live.places.find(({ isFree }) => isFree)
    if (free !== undefined && start.hosts === null && live.outside === null) return this.#runIn(free, live, start)
    this.#starts.add(live, start)
  }

  /** Whether its tasks run one after another in places. */
  #isPlaced({ job }: LiveJob): boolean {
    return job.places || isSeries(job, this.#options.sandbox)
  }

  #runIn(place: TaskPlace, live: LiveJob, start: TaskStart): void {
    try {
      place.run(start)
    } catch (error) {
      this.#notStarted(live, start.task, error)
    }
  }

  async #start(live: LiveJob, start: TaskStart): Promise<void> {
    const recordDir = join(live.dir, 'tasks', entryOf(start.task))
    try {
      const driver = this.#driverOf(live.job)
      const network = await this.#networkOf(live)
      await this.#hold(live)
      if (this.#isPlaced(live)) await this.#startInPlace(live, start, network)
      else {
        const devices = this.#offers.devicesOf(start.gpus ?? [])
        const sandbox = await driver.start(taskSpec(live.job, start, { driver, recordDir, network, devices }))
        this.#follow(live, start.task, recordDir, sandbox)
      }
    } catch (error) {
      this.#notStarted(live, start.task, error)
    }
  }

  #notStarted(live: LiveJob, task: string, error: unknown): void {
    this.#ended(live, task, notStarted(messageOf(error)), this.#options.clock.nowMs())
  }

  async #startInPlace(live: LiveJob, start: TaskStart, network: Place | null): Promise<void> {
    let place = live.places.find(({ isFree }) => isFree)
    if (place === undefined) {
      live.placesMade += 1
      place = await TaskPlace.make(this.#placeNeeds(live, live.placesMade, network))
      this.#settle(live, place)
    }
    place.run(start)
  }

  /** Null only for what is declared to run without isolation, and where the machine has no networks of its own. */
  #networkOf(live: LiveJob): Promise<Place> | null {
    const { network } = this.#options
    if (!isIsolated(network) || live.job.isolation === 'none') return null
    // One for all: they start at once, and are to reach one another.
    live.network ??= this.#makeNetwork(live).catch((error: unknown) => {
      live.network = null
      throw error
    })
    return live.network
  }

  async #makeNetwork(live: LiveJob): Promise<Place> {
    const place = await this.#options.network.place(`job-${live.job.job}`)
    try {
      live.outside = await TaskOutside.open(live.job, place, this.#outside, 'new')
      return place
    } catch (error) {
      place[Symbol.dispose]()
      throw error
    }
  }

  /** Its rate is that of as many tasks as run here. */
  async #hold(live: LiveJob): Promise<void> {
    if (live.outside === null) return
    const starting = [...this.#starts.tasks()].filter((task) => task.startsWith(`${live.job.job}-`)).length
    const inPlaces = live.places.filter(({ current }) => current !== null).length
    await live.outside.hold(live.running.size + starting + inPlaces)
  }

  /** Tasks that are started from now on reach those that run. What has ended has no network any more. */
  async #adoptNetwork(live: LiveJob, { pid }: Sandbox): Promise<void> {
    const { network } = this.#options
    if (!isIsolated(network) || live.job.isolation === 'none' || live.network !== null) return
    const found = await network.adopt(`job-${live.job.job}`, pid)
    if (found === null) return
    live.network = Promise.resolve(found)
    live.outside = await TaskOutside.open(live.job, found, this.#outside, 'found')
  }

  #follow(live: LiveJob, task: string, recordDir: string, sandbox: Sandbox): void {
    live.running.set(task, sandbox)
    void sandbox.exited.then((exit) => {
      if (this.#leaving) return
      live.running.delete(task)
      const changedMs = statSync(recordDir, { throwIfNoEntry: false })?.mtimeMs ?? this.#options.clock.nowMs()
      const interrupted = existsSync(join(recordDir, interruptedFile))
      this.#ended(live, task, taskExitOf(exit, interrupted), Math.floor(changedMs))
    })
  }

  #ended(live: LiveJob, task: string, exit: TaskExit, endedMs: number): void {
    const end = { task, endedMs, exit }
    live.ended.set(task, end)
    void this.#hold(live).catch((error: unknown) => this.#options.onNotice(messageOf(error)))
    this.#tell(end)
  }

  /** One is told at once; of many that end, those of a moment together, since each telling costs control a commit. */
  #tell(end: TaskEnd): void {
    this.#told.push(end)
    if (this.#told.length > 1) return
    const { clock } = this.#options
    const waitMs = this.#toldAtMs + tellEveryMs - clock.monotonicMs()
    if (waitMs > 0) clock.after(waitMs, () => this.#tellAll())
    else setImmediate(() => this.#tellAll())
  }

  #tellAll(): void {
    const ended = this.#told
    this.#told = []
    this.#toldAtMs = this.#options.clock.monotonicMs()
    for (let from = 0; from < ended.length; from += tasksInMessageMax)
      this.#send?.({ type: 'tasks-ended', ended: ended.slice(from, from + tasksInMessageMax) })
  }

  #stop(stop: TaskStop): void {
    const { task, signal, graceMs } = stop
    if (this.#starts.keep(stop)) return
    const live = this.#jobs.get(Number(task.split('-')[0]))
    const sandbox = live?.running.get(task) ?? live?.places.find(({ current }) => current === task)?.sandbox
    if (sandbox === undefined) return
    sandbox.signal(signal as NodeJS.Signals)
    if (graceMs === null) return
    const kill = this.#options.clock.after(graceMs, () => {
      this.#kills.delete(kill)
      // A place may have gone on to another task.
      if (live?.running.get(task) !== sandbox && !live?.places.some((place) => place.current === task)) return
      sandbox.kill().catch((error: unknown) => this.#options.onNotice(messageOf(error)))
    })
    this.#kills.add(kill)
    void sandbox.exited.then(() => {
      this.#kills.delete(kill)
      kill[Symbol.dispose]()
    })
  }

  /** Nothing more comes of a job; its output stays. */
  #over(job: number): void {
    const live = this.#jobs.get(job)
    if (live === undefined) return
    this.#jobs.delete(job)
    const left = [...live.running.values(), ...live.places.map(({ sandbox }) => sandbox)]
    const gone = Promise.allSettled(left.map((sandbox) => sandbox.kill())).then(async () => {
      await closeNetwork(live)
      const kept = join(this.#keptDir, String(job))
      rmSync(kept, { recursive: true, force: true })
      renameSync(live.dir, kept)
      rmSync(join(kept, 'places'), { recursive: true, force: true })
    })
    this.#closing.set(
      job,
      gone
        .catch((error: unknown) => this.#options.onNotice(`job ${job} could not be put away: ${messageOf(error)}`))
        .finally(() => this.#closing.delete(job)),
    )
  }

  async #forget(job: number): Promise<void> {
    this.#over(job)
    await this.#closing.get(job)
    rmSync(join(this.#keptDir, String(job)), { recursive: true, force: true })
  }
}

async function closeNetwork(live: LiveJob): Promise<void> {
  const network = await live.network?.catch(() => null)
  live.outside?.close()
  live.outside = null
  network?.[Symbol.dispose]()
}

function isIsolated({ capabilities }: NetworkDriver): boolean {
  return capabilities.isolation === 'native'
}
