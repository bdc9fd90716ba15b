/** What nodes are to be told and what is to be written, collected while events are applied. Invariant: it is told only after it is written. */
import type { TaskJob, TasksDownward, TaskStart, TaskStop } from '../protocol/index.ts'

/** Everything that one node, or pool, is told at once, but for the epoch. */
export type Tell = Omit<TasksDownward, 'type' | 'epoch'>

interface Open {
  readonly jobs: Map<number, TaskJob>
  readonly start: TaskStart[]
  readonly stop: TaskStop[]
  readonly over: number[]
  readonly forget: number[]
}

export class Outbox {
  #open = new Map<string, Open>()
  /** Jobs that a node has been told since it last said hello. */
  readonly #told = new Map<string, Set<number>>()
  /** Pools by the nodes that they speak for. */
  readonly #speakers = new Map<string, string>()

  start(node: string, job: () => TaskJob, start: TaskStart): void {
    const speaker = this.speakerOf(node)
    const open = this.#of(speaker)
    const told = this.#toldOf(speaker)
    if (!told.has(start.job)) open.jobs.set(start.job, job())
    told.add(start.job)
    open.start.push(speaker === node ? start : { ...start, node })
  }

  stop(node: string, stop: TaskStop): void {
    this.#of(this.speakerOf(node)).stop.push(stop)
  }

  /** A job is over; the node keeps its output. */
  over(node: string, job: number): void {
    this.#toldOf(node).delete(job)
    this.#of(node).over.push(job)
  }

  overEverywhere(job: number): void {
    for (const [node, told] of this.#told) if (told.has(job)) this.over(node, job)
  }

  /** What the node has of the job may be deleted. */
  forget(node: string, job: number): void {
    this.#of(node).forget.push(job)
  }

  forgetEverywhere(job: number): void {
    for (const node of this.#told.keys()) this.forget(node, job)
  }

  /** The node, or pool, knows nothing but what it has said. */
  greet(node: string): void {
    this.#told.set(node, new Set())
    this.#open.delete(node)
  }

  /** What is for the node is told to a pool. */
  speak(node: string, pool: string): void {
    this.#speakers.set(node, pool)
  }

  /** Nobody speaks for the node any more. */
  forgetNode(node: string): void {
    this.#speakers.delete(node)
    this.#told.delete(node)
  }

  /** Who is told what is for a node: the node itself, or its pool. */
  speakerOf(node: string): string {
    return this.#speakers.get(node) ?? node
  }

  knows(node: string, job: number): void {
    this.#toldOf(node).add(job)
  }

  /** Takes out what is to be told. */
  take(): ReadonlyMap<string, Tell> {
    const taken = new Map(
      [...this.#open].map(([node, { jobs, ...rest }]): [string, Tell] => [node, { jobs: [...jobs.values()], ...rest }]),
    )
    this.#open = new Map()
    return taken
  }

  #toldOf(node: string): Set<number> {
    const told = this.#told.get(node) ?? new Set()
    this.#told.set(node, told)
    return told
  }

  #of(node: string): Open {
    const open = this.#open.get(node) ?? { jobs: new Map(), start: [], stop: [], over: [], forget: [] }
    this.#open.set(node, open)
    return open
  }
}
