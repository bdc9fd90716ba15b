/**
 * What follows when an instance trips a wire, as its part declares: it is frozen where it stands, the evidence is kept, and
 * an incident is written down, which control hears of with the next status.
 *
 * Invariants: freezing comes first, so that nothing changes what is looked at; an incident is on disk before it is told; a
 * frozen instance stays so over a restart of the agent, until a person lets it go or ends it.
 */
import { messageOf, randomId, SteadError } from '../base/index.ts'
import { describeRefusal, type Refusal } from '../network/index.ts'
import type { Ask, Incident, IncidentSummary, InstanceAssignment, Wire } from '../protocol/index.ts'
import type { InlineFile, Sandbox } from '../sandbox/index.ts'
import type { Attempts } from './attempts.ts'
import { keepEvidence } from './evidence.ts'
import type { Incidents } from './incidents.ts'
import type { LifeEvent } from './lifecycle.ts'
import type { AgentOptions } from './options.ts'
import { decoyContent, decoyPath, setTripwire } from './tripwire.ts'

const outputLines = 200
/** Instances of a part that stand frozen on a node: each keeps its memory. */
const frozenMax = 3

/** What it needs to know of its instance, and may do to it. */
export interface Contained {
  assignment(): InstanceAssignment
  sandbox(): Sandbox | null
  refused(): readonly Refusal[]
  /** How many different things it was refused, ever. */
  different(): number
  readonly attempts: Attempts
  /** A text without the values of secrets. */
  redact(text: string): string
  event(event: LifeEvent): void
  /** Runs work after what is under way. */
  enqueue(work: () => Promise<void>): void
  changed(): void
}

export class Containment {
  readonly #options: Pick<AgentOptions, 'clock' | 'random'>
  readonly #incidents: Incidents
  readonly #instance: Contained
  #wires: Disposable | null = null
  /** Wires that this run of the program has tripped. */
  readonly #tripped = new Set<Wire>()

  constructor(options: Pick<AgentOptions, 'clock' | 'random'>, incidents: Incidents, instance: Contained) {
    this.#options = options
    this.#incidents = incidents
    this.#instance = instance
  }

