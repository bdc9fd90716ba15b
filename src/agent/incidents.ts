/**
 * The incidents of a node on its disk: what tripped which wire, what was done about it and when, beside the evidence.
 *
 * Invariants: whatever is here only the agent's user may read; an incident is on disk before anybody is told of it; at most
 * `incidentsMax` are kept, and one whose instance is still frozen is never the one that makes room.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Clock, type Random, randomId } from '../base/index.ts'
import type { Incident } from '../protocol/index.ts'

const incidentsMax = 100
const timelineMax = 200

export class Incidents {
  readonly #root: string
  readonly #clock: Clock
  readonly #random: Random
  #known: Map<string, Incident> | null = null

  constructor(root: string, clock: Clock, random: Random) {
    this.#root = root
    this.#clock = clock
    this.#random = random
  }

  /** Begins one; its directory is there. */
  create(of: Pick<Incident, 'app' | 'part' | 'instance' | 'wire' | 'what' | 'state' | 'timeline'>): Incident {
    const id = `${of.part}-${randomId(this.#random)}`
    const evidence = join(this.#root, id)
    mkdirSync(evidence, { recursive: true, mode: 0o700 })
    const incident: Incident = { ...of, id, evidence, timeMs: this.#clock.nowMs() }
    this.#write(incident)
    this.#makeRoom()
    return incident
  }

  /** Writes down what happened to it since. */
  note(id: string, text: string, state?: Incident['state']): Incident | null {
    const before = this.#all().get(id)
    if (before === undefined) return null
    const timeline = [...before.timeline, { timeMs: this.#clock.nowMs(), text }].slice(-timelineMax)
    const after = { ...before, timeline, state: state ?? before.state }
    this.#write(after)
    return after
  }

  get(id: string): Incident | null {
    return this.#all().get(id) ?? null
  }

  /** Those of an app, the newest first. */
  list(app: string): readonly Incident[] {
    return [...this.#all().values()].filter((one) => one.app === app).toSorted((a, b) => b.timeMs - a.timeMs)
  }

  /** How many instances of a part stand frozen. */
  frozenOf(app: string, part: string): number {
    return this.list(app).filter((one) => one.part === part && one.state === 'frozen').length
  }

  /** The newest one of an instance. */
  ofInstance(instance: string): Incident | null {
    const own = [...this.#all().values()].filter((one) => one.instance === instance)
    return own.toSorted((a, b) => b.timeMs - a.timeMs)[0] ?? null
  }

  #all(): Map<string, Incident> {
    this.#known ??= new Map(this.#names().flatMap((name) => this.#read(name)))
    return this.#known
  }

  #names(): string[] {
    try {
      return readdirSync(this.#root)
    } catch {
      return []
    }
  }

  #read(name: string): (readonly [string, Incident])[] {
    try {
      return [[name, JSON.parse(readFileSync(join(this.#root, name, 'incident.json'), 'utf8')) as Incident]]
    } catch {
      // One that was cut short while it began: its evidence stays for a person, and is listed by nobody.
      return []
    }
  }

  #write(incident: Incident): void {
    const path = join(incident.evidence, 'incident.json')
    writeFileSync(`${path}.new`, `${JSON.stringify(incident, null, 2)}\n`, { mode: 0o600 })
    renameSync(`${path}.new`, path)
    this.#all().set(incident.id, incident)
  }

  #makeRoom(): void {
    const settled = [...this.#all().values()].filter((one) => one.state !== 'frozen')
    const oldest = settled.toSorted((a, b) => a.timeMs - b.timeMs)
    for (const one of oldest.slice(0, Math.max(0, this.#all().size - incidentsMax))) {
      rmSync(one.evidence, { recursive: true, force: true })
      this.#all().delete(one.id)
    }
  }
}
