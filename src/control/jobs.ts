/**
 * The runs of jobs: when one begins, what becomes of one that meets another or was missed, and the history that is kept.
 * Pure: part of `decide`.
 *
 * Invariants, held by the simulation:
 * - A moment that the schedule names is dealt with once: it is run, waits, or is left out, and the history says which.
 * - There are never more runs at once than `overlap` allows, whatever the clock does.
 * - A clock that jumps makes no storm: what fell due in between follows `missed`, and after a jump back nothing runs twice.
 */
import { jsonEqual } from '../base/index.ts'
import type { JobPart } from '../model/index.ts'
import type { AssignmentStatus } from '../protocol/index.ts'
import { dueBetween, nextDueMs } from './schedule.ts'
import type { InstanceRecord, JobRecord, JobRun } from './state.ts'

/** Runs in the history of a job; older ones are forgotten. */
export const historyMax: number = 50
/** A run that starts no later than this after it was due was not missed. */
export const onTimeMs: number = 60_000
/**
 * A clock that was set back by less than this is waited out, so that nothing runs twice; by more, what was dealt with is
 * taken to be from a clock that was wrong, and the schedule begins anew.
 */
export const clockBackMaxMs: number = 86_400_000
/** As many moments that were missed are looked at, and counted. */
const dueMax = 100

/** What a turn knows of a job. */
export interface JobTurn {
  readonly part: JobPart
  readonly record: JobRecord | undefined
  /** Its instances that run or will. */
  readonly running: readonly InstanceRecord[]
  /** Whether the newest instance is of the job as it is now; null when there is none. */
  readonly latestIsCurrent: boolean | null
  readonly statusOf: (id: string) => AssignmentStatus | undefined
  /** Its instances in any phase, but those that are lost. */
  readonly known: ReadonlyMap<string, InstanceRecord>
  /** Those whose node has been away for too long. */
  readonly lost: readonly InstanceRecord[]
  /** False: stopped, or its app is down. */
  readonly wanted: boolean
  readonly nowMs: number
  /** Makes an instance; null when no node can take one. */
  readonly create: () => InstanceRecord | null
}

/** What follows: the job's record as it is to be; null when it is as it was. */
export function jobTurn(turn: JobTurn): JobRecord | null {
  const before = turn.record ?? emptyRecord(turn.part, turn.nowMs)
  const settled = { ...before, runs: before.runs.map((run) => settle(turn, run)) }
  const after = !turn.wanted
    ? settled
    : turn.part.schedule === null
      ? onRelease(turn, settled)
      : onSchedule(turn, settled)
  const kept = { ...after, runs: after.runs.slice(-historyMax) }
  return turn.record !== undefined && jsonEqual(kept, turn.record) ? null : kept
}

/** The record of a job that has never run: what was due before it was declared is not missed. */
export function emptyRecord(part: JobPart, nowMs: number): JobRecord {
  return { of: scheduleOf(part), lastDueMs: nowMs, waiting: [], runs: [] }
}

/** A run that begins now. */
export function begun(
  instance: string,
  cause: JobRun['cause'],
  dueMs: number,
  nowMs: number,
  by: string | null,
): JobRun {
  const open = { endMs: null, outcome: 'running', exitCode: null, sentence: null, times: 1 } as const
  return { cause, by, instance, dueMs, lastDueMs: dueMs, startMs: nowMs, ...open }
}

/** Why one more run would be too many, as the end of a sentence; null when there is room. */
export function noRoom(part: JobPart, running: number): string | null {
  if (running < part.overlap.runsMax) return null
  return running === 1 ? 'a run of it had not ended' : `${running} runs of it had not ended`
}

function scheduleOf({ schedule, timeZone }: JobPart): string {
  return schedule === null ? '' : `${schedule} ${timeZone}`
}

/** What has become of a run since. */
function settle({ known, lost, statusOf, nowMs }: JobTurn, run: JobRun): JobRun {
  if (run.outcome !== 'running' || run.instance === null) return run
  const instance = known.get(run.instance)
  const status = statusOf(run.instance)
  if (status?.phase === 'succeeded' || status?.phase === 'failed') {
    const sentence = status.reason ?? 'ended with code 0'
    return { ...run, outcome: status.phase, endMs: status.sinceMs, exitCode: status.exitCode ?? null, sentence }
  }
  if (instance?.phase === 'active') return run
  const away = lost.find(({ id }) => id === run.instance)?.node
  const sentence = away === undefined ? 'was stopped before its end' : `was given up: its node ${away} went away`
  return { ...run, outcome: 'stopped', endMs: nowMs, sentence }
}

function onRelease(turn: JobTurn, record: JobRecord): JobRecord {
  if (turn.latestIsCurrent === true) return record
  const instance = turn.create()
  if (instance === null) return record
  return { ...record, runs: [...record.runs, begun(instance.id, 'release', turn.nowMs, turn.nowMs, null)] }
}

