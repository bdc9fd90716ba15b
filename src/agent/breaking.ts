/**
 * Breaks things of this node on purpose and heals them: carries out what `faults` decides. Invariants: a fault is on disk
 * before anything is broken, and what a dead agent left broken is healed by the next one, when its lease is over; healing
 * needs no disk: what could not be written down is written later.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { type Clock, messageOf, SteadError } from '../base/index.ts'
import type { Domain } from '../domain/index.ts'
import { type Fault, type FaultLease, type FaultStatus, faultStatusSchema } from '../protocol/index.ts'
import {
  count,
  cutting,
  due,
  type Faults,
  heal,
  killing,
  type Moment,
  noFaults,
  restored,
  statusesOf,
  take,
} from './faults.ts'

/** Files that take room on purpose start so, at the top of an app's data. */
const fillPrefix = '.stead-fault-'
/** When less than this is left, a disk is full. */
const fillStepMin = 1024 ** 2
/** How long until what could not be written down is tried again. */
const saveAgainMs = 10_000

/** What is broken, on this node. */
export interface Breakable {
  /** Kills what runs of a part; answers how many. */
  kill(app: string, part: string): number
  /** Resets the open streams of an edge; answers how many. */
  reset(app: string, part: string, uses: string): number
  domain(app: string): Promise<Domain>
  changed(): void
}

export class Breaking {
  readonly #path: string
  readonly #clock: Clock
  readonly #breakable: Breakable
  readonly #onNotice: (text: string) => void
  #faults: Faults = noFaults
  #told = ''
  /** Whether the disk holds something else than what is so. */
  #unsaved = false
  #timer: Disposable | null = null

  constructor(path: string, clock: Clock, breakable: Breakable, onNotice: (text: string) => void) {
    this.#path = path
    this.#clock = clock
    this.#breakable = breakable
    this.#onNotice = onNotice
    this.#faults = restored(this.#read(), this.#now())
    this.#schedule()
  }

  statuses(): readonly FaultStatus[] {
    return statusesOf(this.#faults)
  }

  /** All of them, when there is something that was not told yet; else null. */
  news(): readonly FaultStatus[] | null {
    const statuses = this.statuses()
    const text = JSON.stringify(statuses)
    if (text === this.#told || (statuses.length === 0 && this.#told === '')) return null
    this.#told = text
    return statuses
  }

  /** Whoever was told is gone. */
  tellAgain(): void {
    this.#told = ''
  }

  /** Whether a part is kept from running. */
  held(app: string, part: string): boolean {
    return killing(this.#faults, app, part) !== null
  }

  /** Whether a new stream of an edge is to be refused; it is counted then. */
  refuses(app: string, part: string, uses: string): boolean {
    const fault = cutting(this.#faults, app, part, uses)
    if (fault === null) return false
    this.#faults = count(this.#faults, fault.id, { streamsRefused: 1 })
    this.#breakable.changed()
    return true
  }

  /** Breaks something. Throws `agent.fault-refused`, also when it could not be done, and then nothing is broken. */
  async take(lease: FaultLease): Promise<void> {
    const taken = take(this.#faults, lease, this.#now())
    if ('refused' in taken) throw refused(taken.refused)
    // Written first: a fault that is not on disk must not be in force, or nobody would heal it after this agent.
    try {
      this.#write(taken)
    } catch (error) {
      throw refused(`it could not be written down: ${messageOf(error)}`)
    }
    this.#become(taken)
    try {
      const counts = await this.#carryOut(lease)
      this.#set(count(this.#faults, lease.id, counts))
    } catch (error) {
      this.#set({ ...this.#faults, lasting: this.#faults.lasting.filter(({ status }) => status.id !== lease.id) })
      await this.#undo(lease)
      throw error
    }
    this.#onNotice(`${lease.app}: ${sentenceOf(lease.fault)} on purpose, for ${Math.round(lease.leaseMs / 1000)} s`)
  }

  /** Heals faults before their time. */
  async heal(id: string): Promise<void> {
    await this.#end(this.#faults.lasting.map(({ status }) => status).filter((status) => status.id === id))
  }

  /** Heals everything of apps of which nothing is wanted any more. */
  keepOnly(assignments: readonly { readonly app: string; readonly wanted: boolean }[]): void {
    const wanted = (app: string): boolean => assignments.some((one) => one.wanted && one.app === app)
    this.#endSoon(this.#faults.lasting.map(({ status }) => status).filter(({ app }) => !wanted(app)))
  }

  leave(): void {
    this.#timer?.[Symbol.dispose]()
  }

  /** Takes away files of faults that are over, or that nobody knows. */
  sweep(app: string, directory: string): void {
    const lasting = this.#faults.lasting.filter(({ status }) => status.app === app).map(({ status }) => status.id)
    for (const name of readdirSync(directory)) {
      if (name.startsWith(fillPrefix) && !lasting.includes(name.slice(fillPrefix.length))) rmSync(join(directory, name))
    }
  }

  async #carryOut({
    app,
    fault,
    id,
  }: FaultLease): Promise<{ killed: number } | { streamsReset: number } | { filledBytes: number }> {
    switch (fault.kind) {
      case 'kill':
        return { killed: this.#breakable.kill(app, fault.part) }
      case 'cut':
        return { streamsReset: this.#breakable.reset(app, fault.part, fault.uses) }
      case 'fill-disk': {
        const domain = await this.#breakable.domain(app)
        if (!domain.capabilities.sizeLimit)
          throw refused(
            `the data of ${app} has no disk of its own on this machine: filling it would fill the machine's`,
          )
        const { freeBytes } = await domain.usage()
        return { filledBytes: await fill(join(domain.path, fillPrefix + id), Math.floor(freeBytes * fault.share)) }
      }
    }
  }

  async #undo({ app, fault, id }: FaultLease): Promise<void> {
    if (fault.kind !== 'fill-disk') return
    const domain = await this.#breakable.domain(app)
    rmSync(join(domain.path, fillPrefix + id), { force: true })
    // btrfs gives room back with its next commit, which may be half a minute away.
    await promisify(execFile)('sync', ['--file-system', domain.path])
  }

  #endSoon(statuses: readonly FaultStatus[]): void {
    void this.#end(statuses).catch((error: unknown) => this.#onNotice(`faults are not healed: ${messageOf(error)}`))
  }

  async #end(statuses: readonly FaultStatus[]): Promise<void> {
    for (const status of statuses) {
      await this.#undo(status).catch((error: unknown) => this.#onNotice(`${status.id}: ${messageOf(error)}`))
      this.#onNotice(`${status.app}: healed: ${sentenceOf(status.fault)}`)
    }
    if (statuses.length === 0) return
    this.#set(
      heal(
        this.#faults,
        statuses.map(({ id }) => id),
        this.#now(),
      ),
    )
  }

  /** Goes over to other faults, whether or not the disk takes them now. */
  #set(faults: Faults): void {
    this.#save(faults)
    this.#become(faults)
  }

