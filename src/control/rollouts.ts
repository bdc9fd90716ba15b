/**
 * The rollouts of all apps: begins them, takes them on turn by turn, and does what they ask of nodes. What follows is decided
 * in `release`; this file writes it down, together with the app that it makes, as one transaction.
 *
 * Invariants: an app has one rollout under way at most; what a rollout has decided is durable before anything of it is done;
 * a task that was cut short by an end of control is asked for again under its own name.
 */
import { type Clock, isSteadError, jsonEqual, type Random, randomId, sentencesOf, SteadError } from '../base/index.ts'
import {
  advance,
  beginDeploy,
  beginReturn,
  cancel,
  followUp,
  type Rollout,
  type Sample,
  type Seen,
  shapeOf,
  type Task,
  taskOf,
  type TaskState,
} from '../release/index.ts'
import type { Operation } from '../store/index.ts'
import { type Back, type Begin, nextNumber, placed } from './beginnings.ts'
import { type KeptCheckpoint, type KeptRelease, type KeptReport, releaseKey, releasesOf } from './kept.ts'
import { countedFor, look, since } from './look.ts'
import { keys, newIdentities, put, type Records } from './records.ts'
import { schemaOf } from './schema.ts'
import { staged } from './stage.ts'
import { type ControlState, type DesiredApp, generationOf } from './state.ts'
import type { AppTraffic } from './traffic.ts'

/** How work beside the turns of control sees and changes the records. */
export interface RecordWork {
  readonly records: Records
  readonly clock: Clock
  readonly random: Random
  readonly state: () => ControlState
  readonly write: (operations: readonly Operation[]) => Promise<void>
  /** The app has changed and nobody has been told yet. */
  readonly changed: (app: string) => void
  /** Asks for a turn. */
  readonly wake: () => void
  /** Runs one change of the records after another. */
  readonly exclusive: <T>(work: () => Promise<T>) => Promise<T>
}

export interface RolloutsOptions extends RecordWork {
  readonly traffic: (app: string) => AppTraffic
  /** Whether every node has been told the app as it is now. */
  readonly isTold: (app: string) => boolean
  /** The rollout of an app has come to its end. */
  readonly ended: (app: string) => void
  /** Does a task of a rollout; answers what a person may want to know and what came of it. */
  readonly carryOut: (task: Task, release: KeptRelease, app: DesiredApp) => Promise<Carried>
}

export interface Carried {
  readonly lines: readonly string[]
  /** A checkpoint that was made. */
  readonly checkpoint?: KeptCheckpoint
  /** A comparison that was made. */
  readonly report?: KeptReport
}

/** What the gateways have counted of both releases of a rollout; null where they could not. */
export type Counted = Pick<Seen, 'old' | 'new'>

/** A change of the records in the making: what to write, then what to take over. */
class Change {
  readonly operations: Operation[] = []
  readonly #takes: (() => void)[] = []

  put<T>(key: string, map: Map<string, T>, at: string, value: T): void {
    this.operations.push(put(key, value))
    this.#takes.push(() => map.set(at, value))
  }

  after(take: () => void): void {
    this.#takes.push(take)
  }

  take(): void {
    for (const take of this.#takes) take()
  }
}

export class Rollouts {
  readonly #own: RolloutsOptions
  readonly #tasks = new Map<string, TaskState>()
  /** What was counted when a step began, by rollout and step. */
  readonly #counts = new Map<string, { readonly old: Sample; readonly young: Sample }>()
  /** What was counted before a rollout began, of all that went through the gateways. */
  readonly #before = new Map<string, Sample>()

  constructor(own: RolloutsOptions) {
    this.#own = own
  }

  /** Gives every app the record of its release that it lacks: it was made by a platform that kept none. */
  async complete(): Promise<void> {
    const { records, clock, state } = this.#own
    const change = new Change()
    for (const app of records.apps.values()) {
      if (records.releases.has(releaseKey(app.graph.app, app.release))) continue
      this.#keep(change, placed(app, 'platform', state().credentials, clock.nowMs(), app.release))
    }
    if (change.operations.length > 0) await this.#write(change)
  }

  /** Requests to both releases of the rollout that is under way, since its step began; null: there is none. */
  counted(app: string): Counted | null {
    const rollout = this.current(app)?.rollout ?? null
    return rollout === null ? null : this.#samples(rollout)
  }

