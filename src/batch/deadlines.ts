/** Time limits of tasks, and the warnings before them, by when they are due. Those of tasks that have ended meanwhile come up too, and mean nothing then. */

import { type BatchJob, taskId, timeLimitOf } from './job.ts'
import type { QueueRecord } from './records.ts'

export interface Due {
  readonly atMs: number
  readonly task: string
  readonly what: 'warning' | 'limit'
}

export class Deadlines {
  /** A binary heap: nothing is due before the one in front of it. */
  readonly #heap: Due[] = []

  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Infinity
  }

  /** A task runs: its time limit, and the warning before it. */
  watch(job: BatchJob, position: number, queue: QueueRecord): void {
    const { warn } = job.record.submission
    const { attempt, startedMs } = job.tasks.at(position)
    const limitMs = timeLimitOf(job.record, queue)
    if (limitMs === null) return
    const task = taskId(job.id, position, attempt)
    this.add({ atMs: startedMs + limitMs, task, what: 'limit' })
    if (warn !== null) this.add({ atMs: startedMs + limitMs - warn.beforeMs, task, what: 'warning' })
  }

  add(due: Due): void {
    const heap = this.#heap
    let at = heap.push(due) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]
      if (above === undefined || above.atMs <= due.atMs) break
      heap[at] = above
      at = parent
    }
    heap[at] = due
  }

  /** Takes out those that are due, the earliest first. */
  due(nowMs: number): readonly Due[] {
    const due: Due[] = []
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || first.atMs > nowMs) return due
      due.push(first)
      this.#removeFirst()
    }
  }

  #removeFirst(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let at = 0
    for (;;) {
      const left = 2 * at + 1
      const [a, b] = [heap[left], heap[left + 1]]
      if (a === undefined) break
      const isRight = b !== undefined && b.atMs < a.atMs
      const child = isRight ? b : a
      if (child.atMs >= last.atMs) break
      heap[at] = child
      at = isRight ? left + 1 : left
    }
    heap[at] = last
  }
}
