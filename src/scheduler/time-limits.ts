/**
 * When running tasks reach their time limit. Kept: every task that runs under a limit is here once; those that have ended
 * before are passed over, and dropped when they are too many.
 */
import { DueHeap } from './heap.ts'
import type { Job } from './job.ts'
import type { Tasks } from './tasks.ts'

/** Limits beyond twice the running tasks that are kept. */
const slack = 10_000

/** A task whose time limit ends, unless it has ended or stopped before. */
interface Limited {
  readonly job: Job
  readonly position: number
  readonly startedMs: number
}

export class TimeLimits {
  readonly #tasks: Tasks
  readonly #due = new DueHeap<Limited>()

  constructor(tasks: Tasks) {
    this.#tasks = tasks
  }

  /** When the first limit ends, perhaps of a task that runs no more; Infinity: there is none. */
  get nextMs(): number {
    return this.#due.nextMs
  }

  /** A task of a job with a limit has started. */
  add(job: Job, position: number, startedMs: number): void {
    this.#due.push(startedMs + job.facts.timeLimitMs, { job, position, startedMs })
    if (this.#due.size > 2 * this.#tasks.running + slack) this.#due.retain((one) => this.#runs(one))
  }

  /** The next task whose limit has ended until `untilMs`; null: no more. */
  take(untilMs: number): Limited | null {
    while (this.#due.nextMs <= untilMs) {
      const one = this.#due.pop()
      if (one !== undefined && this.#runs(one)) return one
    }
    return null
  }

  #runs({ job, position, startedMs }: Limited): boolean {
    const task = job.tasks[position] ?? -1
    return task >= 0 && this.#tasks.startedMs[task] === startedMs
  }
}
