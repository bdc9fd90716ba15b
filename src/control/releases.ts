/**
 * Releases, checkpoints and branches of all apps, as people and commands ask for them. How a rollout goes on is in
 * `rollouts`; what a branch is, in `branches`.
 *
 * Invariant: whoever asks is answered from durable records and from the node that has the data, never from what was asked.
 */
import { SteadError } from '../base/index.ts'
import { describeDiff, diffGraphs } from '../model/index.ts'
import type { Comparison, DataAnswers, DataCopy, DataState, DataTask, Preview } from '../protocol/index.ts'
import { type Content, describeChange, retain, retentionDefault, type Task } from '../release/index.ts'
import type { Operation } from '../store/index.ts'
import {
  backing,
  type BackOrder,
  canRollOut,
  type DeployOptions,
  deployment,
  type Due,
  dueOf,
  historyIn,
  isAlready,
  nextNumber,
} from './beginnings.ts'
import { BranchKeeper, type BranchKeeperOptions, type BranchWish } from './branch-keeper.ts'
import { type Apply, refuseBackupElsewhere } from './changes.ts'
import { askData } from './data-asks.ts'
import { forgotten, type KeptCheckpoint, type KeptRelease, releaseKey, releasesOf } from './kept.ts'
import { holdMs } from './derive.ts'
import { keys, put } from './records.ts'
import { rehearse, resourcesFor } from './rehearse.ts'
import { type Carried, type Counted, Rollouts, type RolloutsOptions } from './rollouts.ts'
import { schemaOf } from './schema.ts'
import { type BranchOf, type DesiredApp, generationOf } from './state.ts'

export interface ReleasesOptions extends Omit<RolloutsOptions, 'ended' | 'carryOut'>, BranchKeeperOptions {
  /** Puts a release in place without a rollout; answers its number. */
  readonly place: (apply: Apply) => Promise<number>
  /** The node that makes the backups that apps declare; null: wherever their data is. */
  readonly backupsOn: string | null
}

/** What a deployment would do, before it does it. */
export interface DeployPlan {
  /** Number that the release would get; that of now when nothing would change. */
  readonly number: number
  /** For a person to read first. */
  readonly lines: readonly string[]
  readonly due: Due
  /** Why it is put in place at once, without a rollout; null: it is rolled out. */
  readonly direct: string | null
}

/** All there is to know of an app's releases. */
export interface ReleaseBook {
  readonly app: string
  /** The one that serves. */
  readonly live: number
  readonly generation: number
  /** Oldest first. */
  readonly releases: readonly KeptRelease[]
  readonly checkpoints: readonly KeptCheckpoint[]
  readonly branches: readonly { readonly app: string; readonly branch: BranchOf }[]
  /** Requests to both releases of the rollout that is under way. */
  readonly counted: Counted | null
}

/** Checkpoints that are tried, newest first, to get to a moment after them. */
const basesMax = 10

export class Releases {
  readonly #own: ReleasesOptions
  readonly #rollouts: Rollouts
  readonly #branches: BranchKeeper
  /** Bundles that a node may fetch for a task, though nothing runs from them. */
  readonly #lent = new Set<string>()

