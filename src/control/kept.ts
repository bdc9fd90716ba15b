/** What control keeps of releases and checkpoints, as records. */
import type { Graph } from '../model/index.ts'
import type { Comparison } from '../protocol/index.ts'
import type { Rollout } from '../release/index.ts'
import type { SchemaState } from './state.ts'

/** A release of an app. It never changes but for how its rollout went and what became of it. */
export interface KeptRelease {
  readonly app: string
  readonly number: number
  readonly graph: Graph
  readonly bundles: Readonly<Record<string, string>>
  /** Versions of the app's secrets when it was made, by part. */
  readonly secrets: Readonly<Record<string, number>>
  /** Release that it brings back; null for one of its own. */
  readonly backTo: number | null
  readonly createdAtMs: number
  readonly by: string
  /** Generation of the data that it runs on. */
  readonly generation: number
  /** Files of the resources that were in force before, which is what its checkpoint holds. */
  readonly schemaBefore: SchemaState
  /** Files that are in force once it runs; with it comes data that was exchanged. Null: its own bundles. */
  readonly schemaTarget: SchemaState | null
  /** Each resource's schema as its provider named it when the release had come to its end; empty before. */
  readonly schemas: Readonly<Record<string, string | null>>
  /** Null: it was put in place without a rollout (the first, or `up`). */
  readonly rollout: Rollout | null
  /** How long a migration may keep others from a table; absent: as usual. */
  readonly lockMsMax?: number
  /** What the rollout left behind, once that was compared. */
  readonly report: KeptReport | null
}

/** A checkpoint of an app's data. */
export interface KeptCheckpoint {
  readonly app: string
  readonly name: string
  /** Release that served when it was made. */
  readonly release: number
  readonly generation: number
  readonly createdAtMs: number
  readonly by: string
  readonly schema: SchemaState
  /** Null: a person made it, under this name. Otherwise the release before which it was made. */
  readonly before: number | null
}

/** What a return left behind: two copies, compared. */
export interface KeptReport extends Comparison {
  readonly before: string
  readonly after: string
}

/** The key of a release in maps. */
export function releaseKey(app: string, number: number): string {
  return `${app}/${number}`
}

/** The releases of an app, oldest first. */
export function releasesOf(
  records: { readonly releases: ReadonlyMap<string, KeptRelease> },
  app: string,
): KeptRelease[] {
  return [...records.releases.values()].filter((release) => release.app === app).toSorted((a, b) => a.number - b.number)
}

/** Releases of an app that are remembered. */
const releasesMax = 30

/** Releases that are remembered no longer: all but the newest, the one that serves, and the one that it brought back. */
export function forgotten(
  known: { readonly releases: ReadonlyMap<string, KeptRelease> },
  app: string,
  live: number,
): KeptRelease[] {
  const all = releasesOf(known, app)
  const backTo = all.find(({ number }) => number === live)?.backTo ?? null
  return all
    .slice(0, Math.max(0, all.length - releasesMax))
    .filter(({ number }) => number !== live && number !== backTo)
}
