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
import type { Rollout, Sample, Seen, Shape, TaskState } from './rollout.ts'
import { shapeOf } from './shape.ts'
import { taskOf } from './task.ts'

/** The fields of a state. */
export const at = {
  /** The record in the store. */
  record: 0,
  /** The lease's epoch. */
  epoch: 1,
  /** The record that a control without the lease still believes in, plus one; 0: there is no such control. */
  stale: 2,
  /** What each was told last of a plan, and the epoch it came with. */
  homeTold: 3,
  farTold: 4,
  gatewayTold: 5,
  homeEpoch: 6,
  farEpoch: 7,
  gatewayEpoch: 8,
  /** The live data. */
  generation: 9,
  schema: 10,
  tokens: 11,
  carried: 12,
  server: 13,
  /** Instances of a lower generation have no edge. */
  cut: 14,
  /** What `abandon` has written down, plus one; 0: nothing. */
  abandoned: 15,
  /** Instances, by the generation they were started in; 0: none. */
  a: 16,
  b: 17,
  farA: 18,
  /** Copies, plus one: schema * 8 + tokens. 0: none. */
  checkpoint: 19,
  clone: 20,
  branch: 21,
  acknowledged: 22,
  /** Copies that somebody has asked for, and that may be made at any time from then on. 1: the checkpoint, 2: the clone. */
  asked: 23,
  /** 1: the migration fails. 2: B does not become ready. */
  broken: 24,
  faults: 25,
  commits: 26,
  swaps: 27,
  /** What was found to be wrong in the event that led here. */
  wrong: 28,
} as const

const size = 29

/** What can be broken on purpose, to see that it is found. */
export type Mutation =
  | 'swap-before-stop'
  | 'swap-unguarded'
  | 'no-lease'
  | 'commit-without-copy'
  | 'code-only-after-stop'
  | 'contract-beside-old'
  | 'instances-before-carry'
  | 'no-limits'
  | 'abandon-before-stop'

const sentences = [
  '',
  'an instance works on data of another generation',
  'an instance works on a schema that it cannot work with',
  'an instance of the new generation runs before the ledger was carried over',
  'the data was committed to without the copy that is to become live',
  'what was acknowledged is neither in the live data nor in the branch',
  'something was written between the ledger being put aside and the exchange',
] as const

