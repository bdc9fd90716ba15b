/**
 * Takes in the incidents that nodes report: writes them down, and has the secrets of their parts rotated, because what the
 * part was given may be known to others.
 *
 * Invariant: an incident is durable before anything is rotated for it, and one whose rotation was not begun is taken up again
 * by the next control: secrets are rotated twice rather than never.
 */
import { type Clock, messageOf } from '../base/index.ts'
import { type Ask, type Incident, incidentSchema, type LogLine } from '../protocol/index.ts'
import type { Operation } from '../store/index.ts'
import {
  describeRotated,
  type IncidentRecord,
  newIncidents,
  tooMany,
  unknownIncident,
  withSecrets,
} from './incidents.ts'
import { keys, put } from './records.ts'
import type { ControlState } from './state.ts'

/** Whoever can trip a wire at will is not to keep an app busy with new secrets. */
const rotateAgainMs = 5 * 60_000

/** What a person decides of a frozen instance. */
export interface IncidentAct {
  readonly kind: 'release' | 'end'
  readonly incident: string
}

export interface IncidentLogOptions {
  /** By id; kept up to date here. */
  readonly known: Map<string, IncidentRecord>
  readonly clock: Clock
  readonly write: (operations: readonly Operation[]) => Promise<void>
  /** Runs a change of the records after those before it. */
  readonly exclusive: (work: () => Promise<void>) => Promise<void>
  readonly isConnected: (node: string) => boolean
  readonly askNode: (node: string, ask: Extract<Ask, { kind: 'incidents' }>) => AsyncIterable<LogLine>
  readonly rotateAll: (app: string, part: string) => Promise<Parameters<typeof describeRotated>[0]>
}

export class IncidentLog {
  readonly #options: IncidentLogOptions
  /** Incidents after which secrets are being rotated. */
  readonly #rotating = new Set<string>()

  constructor(options: IncidentLogOptions) {
    this.#options = options
  }

  /** Takes in what is new. Part of a turn of control. */
  async take(state: ControlState): Promise<void> {
    const { known, write } = this.#options
    const fresh = newIncidents(state, known)
    const old = tooMany(known)
    await write([
      ...fresh.map((incident) => put(keys.incident(incident.id), incident)),
      ...old.map((id): Operation => ({ kind: 'delete', key: keys.incident(id) })),
    ])
    for (const incident of fresh) known.set(incident.id, incident)
    for (const id of old) known.delete(id)
    for (const incident of known.values())
      if (incident.secrets === null && !this.#rotating.has(incident.id)) void this.#rotate(incident)
  }

  /**
   * The incidents of an app, from the nodes that have them and are connected, the newest first; with `act` the one of which
   * it was decided. Throws `control.unknown-incident`, and as asking a node does.
   */
  async ask(app: string, act?: IncidentAct): Promise<Incident[]> {
    const { known, isConnected, askNode } = this.#options
    const own = [...known.values()].filter((one) => one.app === app)
    const named = own.filter(({ id }) => id === act?.incident)
    if (act !== undefined && named.length === 0) throw unknownIncident(app, act.incident)
    const nodes = new Set((act === undefined ? own : named).map(({ node }) => node))
    const found: Incident[] = []
    for (const node of nodes) {
      if (act === undefined && !isConnected(node)) continue
      const ask = { kind: 'incidents', app, act: act?.kind ?? 'list', incident: act?.incident ?? null } as const
      for await (const { text } of askNode(node, ask))
        found.push(withSecrets(incidentSchema.parse(JSON.parse(text)), known))
    }
    return found.toSorted((a, b) => b.timeMs - a.timeMs)
  }

  #wasRotated(app: string, part: string): boolean {
    const { known, clock } = this.#options
    const sinceMs = clock.nowMs() - rotateAgainMs
    return [...known.values()].some(
      (one) =>
        one.app === app &&
        one.part === part &&
        one.secrets !== null &&
        one.secrets.rotated &&
        one.secrets.timeMs > sinceMs,
    )
  }

  /** Comes after this turn, as a change of its own. */
  async #rotate({ id, app, part }: IncidentRecord): Promise<void> {
    const { known, clock, write, exclusive, rotateAll } = this.#options
    this.#rotating.add(id)
    const rotated = !this.#wasRotated(app, part)
    const text = !rotated
      ? 'its secrets were rotated a moment ago'
      : await rotateAll(app, part).then(
          describeRotated,
          (error: unknown) => `its secrets could not be rotated: ${messageOf(error)}`,
        )
    const note = async (): Promise<void> => {
      const incident = known.get(id)
      if (incident === undefined) return
      const told = { ...incident, secrets: { timeMs: clock.nowMs(), text, rotated } }
      await write([put(keys.incident(id), told)])
      known.set(id, told)
    }
    // A control that ends meanwhile leaves it to the next one.
    await exclusive(note).catch(() => {})
    this.#rotating.delete(id)
  }
}
