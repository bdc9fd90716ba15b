/**
 * Tasks that are to start: so many at a time, in the order in which they came. Invariant: what a task is told while it starts reaches it
 * once it has.
 */
import { availableParallelism } from 'node:os'
import type { TaskStart, TaskStop } from '../protocol/index.ts'

/** Programs that are being started at one time. */
const startsMax = 8
/** Of these, places for tasks that run one after another: more of them at once take the processors from what runs already. */
const placesMax = Math.max(2, availableParallelism())

interface Waiting<Live> {
  readonly live: Live
  readonly start: TaskStart
}

export interface TaskStartsNeeds<Live> {
  /** Starts a task. Never rejects. */
  readonly run: (live: Live, start: TaskStart) => Promise<void>
  /** Whether a place is made for it. */
  readonly isPlaced: (live: Live) => boolean
  /** What a task was told while it was being started. */
  readonly stop: (stop: TaskStop) => void
}

export class TaskStarts<Live> {
  readonly #needs: TaskStartsNeeds<Live>
  readonly #queue: Waiting<Live>[] = []
  /** Those that wait or are being started, and what they were told meanwhile. */
  readonly #told = new Map<string, TaskStop[]>()
  readonly #active = new Set<Promise<void>>()
  /** Of those that are being started, the ones for which a place is made. */
  #making = 0

  constructor(needs: TaskStartsNeeds<Live>) {
    this.#needs = needs
  }

  has(task: string): boolean {
    return this.#told.has(task)
  }

  tasks(): Iterable<string> {
    return this.#told.keys()
  }

  add(live: Live, start: TaskStart): void {
    this.#told.set(start.task, [])
    this.#queue.push({ live, start })
    this.#pump()
  }

  /** Keeps what a task is told that is being started; false: it is not. */
  keep(stop: TaskStop): boolean {
    const told = this.#told.get(stop.task)
    told?.push(stop)
    return told !== undefined
  }

  /** Takes out the first of these that waits for a place, if it is no part of a gang; `begin` is to start it at once. */
  takeOver(live: Live, begin: (start: TaskStart) => void): void {
    const at = this.#queue.findIndex((waiting) => waiting.live === live && waiting.start.hosts === null)
    const [next] = at < 0 ? [] : this.#queue.splice(at, 1)
    if (next === undefined) return
    begin(next.start)
    this.#begun(next.start.task)
  }

  /** Forgets those that wait, and waits for those that are being started. */
  async leave(): Promise<void> {
    this.#queue.length = 0
    await Promise.all(this.#active)
  }

  #pump(): void {
    for (let [next] = this.#queue; next !== undefined && this.#active.size < startsMax; [next] = this.#queue) {
      const { live, start } = next
      const placed = this.#needs.isPlaced(live) ? 1 : 0
      if (this.#making + placed > placesMax) return
      this.#queue.shift()
      this.#making += placed
      const started = this.#needs.run(live, start).then(() => {
        this.#active.delete(started)
        this.#making -= placed
        this.#begun(start.task)
        this.#pump()
      })
      this.#active.add(started)
    }
  }

  #begun(task: string): void {
    const told = this.#told.get(task) ?? []
    this.#told.delete(task)
    for (const stop of told) this.#needs.stop(stop)
  }
}
