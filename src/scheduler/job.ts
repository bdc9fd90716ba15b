/**
 * A job as the core sees it: its needs by column, the rules it is under, and how far its tasks are. Everything that can be
 * worked out once for all of its tasks is worked out here.
 *
 * Kept: positions 0 .. count - 1 are each exactly one of fresh (never started, from `fresh` on), returned (stopped, to be
 * started again), running (`tasks` has the number of the task) or ended.
 */
import { nobody, Skew, type Group, type Groups, type Member } from './groups.ts'
import type { KindFilter } from './kinds.ts'
import type { Level, Subject } from './model.ts'
import type { Nodes } from './nodes.ts'
import type { JobFacts } from './read.ts'
import type { Takes } from './takes.ts'

/** Shared by all jobs that have none of something, which is most of them. */
const none: readonly never[] = []

/** A rule about other tasks: where they must or must not be. */
export interface GroupRule {
  readonly group: Group
  readonly level: Level
}

/** `held`: other jobs must end first. `given-up`: they ended otherwise. */
export type JobState = 'held' | 'active' | 'ended' | 'given-up'

export interface Job {
  readonly member: Member
  readonly number: number
  readonly facts: JobFacts
  /** Its one task is called like the job. */
  readonly single: boolean
  /** In which order it was submitted. */
  readonly sequence: number
  readonly submittedMs: number
  /** See `shapeOf`; null until somebody asks. */
  shape: string | null
  readonly filter: KindFilter
  readonly takes: Takes
  readonly together: readonly (GroupRule & { readonly own: boolean })[]
  readonly apart: readonly GroupRule[]
  readonly skews: readonly Skew[]
  readonly latency: readonly { readonly group: Group; readonly usMax: number }[]
  /** What others' anti-affinity and latency bounds forbid, and for which state of the others that was worked out. */
  repelledBy: readonly GroupRule[]
  latencyFor: readonly { readonly group: Group; readonly usMax: number }[]
  othersVersion: number
  /** True when no two of its tasks may be on one node. */
  readonly onePerNode: boolean
  /** True when a task elsewhere can change where this one may go. */
  readonly topological: boolean
  /** Whether there are rules about zones, and about racks and nodes; worked out anew with what others forbid. */
  ruledZones: boolean
  ruledNodes: boolean
  count: number
  fresh: number
  readonly returned: number[]
  readonly tasks: number[]
  running: number
  succeeded: number
  failed: number
  state: JobState
  /** Why it was given up. */
  because: string
  /** Jobs before this one that have not ended as they must. */
  waitsFor: number
  /** Waits, and has been tried against everything that is there. */
  blocked: boolean
}

export function waitingOf(job: Job): number {
  return job.state === 'active' ? job.count - job.fresh + job.returned.length : 0
}

/** Jobs with the same shape fit the same nodes. Rules about its own tasks make a job a shape of its own. */
export function shapeOf(job: Job): string {
  if (job.shape === null) {
    const { name, count: _count, priority: _priority, after: _after, ...shaping } = job.facts.spec
    job.shape = JSON.stringify([shaping, job.topological ? name : ''])
  }
  return job.shape
}

/** Whether a task elsewhere can change where this one may go. */
export function dependsOnOthers(job: Job): boolean {
  return job.topological || job.repelledBy.length > 0 || job.latencyFor.length > 0 || job.takes.network > 0
}

/** The next position to start: the one that was stopped last, else the first that never ran. */
export function nextPosition(job: Job): number {
  return job.returned.at(-1) ?? job.fresh
}

export function appKey({ app, part }: Subject): string {
  return part === undefined ? `app ${app}` : `part ${app}/${part}`
}

/** The group of a job's own tasks. */
export function ownKey(name: string): string {
  return `job ${name}`
}

/** The group of all whose anti-affinity forbids a subject. */
export function apartKey(to: Subject, by: Level): string {
  return `apart ${by} ${appKey(to)}`
}

/** The group of all that bound their latency to a subject. */
export function latencyKey(to: Subject, usMax: number): string {
  return `within ${usMax} ${appKey(to)}`
}

