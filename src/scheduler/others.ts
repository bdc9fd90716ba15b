/**
 * The other direction of rules: anti-affinity and latency bounds hold for the one that comes later too, so a task must
 * know who forbids its coming. Those who hold the same rule are one group; where all of them are themselves what they
 * forbid, the rule in its own direction says it already.
 */
import type { Group, Groups } from './groups.ts'
import { apartKey, appKey, latencyKey, noteRules, type GroupRule, type Job } from './job.ts'
import type { Level, Subject } from './model.ts'

interface Held {
  readonly to: Subject
  readonly key: string
  /** Counted from when somebody needs to know; null before. */
  group: Group | null
  readonly level: Level
  /** Null: anti-affinity. */
  readonly usMax: number | null
  holders: number
}

export class Others {
  readonly #groups: Groups
  /** Rules by the subject that they are about. */
  readonly #held = new Map<string, Map<string, Held>>()
  #version = 1

  constructor(groups: Groups) {
    this.#groups = groups
  }

  /** A job with such rules appears. */
  add(job: Job): void {
    for (const { to, by } of job.facts.spec.antiAffinity ?? []) this.#hold(to, apartKey(to, by), by, null)
    for (const { to, usMax } of job.facts.spec.latency ?? []) this.#hold(to, latencyKey(to, usMax), 'zone', usMax)
  }

  remove(job: Job): void {
    for (const { to, by } of job.facts.spec.antiAffinity ?? []) this.#letGo(to, apartKey(to, by))
    for (const { to, usMax } of job.facts.spec.latency ?? []) this.#letGo(to, latencyKey(to, usMax))
  }

  /** Sees to it that the job's `repelledBy` and `latencyFor` are those of now. */
  refresh(job: Job): void {
    if (job.othersVersion === this.#version) return
    job.othersVersion = this.#version
    const repelledBy: GroupRule[] = []
    const latencyFor: { group: Group; usMax: number }[] = []
    const { spec } = job.facts
    if (spec.app === undefined) return
    const own = [
      appKey({ app: spec.app }),
      ...(spec.part === undefined ? [] : [appKey({ app: spec.app, part: spec.part })]),
    ]
    for (const key of own)
      for (const held of this.#held.get(key)?.values() ?? []) {
        if (held.usMax === null && this.#saidAlready(job, key, held)) continue
        const group = (held.group ??= this.#groups.track(held.key, held.level))
        if (held.usMax === null) repelledBy.push({ group, level: held.level })
        else latencyFor.push({ group, usMax: held.usMax })
      }
    job.repelledBy = repelledBy
    job.latencyFor = latencyFor
    noteRules(job)
  }

  /** The job holds the rule itself, and everybody who holds it is counted by it. */
  #saidAlready(job: Job, subject: string, { key, to, level }: Held): boolean {
    const holds = (job.facts.spec.antiAffinity ?? []).some(
      (affinity) => affinity.by === level && affinity.to.app === to.app && affinity.to.part === to.part,
    )
    if (!holds) return false
    for (const member of this.#groups.membersOf(key)) if (!member.keys.includes(subject)) return false
    return true
  }

  #hold(to: Subject, key: string, level: Level, usMax: number | null): void {
    this.#version++
    const subject = appKey(to)
    let rules = this.#held.get(subject)
    if (rules === undefined) this.#held.set(subject, (rules = new Map()))
    const known = rules.get(key)
    if (known === undefined) rules.set(key, { to, key, group: null, level, usMax, holders: 1 })
    else known.holders++
  }

  #letGo(to: Subject, key: string): void {
    this.#version++
    const rules = this.#held.get(appKey(to))
    const held = rules?.get(key)
    if (rules === undefined || held === undefined || --held.holders > 0) return
    if (held.group !== null) this.#groups.release(held.group)
    rules.delete(key)
    if (rules.size === 0) this.#held.delete(appKey(to))
  }
}
