/**
 * The tasks that wait or run, as columns of numbers. Kept: a task with a node is in the list of that node and in no other.
 * A task is a number here; numbers of ended tasks are used again.
 */
import { tooLarge } from './errors.ts'
import { grownFloats, grownNumbers } from './grow.ts'
import { tasksMax } from './limits.ts'
import type { Job } from './job.ts'
import type { Nodes } from './nodes.ts'

export class Tasks {
  /** Numbers below this have been given. */
  size = 0
  /** Number of the task's job. */
  job: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Which of its job's tasks it is. */
  position: Int32Array<ArrayBuffer> = new Int32Array(0)
  /** Where it runs, -1: nowhere. */
  node: Int32Array<ArrayBuffer> = new Int32Array(0)
  startedMs: Float64Array<ArrayBuffer> = new Float64Array(0)
  /** GPUs of its node that it uses, as bits; and the core on which its CPU time is reserved. */
  readonly gpus: Map<number, number> = new Map()
  readonly core: Map<number, number> = new Map()
  running = 0
  #next: Int32Array<ArrayBuffer> = new Int32Array(0)
  #previous: Int32Array<ArrayBuffer> = new Int32Array(0)
  readonly #unused: number[] = []

  /** How many more tasks there may be. */
  get room(): number {
    return tasksMax - this.size + this.#unused.length
  }

  /** Makes a task that waits. */
  add(job: number, position: number): number {
    if (this.room === 0) throw tooLarge('tasks', tasksMax)
    const task = this.#unused.pop() ?? this.size++
    if (task >= this.job.length) this.#grow(Math.max(64, this.job.length * 2))
    this.job[task] = job
    this.position[task] = position
    this.node[task] = -1
    return task
  }

  /** Forgets a task that runs nowhere. */
  remove(task: number): void {
    this.job[task] = -1
    this.#unused.push(task)
  }

  /** Puts a task on a node's list. */
  start(nodes: Nodes, task: number, node: number, nowMs: number): void {
    const head = nodes.firstTask[node] ?? -1
    this.node[task] = node
    this.startedMs[task] = nowMs
    this.#next[task] = head
    this.#previous[task] = -1
    if (head >= 0) this.#previous[head] = task
    nodes.firstTask[node] = task
    this.running++
  }

  /** Takes a task off its node's list. */
  stop(nodes: Nodes, task: number): void {
    const node = this.node[task] ?? -1
    const next = this.#next[task] ?? -1
    const previous = this.#previous[task] ?? -1
    if (next >= 0) this.#previous[next] = previous
    if (previous >= 0) this.#next[previous] = next
    else nodes.firstTask[node] = next
    this.node[task] = -1
    this.running--
  }

  /** The next task on the same node, -1: it was the last. */
  after(task: number): number {
    return this.#next[task] ?? -1
  }

  /** The tasks on a node, the one that came last first. */
  on(nodes: Nodes, node: number): number[] {
    const found: number[] = []
    for (let task = nodes.firstTask[node] ?? -1; task >= 0; task = this.#next[task] ?? -1) found.push(task)
    return found
  }

  #grow(length: number): void {
    this.job = grownNumbers(this.job, length)
    this.position = grownNumbers(this.position, length)
    this.node = grownNumbers(this.node, length)
    this.#next = grownNumbers(this.#next, length)
    this.#previous = grownNumbers(this.#previous, length)
    this.startedMs = grownFloats(this.startedMs, length)
  }
}

/** The name of a task, as events and decisions have it. */
export function taskName(job: Job, position: number): string {
  return job.single ? job.facts.name : `${job.facts.name}/${position}`
}