/** What follows from a record for the node with the data. */
interface Plan {
  readonly a: boolean
  readonly b: boolean
  readonly schema: number
  readonly generation: number
}

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
  readonly start: Numbers

  constructor(start: Start, faultsMax: number, mutation: Mutation | null = null) {
    this.#faultsMax = faultsMax
    this.#mutation = mutation
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
      ...this.#clients(state),
      ...this.#faults(state),
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
    if (runs !== '' && !this.#canWork(state, runs === 'A' ? [0, 1] : [1, 2])) return `after ${kind} it ends in ${is}`
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
      // Without the lease nothing is written: the store refuses it.
      if (who !== 'control' && this.#mutation !== 'no-lease') continue
      for (const { name, nowMs, seen } of this.#looks(state, rollout)) {
        const next = this.#next(state, { nowMs, seen, record })
        if (next !== record) events.push({ name: `${who} ${name}`, to: this.#commit(state, record, next) })
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
    const kind = taskOf(this.#record(record))?.kind
    const bit = kind === 'checkpoint' ? 1 : kind === 'clone' ? 2 : 0
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
    const key = `${record} ${nowMs} ${JSON.stringify(seen)}`
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

  // The node with the data, step by step, and the other one.

  #node(state: Numbers): Event[] {
    const plan = this.#plan(state[at.homeTold] ?? 0)
    const far = this.#plan(state[at.farTold] ?? 0)
    const own = plan.generation === state[at.generation]
    const events: Event[] = this.#tasks(state)
    const add = (name: string, fields: Fields): void => void events.push({ name, to: put(state, fields) })
    const [a, b, farA, server] = [state[at.a] ?? 0, state[at.b] ?? 0, state[at.farA] ?? 0, state[at.server]]
    if (farA > 0 && (!far.a || farA < far.generation)) add('far A stops', { farA: 0 })
    if (a > 0 && (!plan.a || a < plan.generation)) add('A stops', { a: 0 })
    if (b > 0 && (!plan.b || b < plan.generation)) add('B stops', { b: 0 })
    if (plan.generation > (state[at.generation] ?? 0)) return [...events, ...this.#exchange(state, plan)]
    if (this.#mutation === 'swap-unguarded' && plan.generation === 2 && state[at.clone] !== 0)
      return [...events, ...this.#swap(state)]
    if (server === 0) add('the server starts', { server: 1 })
    if (!own || server === 0) return events
    if (state[at.carried] === 0) add('the ledger is carried over', { carried: 1 })
    if (state[at.carried] === 0 && this.#mutation !== 'instances-before-carry') return events
    if (!reaches(state[at.schema] ?? 0, plan.schema) && ((state[at.broken] ?? 0) & 1) === 0) {
      add('the migration runs', { schema: plan.schema })
      add('the migration fails', {
        broken: (state[at.broken] ?? 0) | 1,
        ...(plan.schema === 2 && !plan.a && !plan.b ? { schema: 3 } : {}),
      })
    }
    const ready = reaches(state[at.schema] ?? 0, plan.schema)
    const generation = state[at.generation] ?? 0
    const wrong = state[at.carried] === 0 ? { wrong: 3 } : {}
    if (plan.a && a === 0) add('A starts', { a: generation, ...wrong })
    if (plan.b && b === 0 && ready && ((state[at.broken] ?? 0) & 2) === 0) {
      add('B starts', { b: generation, ...wrong })
      add('B fails', { broken: (state[at.broken] ?? 0) | 2 })
    }
    return events
  }

  #exchange(state: Numbers, plan: Plan): Event[] {
    const events: Event[] = []
    const add = (name: string, fields: Fields): void => void events.push({ name, to: put(state, fields) })
    const runs = (state[at.a] ?? 0) > 0 || (state[at.b] ?? 0) > 0
    const early = this.#mutation === 'swap-before-stop'
    const still = early || (state[at.cut] === plan.generation && !runs)
    if (state[at.cut] !== plan.generation && !early) add('older instances lose their edges', { cut: plan.generation })
    if (state[at.abandoned] === 0) {
      if (state[at.server] === 0) add('the server starts, to put the ledger aside', { server: 1 })
      else if (still || this.#mutation === 'abandon-before-stop')
        add('the ledger is put aside', { abandoned: (state[at.tokens] ?? 0) + 1 })
      return events
    }
    if (!still) return events
    if (state[at.server] === 1 && !early) add('the server stops', { server: 0 })
    else if (state[at.clone] !== 0) events.push(...this.#swap(state))
    return events
  }

  #swap(state: Numbers): Event[] {
    const copy = (state[at.clone] ?? 1) - 1
    const lost = state[at.abandoned] !== (state[at.tokens] ?? 0) + 1 ? { wrong: 6 } : {}
    const fields = {
      branch: 1 + (state[at.schema] ?? 0) * 8 + (state[at.tokens] ?? 0),
      schema: copy >> 3,
      tokens: copy & 7,
      clone: 0,
      generation: 2,
      carried: 0,
      swaps: (state[at.swaps] ?? 0) + 1,
      ...lost,
    }
    return [{ name: 'the data is exchanged', to: put(state, fields) }]
  }

  /** Tasks are done when they are, also long after whoever asked has gone; what is there already is the answer. */
  #tasks(state: Numbers): Event[] {
    const asked = state[at.asked] ?? 0
    const events: Event[] = []
    const copy = 1 + (state[at.schema] ?? 0) * 8 + (state[at.tokens] ?? 0)
    if ((asked & 1) !== 0 && state[at.checkpoint] === 0)
      events.push({ name: 'late or not, the checkpoint is made', to: put(state, { checkpoint: copy }) })
    if ((asked & 2) !== 0 && state[at.clone] === 0 && state[at.checkpoint] !== 0) {
      events.push({ name: 'late or not, the copy is made', to: put(state, { clone: state[at.checkpoint] ?? 0 }) })
    }
    return events
  }

  // Clients, and whatever writes by itself: anybody who runs and reaches the data.

  #clients(state: Numbers): Event[] {
    if (state[at.server] === 0) return []
    return (
      [
        ['A', 'a', [0, 1], 1],
        ['far A', 'farA', [0, 1], 1],
        ['B', 'b', [1, 2], 2],
      ] as const
    ).flatMap(([who, field, schemas, token]) => {
      const generation = state[at[field]] ?? 0
      if (generation === 0 || (state[at.cut] ?? 0) > generation) return []
      const bit = generation === 2 ? 4 : token
      const wrong = generation !== state[at.generation] ? 1 : this.#canWork(state, schemas) ? 0 : 2
      const fields = { tokens: (state[at.tokens] ?? 0) | bit, acknowledged: (state[at.acknowledged] ?? 0) | bit, wrong }
      return [{ name: `${who} writes`, to: put(state, fields) }]
    })
  }

  #canWork(state: Numbers, schemas: readonly number[]): boolean {
    const first = this.#record(0)
    const none = first.kind === 'deploy' && first.migrates === 'none'
    return none || schemas.includes(state[at.schema] ?? 0)
  }

  #faults(state: Numbers): Event[] {
    const used = state[at.faults] ?? 0
    if (used >= this.#faultsMax) return []
    const faults = used + 1
    const events: Event[] = [
      { name: 'the node with the data loses power', to: put(state, { ...this.#afterPowerLoss(state), faults }) },
      { name: 'the database is killed', to: put(state, { server: 0, faults }) },
    ]
    if (state[at.epoch] === 1) {
      events.push({
        name: 'another control takes over, the first one does not know',
        to: put(state, { epoch: 2, stale: (state[at.record] ?? 0) + 1, faults }),
      })
    }
    return events
  }

  /** The node begins an exchange anew that it had not ended; edges are given by the generation of the data, so never to older instances. */
  #afterPowerLoss(state: Numbers): Fields {
    const cut = (state[at.generation] ?? 1) > 1 ? (state[at.generation] ?? 1) : 0
    return { a: 0, b: 0, server: 0, cut, abandoned: 0 }
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

type Fields = Partial<Record<keyof typeof at, number>>

function put(state: Numbers, fields: Fields): Numbers {
  const next = [...state]
  for (const [name, value] of Object.entries(fields)) next[at[name as keyof typeof at]] = value
  return next
}

/** A schema is only ever added to: what is there and more is good enough, broken halfway is not. */
function reaches(schema: number, wanted: number): boolean {
  return schema !== 3 && schema >= wanted
}

function tokensOf(copy: number): number {
  return copy === 0 ? 0 : (copy - 1) & 7
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
