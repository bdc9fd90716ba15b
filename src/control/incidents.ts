/**
 * What control writes down of incidents that nodes report: the durable list of which it was told, so that each is acted on
 * (secrets are rotated) even when control or the node restarts in between. Pure.
 */
import type { IncidentSummary } from '../protocol/index.ts'
import { SteadError } from '../base/index.ts'
import type { ControlState } from './state.ts'

/** An incident that control has acted on. The evidence is on its node. */
export interface IncidentRecord extends Pick<IncidentSummary, 'id' | 'wire' | 'what' | 'timeMs'> {
  readonly app: string
  readonly part: string
  readonly instance: string
  readonly node: string
  /** Whether the instance was frozen when it was reported. */
  readonly frozen: boolean
}

const recordsMax = 500

/** The incidents in the statuses that are not among the known ones. */
export function newIncidents(
  state: Pick<ControlState, 'instances' | 'statuses'>,
  known: ReadonlyMap<string, IncidentRecord>,
): readonly IncidentRecord[] {
  return [...state.instances.values()].flatMap(({ id: instance, app, part, node }) => {
    const incident = state.statuses.get(instance)?.incident
    if (incident === undefined || known.has(incident.id)) return []
    const { id, wire, what, timeMs, state: stands } = incident
    return [{ id, wire, what, timeMs, app, part: part.name, instance, node, frozen: stands === 'frozen' }]
  })
}

/** The oldest that are one too many. */
export function tooMany(known: ReadonlyMap<string, IncidentRecord>): readonly string[] {
  const oldest = [...known.values()].toSorted((a, b) => a.timeMs - b.timeMs)
  return oldest.slice(0, Math.max(0, known.size - recordsMax)).map(({ id }) => id)
}

export function unknownIncident(app: string, id: string): SteadError {
  return new SteadError({
    code: 'control.unknown-incident',
    message: `${app} has no incident ${id}`,
    hint: 'See `stead incidents`.',
  })
}
