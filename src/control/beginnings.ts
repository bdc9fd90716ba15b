/**
 * How deployments and returns begin: from what a person asks for, and what nodes know, to the record of a release. Pure but
 * for the question of what is pending.
 */
import { assert, jsonEqual, SteadError } from '../base/index.ts'
import type { Graph } from '../model/index.ts'
import type { DataAnswers } from '../protocol/index.ts'
import {
  assertCodeOnly,
  type beginDeploy,
  type beginReturn,
  checkpointFor,
  historyOf,
  type Judgement,
  type Migrates,
  previousOf,
  type Release,
  releaseOf,
  type Strategy,
} from '../release/index.ts'
import type { Apply } from './changes.ts'
import type { Credentials } from './credentials.ts'
import { type KeptCheckpoint, type KeptRelease, releaseKey, releasesOf } from './kept.ts'
import type { Records } from './records.ts'
import { schemaOf } from './schema.ts'
import {
  type ControlState,
  type DesiredApp,
  generationOf,
  partKey,
  resourceId,
  resourcesOf,
  type SchemaState,
} from './state.ts'

/** How a person wants a release to be rolled out. */
export interface DeployOptions {
  readonly by: string
  readonly strategy: Strategy
  readonly watchMs: number
  readonly judgement?: Judgement
  readonly shares?: readonly number[]
  /** How long a migration may keep others from a table; absent: as usual. */
  readonly lockMsMax?: number
}

/** A return to an earlier release, as a person asks for it. */
export interface BackOrder {
  readonly app: string
  readonly by: string
  /** Null: the one that served before. */
  readonly target: number | null
  /** Null: with data only where there is no other way, and then it is refused. */
  readonly withData: boolean | null
  /** A checkpoint by name, with data; null: that of the release. */
  readonly checkpoint: string | null
}

type Options<T extends (options: never) => unknown> = Omit<Parameters<T>[0], 'id' | 'nowMs'>

export interface Begin {
  readonly app: DesiredApp
  readonly release: KeptRelease
  readonly options: Options<typeof beginDeploy>
}

export interface Back {
  readonly app: DesiredApp
  readonly release: KeptRelease
  readonly options: Options<typeof beginReturn>
}

/** What migrations are due, over all resources. */
export interface Due {
  readonly migrates: Migrates
  readonly contracts: boolean
}

/** Brings together what each resource said. */
export function dueOf(pending: DataAnswers['pending']): Due {
  const kinds = pending.map(({ migrates }) => migrates)
  return {
    migrates: kinds.includes('stop') ? 'stop' : kinds.includes('expand') ? 'expand' : 'none',
    contracts: pending.some(({ contracts }) => contracts),
  }
}

/** The number that the next release of an app gets. None is given twice. */
export function nextNumber(records: Pick<Records, 'releases' | 'apps'>, app: string): number {
  const numbers = releasesOf(records, app).map(({ number }) => number)
  return Math.max(0, records.apps.get(app)?.release ?? 0, ...numbers) + 1
}

/** The secrets of an app, as they are now. */
export function secretVersions(credentials: Credentials, graph: Graph): Record<string, number> {
  const names = graph.parts.filter((part) => part.kind === 'resource').map(({ name }) => name)
  return Object.fromEntries(
    names.flatMap((name) => {
      const secret = credentials.get(partKey(graph.app, name))
      return secret === undefined ? [] : [[name, secret.current] as const]
    }),
  )
}

/** Whether a release can take the place of this one step by step: there is one that works. */
export function canRollOut(state: ControlState, app: DesiredApp | undefined): app is DesiredApp {
  if (app === undefined || !app.wanted) return false
  return resourcesOf(app).every(({ name }) => {
    const status = state.statuses.get(resourceId(app.graph.app, name))
    return status?.phase === 'ready'
  })
}

/** A release that is put in place without a rollout. */
export function placed(
  app: DesiredApp,
  by: string,
  credentials: Credentials,
  nowMs: number,
  number: number,
): KeptRelease {
  const schema = schemaOf(app)
  return {
    app: app.graph.app,
    number,
    graph: app.graph,
    bundles: app.bundles,
    secrets: secretVersions(credentials, app.graph),
    backTo: null,
    createdAtMs: nowMs,
    by,
    generation: generationOf(app),
    schemaBefore: schema,
    schemaTarget: null,
    schemas: {},
    rollout: null,
    report: null,
  }
}

