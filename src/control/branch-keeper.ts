/**
 * Makes branches and takes them away: apps of their own on copies of the data of another.
 *
 * Invariant: what is taken away has stopped before it is forgotten, and its copy is deleted after that.
 */
import { sleep, SteadError } from '../base/index.ts'
import { checkpointNamed } from './beginnings.ts'
import { branchApp, branchOf } from './branches.ts'
import { removeChange } from './changes.ts'
import { type AskNode, askData } from './data-asks.ts'
import { type KeptRelease, releaseKey, releasesOf } from './kept.ts'
import { keys, newIdentities, put } from './records.ts'
import type { RecordWork } from './rollouts.ts'
import { schemaOf } from './schema.ts'
import type { Secrets } from './secrets.ts'
import { type ControlState, type DesiredApp, isOver, resourceId, type SchemaState } from './state.ts'

/** How long a branch may take to stop before it is given up to be removed. */
const stopMs = 30_000
const lookMs = 50

export interface BranchKeeperOptions extends RecordWork {
  readonly ask: AskNode
  readonly secrets: Secrets
}

export interface BranchWish {
  /** A checkpoint, or what a return left behind; null: the data of now. */
  readonly from: string | null
  readonly by: string
  readonly purpose: 'branch' | 'look'
}

export class BranchKeeper {
  readonly #own: BranchKeeperOptions

  constructor(own: BranchKeeperOptions) {
    this.#own = own
  }

  /**
   * The app as it was at a copy, or as it is now, on a copy of that. Answers its name as an app. Throws
   * `control.branch-name`, `control.branch-exists`, `control.unknown-checkpoint`, and as the node does.
   */
  async make(app: DesiredApp, name: string, { from, by, purpose }: BranchWish): Promise<string> {
    const origin = app.graph.app
    const full = branchApp(origin, name)
    if (this.#own.records.apps.has(full)) {
      throw new SteadError({
        code: 'control.branch-exists',
        message: `there is a branch called ${name} already`,
        hint: `Take it away with \`stead branch --rm ${name} --app ${origin}\`, or choose another name.`,
      })
    }
    const { code, schema } = this.#at(app, from)
    const copy = `branch-${name}`
    await askData(this.#own.ask, app.home, origin, { do: 'clone', name: copy, from })
    const content = { graph: code.graph, bundles: code.bundles, home: app.home, schema }
    await this.put(full, branchOf(content, full, name, { app: origin, copy, purpose, by, from }))
    return full
  }

  /** Stops a branch and forgets it; answers the copy that it was served from. Throws `control.unknown-branch`. */
  async end(origin: string, name: string): Promise<string> {
    const full = branchApp(origin, name)
    const branch = this.#own.records.apps.get(full)?.branch
    if (branch === undefined) {
      throw new SteadError({
        code: 'control.unknown-branch',
        message: `${origin} has no branch called ${name}`,
        hint: `\`stead releases --app ${origin}\` lists them.`,
      })
    }
    await this.put(full, null)
    return branch.copy
  }

  /** The code and the schema that belong to a copy. */
  #at(app: DesiredApp, from: string | null): { code: Pick<KeptRelease, 'graph' | 'bundles'>; schema: SchemaState } {
    if (from === null) return { code: app, schema: schemaOf(app) }
    const { records } = this.#own
    const name = app.graph.app
    const left = releasesOf(records, name).find(({ rollout }) => rollout?.kind === 'return' && rollout.branch === from)
    const { release, schema } =
      left === undefined
        ? checkpointNamed(records, name, from)
        : { release: left.rollout?.old ?? app.release, schema: left.schemaBefore }
    return { code: records.releases.get(releaseKey(name, release)) ?? app, schema }
  }

  /** Makes an app be, or takes it away with all that is known of it; its data is still there then. Throws `control.still-runs`. */
  async put(name: string, app: DesiredApp | null): Promise<void> {
    if (app !== null) return this.#begin(name, app)
    const { records, exclusive, secrets, write, wake } = this.#own
    const present = records.apps.get(name)
    if (present === undefined) return
    await exclusive(async () => {
      await write([put(keys.app(name), { ...present, wanted: false })])
      records.apps.set(name, { ...present, wanted: false })
      wake()
    })
    await this.#stopped(name)
    await exclusive(async () => {
      const change = removeChange(records, name, present.release)
      await secrets.forget(name)
      await write(change.operations)
      change.take()
      wake()
    })
  }

  async #begin(name: string, app: DesiredApp): Promise<void> {
    const { records, exclusive, secrets, write, changed, wake } = this.#own
    await exclusive(async () => {
      await secrets.ensure(app.graph)
      await secrets.placeholders(app.graph)
      const { identities, counters } = newIdentities(app.graph, records)
      await write([
        ...[...identities].map(([key, identity]) => put(keys.identity(key), identity)),
        put(keys.counters, counters),
        put(keys.app(name), app),
      ])
      for (const [key, identity] of identities) records.identities.set(key, identity)
      records.counters = counters
      records.apps.set(name, app)
      changed(name)
      wake()
    })
  }

  async #stopped(name: string): Promise<void> {
    const { clock } = this.#own
    const untilMs = clock.monotonicMs() + stopMs
    while (runs(this.#own.state(), name)) {
      if (clock.monotonicMs() > untilMs) {
        throw new SteadError({
          code: 'control.still-runs',
          message: `${name} does not stop`,
          hint: 'Try again.',
          retry: 'later',
        })
      }
      await sleep(clock, lookMs)
    }
  }
}

function runs(state: ControlState, name: string): boolean {
  const instances = [...state.instances.values()].filter(({ app }) => app === name)
  const app = state.apps.get(name)
  const resources = (app?.graph.parts ?? []).filter(({ kind }) => kind === 'resource')
  // To a control that has just started a node says a moment later what runs there.
  const isHeard = app === undefined || state.nodes.get(app.home)?.connected === true
  return (
    (resources.length > 0 && !isHeard) ||
    instances.some((instance) => !isOver(state, instance)) ||
    resources.some((part) => (state.statuses.get(resourceId(name, part.name))?.phase ?? 'stopped') !== 'stopped')
  )
}