/** The groups a job belongs to. */
function keysOf({ name, spec }: JobFacts): string[] {
  const keys: string[] = []
  const { app, part } = spec
  // Nobody else speaks of a job, so it is only counted where it does itself.
  if (spec.onePerNode === true || spec.spread !== undefined) keys.push(ownKey(name))
  if (app !== undefined) keys.push(appKey({ app }))
  if (app !== undefined && part !== undefined) keys.push(appKey({ app, part }))
  if (spec.antiAffinity === undefined && spec.latency === undefined) return keys
  for (const { to, by } of spec.antiAffinity ?? []) keys.push(apartKey(to, by))
  for (const { to, usMax } of spec.latency ?? []) keys.push(latencyKey(to, usMax))
  return [...new Set(keys)]
}

/** Compiles a job and makes its rules count. */
export function makeJob(
  facts: JobFacts,
  { number, sequence, nowMs }: { readonly number: number; readonly sequence: number; readonly nowMs: number },
  { nodes, groups }: { readonly nodes: Nodes; readonly groups: Groups },
): Job {
  const { spec } = facts
  const keys = keysOf(facts)
  const filter = nodes.kinds.filterOf(facts)
  const takes = nodes.takesOf(facts.needs)
  facts.needs = takes.needs
  const own = ownKey(facts.name)
  const spreadKey = spec.app !== undefined && spec.part !== undefined ? appKey({ app: spec.app, part: spec.part }) : own
  // The one task of a job gets its room at once: a list that grows takes room for many.
  const running: number[] = facts.count === 1 ? [-1] : []
  const member: Member = keys.length === 0 ? nobody : { keys, groups: [], tasks: running }
  groups.join(member)
  const apart: GroupRule[] = []
  for (const { to, by } of spec.antiAffinity ?? none) apart.push({ group: groups.track(appKey(to), by), level: by })
  if (spec.onePerNode === true) apart.push({ group: groups.track(own, 'node'), level: 'node' })
  const ruled = spec.affinity ?? spec.antiAffinity ?? spec.spread ?? spec.latency ?? spec.onePerNode
  const job: Job = {
    member,
    number,
    sequence,
    submittedMs: nowMs,
    facts,
    single: spec.count === undefined,
    shape: null,
    filter,
    takes,
    together:
      spec.affinity?.map(({ to, by }) => ({
        group: groups.track(appKey(to), by),
        level: by,
        own: keys.includes(appKey(to)),
      })) ?? none,
    apart: apart.length === 0 ? none : apart,
    skews:
      spec.spread?.map(({ by, skewMax }) => new Skew(groups, groups.track(spreadKey, by), filter, by, skewMax)) ?? none,
    latency: spec.latency?.map(({ to, usMax }) => ({ group: groups.track(appKey(to), 'zone'), usMax })) ?? none,
    repelledBy: none,
    latencyFor: none,
    othersVersion: 0,
    onePerNode: apart.some(({ group, level }) => level === 'node' && keys.includes(group.key)),
    topological: ruled !== undefined,
    ruledZones: false,
    ruledNodes: false,
    count: facts.count,
    fresh: 0,
    returned: [],
    tasks: running,
    running: 0,
    succeeded: 0,
    failed: 0,
    state: 'active',
    because: '',
    waitsFor: 0,
    blocked: false,
  }
  noteRules(job)
  return job
}

/** Works out which rules there are, after `repelledBy` or `latencyFor` has changed. */
export function noteRules(job: Job): void {
  const bounded = job.latency.length + job.latencyFor.length > 0
  job.ruledZones = bounded
  job.ruledNodes = false
  // Most jobs have none.
  if (job.together.length + job.apart.length + job.skews.length + job.repelledBy.length === 0) return
  const rules = [...job.together, ...job.apart, ...job.skews, ...job.repelledBy]
  job.ruledZones = bounded || rules.some(({ level }) => level === 'zone')
  job.ruledNodes = rules.some(({ level }) => level !== 'zone')
}

/** Makes the rules of a job that has ended count no more. */
export function releaseJob(job: Job, groups: Groups): void {
  for (const skew of job.skews) {
    skew.group.skews.delete(skew)
    groups.release(skew.group)
  }
  for (const rule of [...job.together, ...job.apart, ...job.latency]) groups.release(rule.group)
  groups.leave(job.member)
}
