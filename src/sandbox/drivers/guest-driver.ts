/**
 * Sandbox drivers whose programs run on a kernel of their own, in guests.
 *
 * What runs a guest is a program in a bubblewrap sandbox: its user, its namespaces, its filter, its limit group, its output,
 * its exit, its record and its network are those, so that whoever breaks out of the guest, and out of what runs it, stands in
 * a sandbox.
 *
 * Invariants: what the program does ends the machine with it, and the machine tells how the program ended; the directory in
 * which machine and supervisor meet lies under a name that follows from that of the records, where no other user may enter.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import type { Clock } from '../../base/index.ts'
import { limitsWithin, refuseBeyond } from '../capabilities.ts'
import type { LimitGroups } from '../cgroup.ts'
import type { OutputLine, OutputOptions, Sandbox, SandboxCapabilities, SandboxDriver, SandboxSpec } from '../driver.ts'
import { checkSpec } from '../spec.ts'
import { bubblewrapDriver } from './bubblewrap.ts'
import { makeControls } from './guests/controls.ts'
import type { Found, MeetingPlace, Monitor } from './guests/monitor.ts'
import { RunningGuest } from './guests/running-guest.ts'
import type { Logger } from './programs.ts'
import { readIfThere, readRecord } from './records.ts'
import { inRoot } from './root.ts'

/** Short, because the path of a Unix socket is. */
const digestChars = 16
const aloneMs = 2_000

export interface GuestDriverOptions {
  readonly clock: Clock
  /** From `detectLimitGroups`; null where none can be made. */
  readonly groups: LimitGroups | null
  /** Where what guests start with is kept; every user must be able to pass through. */
  readonly stateDir: string
  /** Defaults to s6-log where it is installed. */
  readonly logger?: Logger
  /** Directory below which packages with what runs guests were unpacked; the system's own when it is left out. */
  readonly partsRoot?: string
}

/** What is kept of a guest beside the record. */
interface GuestRecord {
  /** Those of the program, for the words of its exit. */
  readonly limits: SandboxSpec['limits']
  readonly hostUid: number
  readonly isDisk: boolean
  /** Where a system on a disk keeps what it writes, when that outlives its records. */
  readonly writtenDir?: string
}

export class GuestDriver implements SandboxDriver {
  readonly name: string
  readonly capabilities: SandboxCapabilities
  readonly #monitor: Monitor
  readonly #clock: Clock
  readonly #around: SandboxDriver
  readonly #meetings: string
  /** By their records, those that this process has started or found. */
  readonly #followed = new Map<string, RunningGuest>()
  /** Filter of what runs the guest, whatever the program's own is. */
  readonly #filter: SandboxSpec['syscalls']

