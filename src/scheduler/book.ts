/**
 * The jobs by name, which wait for which, and how those that are gone ended. Kept: a name is known once; a job that waits
 * for others is `held` until all of them have ended (or started) as it asks, and given up when one ended otherwise.
 */
import { badInput, dependencyCycle, duplicateName, unknownName } from './errors.ts'
import type { Job } from './job.ts'
import { endedJobsMax } from './limits.ts'
import type { Dependency } from './model.ts'
import type { JobFacts } from './read.ts'

export type Outcome = 'success' | 'failure'

export class JobBook {
  readonly #jobs = new Map<string, Job>()
  readonly #ended = new Map<string, Outcome>()
  readonly #dependents = new Map<string, Set<Job>>()

  get(name: string): Job | undefined {
    return this.#jobs.get(name)
  }

  /** Throws `scheduler.unknown-name`. */
  need(name: string): Job {
    const job = this.#jobs.get(name)
    if (job === undefined) throw unknownName('job', name)
    return job
  }

  all(): IterableIterator<Job> {
    return this.#jobs.values()
  }

  /** The job and position that a task's name means. Throws `scheduler.unknown-name`. */
  taskOf(name: string): { readonly job: Job; readonly position: number } {
    const slash = name.indexOf('/')
    const job = this.#jobs.get(slash < 0 ? name : name.slice(0, slash))
    const position = slash < 0 ? 0 : Number(name.slice(slash + 1))
    const canonical = slash < 0 || String(position) === name.slice(slash + 1)
    if (job === undefined || !canonical || job.single !== slash < 0 || !(position < job.count && position >= 0))
      throw unknownName('task', name)
    return { job, position }
  }

  /** Whether these can be submitted together. Throws `scheduler.duplicate-name`, `unknown-name`, `cycle`. */
  check(jobs: readonly JobFacts[]): void {
    const [only] = jobs
    if (jobs.length === 1 && only !== undefined && only.spec.after === undefined) {
      if (this.#jobs.has(only.name) || this.#ended.has(only.name)) throw duplicateName('job', only.name)
      return
    }
    const fresh = new Map<string, JobFacts>()
    for (const facts of jobs) {
      if (this.#jobs.has(facts.name) || this.#ended.has(facts.name) || fresh.has(facts.name))
        throw duplicateName('job', facts.name)
      fresh.set(facts.name, facts)
    }
    const done = new Set<string>()
    const path = new Set<string>()
    const visit = (facts: JobFacts): void => {
      if (done.has(facts.name)) return
      if (path.has(facts.name)) {
        const trail = [...path]
        throw dependencyCycle([...trail.slice(trail.indexOf(facts.name)), facts.name])
      }
      path.add(facts.name)
      for (const { job } of facts.spec.after ?? []) {
        const before = fresh.get(job)
        if (before !== undefined) visit(before)
        else if (!this.#jobs.has(job) && !this.#ended.has(job)) throw unknownName('job', job)
      }
      path.delete(facts.name)
      done.add(facts.name)
    }
    for (const facts of jobs) visit(facts)
  }

  /** Whether others wait for the job. */
  isAwaited(name: string): boolean {
    return this.#dependents.has(name)
  }

  add(job: Job): void {
    this.#jobs.set(job.facts.name, job)
  }

  /** Counts what a new job must wait for; it is held when there is anything. */
  hold(job: Job): void {
    for (const dependency of job.facts.spec.after ?? []) {
      const answer = this.#answer(dependency)
      if (answer === 'met') continue
      if (answer === 'never') giveUp(job, dependency)
      job.waitsFor++
      const dependents = this.#dependents.get(dependency.job)
      if (dependents === undefined) this.#dependents.set(dependency.job, new Set([job]))
      else dependents.add(job)
    }
    if (job.waitsFor > 0 && job.state === 'active') job.state = 'held'
  }

  /** A job has started or ended: those for which this settles everything, one way or the other. */
  settled(name: string): Job[] {
    const changed: Job[] = []
    for (const job of this.#dependents.get(name) ?? []) {
      if (job.state !== 'held') continue
      const answers = (job.facts.spec.after ?? []).map((dependency) => ({
        dependency,
        answer: this.#answer(dependency),
      }))
      const never = answers.find(({ answer }) => answer === 'never')
      job.waitsFor = answers.filter(({ answer }) => answer === 'open').length
      if (never !== undefined) giveUp(job, never.dependency)
      else if (job.waitsFor === 0) job.state = 'active'
      else continue
      changed.push(job)
    }
    return changed
  }

  /** A job is over; its name and outcome are kept for a while. */
  end(job: Job, outcome: Outcome): void {
    const { name } = job.facts
    this.#jobs.delete(name)
    this.#ended.set(name, outcome)
    if (this.#ended.size <= endedJobsMax) return
    const oldest = this.#ended.keys().next().value
    if (oldest !== undefined) this.#ended.delete(oldest)
  }

  /** After everybody has been told that a job ended. */
  forgetDependents(name: string): void {
    this.#dependents.delete(name)
  }

  #answer({ job: name, when = 'success' }: Dependency): 'met' | 'never' | 'open' {
    const outcome = this.#ended.get(name)
    if (outcome !== undefined) return when === 'end' || when === 'start' || when === outcome ? 'met' : 'never'
    const job = this.#jobs.get(name)
    if (job === undefined) throw badInput(`after of a job`, 'the name of a known job', name)
    return when === 'start' && job.running + job.succeeded + job.failed > 0 ? 'met' : 'open'
  }
}

function giveUp(job: Job, { job: name, when = 'success' }: Dependency): void {
  job.state = 'given-up'
  job.because = `job '${name}' did not end with ${when}`
}