  constructor(own: ReleasesOptions) {
    this.#own = own
    this.#branches = new BranchKeeper(own)
    this.#rollouts = new Rollouts({
      ...own,
      ended: (app) => this.#beside(this.#prune(app)),
      carryOut: (task, release, app) => this.#carryOut(task, release, app),
    })
  }

  /** Gives every app the record of its release that it lacks. Part of a turn of control. */
  complete(): Promise<void> {
    return this.#rollouts.complete()
  }

  /** Takes all rollouts on. Part of a turn of control. */
  turn(nowMs: number): Promise<boolean> {
    return this.#rollouts.turn(nowMs)
  }

  /** Throws `control.rollout-under-way` while one is. */
  refuseBusy(app: string): void {
    this.#rollouts.refuseBusy(app)
  }

  /** Whether a node may fetch a bundle for what it was just asked to do. */
  lends(digest: string): boolean {
    return this.#lent.has(digest)
  }

  /** Throws `control.has-branches` while there are branches of an app: they live in its data. */
  refuseBranches(name: string): void {
    const branches = [...this.#own.records.apps.values()].filter(({ branch }) => branch?.app === name)
    if (branches.length === 0) return
    throw new SteadError({
      code: 'control.has-branches',
      message: `${branches.map(({ graph }) => graph.app).join(', ')} work on copies in the data of ${name}, which is not deleted`,
      hint: `Take them away first: stead branch --rm NAME --app ${name}`,
    })
  }

  /**
   * What a deployment would do. Asks the node what is due; changes nothing. Throws `release.bad-options`,
   * `control.backup-elsewhere`, and as `askData` does.
   */
  async plan(apply: Apply, options: DeployOptions): Promise<DeployPlan> {
    const { records, clock } = this.#own
    const { app: name } = apply.graph
    const app = records.apps.get(name)
    const number = nextNumber(records, name)
    if (app !== undefined) refuseBackupElsewhere(apply.graph, app.home, this.#own.backupsOn)
    if (app !== undefined && isAlready(app, apply))
      return { number: app.release, lines: ['nothing has changed'], due: dueOf([]), direct: 'nothing has changed' }
    const state = this.#own.state()
    if (!canRollOut(state, app)) {
      const direct = app === undefined ? 'it is the first release' : 'nothing serves that it could take the place of'
      return { number, lines: [direct, ...differences(app, apply)], due: dueOf([]), direct }
    }
    const resources = resourcesFor(apply).filter(({ part }) => app.graph.parts.some((other) => other.name === part))
    const inForce = schemaOf(app)
    const moved = resources.filter(
      ({ part, bundle }) => bundle !== (inForce.bundles[part] ?? null) || app.schema !== undefined,
    )
    const pending = moved.length === 0 ? [] : await this.#ask(app.home, name, { do: 'pending', resources: moved })
    const due = dueOf(pending)
    const begin = deployment(state, records, app, apply, due, options, clock.nowMs())
    const content = (of: { graph: KeptRelease['graph']; bundles: KeptRelease['bundles'] }): Content => ({
      graph: of.graph,
      bundles: of.bundles,
      secrets: begin.release.secrets,
    })
    const lines = describeChange({
      before: content(app),
      after: content(apply),
      deploy: begin.options,
      pending,
      holdMaxMs: holdMs,
    })
    return { number, lines, due, direct: null }
  }

  /**
   * Makes this what the app should be: by a rollout where something serves that could suffer, at once otherwise. Answers
   * the number. Throws `control.rollout-under-way`, `release.bad-options`, as `plan` and `Control.apply` do.
   */
  async deploy(apply: Apply, options: DeployOptions): Promise<number> {
    this.#rollouts.refuseBusy(apply.graph.app)
    const plan = await this.plan(apply, options)
    if (plan.direct !== null) return this.#own.place({ ...apply, by: options.by })
    return this.#own.exclusive(async () => {
      const { records, clock, secrets } = this.#own
      const app = this.#app(apply.graph.app)
      this.#rollouts.refuseBusy(apply.graph.app)
      await secrets.ensure(apply.graph)
      const begin = deployment(this.#own.state(), records, app, apply, plan.due, options, clock.nowMs())
      await this.#rollouts.begin(begin)
      return begin.release.number
    })
  }

  /** Begins a return to an earlier release; answers the number of the one that it makes. Throws as `backing` does. */
  async back(order: BackOrder): Promise<number> {
    const copies = await this.#copies(order)
    return this.#own.exclusive(async () => {
      this.#rollouts.refuseBusy(order.app)
      const back = backing(this.#own.records, this.#app(order.app), order, copies, this.#own.clock.nowMs())
      await this.#own.secrets.ensure(back.release.graph)
      await this.#rollouts.back(back)
      return back.release.number
    })
  }

  /** The copies that a return could go back to; where it is code only, none are asked for. */
  async #copies({ app, withData }: BackOrder): Promise<ReadonlySet<string>> {
    if (withData !== true) return new Set()
    return new Set((await this.data(app)).copies.map(({ name }) => name))
  }

  /** Takes back the rollout that is under way. Throws `control.no-rollout`. */
  cancel(app: string, by: string): Promise<void> {
    return this.#own.exclusive(() => this.#rollouts.cancel(app, by))
  }

  /** What a return would leave behind, counted so far. Throws as `backing` and `askData` do. */
  async preview(
    order: BackOrder,
  ): Promise<{ readonly target: number; readonly checkpoint: string | null; readonly preview: Preview | null }> {
    const app = this.#app(order.app)
    const copies = await this.#copies(order)
    const { options } = backing(this.#own.records, app, order, copies, this.#own.clock.nowMs())
    const { target, checkpoint } = options
    const preview =
      checkpoint === null ? null : await this.#ask(app.home, order.app, { do: 'preview', since: checkpoint })
    return { target, checkpoint, preview }
  }

  /** Everything that is kept of an app's releases. Throws `control.unknown-app`. */
  book(name: string): ReleaseBook {
    const { records } = this.#own
    const app = this.#app(name)
    return {
      app: name,
      live: app.release,
      generation: generationOf(app),
      releases: releasesOf(records, name),
      checkpoints: [...records.checkpoints.values()]
        .filter((one) => one.app === name)
        .toSorted((a, b) => a.createdAtMs - b.createdAtMs),
      branches: [...records.apps.values()].flatMap(({ graph, branch }) =>
        branch?.app === name && branch.purpose !== 'rehearsal' ? [{ app: graph.app, branch }] : [],
      ),
      counted: this.#rollouts.counted(name),
    }
  }

  /** The copies of an app's data, as its node has them; `sizes`: with what each holds alone. Throws as `askData` does. */
  data(name: string, sizes = false): Promise<DataState> {
    return this.#ask(this.#app(name).home, name, { do: 'state', sizes })
  }

  /** Makes a checkpoint under a name of a person's own. Throws `control.checkpoint-exists`, and as the node does. */
  async checkpoint(
    name: string,
    copy: string,
    by: string,
  ): Promise<{ readonly checkpoint: KeptCheckpoint; readonly tookMs: number }> {
    const app = this.#app(name)
    if (this.#own.records.checkpoints.has(`${name}/${copy}`)) throw checkpointExists(name, copy)
    const { tookMs } = await this.#ask(app.home, name, { do: 'checkpoint', name: copy })
    const checkpoint = this.#checkpointOf(app, copy, by, null)
    await this.#own.exclusive(() => this.#keepCheckpoint(checkpoint))
    return { checkpoint, tookMs }
  }

  /** A writable copy of the data that nothing is served from, for whoever fills it on the node itself. Throws as the node does. */
  async spareCopy(name: string, copy: string): Promise<DataCopy> {
    return (await this.#ask(this.#app(name).home, name, { do: 'clone', name: copy, from: null })).copy
  }

  /**
   * From now on a copy of the data is a checkpoint. One of a release that is forgotten counts as one of the release of now. Throws
   * `control.checkpoint-exists`, `control.unknown-copy`.
   */
  async adopt(name: string, adopted: Omit<KeptCheckpoint, 'app' | 'before'>): Promise<void> {
    const { records } = this.#own
    const app = this.#app(name)
    if (records.checkpoints.has(`${name}/${adopted.name}`)) throw checkpointExists(name, adopted.name)
    const { copies } = await this.data(name)
    if (!copies.some((copy) => copy.name === adopted.name)) {
      throw new SteadError({
        code: 'control.unknown-copy',
        message: `the data of ${name} has no copy called ${adopted.name}`,
        hint: 'It was deleted meanwhile: begin anew.',
      })
    }
    const release = records.releases.has(releaseKey(name, adopted.release)) ? adopted.release : app.release
    await this.#own.exclusive(() => this.#keepCheckpoint({ ...adopted, app: name, release, before: null }))
  }

  /**
   * A checkpoint brought forward along the logs to a moment, as a checkpoint of its own. Throws `control.checkpoint-exists`,
   * and as the node does.
   */
  async restoreAt(
    name: string,
    wish: Omit<Extract<DataTask, { do: 'forward' }>, 'do' | 'from'> & { readonly from?: string },
    by: string,
  ): Promise<DataAnswers['forward']> {
    const app = this.#app(name)
    if (this.#own.records.checkpoints.has(`${name}/${wish.copy}`)) throw checkpointExists(name, wish.copy)
    const untilMs = wish.target.kind === 'time' ? wish.target.timeMs : Number.POSITIVE_INFINITY
    const generation = await this.#generationOf(app, wish.log)
    const bases = this.book(name)
      .checkpoints.filter((one) =>
        wish.from === undefined ? one.generation === generation && one.createdAtMs <= untilMs : one.name === wish.from,
      )
      .toReversed()
      .slice(0, basesMax)
    const from = bases.map((one) => one.name)
    const answer = await this.#ask(app.home, name, { do: 'forward', ...wish, from })
    const base = bases.find((one) => one.name === answer.from)
    if (base !== undefined) {
      const createdAtMs = this.#own.clock.nowMs()
      await this.#own.exclusive(() => this.#keepCheckpoint({ ...base, name: wish.copy, by, before: null, createdAtMs }))
    }
    return answer
  }

  /** The generation whose history a log tells: one of another generation may have the same positions and say something else. */
  async #generationOf(app: DesiredApp, log: string | undefined): Promise<number> {
    if (log === undefined) return generationOf(app)
    const { copies } = await this.data(app.graph.app)
    return copies.find((copy) => copy.name === log)?.generation ?? generationOf(app)
  }

  /** Lays out the logs of an app's data on its node. Throws as the node does. */
  async layOutLogs(name: string): Promise<DataAnswers['log']> {
    return this.#ask(this.#app(name).home, name, { do: 'log' })
  }

  /** Proves that a copy can be used; answers what was found to be so. Throws as the node does. */
  async verify(
    name: string,
    copy: string,
    probes: Readonly<Record<string, string>>,
  ): Promise<{ readonly checks: readonly string[] }> {
    return this.#ask(this.#app(name).home, name, { do: 'verify', copy, probes })
  }

  /** Deletes copies of an app's data, by name. Throws as the node does. */
  async deleteCopies(name: string, copies: readonly string[]): Promise<readonly string[]> {
    const { deleted } = await this.#ask(this.#app(name).home, name, { do: 'delete', names: copies })
    await this.#own.exclusive(async () => {
      const gone = deleted.filter((copy) => this.#own.records.checkpoints.has(`${name}/${copy}`))
      await this.#own.write(gone.map((copy): Operation => ({ kind: 'delete', key: keys.checkpoint(name, copy) })))
      for (const copy of gone) this.#own.records.checkpoints.delete(`${name}/${copy}`)
    })
    return deleted
  }

  /** Makes a branch; answers its name as an app. Throws as `BranchKeeper.make` does. */
  async branch(origin: string, name: string, wish: BranchWish): Promise<string> {
    return this.#branches.make(this.#app(origin), name, wish)
  }

  /** Stops a branch and deletes its data. Throws `control.unknown-branch`. */
  async removeBranch(origin: string, name: string): Promise<void> {
    await this.deleteCopies(origin, [await this.#branches.end(origin, name)])
  }

  /** Copies rows of a branch or checkpoint into the live data. Throws as the node does. */
  async replay(name: string, task: Omit<Extract<DataTask, { do: 'replay' }>, 'do'>): Promise<number> {
    const { rows } = await this.#ask(this.#app(name).home, name, { do: 'replay', ...task })
    return rows
  }

  /** Takes away what rehearsals of an earlier control have left. Once, when nodes have said what runs. */
  sweep(): void {
    for (const { graph, branch } of this.#own.records.apps.values()) {
      if (branch?.purpose !== 'rehearsal') continue
      const busy = this.#rollouts.current(branch.app)?.rollout ?? null
      // One that is rehearsed again makes it anew.
      if (busy === null || busy.step !== 'rehearse') this.#beside(this.#branches.put(graph.app, null))
    }
  }

  /** Work that nobody waits for: what is not done now is done the next time. */
  #beside(work: Promise<void>): void {
    work.catch(() => {})
  }

  /** Deletes copies that nothing needs any more. */
  async #prune(name: string): Promise<void> {
    const app = this.#own.records.apps.get(name)
    if (app === undefined) return
    const { copies } = await this.data(name)
    const busy = this.#rollouts.current(name)?.rollout ?? null
    const history = historyIn(this.#own.records, app)
    const expired = retain(history, copies, busy, retentionDefault, this.#own.clock.nowMs())
    if (expired.length > 0)
      await this.deleteCopies(
        name,
        expired.map((copy) => copy.name),
      )
    const old = forgotten(this.#own.records, name, app.release)
    await this.#own.exclusive(async () => {
      await this.#own.write(old.map(({ number }): Operation => ({ kind: 'delete', key: keys.release(name, number) })))
      for (const { number } of old) this.#own.records.releases.delete(releaseKey(name, number))
    })
  }

  #app(name: string): DesiredApp {
    const app = this.#own.records.apps.get(name)
    if (app !== undefined) return app
    throw new SteadError({
      code: 'control.unknown-app',
      message: `there is no app called ${name}`,
      hint: '`stead status --all` lists them.',
    })
  }

  async #ask<T extends DataTask>(home: string, app: string, task: T): Promise<DataAnswers[T['do']]> {
    const bundles = 'resources' in task ? task.resources.flatMap(({ bundle }) => bundle ?? []) : []
    for (const bundle of bundles) this.#lent.add(bundle)
    try {
      return await askData(this.#own.ask, home, app, task)
    } finally {
      for (const bundle of bundles) this.#lent.delete(bundle)
    }
  }

  #checkpointOf(app: DesiredApp, name: string, by: string, before: number | null): KeptCheckpoint {
    const { app: of } = app.graph
    const createdAtMs = this.#own.clock.nowMs()
    return {
      app: of,
      name,
      release: app.release,
      generation: generationOf(app),
      createdAtMs,
      by,
      schema: schemaOf(app),
      before,
    }
  }

  async #keepCheckpoint(checkpoint: KeptCheckpoint): Promise<void> {
    await this.#own.write([put(keys.checkpoint(checkpoint.app, checkpoint.name), checkpoint)])
    this.#own.records.checkpoints.set(`${checkpoint.app}/${checkpoint.name}`, checkpoint)
    this.#own.wake()
  }

  async #carryOut(task: Task, release: KeptRelease, app: DesiredApp): Promise<Carried> {
    const { app: name } = release
    switch (task.kind) {
      case 'rehearse': {
        const own = {
          clock: this.#own.clock,
          state: this.#own.state,
          ask: <T extends DataTask>(home: string, of: string, what: T) => this.#ask(home, of, what),
          put: (branch: string, as: DesiredApp | null) => this.#branches.put(branch, as),
        }
        return { lines: await rehearse(own, release, app.home, task.copy) }
      }
      case 'checkpoint': {
        const { tookMs } = await this.#ask(app.home, name, { do: 'checkpoint', name: task.name })
        return {
          lines: [`${task.name} in ${Math.round(tookMs)} ms`],
          checkpoint: this.#checkpointOf(app, task.name, release.by, release.number),
        }
      }
      case 'clone':
        await this.#ask(app.home, name, { do: 'clone', name: task.name, from: task.from })
        return { lines: [] }
      case 'report': {
        const report = await this.#ask(app.home, name, { do: 'compare', before: task.before, after: task.after })
        return { lines: [summary(report)], report: { ...report, before: task.before, after: task.after } }
      }
    }
  }
}

function differences(app: DesiredApp | undefined, { graph, bundles }: Apply): string[] {
  if (app === undefined) return []
  const code = Object.keys(bundles).filter(
    (part) => app.bundles[part] !== undefined && app.bundles[part] !== bundles[part],
  )
  return [...describeDiff(diffGraphs(app.graph, graph)), ...code.map((part) => `~ ${part}: code changed`)]
}

function summary({ changes, effects, exact }: Comparison): string {
  const sum = (of: 'added' | 'removed' | 'changed'): number => changes.reduce((all, change) => all + change[of], 0)
  const rows = `left behind: ${sum('added')} added, ${sum('changed')} changed, ${sum('removed')} removed${exact ? '' : ' (counted, not compared)'}`
  return effects.length === 0 ? rows : `${rows}; ${effects.length} outside effects`
}

function checkpointExists(app: string, name: string): SteadError {
  return new SteadError({
    code: 'control.checkpoint-exists',
    message: `${app} has a checkpoint called ${name} already`,
    hint: 'Give it another name.',
  })
}