  /** The release whose rollout is under way; null when none is. */
  current(app: string): KeptRelease | null {
    return (
      releasesOf(this.#own.records, app).find(({ rollout }) => rollout !== null && rollout.outcome === null) ?? null
    )
  }

  /** Begins a deployment. Part of a change of control. Throws `control.rollout-under-way`, `release.bad-options`. */
  async begin({ app, release, options }: Begin): Promise<void> {
    this.refuseBusy(app.graph.app)
    const { clock, random } = this.#own
    const rollout = beginDeploy({ ...options, id: randomId(random), nowMs: clock.nowMs() })
    await this.#start({ ...release, rollout }, app)
  }

  /** Begins a return to an earlier release. Part of a change of control. Throws `control.rollout-under-way`. */
  async back({ app, release, options }: Back): Promise<void> {
    this.refuseBusy(app.graph.app)
    const { clock, random } = this.#own
    const rollout = beginReturn({ ...options, id: randomId(random), nowMs: clock.nowMs() })
    await this.#start({ ...release, rollout }, app)
  }

  /** Throws `control.rollout-under-way` while one is. */
  refuseBusy(app: string): void {
    const busy = this.current(app)
    if (busy === null) return
    throw new SteadError({
      code: 'control.rollout-under-way',
      message: `release ${busy.number} of ${app} is being rolled out by ${busy.by}: it is in the step ${busy.rollout?.step ?? ''}`,
      hint: `Wait for its end (\`stead releases --app ${app}\`), or take it back with \`stead rollback --cancel --app ${app}\`.`,
      retry: 'later',
    })
  }

  /** Takes back the rollout that is under way. Throws `control.no-rollout`. */
  async cancel(app: string, by: string): Promise<void> {
    const busy = this.current(app)
    if (busy?.rollout === undefined || busy.rollout === null) {
      throw new SteadError({
        code: 'control.no-rollout',
        message: `no release of ${app} is being rolled out`,
        hint: `\`stead rollback --app ${app}\` goes back from one that is.`,
      })
    }
    await this.#write(this.#keep(new Change(), { ...busy, rollout: cancel(busy.rollout, by) }))
  }

  /** Takes every rollout on by a step, if it can go on. Answers whether any did. Part of a turn of control. */
  async turn(nowMs: number): Promise<boolean> {
    let any = false
    for (const app of this.#own.records.apps.values()) {
      const kept = this.current(app.graph.app)
      if (kept !== null) any = (await this.#step(kept, app, nowMs)) || any
    }
    return any
  }

  async #step(kept: KeptRelease, app: DesiredApp, nowMs: number): Promise<boolean> {
    const { rollout } = kept
    if (rollout === null) return false
    const task = taskOf(rollout)
    const seen = { ...look(this.#own.state(), app, this.#own.isTold(app.graph.app)), ...this.#samples(rollout) }
    const next = advance(rollout, { ...seen, task: task === null ? null : (this.#tasks.get(task.id) ?? null) }, nowMs)
    const old = next.old === null ? null : (this.#own.records.releases.get(releaseKey(app.graph.app, next.old)) ?? null)
    const is = staged(app, next, shapeOf(next), kept, old)
    if (next === rollout && jsonEqual(is, app)) {
      this.#begin(task, kept, app)
      return false
    }
    const change = this.#keep(
      new Change(),
      next.outcome === null ? { ...kept, rollout: next } : this.#ended(kept, next),
    )
    change.put(keys.app(app.graph.app), this.#own.records.apps, app.graph.app, is)
    const followed = followUp(next)
    if (followed !== null) this.#follow(change, followed, kept, is)
    await this.#write(change)
    this.#own.changed(app.graph.app)
    if (next.outcome !== null) {
      this.#forget(next)
      if (followed === null) this.#own.ended(app.graph.app)
    }
    return true
  }

  /** The return that the platform begins by itself, in the transaction in which the deployment ends. */
  #follow(change: Change, options: NonNullable<ReturnType<typeof followUp>>, from: KeptRelease, app: DesiredApp): void {
    const { records, random, clock } = this.#own
    const name = app.graph.app
    const target = records.releases.get(releaseKey(name, options.target))
    const checkpoint = records.checkpoints.get(`${name}/${options.checkpoint ?? ''}`)
    if (target === undefined) return
    const number = nextNumber(records, name)
    const rollout = beginReturn({ ...options, new: number, id: randomId(random), nowMs: clock.nowMs() })
    this.#keep(change, {
      ...target,
      number,
      backTo: target.number,
      createdAtMs: clock.nowMs(),
      by: options.by,
      generation: generationOf(app) + (options.checkpoint === null ? 0 : 1),
      schemaBefore: schemaOf(app),
      schemaTarget: checkpoint?.schema ?? from.schemaBefore,
      schemas: {},
      rollout,
      report: null,
    })
  }

  /** A release whose rollout has come to its end. */
  #ended(kept: KeptRelease, rollout: Rollout): KeptRelease {
    const { statuses } = this.#own.state()
    const resources = kept.graph.parts.filter((part) => part.kind === 'resource')
    const schemas = resources.flatMap(({ name }) => {
      const schema = statuses.get(`${kept.app}.${name}`)?.schema
      return schema === undefined ? [] : [[name, schema] as const]
    })
    return { ...kept, rollout, schemas: Object.fromEntries(schemas) }
  }

  async #start(release: KeptRelease, app: DesiredApp): Promise<void> {
    const { records } = this.#own
    const change = this.#keep(new Change(), release)
    const made = newIdentities(release.graph, records)
    for (const [key, identity] of made.identities) change.put(keys.identity(key), records.identities, key, identity)
    change.operations.push(put(keys.counters, made.counters))
    change.after(() => {
      records.counters = made.counters
    })
    this.#before.set(release.rollout?.id ?? '', all(this.#own.traffic(app.graph.app)))
    await this.#write(change)
  }

  #keep(change: Change, release: KeptRelease): Change {
    const at = releaseKey(release.app, release.number)
    change.put(keys.release(release.app, release.number), this.#own.records.releases, at, release)
    return change
  }

  async #write(change: Change): Promise<void> {
    await this.#own.write(change.operations)
    change.take()
    this.#own.wake()
  }

  #samples(rollout: Rollout): Counted {
    if (rollout.old === null) return { old: null, new: null }
    const traffic = this.#own.traffic(rollout.app)
    const now = { old: countedFor(traffic, rollout.old), young: countedFor(traffic, rollout.new) }
    const share = rollout.kind === 'deploy' ? rollout.share : 0
    const at = `${rollout.id} ${rollout.step} ${share}`
    const first = this.#counts.get(at)
    if (first === undefined) this.#counts.set(at, now)
    const [old, young] = [since(first?.old ?? now.old, now.old), since(first?.young ?? now.young, now.young)]
    // Too few to compare with, such as the last ones of a release that is being replaced: then all of before is the measure.
    const enough = rollout.kind === 'deploy' ? rollout.judgement.requestsMin : 1
    const before = this.#before.get(rollout.id) ?? null
    const few = old.requests < enough && before !== null && before.requests > old.requests
    return { old: few ? before : old.requests > 0 ? old : null, new: young }
  }

