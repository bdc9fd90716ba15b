/**
 * Makes and proves the backups that apps declare, while the platform runs: looks what is due, does one errand after another, and
 * remembers what came of it. It asks the platform as a person would, over the same socket.
 *
 * Invariants: what is known to be done is on the disk before anything else is begun; a failure is kept, shown and said; a secret is
 * in a file of its own, readable by nobody else, for as long as an errand takes.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  afterErrand,
  type Backups,
  type Course,
  type Errand,
  errands,
  newestOf,
  nextErrand,
  openBackups,
  parseCourse,
  parseTarget,
  planForget,
  writeKey,
} from '../backup/index.ts'
import { type Clock, isSteadError, messageOf, type Random, sleep, SteadError } from '../base/index.ts'
import type { BackupPlan } from '../model/index.ts'
import { type BackupStatus, type OperatorClient, operatorClient } from '../operator/index.ts'
import { decryptWith, makeIdentity } from '../secrets/index.ts'
import { carryLogs } from './backup-log.ts'
import { backupsOf, drillsOf, noteBackups } from './backup-notes.ts'
import { backUpApp, drillApp } from './backups.ts'
import { backupCoursePath, backupKeyPath, type Home } from './home.ts'
import type { Target } from './target.ts'
import { Steps } from './terminal.ts'

/** How often it is looked what is due. */
const lookMs = 5_000
/** How long a backup waits for what does not answer. */
const lateMs = 3_600_000

export interface KeeperOptions {
  readonly home: Pick<Home, 'appDir' | 'operatorSocket' | 'runDir'>
  readonly clock: Clock
  readonly random: Random
  /** Told of every failure, once. */
  readonly onNotice: (text: string) => void
}

/** What the keeper has open for one errand. */
interface Errands {
  readonly target: Target
  readonly plan: BackupPlan
  readonly backups: Backups
  readonly course: Course
  readonly generation: number
  readonly signal: AbortSignal
}

export class BackupKeeper implements AsyncDisposable {
  readonly #options: KeeperOptions
  readonly #stop = new AbortController()
  readonly #steps = new Steps(false, true)
  #courses: Readonly<Record<string, unknown>>
  #plans = new Map<string, BackupPlan>()
  #doing: { readonly app: string; readonly errand: Errand } | null = null
  /** By app: up to where the logs of its parts were carried after the last backup. */
  readonly #carried = new Map<string, ReadonlyMap<string, string>>()
  #done: Promise<void> = Promise.resolve()

  constructor(options: KeeperOptions) {
    this.#options = options
    this.#courses = readCourses(backupCoursePath(options.home))
  }

  /** Begins to look. */
  start(): this {
    this.#done = this.#run()
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the platform ends'))
    await this.#done
  }

  /** How the backups of an app stand; null where it declares none. */
  standing(app: string): BackupStatus | null {
    const plan = this.#plans.get(app)
    if (plan === undefined) return null
    const nowMs = this.#options.clock.nowMs()
    const { did } = this.#courseOf(app, plan)
    const known = backupsOf(app, nowMs, plan.drill.everyMs).find(({ place }) => place === plan.to)
    const { state, sentence, overdue } = known ?? { state: 'unproved', sentence: 'no backup yet', overdue: true }
    return {
      place: plan.to,
      madeMs: did.backup.doneMs,
      logMs: did.log.doneMs,
      doing: this.#doing?.app === app ? this.#doing.errand : null,
      state,
      sentence,
      overdue,
      troubles: errands.flatMap((errand) => {
        const { failure, failures, failedMs } = did[errand]
        if (failure === null || failedMs === null) return []
        const times = failures === 1 ? '' : `, ${failures} times`
        return [`${words[errand]} failed${times}, last at ${new Date(failedMs).toISOString()}: ${failure}`]
      }),
    }
  }