function onSchedule(turn: JobTurn, known: JobRecord): JobRecord {
  const { part, nowMs } = turn
  const when = { schedule: part.schedule ?? '', timeZone: part.timeZone }
  const begin = (before: JobRecord): JobRecord => fill(turn, before)
  // Another schedule begins now: what it would have named before it was declared is not missed.
  if (known.of !== scheduleOf(part)) return begin({ ...known, of: scheduleOf(part), lastDueMs: nowMs, waiting: [] })
  if (known.lastDueMs - nowMs > clockBackMaxMs) return begin({ ...known, lastDueMs: nowMs })
  const nextMs = nextDueMs(when, known.lastDueMs)
  if (nextMs === null || nextMs > nowMs) return begin(known)

  const { runsMax, withinMs } = part.missed
  const secondMs = nextDueMs(when, nextMs)
  const due = secondMs === null || secondMs > nowMs ? [nextMs] : dueBetween(when, known.lastDueMs, nowMs, dueMax)
  // After a clock was set back by far, moments come again that are dealt with.
  const dealtWith = new Set(known.runs.filter((run) => run.cause !== 'person').map((run) => run.dueMs))
  for (const { dueMs } of known.waiting) dealtWith.add(dueMs)
  const fresh = due.filter((dueMs) => !dealtWith.has(dueMs))
  const onTime = fresh.filter((dueMs) => nowMs - dueMs <= onTimeMs).slice(-1)
  const late = fresh.filter((dueMs) => !onTime.includes(dueMs) && nowMs - dueMs <= withinMs)
  const room = Math.max(0, runsMax - onTime.length)
  const made = room === 0 ? [] : late.slice(-room)
  const lost = fresh.filter((dueMs) => !onTime.includes(dueMs) && !made.includes(dueMs))
  const waiting = [...known.waiting, ...made.map((dueMs) => ({ dueMs, cause: 'missed' as const }))]
  let record: JobRecord = { ...known, lastDueMs: nowMs, waiting: waiting.slice(-waitingMax(part)) }
  if (lost.length > 0) record = leftOut(record, 'missed', lost, 'was missed: nothing could run when it was due')
  for (const dueMs of onTime) record = take(turn, record, dueMs)
  return begin(record)
}

/** Most that may wait: what is made up for, and what the overlap lets wait. */
function waitingMax({ missed, overlap }: JobPart): number {
  return missed.runsMax + overlap.queueMax + 1
}

/** A run that is due now: begins in this turn, waits for one that runs to end, or is left out. */
function take({ part, running }: JobTurn, record: JobRecord, dueMs: number): JobRecord {
  const places = Math.max(0, part.overlap.runsMax - running.length) + part.overlap.queueMax
  if (record.waiting.length < places) return { ...record, waiting: [...record.waiting, { dueMs, cause: 'schedule' }] }
  const why = noRoom(part, running.length) ?? 'runs that were due before it had not begun'
  return leftOut(record, 'schedule', [dueMs], `was left out: ${why}`)
}

/** Starts what waits, as far as there is room. What cannot be placed goes on waiting. */
function fill(turn: JobTurn, record: JobRecord): JobRecord {
  const { part, running, nowMs } = turn
  const runs: JobRun[] = []
  const waiting = [...record.waiting]
  for (let next = waiting[0]; next !== undefined && noRoom(part, running.length + runs.length) === null;) {
    const instance = turn.create()
    if (instance === null) break
    runs.push(begun(instance.id, next.cause, next.dueMs, nowMs, null))
    waiting.shift()
    next = waiting[0]
  }
  return runs.length === 0 ? record : { ...record, waiting, runs: [...record.runs, ...runs] }
}

/** Notes what was not run. Several in a row for the same reason are one entry, so that they do not crowd out the runs. */
function leftOut(record: JobRecord, cause: JobRun['cause'], due: readonly number[], sentence: string): JobRecord {
  const [dueMs = 0] = due
  const lastDueMs = due.at(-1) ?? dueMs
  const last = record.runs.at(-1)
  if (last?.outcome === 'left-out' && last.sentence === sentence) {
    const more = { ...last, lastDueMs, times: last.times + due.length }
    return { ...record, runs: [...record.runs.slice(0, -1), more] }
  }
  const nothing = { by: null, instance: null, startMs: null, endMs: null, exitCode: null, times: due.length }
  return { ...record, runs: [...record.runs, { cause, dueMs, lastDueMs, outcome: 'left-out', sentence, ...nothing }] }
}

/** When the job runs next by its schedule; null when it has none, or the schedule is not in force. */
export function nextRunMs(part: JobPart, record: JobRecord | undefined, nowMs: number): number | null {
  if (part.schedule === null) return null
  // Until a clock that was set back has caught up, nothing is due.
  const afterMs = Math.max(record?.lastDueMs ?? nowMs, nowMs)
  return nextDueMs({ schedule: part.schedule, timeZone: part.timeZone }, afterMs)
}
