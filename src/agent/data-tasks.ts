/**
 * What a node does with the data of an app when control asks: who comes when, and what becomes of a task that is cancelled.
 * The work itself is in data-copies and data-work.
 *
 * Invariants: one task of an app at a time, in the order in which they came; every task can be asked for again, and what is
 * done already is answered as done; a task that fails or is cancelled leaves nothing behind.
 */
import { SteadError } from '../base/index.ts'
import type { DataAnswers, DataTask } from '../protocol/index.ts'
import { checkpoint, cloneOf, deleteCopies, stateOf } from './data-copies.ts'
import { forward, layOutLogs } from './data-forward.ts'
import { type DataNeed, Positions } from './data-need.ts'
import { compare, pending, preview, rehearse, replay, verify } from './data-work.ts'
import { operate } from './operate.ts'
import type { AgentOptions } from './options.ts'

/** Most tasks of one app that wait. */
const waitingMax = 16

export class DataTasks {
  readonly #need: DataNeed
  /** By app: what is done now and what waits, in order. */
  readonly #queues = new Map<string, { tasks: DataTask['do'][]; last: Promise<unknown> }>()

  constructor(options: AgentOptions, own: Pick<DataNeed, 'domains' | 'resources' | 'instances'>) {
    this.#need = { options, ...own, positions: new Positions(options.stateDir) }
  }

  /** What is done with the data of an app now; null: nothing. */
  working(app: string): string | null {
    return this.#queues.get(app)?.tasks[0] ?? null
  }

  /**
   * Does a task and answers what came of it. Throws `agent.data-busy`, `agent.data-refused`, what the domain and the provider
   * throw, and the signal's reason when that is aborted.
   */
  async run(app: string, task: DataTask, signal: AbortSignal): Promise<DataAnswers[DataTask['do']]> {
    // It changes nothing, and is asked by people who wait.
    if (task.do === 'state') return stateOf(this.#need, app, task.sizes)
    if (task.do === 'operate') return operate(this.#need, app, task)
    const queue = this.#queues.get(app) ?? { tasks: [], last: Promise.resolve() }
    if (queue.tasks.length > waitingMax) {
      throw new SteadError({
        code: 'agent.data-busy',
        message: `${waitingMax} tasks with the data of ${app} wait already`,
        hint: 'Ask again when some are done.',
        retry: 'later',
      })
    }
    this.#queues.set(app, queue)
    queue.tasks.push(task.do)
    const turn = queue.last.then(() => this.#do(app, task, signal))
    queue.last = turn
      .catch(() => {})
      .then(() => {
        queue.tasks.shift()
        if (queue.tasks.length === 0) this.#queues.delete(app)
      })
    return turn
  }

  async #do(app: string, task: DataTask, signal: AbortSignal): Promise<DataAnswers[DataTask['do']]> {
    signal.throwIfAborted()
    const need = this.#need
    switch (task.do) {
      case 'state':
        return stateOf(need, app, task.sizes)
      case 'checkpoint':
        return checkpoint(need, app, task.name)
      case 'clone':
        return cloneOf(need, app, task.name, task.from)
      case 'delete':
        return deleteCopies(need, app, task.names)
      case 'pending':
        return pending(need, app, task.resources, signal)
      case 'rehearse':
        return rehearse(need, app, task, signal)
      case 'preview':
        return preview(need, app, task.since)
      case 'compare':
        return compare(need, app, task, signal)
      case 'forward':
        return forward(need, app, task, signal)
      case 'log':
        return layOutLogs(need, app)
      case 'verify':
        return verify(need, app, task, signal)
      case 'operate':
        return operate(need, app, task)
      case 'replay':
        return replay(need, app, task, signal)
    }
  }
}