/** The record of a new release and how its rollout begins. */
export function deployment(
  state: ControlState,
  records: Records,
  app: DesiredApp,
  { graph, bundles }: Apply,
  due: Due,
  { lockMsMax, ...options }: DeployOptions,
  nowMs: number,
): Begin {
  const number = nextNumber(records, graph.app)
  const release = {
    ...placed(app, options.by, state.credentials, nowMs, number),
    graph,
    bundles,
    secrets: secretVersions(state.credentials, graph),
    ...(lockMsMax === undefined ? {} : { lockMsMax }),
  }
  const { migrates, contracts } = due
  const hasData = resourcesOf(app).some(({ type }) => type !== 'secret')
  return {
    app,
    release,
    options: { ...options, app: graph.app, old: app.release, new: number, migrates, contracts, hasData },
  }
}

/** What became of each release of an app. */
export function historyIn(records: Records, app: DesiredApp): readonly Release[] {
  return historyOf(releasesOf(records, app.graph.app), app.release)
}

/**
 * The record of a return and how it begins. `copies` are the copies of the data that are there. Throws
 * `control.unknown-checkpoint`, and as `checkpointFor` and `assertCodeOnly` do.
 */
export function backing(
  records: Records,
  app: DesiredApp,
  order: BackOrder,
  copies: ReadonlySet<string>,
  nowMs: number,
): Back {
  const name = app.graph.app
  const history = historyIn(records, app)
  const named = order.checkpoint === null ? null : checkpointNamed(records, name, order.checkpoint)
  const number = named?.release ?? order.target ?? previousOf(history).number
  const withData = named !== null || order.withData === true
  if (!withData && order.withData === null) assertCodeOnly(history, number)
  const checkpoint = named?.name ?? (withData ? checkpointFor(history, number, copies) : null)
  const target = records.releases.get(releaseKey(name, releaseOf(history, number).number))
  assert(target !== undefined, 'a release of the history is kept')
  if (!withData && number === app.release) throw alreadyLive(name, number)
  const next = nextNumber(records, name)
  return {
    app,
    options: { app: name, by: order.by, old: app.release, new: next, target: number, checkpoint },
    release: {
      ...target,
      number: next,
      backTo: number,
      createdAtMs: nowMs,
      by: order.by,
      generation: generationOf(app) + (checkpoint === null ? 0 : 1),
      schemaBefore: schemaOf(app),
      schemaTarget: checkpoint === null ? null : schemaIn(records, name, checkpoint),
      schemas: {},
      report: null,
    },
  }
}

/** The schema that a copy holds: of a checkpoint, or of what a return left. */
function schemaIn(records: Records, app: string, copy: string): SchemaState | null {
  const checkpoint = records.checkpoints.get(`${app}/${copy}`)
  if (checkpoint !== undefined) return checkpoint.schema
  const left = releasesOf(records, app).find(({ rollout }) => rollout?.kind === 'return' && rollout.branch === copy)
  return left?.schemaBefore ?? null
}

function alreadyLive(app: string, number: number): SteadError {
  return new SteadError({
    code: 'control.already-live',
    message: `release ${number} of ${app} serves already`,
    hint: 'See `stead releases`. Nothing was changed.',
  })
}

/** A checkpoint by its name. Throws `control.unknown-checkpoint`. */
export function checkpointNamed(records: Records, app: string, name: string): KeptCheckpoint {
  const found = records.checkpoints.get(`${app}/${name}`)
  if (found !== undefined) return found
  const names = [...records.checkpoints.values()].filter((one) => one.app === app).map((one) => one.name)
  throw new SteadError({
    code: 'control.unknown-checkpoint',
    message: `${app} has no checkpoint called ${name}`,
    hint: names.length === 0 ? 'It has none yet: `stead checkpoint` makes one.' : `It has: ${names.join(', ')}.`,
  })
}

/** Whether an app is already what it should be. */
export function isAlready(app: DesiredApp | undefined, { graph, bundles }: Apply): boolean {
  return app !== undefined && app.wanted && jsonEqual([app.graph, app.bundles], [graph, bundles])
}
