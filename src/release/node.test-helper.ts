/**
 * A model of the node with the data, of another node, of clients and of faults, for `world.test-helper.ts`: decision 0015, step
 * by step. A state is a list of numbers; what can happen in it, a list of events.
 */
import type { Event, Numbers } from './explore.test-helper.ts'

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

export const size = 29

/** What can be broken on purpose, to see that it is found. */
export type Mutation =
  | 'swap-before-stop'
  | 'swap-unguarded'
  | 'no-lease'
  | 'checkpoint-before-stop'
  | 'commit-without-copy'
  | 'code-only-after-stop'
  | 'contract-beside-old'
  | 'instances-before-carry'
  | 'no-limits'
  | 'abandon-before-stop'

/** What follows from a record for the node with the data. */
export interface Plan {
  readonly a: boolean
  readonly b: boolean
  readonly schema: number
  readonly generation: number
}

/** The node with the data, and the other one, step by step. `plan` and `far`: what each was told last. */
export function nodeEvents(state: Numbers, plan: Plan, far: Plan, mutation: Mutation | null): Event[] {
  const own = plan.generation === state[at.generation]
  const events: Event[] = tasks(state)
  const add = (name: string, fields: Fields): void => void events.push({ name, to: put(state, fields) })
  const [a, b, farA, server] = [state[at.a] ?? 0, state[at.b] ?? 0, state[at.farA] ?? 0, state[at.server]]
  if (farA > 0 && (!far.a || farA < far.generation)) add('far A stops', { farA: 0 })
  if (a > 0 && (!plan.a || a < plan.generation)) add('A stops', { a: 0 })
  if (b > 0 && (!plan.b || b < plan.generation)) add('B stops', { b: 0 })
  if (plan.generation > (state[at.generation] ?? 0)) return [...events, ...exchange(state, plan, mutation)]
  if (mutation === 'swap-unguarded' && plan.generation === 2 && state[at.clone] !== 0)
    return [...events, ...swap(state)]
  if (server === 0) add('the server starts', { server: 1 })
  if (!own || server === 0) return events
  if (state[at.carried] === 0) add('the ledger is carried over', { carried: 1 })
  if (state[at.carried] === 0 && mutation !== 'instances-before-carry') return events
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

function exchange(state: Numbers, plan: Plan, mutation: Mutation | null): Event[] {
  const events: Event[] = []
  const add = (name: string, fields: Fields): void => void events.push({ name, to: put(state, fields) })
  const runs = (state[at.a] ?? 0) > 0 || (state[at.b] ?? 0) > 0
  const early = mutation === 'swap-before-stop'
  const still = early || (state[at.cut] === plan.generation && !runs)
  if (state[at.cut] !== plan.generation && !early) add('older instances lose their edges', { cut: plan.generation })
  if (state[at.abandoned] === 0) {
    if (state[at.server] === 0) add('the server starts, to put the ledger aside', { server: 1 })
    else if (still || mutation === 'abandon-before-stop')
      add('the ledger is put aside', { abandoned: (state[at.tokens] ?? 0) + 1 })
    return events
  }
  if (!still) return events
  if (state[at.server] === 1 && !early) add('the server stops', { server: 0 })
  else if (state[at.clone] !== 0) events.push(...swap(state))
  return events
}

function swap(state: Numbers): Event[] {
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
function tasks(state: Numbers): Event[] {
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

/** Clients, and whatever writes by itself: anybody who runs and reaches the data. `anySchema`: there is no migration. */
export function clientEvents(state: Numbers, anySchema: boolean): Event[] {
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
    const wrong = generation !== state[at.generation] ? 1 : canWork(state, schemas, anySchema) ? 0 : 2
    const fields = { tokens: (state[at.tokens] ?? 0) | bit, acknowledged: (state[at.acknowledged] ?? 0) | bit, wrong }
    return [{ name: `${who} writes`, to: put(state, fields) }]
  })
}

/** Whether a release that works on these schemas works on the one that is there. */
export function canWork(state: Numbers, schemas: readonly number[], anySchema: boolean): boolean {
  return anySchema || schemas.includes(state[at.schema] ?? 0)
}

/** What can fail, if not so much has failed yet. `plan`: what the node with the data was told last. */
export function faultEvents(state: Numbers, plan: Plan, faultsMax: number): Event[] {
  const used = state[at.faults] ?? 0
  if (used >= faultsMax) return []
  const faults = used + 1
  // Edges are given by the plan, which is on the disk: to no instance of an older generation.
  const cut = plan.generation > 1 ? plan.generation : 0
  const events: Event[] = [
    { name: 'the node with the data loses power', to: put(state, { a: 0, b: 0, server: 0, cut, faults }) },
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

export type Fields = Partial<Record<keyof typeof at, number>>

/** The state with some fields changed. */
export function put(state: Numbers, fields: Fields): Numbers {
  const next = [...state]
  for (const [name, value] of Object.entries(fields)) next[at[name as keyof typeof at]] = value
  return next
}

/** A schema is only ever added to: what is there and more is good enough, broken halfway is not. */
export function reaches(schema: number, wanted: number): boolean {
  return schema !== 3 && schema >= wanted
}

/** What a copy has of what was acknowledged. */
export function tokensOf(copy: number): number {
  return copy === 0 ? 0 : (copy - 1) & 7
}
