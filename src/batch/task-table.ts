/**
 * The tasks of one job, as columns of numbers, and the records that keep them. Invariant: a position that was never
 * started has no record; `fresh` is the first position from which on none has ever started.
 */
import type { TaskExit } from '../protocol/index.ts'

/** The order is that of the numbers in records; new ones come last. */
export const phases = [
  'waiting',
  'running',
  'stopping',
  'succeeded',
  'failed',
  'cancelled',
  'timed-out',
  'gave-up',
] as const
export type TaskPhase = (typeof phases)[number]

const phaseNumber = new Map<TaskPhase, number>(phases.map((phase, index) => [phase, index]))

/** Characters of a sentence that are kept. */
const sentenceMax = 500
/** Positions in one record. */
export const chunkSize = 128

/** What is kept of a task: phase, attempt, node, started, ended, exit code (or null), signal or cause, sentence, GPUs, what becomes of it, failures, core. */
export type TaskRow = readonly [
  phase: number,
  attempt: number,
  node: string,
  startedMs: number,
  endedMs: number,
  code: number | null,
  how: string,
  sentence: string,
  gpus: readonly number[],
  stopping: Task['stopping'],
  failures: number,
  core?: number | null,
]

export interface Task {
  phase: TaskPhase
  /** 0: never started. */
  attempt: number
  /** Attempts that failed, of which it may have so many more as retries; one that was displaced did not fail. */
  failures: number
  node: string
  startedMs: number
  endedMs: number
  exit: TaskExit | null
  /** What becomes of it once it has been stopped; `struck`: it is cancelled, and the scheduler still has it run. */
  stopping: 'waiting' | 'cancelled' | 'struck' | 'timed-out' | null
  gpus: readonly number[]
  /** On which of its node's cores for it its CPU time is reserved; null: none is. */
  core: number | null
}

/** Phases in which nothing happens any more. */
export function isOver(phase: TaskPhase): boolean {
  return phase !== 'waiting' && phase !== 'running' && phase !== 'stopping'
}

export class TaskTable {
  readonly count: number
  /** Only of positions that have started, or ended without. */
  readonly #tasks = new Map<number, Task>()
  readonly #counts = new Map<TaskPhase, number>()

  constructor(count: number) {
    this.count = count
    this.#counts.set('waiting', count)
  }

  /** How many are in a phase. */
  in(phase: TaskPhase): number {
    return this.#counts.get(phase) ?? 0
  }

  get over(): number {
    return this.count - this.in('waiting') - this.in('running') - this.in('stopping')
  }

  /** The task at a position; what was never touched waits. */
  at(position: number): Readonly<Task> {
    return this.#tasks.get(position) ?? fresh
  }

  change(position: number, change: Partial<Task>): Readonly<Task> {
    const before = this.#tasks.get(position)
    const task = before ?? { ...fresh }
    if (before === undefined) this.#tasks.set(position, task)
    if (change.phase !== undefined && change.phase !== task.phase) {
      this.#counts.set(task.phase, this.in(task.phase) - 1)
      this.#counts.set(change.phase, this.in(change.phase) + 1)
    }
    return Object.assign(task, change)
  }

  /** Positions that were ever touched, in the order in which they first were. */
  touched(): IterableIterator<number> {
    return this.#tasks.keys()
  }

  /** The record of a chunk: a row for each position that was touched. */
  record(chunk: number): { readonly [position: string]: TaskRow } {
    const rows: Record<string, TaskRow> = {}
    for (let position = chunk * chunkSize; position < Math.min(this.count, (chunk + 1) * chunkSize); position++) {
      const task = this.#tasks.get(position)
      if (task !== undefined) rows[position] = rowOf(task)
    }
    return rows
  }

  /** Takes back what `record` gave. */
  restore(rows: { readonly [position: string]: TaskRow }): void {
    for (const [position, row] of Object.entries(rows)) {
      const [phase, attempt, node, startedMs, endedMs, code, how, sentence, gpus, stopping, failures, core = null] = row
      const found = phases[phase] ?? 'waiting'
      const exit = isOver(found) && how !== '' ? exitOf(code, how, sentence) : null
      const place = { node, gpus, core }
      this.change(Number(position), { phase: found, attempt, startedMs, endedMs, exit, stopping, failures, ...place })
    }
  }
}

const fresh: Task = {
  phase: 'waiting',
  attempt: 0,
  failures: 0,
  node: '',
  startedMs: 0,
  endedMs: 0,
  exit: null,
  stopping: null,
  gpus: [],
  core: null,
}

function rowOf(task: Task): TaskRow {
  const { phase, attempt, node, startedMs, endedMs, exit, gpus, stopping, failures, core } = task
  const how = exit === null ? '' : exit.cause === 'signal' ? (exit.signal ?? 'signal') : exit.cause
  const number = phaseNumber.get(phase) ?? 0
  const sentence = exit?.sentence.slice(0, sentenceMax) ?? ''
  const code = exit?.code ?? null
  const row = [number, attempt, node, startedMs, endedMs, code, how, sentence, gpus, stopping, failures] as const
  return core === null ? row : [...row, core]
}

function exitOf(code: number | null, how: string, sentence: string): TaskExit {
  if (how.startsWith('SIG')) return { cause: 'signal', code, signal: how, sentence }
  const causes = ['code', 'memory', 'unknown', 'not-started', 'interrupted'] as const
  const cause = causes.find((candidate) => candidate === how) ?? 'unknown'
  return { cause, code, signal: cause === 'memory' ? 'SIGKILL' : null, sentence }
}
