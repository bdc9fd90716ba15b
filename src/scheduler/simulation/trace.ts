/**
 * Traces: what was submitted when, and how long it ran. Read from the Standard Workload Format of the Parallel Workloads
 * Archive (a line of 18 numbers for each job), or from JSON of our own. Texts in, values out.
 */
import { badInput } from '../errors.ts'
import type { JobSpec, NodeSpec } from '../model.ts'

export interface TraceJob {
  readonly spec: JobSpec
  readonly submitMs: number
  /** How long each task runs once it has started. */
  readonly runMs: number
}

export interface Trace {
  readonly nodes: readonly NodeSpec[]
  /** In the order of submission. */
  readonly jobs: readonly TraceJob[]
}

/** Lines of a trace. */
const linesMax = 5_000_000

/**
 * A log in the Standard Workload Format. All processors are one node, because the format does not say where a job ran. The
 * time limit is the requested time, and where there is none the time it took. Jobs without processors or a run time
 * are left out. Throws `scheduler.bad-input`.
 */
export function readSwf(text: string): Trace {
  const lines = text.split('\n')
  if (lines.length > linesMax) throw badInput('the log', `at most ${linesMax} lines`, lines.length)
  const processors = Number(/^;\s*MaxProcs:\s*(\d+)/m.exec(text)?.[1] ?? /^;\s*MaxNodes:\s*(\d+)/m.exec(text)?.[1])
  const jobs: TraceJob[] = []
  let largest = 1
  for (const [index, line] of lines.entries()) {
    if (line.startsWith(';') || line.trim() === '') continue
    const fields = line.trim().split(/\s+/).map(Number)
    if (fields.length < 18 || fields.some(Number.isNaN))
      throw badInput(`line ${index + 1} of the log`, '18 numbers', line)
    const [number = 0, submit = 0, , run = 0, allocated = 0, , , wanted = 0, requested = 0, , , user = -1] = fields
    const cpu = allocated > 0 ? allocated : wanted
    if (cpu <= 0 || run <= 0) continue
    largest = Math.max(largest, cpu)
    jobs.push({
      submitMs: submit * 1000,
      runMs: run * 1000,
      spec: {
        name: `j${number}`,
        needs: { cpu },
        timeLimitMs: Math.max(requested, run) * 1000,
        ...(user >= 0 ? { account: `u${user}` } : {}),
      },
    })
  }
  const cpu = processors > 0 ? processors : largest
  jobs.sort((a, b) => a.submitMs - b.submitMs)
  return { nodes: [{ name: 'machine', capacity: { cpu, memory: 0 } }], jobs }
}

/** Our own format: `{ nodes, jobs: [{ submitMs, runMs, spec }] }`. What is in it is checked when it is used. Throws `scheduler.bad-input`. */
export function readTrace(text: string): Trace {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw badInput('the trace', 'JSON', text.slice(0, 40))
  }
  if (!isTrace(value)) throw badInput('the trace', '{ nodes, jobs: [{ submitMs, runMs, spec }] }', text.slice(0, 40))
  return { nodes: value.nodes, jobs: value.jobs.toSorted((a, b) => a.submitMs - b.submitMs) }
}

function isTrace(value: unknown): value is Trace {
  if (typeof value !== 'object' || value === null || !('nodes' in value) || !('jobs' in value)) return false
  return Array.isArray(value.nodes) && Array.isArray(value.jobs) && value.jobs.every(isTraceJob)
}

function isTraceJob(value: unknown): value is TraceJob {
  return (
    typeof value === 'object' &&
    value !== null &&
    'submitMs' in value &&
    'runMs' in value &&
    'spec' in value &&
    Number.isFinite(value.submitMs) &&
    typeof value.runMs === 'number' &&
    value.runMs > 0
  )
}

/** The same jobs in less time: submissions come `factor` times as fast. */
export function compressed(trace: Trace, factor: number): Trace {
  return {
    nodes: trace.nodes,
    jobs: trace.jobs.map((job) => ({ ...job, submitMs: Math.round(job.submitMs / factor) })),
  }
}