  #become(faults: Faults): void {
    this.#faults = faults
    this.#schedule()
    this.#breakable.changed()
  }

  /** Writes them down, else later. A disk that refuses is said once. */
  #save(faults: Faults): void {
    try {
      this.#write(faults)
    } catch (error) {
      if (!this.#unsaved) this.#onNotice(`faults could not be written down, it is tried again: ${messageOf(error)}`)
      this.#unsaved = true
    }
  }

  #schedule(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = null
    const nowMs = this.#clock.monotonicMs()
    const next = Math.min(
      ...this.#faults.lasting.map(({ deadlineMs }) => deadlineMs),
      this.#unsaved ? nowMs + saveAgainMs : Number.POSITIVE_INFINITY,
    )
    if (next === Number.POSITIVE_INFINITY) return
    this.#timer = this.#clock.after(Math.max(0, Math.ceil(next - nowMs)), () => {
      const over = due(this.#faults, this.#now())
      if (over.length > 0) return this.#endSoon(over)
      if (this.#unsaved) this.#save(this.#faults)
      // A timer may come a little early.
      this.#schedule()
    })
  }

  #now(): Moment {
    return { wallMs: this.#clock.nowMs(), monotonicMs: this.#clock.monotonicMs() }
  }

  /** What was left; a file that cannot be read is of no use to anybody, and its faults are over. */
  #read(): FaultStatus[] {
    try {
      return z.array(faultStatusSchema).parse(JSON.parse(readFileSync(this.#path, 'utf8')))
    } catch (error) {
      if (existsSync(this.#path))
        this.#onNotice(`${this.#path} cannot be read, its faults are over: ${messageOf(error)}`)
      return []
    }
  }

  #write(faults: Faults): void {
    mkdirSync(dirname(this.#path), { recursive: true })
    writeFileSync(`${this.#path}.new`, JSON.stringify(statusesOf(faults)), { mode: 0o600 })
    renameSync(`${this.#path}.new`, this.#path)
    this.#unsaved = false
  }
}

/** Takes room without writing: at most `bytes`, fewer when the disk is full before. Throws `agent.fault-refused`. */
async function fill(path: string, bytes: number): Promise<number> {
  writeFileSync(path, '', { mode: 0o600 })
  let filled = 0
  for (let step = bytes; filled < bytes && step >= fillStepMin;) {
    const length = Math.min(step, bytes - filled)
    try {
      // Without a language: what it says is looked at below.
      await promisify(execFile)('fallocate', ['--offset', String(filled), '--length', String(length), path], {
        env: { ...process.env, LC_ALL: 'C' },
      })
      filled += length
    } catch (error) {
      if (!messageOf(error).includes('No space left')) throw refused(`no room could be taken: ${messageOf(error)}`)
      // What is free is not all in one piece, and the file system keeps some for itself.
      step = Math.floor(step / 2)
    }
  }
  return filled
}

function sentenceOf(fault: Fault): string {
  if (fault.kind === 'kill') return `${fault.part} is killed`
  if (fault.kind === 'cut') return `the way from ${fault.part} to ${fault.uses} is cut`
  return 'the disk is filled'
}

function refused(why: string): SteadError {
  return new SteadError({ code: 'agent.fault-refused', message: why })
}
