/**
 * What control writes down of incidents that nodes report: the durable list of which it was told, so that each is acted on
 * (secrets are rotated) even when control or the node restarts in between. Pure.
 */
import type { Incident, IncidentSummary } from '../protocol/index.ts'
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
  /** What became of the secrets of its part, in a sentence, and when; null while they are being rotated. */
  readonly secrets: { readonly timeMs: number; readonly text: string; readonly rotated: boolean } | null
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
    return [
      { id, wire, what, timeMs, app, part: part.name, instance, node, frozen: stands === 'frozen', secrets: null },
    ]
  })
}

/** The oldest that are one too many. */
export function tooMany(known: ReadonlyMap<string, IncidentRecord>): readonly string[] {
  const oldest = [...known.values()].toSorted((a, b) => a.timeMs - b.timeMs)
  return oldest.slice(0, Math.max(0, known.size - recordsMax)).map(({ id }) => id)
}

/** What a rotation after an incident came to, in a sentence. */
export function describeRotated({
  started,
  refused,
}: {
  readonly started: readonly string[]
  readonly refused: readonly { readonly name: string; readonly reason: string }[]
}): string {
  const done = started.length === 0 ? 'no secret of the part is rotated' : `rotating ${started.join(', ')}`
  return [done, ...refused.map(({ name, reason }) => `${name} is not: ${reason}`)].join('; ').slice(0, 1000)
}

/** An incident as its node tells it, with what control did about it. */
export function withSecrets(incident: Incident, known: ReadonlyMap<string, IncidentRecord>): Incident {
  const secrets = known.get(incident.id)?.secrets ?? null
  if (secrets === null) return incident
  const { timeMs, text } = secrets
  const timeline = [...incident.timeline, { timeMs, text }].toSorted((a, b) => a.timeMs - b.timeMs)
  return { ...incident, timeline }
}

export function unknownIncident(app: string, id: string): SteadError {
  return new SteadError({
    code: 'control.unknown-incident',
    message: `${app} has no incident ${id}`,
    hint: 'See `stead incidents`.',
  })
}
