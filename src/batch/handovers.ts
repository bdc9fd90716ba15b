/** Places that change hands. Invariant: a node that ends what had a place before starts nothing until that is over. */
import type { BatchJob } from './job.ts'

interface Held {
  readonly job: BatchJob
  readonly position: number
}

export class Handovers {
  /** By node: tasks that it was told to end and that have not, and those that wait for that. */
  readonly #ending = new Map<string, Set<string>>()
  readonly #held = new Map<string, Held[]>()

  isBusy(node: string): boolean {
    return this.#ending.has(node)
  }

  ending(node: string, task: string): void {
    const ending = this.#ending.get(node)
    if (ending === undefined) this.#ending.set(node, new Set([task]))
    else ending.add(task)
  }

  ended(node: string, task: string): void {
    const ending = this.#ending.get(node)
    if (ending?.delete(task) === true && ending.size === 0) this.#ending.delete(node)
  }

  /** It begins when nothing is being ended there. */
  hold(node: string, job: BatchJob, position: number): void {
    const held = this.#held.get(node)
    if (held === undefined) this.#held.set(node, [{ job, position }])
    else held.push({ job, position })
  }

  /** What may begin there now. */
  release(node: string): readonly Held[] {
    if (this.#held.size === 0 || this.isBusy(node)) return []
    const held = this.#held.get(node) ?? []
    this.#held.delete(node)
    return held
  }

  /** Whether a task has not begun because something else has not ended; a gang begins as one. */
  isHeld(job: BatchJob, position: number): boolean {
    const isGang = job.record.submission.gang !== null
    for (const held of this.#held.values())
      if (held.some((one) => one.job === job && (isGang || one.position === position))) return true
    return false
  }

  /** A task that is held is not started after all; answers whether it was held. */
  unhold(node: string, job: BatchJob, position: number): boolean {
    const held = this.#held.get(node) ?? []
    const found = held.findIndex((one) => one.job === job && one.position === position)
    if (found >= 0) held.splice(found, 1)
    if (held.length === 0) this.#held.delete(node)
    return found >= 0
  }

  /** The node is gone. */
  forget(node: string): void {
    this.#ending.delete(node)
    this.#held.delete(node)
  }
}