  constructor(
    monitor: Monitor,
    filter: SandboxSpec['syscalls'],
    { clock, groups, logger }: Pick<GuestDriverOptions, 'clock' | 'groups' | 'logger'>,
  ) {
    this.name = monitor.name
    this.#monitor = monitor
    this.#clock = clock
    const around = { name: monitor.name, devices: monitor.devices }
    this.#around = bubblewrapDriver({ clock, groups, around, ...(logger !== undefined && { logger }) })
    const uid = process.getuid?.() ?? 0
    this.#meetings = uid === 0 ? '/run/stead-guests' : `${tmpdir()}/stead-guests-${uid}`
    this.#filter = this.#around.capabilities.syscallFilter === 'refused' ? 'none' : filter
    this.capabilities = monitor.capabilities(this.#around.capabilities)
  }

  async start(spec: SandboxSpec): Promise<Sandbox> {
    checkSpec(spec)
    refuseBeyond(this.name, this.capabilities, spec)
    const { recordDir, limits, hostUid } = spec
    const place = { directory: this.#meetingOf(recordDir), hostUid }
    // Records that are there already are those of a machine that may run still: its start is refused below.
    const { isolation: _guest, disk: _system, root: _own, ...plain } = spec
    if (readRecord(recordDir) !== null) return await this.#around.start(plain)
    // A system brings its own kernel.
    if (spec.disk === undefined) await this.#monitor.prepare()
    try {
      this.#monitor.forget(place)
      rmSync(place.directory, { recursive: true, force: true })
      makeControls(this.#meetings, place.directory, hostUid)
      mkdirSync(recordDir, { recursive: true, mode: 0o700 })
      const { disk } = spec
      const kept = disk?.writtenDir === undefined ? {} : { writtenDir: disk.writtenDir }
      const record: GuestRecord = { limits, hostUid, isDisk: disk !== undefined, ...kept }
      writeFileSync(recordFileOf(recordDir), JSON.stringify(record), { mode: 0o600 })
      const wanted = this.#monitor.around(inRoot(spec), place)
      // The guest holds the program's limits itself; those around it are a second wall, where there can be one.
      const held = limitsWithin(this.#around.capabilities, wanted.limits).limits
      const around = await this.#around.start({ ...wanted, limits: held, syscalls: this.#filter })
      await this.#begin(spec, place, around)
      return this.#running(around, recordDir, record, await this.#find(place))
    } catch (error) {
      this.#monitor.forget(place)
      rmSync(place.directory, { recursive: true, force: true })
      rmSync(recordDir, { recursive: true, force: true })
      throw error
    }
  }

  async adopt(recordDir: string): Promise<Sandbox | null> {
    // Whoever follows it here already lets go of it: a guest answers one supervisor.
    this.#followed.get(recordDir)?.letGo()
    const around = await this.#around.adopt(recordDir)
    const text = readIfThere(recordFileOf(recordDir))
    if (around === null || text === null) return null
    const record = JSON.parse(text) as GuestRecord
    const place = { directory: this.#meetingOf(recordDir), hostUid: record.hostUid }
    const found = await this.#find(place)
    if (found === null && this.#monitor.elsewhere !== undefined) this.#endAlone(around)
    const guest = this.#running(around, recordDir, record, found)
    guest.greet()
    return guest
  }

  async *output(recordDir: string, options: OutputOptions = {}): AsyncGenerator<OutputLine> {
    for await (const line of this.#around.output(recordDir, options))
      // Consoles end their lines with a carriage return.
      yield line.text.endsWith('\r') ? { ...line, text: line.text.replace(/\r+$/, '') } : line
  }

  dropOldOutput(recordDir: string): number {
    return this.#around.dropOldOutput(recordDir)
  }

  async remove(recordDir: string): Promise<void> {
    await this.#around.remove(recordDir)
    const directory = this.#meetingOf(recordDir)
    if (existsSync(directory)) await this.#monitor.elsewhere?.end({ directory, hostUid: 0 })
    this.#monitor.forget({ directory, hostUid: 0 })
    rmSync(directory, { recursive: true, force: true })
  }

  /** What something else runs is begun when what keeps it waits; when that fails, nothing is left of either. */
  async #begin(spec: SandboxSpec, place: MeetingPlace, around: Sandbox): Promise<void> {
    const { elsewhere } = this.#monitor
    if (elsewhere === undefined) return
    let isOver = false
    void around.exited.then(() => (isOver = true))
    // Waiting does not keep a process alive, and who starts something wants it started.
    const alive = setInterval(() => undefined, 2 ** 30)
    try {
      await elsewhere.begin(spec, place, { pid: around.pid, isOver: () => isOver })
    } catch (error) {
      await around.kill()
      await elsewhere.end(place).catch(() => undefined)
      throw error
    } finally {
      clearInterval(alive)
    }
  }

  /** Null too where it cannot be asked: then it is known by what keeps it. */
  async #find(place: MeetingPlace): Promise<Found | null | undefined> {
    return await this.#monitor.elsewhere?.find(place).catch(() => undefined)
  }

  /** What waits for a guest that is not there, because its supervisor died before it was begun, would wait for ever. */
  #endAlone(around: Sandbox): void {
    // It may be about to end by itself, with the exit it was told.
    const timer = this.#clock.after(aloneMs, () => void around.kill().catch(() => undefined))
    void around.exited.then(() => timer[Symbol.dispose]())
  }

  #running(around: Sandbox, recordDir: string, record: GuestRecord, found: Found | null = null): RunningGuest {
    const { limits, hostUid, isDisk, writtenDir = null } = record
    const place: MeetingPlace = { directory: this.#meetingOf(recordDir), hostUid }
    const own = { around, monitor: this.#monitor, clock: this.#clock, place, limits, isDisk, writtenDir, found }
    const guest = new RunningGuest(own)
    this.#followed.set(recordDir, guest)
    void guest.exited.then(() => {
      if (this.#followed.get(recordDir) === guest) this.#followed.delete(recordDir)
    })
    return guest
  }

  #meetingOf(recordDir: string): string {
    return `${this.#meetings}/${createHash('sha256').update(recordDir).digest('hex').slice(0, digestChars)}`
  }
}

function recordFileOf(recordDir: string): string {
  return `${recordDir}/guest.json`
}
