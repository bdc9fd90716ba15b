/**
 * The exchange of the data of an app, on the node that has it: when the plan names a generation that the domain has not
 * reached, nothing of the older one may run any more, what must outlive it is written beside the domain, all servers stop,
 * and the domain swaps, once. This file knows who has come how far; the runners of the resources do the steps.
 *
 * Invariants: the data is exchanged only while no server of the app runs; each step leaves behind, on the disk, that it was
 * done, so a crash between any two is found by looking: at the generation of the domain, and at the notes of each resource.
 * Nothing here waits for a time to pass: whoever waits is woken by every change.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import type { DataPlace } from '../protocol/index.ts'
import type { Domains } from './domains.ts'
import type { AgentOptions } from './options.ts'

/** What the exchanges look at. */
export interface ExchangeNeed {
  readonly domains: Domains
  /** The resources on the live data of an app whose servers may run, by the ids of their assignments. */
  readonly servers: (app: string) => readonly string[]
  /** What still runs of an app and belongs to a generation before this one. */
  readonly older: (app: string, generation: number) => readonly string[]
  /** What a task is doing with the data of an app, in a few words; null: nothing. */
  readonly working: (app: string) => string | null
}

/** What a resource has noted: its state of before was written; could not be, and why; what is live now has it. */
type Note = 'abandoned' | 'lost' | 'finished'

/** The resources of an app that have come as far as the exchange itself. */
interface Meeting {
  place: DataPlace
  readonly arrived: Set<string>
  readonly done: PromiseWithResolvers<void>
  swapping: boolean
}

export class Exchanges {
  readonly #options: Pick<AgentOptions, 'stateDir' | 'onStep' | 'onNotice'>
  readonly #need: ExchangeNeed
  readonly #meetings = new Map<string, Meeting>()
  #news = Promise.withResolvers<void>()

  constructor(options: Pick<AgentOptions, 'stateDir' | 'onStep' | 'onNotice'>, need: ExchangeNeed) {
    this.#options = options
    this.#need = need
  }

  /** Something runs no more, or is planned otherwise: whoever waits looks again. */
  wake(): void {
    this.#news.resolve()
    this.#news = Promise.withResolvers()
    for (const [app, meeting] of this.#meetings) this.#look(app, meeting)
  }

  async step(...[step, what]: Parameters<NonNullable<AgentOptions['onStep']>>): Promise<void> {
    await this.#options.onStep?.(step, what)
  }

  /**
   * Whether the data of a place has to be exchanged before it can be served. Throws `agent.generation` where the plan and
   * the data do not fit together at all.
   */
  async isDue(place: DataPlace): Promise<boolean> {
    if (place.copy !== null) return false
    const { generation } = await this.#need.domains.of(place.app)
    if (generation === place.generation) return false
    if (generation === place.generation - 1 && place.swap !== null) return true
    throw new SteadError({
      code: 'agent.generation',
      message: `the data of ${place.app} here is of generation ${generation}, and the plan is of generation ${place.generation}`,
      hint:
        generation > place.generation
          ? 'The records of control are older than the data: put the newer ones back.'
          : 'An exchange in between was never made here: see the releases of the app, and go back once more.',
    })
  }

  /** Resolves when nothing of an older generation runs; `tell` is told what it waits for. */
  async quiet({ app, generation }: DataPlace, signal: AbortSignal, tell: (reason: string) => void): Promise<void> {
    for (let told = ''; ;) {
      const news = this.#news.promise
      const older = this.#need.older(app, generation)
      if (older.length === 0) return
      // To say something wakes whoever waits, so the same is not said twice.
      if (told !== older.join())
        tell(`waits until ${older.slice(0, 5).join(', ')} of generation ${generation - 1} has ended`)
      told = older.join()
      await orAborted(news, signal)
    }
  }

  /**
   * Says that the server `id` has stopped, and resolves when those of all resources of the app have and the data is
   * exchanged. Throws as `swap` of the domain does; then nothing has changed.
   */
  async exchange(place: DataPlace, id: string, signal: AbortSignal, tell: (reason: string) => void): Promise<void> {
    const { app } = place
    const found = this.#meetings.get(app)
    const meeting = found ?? { place, arrived: new Set<string>(), done: Promise.withResolvers<void>(), swapping: false }
    if (found === undefined) {
      this.#meetings.set(app, meeting)
      meeting.done.promise.catch(() => {})
    }
    if (!meeting.swapping) meeting.place = place
    meeting.arrived.add(id)
    const work = this.#need.working(app)
    const missing = this.#missing(app, meeting)
    tell(
      missing.length > 0
        ? `waits until ${missing.join(', ')} has stopped`
        : `the data of ${app} is exchanged${work === null ? '' : `, after what is being done with it: ${work}`}`,
    )
    this.#look(app, meeting)
    try {
      await orAborted(meeting.done.promise, signal)
    } finally {
      if (!meeting.swapping) meeting.arrived.delete(id)
    }
  }

  #missing(app: string, { arrived }: Meeting): readonly string[] {
    return this.#need.servers(app).filter((id) => !arrived.has(id))
  }

