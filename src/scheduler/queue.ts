/**
 * Who waits, in order: more important first, then who was submitted first; between equally important ones of several
 * accounts the account with the smallest share goes first (accounts.ts), one task at a time. Kept: every job with a waiting
 * task is in the list, once. Jobs that no longer wait are dropped when the list is walked.
 */
import { waitingOf, type Job } from './job.ts'

export class Queue {
  #jobs: Job[] = []
  readonly #queued = new Set<Job>()

  get size(): number {
    return this.#queued.size
  }

  /** Adds a job that waits; one that is there stays where it is. */
  add(job: Job): void {
    if (this.#queued.has(job)) return
    this.#queued.add(job)
    let low = 0
    let high = this.#jobs.length
    while (low < high) {
      const middle = (low + high) >> 1
      const other = this.#jobs[middle]
      if (other !== undefined && before(other, job)) low = middle + 1
      else high = middle
    }
    this.#jobs.splice(low, 0, job)
  }

  /** The jobs that wait, in order of importance and submission. */
  waiting(): readonly Job[] {
    let kept = 0
    for (const job of this.#jobs)
      if (waitingOf(job) > 0) this.#jobs[kept++] = job
      else this.#queued.delete(job)
    this.#jobs.length = kept
    return this.#jobs
  }
}

function before(a: Job, b: Job): boolean {
  return a.facts.priority > b.facts.priority || (a.facts.priority === b.facts.priority && a.sequence < b.sequence)
}