  /** Does the task of a step, once. A node that is away is asked again when it is there. */
  #begin(task: Task | null, kept: KeptRelease, app: DesiredApp): void {
    if (task === null || this.#tasks.has(task.id)) return
    this.#tasks.set(task.id, { state: 'running' })
    this.#own.carryOut(task, kept, app).then(
      (carried) => this.#done(task, kept, carried),
      (error: unknown) => {
        // Asked again by the next turn, until the step has lasted too long.
        const isAway = isSteadError(error) && error.code === 'control.node-away'
        if (isAway) this.#tasks.delete(task.id)
        else this.#tasks.set(task.id, { state: 'failed', reason: sentencesOf(error), retry: 'never' })
        if (!isAway) this.#own.wake()
      },
    )
  }

  #done(task: Task, kept: KeptRelease, { lines, checkpoint, report }: Carried): void {
    const { records } = this.#own
    const finish = async (): Promise<void> => {
      const change = new Change()
      if (checkpoint !== undefined) {
        const at = `${checkpoint.app}/${checkpoint.name}`
        change.put(keys.checkpoint(checkpoint.app, checkpoint.name), records.checkpoints, at, checkpoint)
      }
      if (report !== undefined) {
        const now = records.releases.get(releaseKey(kept.app, kept.number)) ?? kept
        this.#keep(change, { ...now, report })
      }
      await this.#write(change)
      this.#tasks.set(task.id, { state: 'done', lines, result: null })
      this.#own.wake()
    }
    void this.#own.exclusive(finish)
  }

  #forget({ id }: Rollout): void {
    this.#before.delete(id)
    for (const at of this.#counts.keys()) if (at.startsWith(`${id} `)) this.#counts.delete(at)
    for (const at of this.#tasks.keys()) if (at.startsWith(`${id}.`)) this.#tasks.delete(at)
  }
}

/** Everything that went through the gateways so far. */
function all({ edges }: AppTraffic): Sample {
  const own = edges.filter(({ from }) => from === null)
  const slow = own.flatMap(({ p99Ms }) => p99Ms ?? [])
  return {
    requests: own.reduce((sum, { requests }) => sum + requests, 0),
    errors: own.reduce((sum, { errors }) => sum + errors, 0),
    p99Ms: slow.length === 0 ? null : Math.max(...slow),
  }
}