  async #run(): Promise<void> {
    const { clock, onNotice } = this.#options
    const { signal } = this.#stop
    for (let told = ''; !signal.aborted;) {
      try {
        const operator = await operatorClient(this.#options.home.operatorSocket)
        // One errand at a time, and then everything is looked at again: an errand may take hours.
        while (operator !== null && !signal.aborted && (await this.#turn(operator)));
        told = ''
      } catch (error) {
        if (signal.aborted) return
        const text = `backups are not looked after: ${messageOf(error)}`
        if (text !== told) onNotice(text)
        told = text
      }
      await sleep(clock, lookMs, signal).catch(() => {})
    }
  }

  /** Does the first errand that is due; answers whether there was one. */
  async #turn(operator: OperatorClient): Promise<boolean> {
    const { apps } = await operator.platform()
    const plans = new Map<string, BackupPlan>()
    for (const { app, wanted } of apps) {
      const { backup } = await operator.graph(app).catch(onlyStarting)
      if (wanted && backup !== undefined) plans.set(app, backup)
    }
    this.#plans = plans
    // Another app of that name begins anew: nothing of it goes on from the backups of this one.
    const gone = Object.keys(this.#courses).filter((name) => !apps.some(({ app }) => app === name))
    if (gone.length > 0)
      this.#write(Object.fromEntries(Object.entries(this.#courses).filter(([name]) => !gone.includes(name))))
    for (const [app, plan] of plans) {
      const { generation } = await operator.releases.list(app)
      const { everyMs, logMs, drill } = plan
      const rhythm = { everyMs, logMs, drillMs: drill.everyMs }
      const course = this.#courseOf(app, plan)
      const { errand } = nextErrand(course, rhythm, generation, this.#options.clock.nowMs())
      if (errand === null || (errand === 'backup' && !(await this.#mayBackUp(operator, app, course, everyMs)))) continue
      await this.#do({ operator, app }, plan, course, generation, errand)
      return true
    }
    return false
  }

  /**
   * A backup of what is only being made would be of no use, so it waits until all that has data answers. Of data that was backed
   * up before, an hour late a backup is better than none.
   */
  async #mayBackUp(operator: OperatorClient, app: string, { did }: Course, everyMs: number): Promise<boolean> {
    const { doneMs } = did.backup
    if (doneMs !== null && this.#options.clock.nowMs() - doneMs > everyMs + lateMs) return true
    const [{ parts }, status] = await Promise.all([operator.graph(app), operator.status(app)])
    const holding = parts.filter((part) => part.kind === 'resource' && part.type !== 'secret')
    return holding.every(({ name }) => status.parts.some(({ part, phase }) => part === name && phase === 'ready'))
  }

  async #do(target: Target, plan: BackupPlan, course: Course, generation: number, errand: Errand): Promise<void> {
    const { app } = target
    const { clock, onNotice, home } = this.#options
    const { signal } = this.#stop
    this.#doing = { app, errand }
    const dir = mkdtempSync(join(home.runDir, 'backup-'))
    try {
      const backups = await this.#open(target, plan, dir)
      const after = await this.#errand(errand, { target, plan, backups, course, generation, signal })
      this.#keep(app, after)
    } catch (error) {
      if (signal.aborted) return
      const hint = isSteadError(error) && error.hint !== undefined ? ` ${error.hint}` : ''
      const failure = `${messageOf(error)}${hint}`.slice(0, 1000)
      this.#keep(app, afterErrand(course, errand, failure, clock.nowMs()))
      onNotice(`${app}: ${words[errand]} failed: ${failure}`)
    } finally {
      this.#doing = null
      rmSync(dir, { recursive: true, force: true })
    }
  }

  #errand(errand: Errand, own: Errands): Promise<Course> {
    if (errand === 'backup') return this.#backUp(own)
    return errand === 'log' ? this.#carry(own) : this.#drill(own)
  }

  async #backUp({ target, plan, backups, course, generation, signal }: Errands): Promise<Course> {
    const { clock } = this.#options
    const { app } = target
    // Later a place that is not prepared is a disk that is not there.
    if (course.did.backup.doneMs === null) await backups.init()
    // What was written up to this backup still belongs to the one before.
    if (course.backup !== null && course.generation === generation)
      await this.#carryAfter(target, backups, course.backup)
    const startMs = clock.nowMs()
    const made = await backUpApp(target, backups, 'scheduled', this.#steps, signal)
    this.#carried.delete(app)
    const after = afterErrand(course, 'backup', null, startMs, { generation: made.generation, backup: made.id })
    // From here on it is there, whatever comes of the rest.
    this.#keep(app, after)
    const all = await backups.list()
    const own = all.filter((one) => one.app === app)
    const old = planForget(own, plan.keep, () => drillsOf(backups.place, app), clock.nowMs())
    if (old.length > 0) await backups.forget(old)
    noteBackups(
      backups.place,
      all.filter(({ id }) => !old.includes(id)),
    )
    return after
  }

  async #carry({ target, backups, course }: Errands): Promise<Course> {
    const startMs = this.#options.clock.nowMs()
    if (course.backup !== null) await this.#carryAfter(target, backups, course.backup)
    return afterErrand(course, 'log', null, startMs)
  }

  async #carryAfter(target: Target, backups: Backups, after: string): Promise<void> {
    const { clock } = this.#options
    const before = this.#carried.get(target.app) ?? new Map<string, string>()
    this.#carried.set(target.app, await carryLogs(target, backups, after, before, clock, this.#stop.signal))
  }

  async #drill({ target, plan, backups, course, signal }: Errands): Promise<Course> {
    const all = await backups.list()
    noteBackups(backups.place, all)
    const newest = newestOf(all.filter(({ app }) => app === target.app))
    if (newest === null) {
      const message = `there is no backup of ${target.app} at ${backups.place} any more`
      throw new SteadError({
        code: 'cli.no-backup',
        message,
        hint: 'Somebody has deleted them, or it is another place.',
      })
    }
    const proof = await drillApp(target, backups, newest, plan.drill.probes, this.#steps, signal)
    return afterErrand(course, 'drill', proof.failure, this.#options.clock.nowMs())
  }

  /** Opens the place; what is secret lies in `dir` meanwhile. */
  async #open({ operator, app }: Target, plan: BackupPlan, dir: string): Promise<Backups> {
    const { clock, random } = this.#options
    const keyFile = plan.key === null ? backupKeyPath() : join(dir, 'key')
    if (plan.key !== null) await writeKey(keyFile, random, await readSecret(operator, app, plan.key))
    if (plan.key === null && !existsSync(keyFile)) {
      throw new SteadError({
        code: 'cli.no-backup-key',
        message: 'this machine has no key for backups',
        hint: 'Make one and write it down: `stead backup key --make`. Or declare `backup.key`, a secret of the app.',
      })
    }
    const credentialsFile = plan.credentials === null ? null : join(dir, 'credentials')
    if (plan.credentials !== null && credentialsFile !== null)
      writeFileSync(credentialsFile, await readSecret(operator, app, plan.credentials), { mode: 0o600 })
    const target = parseTarget(plan.to, {
      ...(plan.region === null ? {} : { region: plan.region }),
      ...(credentialsFile === null ? {} : { credentialsFile }),
    })
    return openBackups({ target, keyFile, clock, random })
  }

  #courseOf(app: string, { to }: BackupPlan): Course {
    return parseCourse(this.#courses[app], to)
  }

  #keep(app: string, course: Course): void {
    this.#write({ ...this.#courses, [app]: course })
  }

  #write(courses: Readonly<Record<string, unknown>>): void {
    this.#courses = courses
    const path = backupCoursePath(this.#options.home)
    writeFileSync(`${path}.new`, `${JSON.stringify(this.#courses)}\n`, { mode: 0o600, flush: true })
    renameSync(`${path}.new`, path)
  }
}

const words: Readonly<Record<Errand, string>> = {
  backup: 'a backup',
  log: 'carrying the log',
  drill: 'a drill',
}

/** An app that is only starting has no graph yet. */
function onlyStarting(error: unknown): { readonly backup?: BackupPlan } {
  if (isSteadError(error)) return {}
  throw error
}

/** The value of a secret, sealed on its way for nobody else, and noted in the record of who opened what. */
async function readSecret(operator: OperatorClient, app: string, name: string): Promise<string> {
  const { identity, recipient } = await makeIdentity()
  const sealed = await operator.secrets.export(app, name, [recipient])
  return (await decryptWith(sealed, identity)).toString('utf8')
}

function readCourses(path: string): Readonly<Record<string, unknown>> {
  if (!existsSync(path)) return {}
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}