  #look(app: string, meeting: Meeting): void {
    if (meeting.swapping || meeting.arrived.size === 0 || this.#missing(app, meeting).length > 0) return
    meeting.swapping = true
    this.#swap(meeting.place)
      .finally(() => this.#meetings.delete(app))
      .then(meeting.done.resolve, meeting.done.reject)
  }

  async #swap({ app, generation, swap }: DataPlace): Promise<void> {
    const domain = await this.#need.domains.of(app)
    if (domain.generation >= generation || swap === null) return
    await this.step('swapping', app)
    await domain.swap(swap.from, swap.keepAs, generation - 1)
    await this.step('swapped', app)
    this.#need.domains.moved(app, domain.path)
    // What the exchange before this one wrote is in the data, or in the branches that were made of it.
    const root = this.#rootOf(app)
    for (const old of list(root))
      if (Number(old) < generation) rmSync(join(root, old), { recursive: true, force: true })
  }

  /** A directory for what must outlive the older generation of a resource, beside the domain. */
  dirOf({ app, generation }: DataPlace, part: string): string {
    const dir = join(this.#rootOf(app), String(generation), part)
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    return dir
  }

  /** What has been noted of a resource; null: nothing. */
  noted(place: DataPlace, part: string): { readonly note: Note; readonly reason: string } | null {
    if (place.copy !== null || place.swap === null) return null
    const dir = join(this.#rootOf(place.app), String(place.generation), part)
    for (const note of ['finished', 'lost', 'abandoned'] as const) {
      const path = `${dir}.${note}`
      if (existsSync(path)) return { note, reason: readFileSync(path, 'utf8') }
    }
    return null
  }

  /** Notes it so that it survives a loss of power, as what was written before it into the directory of the resource does. */
  note(place: DataPlace, part: string, note: Note, reason = ''): void {
    const dir = this.dirOf(place, part)
    for (const name of list(dir)) sync(join(dir, name))
    sync(dir)
    // It could be asked after all.
    if (note === 'abandoned') rmSync(`${dir}.lost`, { force: true })
    const file = openSync(`${dir}.${note}`, 'w', 0o600)
    writeSync(file, reason)
    fsyncSync(file)
    closeSync(file)
    sync(join(dir, '..'))
  }

  /** Forgets all that was written for an app. */
  forget(app: string): void {
    rmSync(this.#rootOf(app), { recursive: true, force: true })
  }

  #rootOf(app: string): string {
    return join(this.#options.stateDir, 'exchanges', app)
  }
}

function sync(path: string): void {
  const file = openSync(path, 'r')
  fsyncSync(file)
  closeSync(file)
}

function list(directory: string): readonly string[] {
  return existsSync(directory) ? readdirSync(directory) : []
}

/** As the promise, or throws when the signal is aborted first. */
async function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => aborted.reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