  get isOn(): boolean {
    return (this.#instance.assignment().tripwire ?? 'off') !== 'off'
  }

  /** The newest incident of the instance, for its status. */
  summary(): IncidentSummary | undefined {
    const newest = this.#incidents.ofInstance(this.#instance.assignment().id)
    if (newest === null) return undefined
    const { id, wire, what, timeMs, state } = newest
    return { id, wire, what, timeMs, state }
  }

  /** The decoy for a new run; none without tripwires. */
  decoy(): readonly InlineFile[] {
    if (!this.isOn) return []
    const content = decoyContent(randomId(this.#options.random, 16))
    return [{ path: decoyPath, content, mode: 0o600, writable: true }]
  }

  /** Sets the wires around a run of the program. `hasDecoy`: the sandbox isolates, so that there is one. */
  watch(sandbox: Sandbox, hasDecoy: boolean): void {
    this.#tripped.clear()
    if (!this.isOn) return
    this.#wires = setTripwire({
      clock: this.#options.clock,
      decoy: hasDecoy ? `/proc/${sandbox.pid}/root${decoyPath}` : null,
      different: () => this.#instance.different(),
      onTrip: (wire, what) => this.trip(wire, what),
    })
  }

  /** The program is over, or another agent's. */
  unwatch(): void {
    this.#wires?.[Symbol.dispose]()
    this.#wires = null
  }

  /** Whether it was frozen when an earlier agent knew it. */
  wasFrozen(): IncidentSummary | null {
    const newest = this.summary()
    return newest?.state === 'frozen' ? newest : null
  }

  /** A wire is tripped. */
  trip(wire: Wire, what: string): void {
    if (!this.isOn || this.#tripped.has(wire)) return
    this.#tripped.add(wire)
    this.#instance.enqueue(() => this.#contain(wire, what))
  }

  async #contain(wire: Wire, what: string): Promise<void> {
    const { clock } = this.#options
    const { app, part, id: instance, tripwire } = this.#instance.assignment()
    const sandbox = this.#instance.sandbox()
    const timeline = [{ timeMs: clock.nowMs(), text: `tripped: ${what}` }]
    const say = (text: string): void => void timeline.push({ timeMs: clock.nowMs(), text })
    const frozen = sandbox !== null && tripwire === 'freeze' && (await freeze(sandbox, say))
    if (sandbox === null) say('it had ended by then')
    const state = frozen ? 'frozen' : 'recorded'
    const incident = this.#incidents.create({ app, part, instance, wire, what, state, timeline })
    const hint = `see \`stead incidents ${incident.id}\``
    if (frozen) this.#instance.event({ kind: 'frozen', reason: `frozen: ${what}; ${hint}` })
    this.#instance.attempts.notes.add(`${part} tripped a wire: ${what}${frozen ? '; it is frozen' : ''}; ${hint}`)
    this.#instance.changed()
    const output = await Array.fromAsync(this.#instance.attempts.output({ tail: outputLines }))
    const files = keepEvidence(incident.evidence, {
      pids: sandbox?.members() ?? [],
      output: output.map(({ timeMs, text }) => `${new Date(timeMs).toISOString()} ${text}`),
      redact: (text) => this.#instance.redact(text),
      refused: this.#instance.refused().map((one) => `${describeRefusal(part, one)} (${one.count} times)`),
    })
    this.#incidents.note(incident.id, `evidence kept: ${files.join(', ')}`)
    if (frozen && this.#incidents.frozenOf(app, part) > frozenMax) {
      this.#incidents.note(incident.id, `ended: ${frozenMax} others of the part stand frozen already`, 'ended')
      this.#instance.event({ kind: 'discard', reason: `ended after the incident ${incident.id}` })
    }
    this.#instance.changed()
  }

  /** Lets what is frozen go on. Throws `agent.not-frozen`. */
  async release(id: string): Promise<void> {
    const sandbox = this.#needFrozen(id)
    await sandbox.thaw()
    this.#incidents.note(id, 'released by a person', 'released')
    this.#instance.event({ kind: 'thawed' })
    this.#instance.changed()
  }

  /** Ends what is frozen, for good. Throws `agent.not-frozen`. */
  end(id: string): void {
    this.#needFrozen(id)
    this.#incidents.note(id, 'ended by a person', 'ended')
    this.#instance.event({ kind: 'discard', reason: `ended after the incident ${id}` })
    this.#instance.changed()
  }

  /** The program has ended: nothing of it is frozen any more. */
  ended(): void {
    const frozen = this.wasFrozen()
    if (frozen !== null) this.#incidents.note(frozen.id, 'the instance has ended', 'ended')
  }

  #needFrozen(id: string): Sandbox {
    const sandbox = this.#instance.sandbox()
    if (sandbox !== null && this.wasFrozen()?.id === id) return sandbox
    throw notFrozen(id)
  }
}

/** For an incident of which nothing is frozen. */
function notFrozen(id: string): SteadError {
  return new SteadError({
    code: 'agent.not-frozen',
    message: `nothing of the incident ${id} is frozen`,
    hint: 'See `stead incidents`: only what is frozen can be released or ended.',
  })
}

async function freeze(sandbox: Sandbox, say: (text: string) => void): Promise<boolean> {
  try {
    await sandbox.freeze()
    say('frozen')
    return true
  } catch (error) {
    say(`could not be frozen: ${messageOf(error)}`)
    return false
  }
}

/** The incidents of an app, after what was asked has been done to the frozen instance of one. Throws `agent.not-frozen`. */
export async function incidentsAsked(
  incidents: Pick<Incidents, 'list'>,
  containmentOf: (instance: string) => Containment | undefined,
  { app, act, incident }: Extract<Ask, { kind: 'incidents' }>,
): Promise<readonly Incident[]> {
  const found = incidents.list(app).filter(({ id }) => incident === null || id === incident)
  if (act === 'list') return found
  const containment = containmentOf(found[0]?.instance ?? '')
  if (incident === null || containment === undefined) throw notFrozen(incident ?? 'that was not named')
  if (act === 'release') await containment.release(incident)
  else containment.end(incident)
  return incidents.list(app).filter(({ id }) => id === incident)
}
