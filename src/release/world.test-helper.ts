/**
 * A world for the machine to run in: control with its store and its lease, a second control, gateways, the node that has the
 * data, another node, and the data itself, each small enough that every state can be visited. What control decides and asks
 * is the real code; the rest is a model of decision 0015.
 *
 * Releases: A serves at first, B is deployed. Schemas: 0 as A has it, 1 with first halves, 2 all of B's, 3 broken halfway.
 * Everything acknowledged is a token: written by A or B, in the first or the second generation of the data.
 */
import { advance, cancel, followUp } from './advance.ts'
import { beginReturn } from './begin.ts'
import type { Event, Numbers } from './explore.test-helper.ts'
import {
  at,
  canWork,
  clientEvents,
  faultEvents,
  type Mutation,
  nodeEvents,
  type Plan,
  put,
  reaches,
  size,
  tokensOf,
} from './node.test-helper.ts'
import type { Rollout, Sample, Seen, Shape, TaskState } from './rollout.ts'
import { shapeOf } from './shape.ts'
import { taskOf } from './task.ts'

const sentences = [
  '',
  'an instance works on data of another generation',
  'an instance works on a schema that it cannot work with',
  'an instance of the new generation runs before the ledger was carried over',
  'the data was committed to without the copy that is to become live',
  'what was acknowledged is neither in the live data nor in the branch',
  'something was written between the ledger being put aside and the exchange',
] as const

/** Everybody who is told something, and what of the plan concerns them. */
const listeners = ['home', 'far', 'gateway'] as const
type Listener = (typeof listeners)[number]

const good: Sample = { requests: 1000, errors: 0, p99Ms: 10 }
const bad: Sample = { requests: 1000, errors: 1000, p99Ms: 10 }

export interface Start {
  readonly rollout: Rollout
  /** What is there at first, over an app that serves A on its own schema. */
  readonly fields?: Partial<Record<keyof typeof at, number>>
}

export class World {
  readonly #records: Rollout[] = []
  readonly #recordIds = new Map<string, number>()
  /** Different things to be told. */
  readonly #plans: Plan[] = []
  readonly #planIds = new Map<string, number>()
  readonly #planOfRecord = new Map<string, number>()
  readonly #nexts = new Map<string, number>()
  readonly #faultsMax: number
  readonly #mutation: Mutation | null
  readonly #anySchema: boolean
  readonly #stops: boolean
  readonly start: Numbers

  constructor(start: Start, faultsMax: number, mutation: Mutation | null = null) {
    this.#faultsMax = faultsMax
    this.#mutation = mutation
    this.#stops = start.rollout.kind === 'deploy' && start.rollout.migrates === 'stop'
    this.#anySchema = start.rollout.kind === 'deploy' && start.rollout.migrates === 'none'
    const state = Array.from({ length: size }, () => 0)
    const record = this.#intern(start.rollout)
    Object.assign(state, { [at.record]: record, [at.epoch]: 1, [at.generation]: 1, [at.server]: 1 })
    for (const whom of listeners) state[at[`${whom}Told`]] = this.#planId(whom, record)
    Object.assign(state, { [at.homeEpoch]: 1, [at.farEpoch]: 1, [at.gatewayEpoch]: 1 })
    Object.assign(state, { [at.a]: 1, [at.farA]: 1, [at.carried]: 1, [at.tokens]: 1, [at.acknowledged]: 1 })
    for (const [name, value] of Object.entries(start.fields ?? {})) state[at[name as keyof typeof at]] = value
    this.start = this.#asked(state, record)
  }

  /** The record that a state has in its store. */
  recordOf(state: Numbers): Rollout {
    return this.#record(state[at.record] ?? 0)
  }

  /** How many different records were met. */
  get records(): number {
    return this.#records.length
  }

