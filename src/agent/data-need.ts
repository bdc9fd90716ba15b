/**
 * What tasks with the data of an app share: which resources are served from it, where its counters stood at a checkpoint, and
 * the errors.
 *
 * Invariant: the file of positions is one whole list, the last one written or the one before.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { SteadError } from '../base/index.ts'
import { stateType } from '../model/index.ts'
import type { Position } from '../provider/index.ts'
import { type Domains, placeOf, taskPrefix } from './domains.ts'
import type { AgentOptions } from './options.ts'
import type { InstanceRunner } from './instance.ts'
import type { ResourceRunner } from './resource.ts'
import { stateEdge, type StateKeeper, statePlace } from './state.ts'

export interface DataNeed {
  readonly options: AgentOptions
  readonly domains: Domains
  readonly resources: ReadonlyMap<string, ResourceRunner>
  readonly instances: ReadonlyMap<string, InstanceRunner>
  readonly positions: Positions
}

/** The resources that are served from the live data of an app. */
export function liveResources({ resources }: Pick<DataNeed, 'resources'>, app: string): readonly ResourceRunner[] {
  return [...resources.values()].filter(({ assignment }) => {
    const place = placeOf(assignment)
    return assignment.wanted && place.app === app && place.copy === null
  })
}

/** The instances that run on the live data of an app and keep state in it. */
export async function liveKeepers(need: DataNeed, app: string): Promise<readonly StateKeeper[]> {
  const keepers: StateKeeper[] = []
  for (const { assignment: resource } of liveResources(need, app)) {
    const place = placeOf(resource)
    const state = statePlace(await need.domains.pathOf(place), resource, place)
    if (state === null || resource.type !== stateType) continue
    for (const runner of keepersOf(need, resource.id)) {
      const { assignment, sandbox } = runner
      if (sandbox !== null) keepers.push({ assignment, sandbox, answers: runner.status().phase !== 'starting', state })
    }
  }
  return keepers
}

/** The instances that keep a state, running or not. */
export function keepersOf({ instances }: Pick<DataNeed, 'instances'>, resource: string): readonly InstanceRunner[] {
  return [...instances.values()].filter(({ assignment }) => stateEdge(assignment)?.resource === resource)
}

/** The error for what cannot be done, whenever it is asked. */
export function refused(message: string, hint: string): SteadError {
  return new SteadError({ code: 'agent.data-refused', message, hint })
}

/** Throws `agent.data-refused` when a copy of that name would be taken for one of a task's own. */
export function ensureFreeName(name: string): void {
  if (name.startsWith(taskPrefix))
    throw refused(`no copy is called ${name}`, `Names that begin with ${taskPrefix} are the node's own.`)
}

/** Where the counters of the resources stood at a checkpoint, by part. */
export type PositionsAt = Readonly<Record<string, Position>>

/** The positions of checkpoints, a small file for each app. */
export class Positions {
  readonly #dir: string

  constructor(stateDir: string) {
    this.#dir = join(stateDir, 'positions')
  }

  /** Null when it was not noted. */
  at(app: string, checkpoint: string): PositionsAt | null {
    return this.#read(app)[checkpoint] ?? null
  }

  /** Notes it, and forgets those of copies that are not in `kept`. */
  note(app: string, checkpoint: string, positions: PositionsAt, kept: readonly string[]): void {
    const before = Object.entries(this.#read(app)).filter(([name]) => kept.includes(name))
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
    const path = this.#path(app)
    writeFileSync(`${path}.new`, JSON.stringify({ ...Object.fromEntries(before), [checkpoint]: positions }), {
      mode: 0o600,
    })
    renameSync(`${path}.new`, path)
  }

  #read(app: string): Readonly<Record<string, PositionsAt>> {
    try {
      return JSON.parse(readFileSync(this.#path(app), 'utf8')) as Record<string, PositionsAt>
    } catch {
      // There is none yet. What a preview cannot know it says.
      return {}
    }
  }

  #path(app: string): string {
    return join(this.#dir, `${app}.json`)
  }
}
