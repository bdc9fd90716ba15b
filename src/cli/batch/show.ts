/** Jobs as people are shown them. */
import type {
  AccountRecord,
  JobView,
  NodeView,
  QueueRecord,
  ReservationRecord,
  TaskView,
  UsageRecord,
} from '../../batch/index.ts'
import { duration, paint, size, table } from '../terminal.ts'

const colours = {
  running: 'cyan',
  stopping: 'cyan',
  succeeded: 'green',
  failed: 'red',
  'timed-out': 'red',
  'gave-up': 'red',
  cancelled: 'yellow',
  waiting: 'dim',
} as const

function head(...names: string[]): string[] {
  return names.map((name) => paint('dim', name))
}

export function jobTable(jobs: readonly JobView[]): string {
  const rows = jobs.map((job) => [
    String(job.job),
    job.name,
    job.account,
    job.queue,
    paint(colours[job.phase], job.phase),
    job.count === 1 ? '' : tasksOf(job),
    duration((job.endedMs ?? Date.now()) - job.submittedMs),
    job.sentence ?? '',
  ])
  return table([head('JOB', 'NAME', 'ACCOUNT', 'QUEUE', 'STATE', 'TASKS', 'SINCE', ''), ...rows])
}

/** `3 running, 2 waiting of 8`. */
export function tasksOf({ tasks, count }: JobView): string {
  const parts = Object.entries(tasks).map(([phase, number]) => `${number} ${phase}`)
  return `${parts.join(', ')} of ${count}`
}

export function taskTable(tasks: readonly TaskView[]): string {
  const rows = tasks.map((task) => [
    String(task.index),
    paint(colours[task.phase], task.phase),
    task.node ?? '',
    task.attempt > 1 ? `attempt ${task.attempt}` : '',
    task.startedMs === null ? '' : duration((task.endedMs ?? Date.now()) - task.startedMs),
    task.exitCode === null ? '' : String(task.exitCode),
    task.phase === 'succeeded' ? '' : (task.sentence ?? ''),
  ])
  return table([head('TASK', 'STATE', 'NODE', '', 'RAN', 'CODE', ''), ...rows])
}

export function usageTable(records: readonly UsageRecord[]): string {
  const rows = records.map((record) => [
    record.account,
    record.app === '' ? '-' : record.app,
    String(record.tasks),
    String(record.failed),
    (record.cpuSeconds / 3600).toFixed(3),
    (record.memoryByteSeconds / 3600 / 1e9).toFixed(3),
    (record.gpuSeconds / 3600).toFixed(3),
  ])
  return table([head('ACCOUNT', 'APP', 'TASKS', 'FAILED', 'CORE HOURS', 'GB HOURS', 'GPU HOURS'), ...rows])
}

export function queueTable(queues: readonly QueueRecord[]): string {
  const rows = queues
    .toSorted((a, b) => b.priority - a.priority)
    .map(({ name, priority, preempts, timeLimitMs }) => [
      name,
      String(priority),
      preempts ? 'stops others' : '',
      timeLimitMs === null ? '' : `at most ${duration(timeLimitMs)}`,
    ])
  return table([head('QUEUE', 'PRIORITY', '', 'TIME'), ...rows])
}

export function accountTable(accounts: readonly AccountRecord[]): string {
  const rows = accounts.map(({ name, weight, cpu, memoryBytes, gpus, tasks }) => [
    name,
    String(weight),
    cpu === null ? '-' : String(cpu),
    memoryBytes === null ? '-' : size(memoryBytes),
    gpus === null ? '-' : String(gpus),
    tasks === null ? '-' : String(tasks),
  ])
  return table([head('ACCOUNT', 'WEIGHT', 'CORES', 'MEMORY', 'GPUS', 'TASKS'), ...rows])
}

export function reservationTable(reservations: readonly ReservationRecord[]): string {
  const moment = (ms: number): string => `${new Date(ms).toISOString().slice(0, 16)}Z`
  const rows = reservations.map(({ name, nodes, fromMs, untilMs, by }) => [
    name,
    moment(fromMs),
    moment(untilMs),
    nodes.length > 3 ? `${nodes.length} nodes` : nodes.join(', '),
    `by ${by}`,
  ])
  return table([head('RESERVATION', 'FROM', 'UNTIL', 'NODES', ''), ...rows])
}

function stateOf({ present, cordonedBy }: Pick<NodeView, 'present' | 'cordonedBy'>): string {
  const here = present ? paint('green', 'here') : paint('yellow', 'away')
  return cordonedBy === null ? here : `${here}, ${paint('yellow', `cordoned by ${cordonedBy}`)}`
}

export function nodeTable(nodes: readonly NodeView[]): string {
  const rows = nodes.map(({ node, cpu, memoryBytes, gpus, labels, realtimeCores, counted, forecast, ...state }) => [
    node,
    `${cpu} cores`,
    size(memoryBytes),
    [
      ...(gpus === null ? [] : [`${gpus.count} x ${gpus.model}`]),
      ...(realtimeCores === 0 ? [] : [`time reserved on ${realtimeCores}`]),
      ...(forecast === null ? [] : [`leaves room by forecast (${forecast})`]),
      ...Object.entries(counted).map(([name, count]) => `${count} ${name}`),
      ...Object.entries(labels).map(([label, value]) => (value === '' ? label : `${label}=${value}`)),
    ].join(', '),
    stateOf(state),
  ])
  return table([head('NODE', 'CORES', 'MEMORY', '', ''), ...rows])
}