  /** Everything that can happen. */
  eventsOf(state: Numbers): Event[] {
    return [
      ...this.#control(state),
      ...this.#messages(state),
      ...this.#node(state),
      ...clientEvents(state, this.#anySchema),
      ...faultEvents(state, this.#plan(state[at.homeTold] ?? 0), this.#faultsMax),
    ]
  }

  /** What is wrong with a state; null: nothing. */
  wrongWith(state: Numbers): string | null {
    const found = sentences[state[at.wrong] ?? 0]
    if (found !== undefined && found !== '') return found
    if ((state[at.commits] ?? 0) > 1 || (state[at.swaps] ?? 0) > 1) return 'the data was exchanged more than once'
    if (((state[at.acknowledged] ?? 0) & ~((state[at.tokens] ?? 0) | tokensOf(state[at.branch] ?? 0))) !== 0)
      return sentences[5]
    const rollout = this.recordOf(state)
    const shape = shapeOf(rollout)
    if (rollout.outcome !== null) {
      if (shape.hold && rollout.outcome.kind !== 'handed-over') return 'requests are held although nothing is under way'
      return this.#endsWell(state, rollout)
    }
    const late = this.#next(state, { nowMs: 1e12, seen: this.#seen(state, rollout) })
    return late === state[at.record] ? `the step ${rollout.step} can last for ever` : null
  }

  /** Whether, once everybody is told and nothing fails any more, what serves is what the outcome says, and whole. */
  #endsWell(from: Numbers, rollout: Rollout): string | null {
    let state = from
    for (let round = 0; round < 60; round += 1) {
      const [next] = [
        ...this.#messages(state).filter(({ name }) => !name.startsWith('stale')),
        ...this.#node(state).filter(({ name }) => !name.includes('fails') && !name.startsWith('late')),
      ]
      if (next === undefined) break
      state = next.to
    }
    const plan = this.#plan(this.#planId('home', state[at.record] ?? 0))
    const kind = rollout.outcome?.kind
    const runs = `${(state[at.a] ?? 0) > 0 ? 'A' : ''}${(state[at.b] ?? 0) > 0 ? 'B' : ''}`
    const is = `${runs} on schema ${state[at.schema]} of generation ${state[at.generation]}`
    if (state[at.wrong] !== 0) return `after ${kind}: ${sentences[state[at.wrong] ?? 0]}`
    const wanted = `${plan.a ? 'A' : ''}${plan.b ? 'B' : ''}`
    // Nothing serves only where a person was told so.
    if (wanted === 'AB' || (wanted === '' && kind !== 'stuck')) return `after ${kind} both or none are to run`
    const broken = wanted === 'B' && ((state[at.broken] ?? 0) & 3) !== 0
    if (runs !== wanted && !broken) return `after ${kind} it ends in ${is}, not in ${wanted}`
    if (runs !== '' && !canWork(state, runs === 'A' ? [0, 1] : [1, 2], this.#anySchema))
      return `after ${kind} it ends in ${is}`
    const writtenByA = (state[at.acknowledged] ?? 0) & 1
    if (this.#stops && plan.generation === 2 && writtenByA !== ((state[at.tokens] ?? 0) & 1)) {
      return `after ${kind} something is gone that was written before the stop`
    }
    if (state[at.generation] !== plan.generation)
      return `after ${kind} it ends in ${is}, not in generation ${plan.generation}`
    return null
  }

  // Control: the real machine, on what it sees.

  #control(state: Numbers): Event[] {
    const events: Event[] = []
    for (const [who, record] of [
      ['control', state[at.record] ?? 0],
      ['stale control', (state[at.stale] ?? 0) - 1],
    ] as const) {
      if (record < 0) continue
      const rollout = this.#record(record)
      if (rollout.outcome !== null) continue
      for (const { name, nowMs, seen } of this.#looks(state, rollout)) {
        const next = this.#next(state, { nowMs, seen, record })
        if (next === record) continue
        const asked = this.#asked(state, next)
        if (asked[at.asked] !== state[at.asked]) {
          events.push({ name: `${who} ${name}, and asks before it has written that down`, to: asked })
        }
        // Without the lease nothing is written: the store refuses it.
        if (who === 'control' || this.#mutation === 'no-lease') {
          events.push({ name: `${who} ${name}`, to: this.#commit(state, record, next) })
        }
      }
    }
    const rollout = this.recordOf(state)
    if (rollout.cancelledBy === null && rollout.outcome === null) {
      const called = this.#called(rollout)
      if (called !== null && called !== state[at.record])
        events.push({ name: `${rollout.step} is called off`, to: put(state, { record: called }) })
    }
    return events
  }

  /** Whoever has the record asks for its task at once. When it is done, and whether anybody hears of that, is open. */
  #asked(state: Numbers, record: number): Numbers {
    const rollout = this.#record(record)
    const kind = taskOf(rollout)?.kind
    const early = this.#mutation === 'checkpoint-before-stop' && rollout.step === 'stop'
    const bit = kind === 'checkpoint' || early ? 1 : kind === 'clone' ? 2 : 0
    return put(state, { asked: (state[at.asked] ?? 0) | bit })
  }

  #called(rollout: Rollout): number | null {
    try {
      return this.#intern(cancel(rollout, 'ann'))
    } catch {
      return null
    }
  }

  #looks(state: Numbers, rollout: Rollout): { name: string; nowMs: number; seen: Seen }[] {
    const seen = this.#seen(state, rollout)
    const looks = [
      { name: `looks in ${rollout.step}`, nowMs: 0, seen },
      { name: `looks in ${rollout.step} after the planned time`, nowMs: 2000, seen },
      { name: `finds the limit of ${rollout.step} passed`, nowMs: 1e12, seen },
    ]
    if (taskOf(rollout) !== null) {
      const task: TaskState = { state: 'failed', reason: 'it fails', retry: 'never' }
      looks.push({ name: `hears that the task of ${rollout.step} failed`, nowMs: 0, seen: { ...seen, task } })
    }
    if (['start', 'shift', 'watch'].includes(rollout.step)) {
      looks.push({ name: `finds B worse in ${rollout.step}`, nowMs: 0, seen: { ...seen, new: bad } })
    }
    return looks
  }

  /** One transaction: the record, and what follows from it. */
  #commit(state: Numbers, from: number, to: number): Numbers {
    const [was, is] = [this.#record(from), this.#record(to)]
    const commits = is.kind === 'return' && is.withData && is.step === 'exchange' && was.step !== 'exchange'
    const next = put(this.#asked(state, to), { record: to, commits: (state[at.commits] ?? 0) + (commits ? 1 : 0) })
    return commits && state[at.clone] === 0 ? put(next, { wrong: 4 }) : next
  }

  #next(
    state: Numbers,
    { nowMs, seen, record = state[at.record] ?? 0 }: { nowMs: number; seen: Seen; record?: number },
  ): number {
    const key = `${record} ${nowMs} ${sightOf(seen)}`
    const known = this.#nexts.get(key)
    if (known !== undefined) return known
    const rollout = this.#record(record)
    let next = advance(rollout, seen, this.#mutation === 'no-limits' ? Math.min(nowMs, 2000) : nowMs)
    const followed = followUp(next)
    if (followed !== null && this.#mutation === 'code-only-after-stop' && next.kind === 'deploy') {
      next = { ...next, outcome: { kind: 'taken-back', reason: '' }, step: 'take-back' }
    } else if (followed !== null) next = beginReturn({ ...followed, id: 'back', new: 9, nowMs: 0 })
    const interned = next === rollout ? record : this.#intern(next)
    this.#nexts.set(key, interned)
    return interned
  }

  #seen(state: Numbers, rollout: Rollout): Seen {
    const record = this.#intern(rollout)
    const id = this.#planId('home', record)
    const plan = this.#plan(id)
    const told = state[at.homeTold] === id
    const pending = { state: 'pending', waitsFor: null } as const
    const failed = { state: 'failed', part: 'db', reason: 'it fails' } as const
    const broken = state[at.broken] ?? 0
    const served = state[at.server] === 1 && state[at.generation] === plan.generation && state[at.carried] === 1
    const migrated = reaches(state[at.schema] ?? 0, plan.schema)
    const here = (!plan.a || state[at.a] === plan.generation) && (!plan.b || state[at.b] === plan.generation)
    const left =
      (!plan.a && (state[at.a] ?? 0) + (state[at.farA] ?? 0) > 0) ||
      (!plan.b && (state[at.b] ?? 0) > 0) ||
      (told && this.#older(state, plan))
    const kind = taskOf(rollout)?.kind
    const made = {
      rehearse: true,
      checkpoint: rollout.step === 'confirm' || state[at.checkpoint] !== 0,
      clone: state[at.clone] !== 0,
      report: true,
    }
    const isDone = kind !== undefined && ((kind === 'clone' && this.#mutation === 'commit-without-copy') || made[kind])
    return {
      task: isDone ? { state: 'done', lines: [], result: null } : null,
      resources: !told
        ? pending
        : (broken & 1) !== 0 && !migrated
          ? failed
          : served && migrated
            ? { state: 'done' }
            : pending,
      instances: !told ? pending : (broken & 2) !== 0 && plan.b ? failed : here ? { state: 'done' } : pending,
      rest: left || !told ? pending : { state: 'done' },
      routed: state[at.gatewayTold] === this.#planId('gateway', record),
      old: good,
      new: good,
    }
  }

  #older(state: Numbers, plan: Plan): boolean {
    return [at.a, at.b, at.farA].some((field) => (state[field] ?? 0) > 0 && (state[field] ?? 0) < plan.generation)
  }

  // Messages: told late, told twice, not told at all; never an older epoch after a newer one.

  #messages(state: Numbers): Event[] {
    return listeners.flatMap((whom) => {
      const [told, epoch] = [`${whom}Told`, `${whom}Epoch`] as const
      const events: Event[] = []
      const current = this.#planId(whom, state[at.record] ?? 0)
      if (state[at[told]] !== current || state[at[epoch]] !== state[at.epoch]) {
        events.push({ name: `${whom} is told`, to: put(state, { [told]: current, [epoch]: state[at.epoch] ?? 0 }) })
      }
      if (state[at.stale] === 0 || state[at[epoch]] !== 1) return events
      const stale = this.#planId(whom, (state[at.stale] ?? 0) - 1)
      if (stale !== state[at[told]]) {
        events.push({ name: `stale ${whom} is told what does not hold any more`, to: put(state, { [told]: stale }) })
      }
      return events
    })
  }

  #node(state: Numbers): Event[] {
    const [home, far] = [this.#plan(state[at.homeTold] ?? 0), this.#plan(state[at.farTold] ?? 0)]
    return nodeEvents(state, home, far, this.#mutation)
  }

  // Records and plans are numbered, so that a state stays small.

  #intern(rollout: Rollout): number {
    const plain = timeless(rollout)
    const key = JSON.stringify(plain)
    const known = this.#recordIds.get(key)
    if (known !== undefined) return known
    this.#records.push(plain)
    this.#recordIds.set(key, this.#records.length - 1)
    return this.#records.length - 1
  }

  #record(id: number): Rollout {
    const found = this.#records[id]
    if (found === undefined) throw new Error(`there is no record ${id}`)
    return found
  }

  /** The number of what somebody is told when a record holds: only what concerns them. */
  #planId(whom: Listener, record: number): number {
    const at = `${whom} ${record}`
    const known = this.#planOfRecord.get(at)
    if (known !== undefined) return known
    const rollout = this.#record(record)
    const plan = this.#planFrom(rollout)
    const { hold, newShare } = shapeOf(rollout)
    const { a, b, generation } = plan
    const key = JSON.stringify(
      { home: plan, far: { a, generation }, gateway: { a, b, generation, hold, newShare } }[whom],
    )
    const id = this.#planIds.get(`${whom} ${key}`) ?? this.#plans.push(plan) - 1
    this.#planIds.set(`${whom} ${key}`, id)
    this.#planOfRecord.set(at, id)
    return id
  }

  #plan(id: number): Plan {
    const found = this.#plans[id]
    if (found === undefined) throw new Error(`there is no plan ${id}`)
    return found
  }

  /** What control derives from a shape: of a deployment `old` is A and `new` is B, of a return the other way round. */
  #planFrom(rollout: Rollout): Plan {
    const shape = shapeOf(rollout)
    const oldRuns = shape.runs === 'old' || shape.runs === 'both'
    const newRuns = shape.runs === 'new' || shape.runs === 'both'
    const [a, b] = rollout.kind === 'deploy' ? [oldRuns, newRuns] : [newRuns, oldRuns]
    const generation = shape.exchanged ? 2 : 1
    return { a, b, schema: this.#schemaOf(rollout, shape), generation }
  }

  /** The schema that is brought about. Of a return: what the copy has, or what is there. */
  #schemaOf(rollout: Rollout, shape: Shape): number {
    if (rollout.kind === 'return' || rollout.migrates === 'none') return 0
    if (this.#mutation === 'contract-beside-old' && rollout.step === 'watch') return 2
    return { old: 0, expanded: 1, new: rollout.contracts || rollout.migrates === 'stop' ? 2 : 1 }[shape.schema]
  }
}

/** A record without its times and lines, so that the same decision is the same record. */
function timeless(rollout: Rollout): Rollout {
  const steps = rollout.steps.map((record) => ({
    ...record,
    startMs: 0,
    endMs: record.endMs === null ? null : 0,
    lines: [],
  }))
  const { outcome } = rollout
  const quiet = outcome !== null && 'reason' in outcome ? { ...outcome, reason: '' } : outcome
  const common = { startMs: 0, stepMs: 0, steps, outcome: quiet, takingBack: rollout.takingBack === null ? null : '' }
  return rollout.kind === 'deploy'
    ? { ...rollout, ...common }
    : { ...rollout, ...common, reason: rollout.reason === null ? null : '' }
}

/** What a sight differs in from others here, as a short text: it is looked up for every state. */
function sightOf({ task, resources, instances, rest, routed, new: young }: Seen): string {
  return `${task?.state} ${resources.state} ${instances.state} ${rest.state} ${routed} ${young === bad}`
}
