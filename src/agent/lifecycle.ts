/**
 * The life of one instance, as a pure state machine: events in, the next state and what to do out. The runner carries it
 * out; the tests carry it through every event in every phase.
 *
 *   waiting --possible--> starting --probe-ok--> ready <--> unready
 *      ^                     |                     |
 *      |                     +------ exited -------+
 *      |                              v
 *      +------ timer ---------- backing-off --(too often, never ready)--> gave-up
 *
 *   from anywhere --stop--> stopping --exited--> stopped          a job: starting --exited--> succeeded | failed
 *   a running one --frozen--> unready, held --thawed--> unready    held --discard--> (killed) --exited--> gave-up | failed
 *
 * Invariants: a phase that has a program running is left only through `exited`; pauses between restarts grow and are
 * capped; what has never been ready is given up, with the reason; what once served is tried for ever, and so is a start that
 * something outside holds up.
 */
import type { Retry } from '../base/index.ts'
import type { Exit } from '../sandbox/index.ts'
import type { InstanceAssignment, Phase } from '../protocol/index.ts'

export interface Life {
  readonly phase: Phase
  /** Why it is in this phase, for a person. */
  readonly reason: string | null
  readonly restarts: number
  /** Ends since it last was ready. */
  readonly failures: number
  readonly everReady: boolean
  /** Probes failed in a row. */
  readonly misses: number
  /** It is frozen, for a person to look at: until it is let go or ended nothing else happens to it. */
  readonly held: boolean
}

export type LifeEvent =
  /** Everything it uses is there. */
  | { readonly kind: 'possible' }
  /** Something it uses is not; `reason` is a sentence. */
  | { readonly kind: 'blocked'; readonly reason: string }
  /** `retry`: never, or later because of something outside (a bundle that cannot be fetched now); `now` is for all else. */
  | { readonly kind: 'start-failed'; readonly reason: string; readonly retry: Retry }
  | { readonly kind: 'probe-ok' }
  | { readonly kind: 'probe-failed'; readonly reason: string }
  | { readonly kind: 'ready-timeout' }
  | { readonly kind: 'exited'; readonly exit: Exit }
  /** The pause before the next start is over. */
  | { readonly kind: 'timer' }
  | { readonly kind: 'stop' }
  | { readonly kind: 'frozen'; readonly reason: string }
  | { readonly kind: 'thawed' }
  /** What is frozen is to be ended, and not started again. */
  | { readonly kind: 'discard'; readonly reason: string }

export type LifeCommand =
  | { readonly kind: 'start' }
  /** Ask again whether everything it uses is there. */
  | { readonly kind: 'check' }
  | { readonly kind: 'pause'; readonly forMs: number }
  /** Ask it to end; kill it when it does not in time. */
  | { readonly kind: 'terminate' }
  | { readonly kind: 'kill' }

export interface LifePolicy {
  readonly kind: 'service' | 'job'
  /** Starts that may fail before it has ever been ready (a service), or at all (a job). */
  readonly failuresMax: number
  readonly pauseMinMs: number
  readonly pauseMaxMs: number
  /** Failed probes in a row after which a ready instance gets no more requests. */
  readonly missesMax: number
}

/** What instances live by unless said otherwise. */
export const servicePolicy: LifePolicy = {
  kind: 'service',
  failuresMax: 5,
  pauseMinMs: 500,
  pauseMaxMs: 30_000,
  missesMax: 3,
}
/** A job that nothing was said of. */
export const jobPolicy: LifePolicy = { ...servicePolicy, kind: 'job', failuresMax: 3, pauseMaxMs: 600_000 }

/** What an instance lives by. */
export function policyOf({ kind, retry }: Pick<InstanceAssignment, 'kind' | 'retry'>): LifePolicy {
  if (kind === 'service') return servicePolicy
  return retry === undefined ? jobPolicy : { ...jobPolicy, failuresMax: retry.attempts, pauseMinMs: retry.pauseMs }
}

export const newLife: Life = {
  phase: 'waiting',
  reason: null,
  restarts: 0,
  failures: 0,
  everReady: false,
  misses: 0,
  held: false,
}

/** What is known of an instance that an earlier agent has started. */
export interface Found {
  /** Starts so far, the one that is found included. */
  readonly starts: number
  /** The one that is found has been ready. */
  readonly served: boolean
  /** Any of them has. */
  readonly everServed: boolean
}

/**
 * The life of an instance that is found: what served is not taken out of the routes for the time of a probe, because whoever
 * asked it meanwhile was answered; what has never served is not tried for ever because an agent has died over it.
 */
export function foundLife({ starts, served, everServed }: Found, policy: LifePolicy): Life {
  const restarts = Math.max(0, starts - 1)
  if (policy.kind === 'job') return { ...newLife, phase: 'starting', restarts, failures: restarts }
  const phase = served ? 'ready' : 'starting'
  // Not every start before this one need have failed by itself: it has one more at least.
  const failures = everServed ? 0 : Math.min(restarts, policy.failuresMax - 1)
  return { ...newLife, phase, restarts, everReady: everServed, failures }
}

/** The life of an instance that is found frozen. */
export function frozenLife(life: Life, { id, what }: { readonly id: string; readonly what: string }): Life {
  return { ...life, phase: 'unready', held: true, reason: `frozen: ${what}; see \`stead incidents ${id}\`` }
}

export interface LifeStep {
  readonly life: Life
  readonly commands: readonly LifeCommand[]
}

const running: ReadonlySet<Phase> = new Set(['starting', 'ready', 'unready'])
const ended: ReadonlySet<Phase> = new Set(['stopped', 'succeeded', 'failed'])

/** The next state. An event that means nothing in a phase changes nothing. */
export function step(life: Life, event: LifeEvent, policy: LifePolicy): LifeStep {
  const stay = (change: Partial<Life> = {}): LifeStep => ({ life: { ...life, ...change }, commands: [] })
  const go = (
    phase: Phase,
    reason: string | null,
    change: Partial<Life> = {},
    ...commands: LifeCommand[]
  ): LifeStep => ({
    life: { ...life, phase, reason, ...change },
    commands,
  })

  if (life.held && ['probe-ok', 'probe-failed', 'ready-timeout'].includes(event.kind)) return stay()
  switch (event.kind) {
    case 'possible':
      return life.phase === 'waiting' ? go('starting', null, { misses: 0 }, { kind: 'start' }) : stay()
    case 'blocked':
      return life.phase === 'waiting' ? stay({ reason: event.reason }) : stay()
    case 'timer':
      return life.phase === 'backing-off'
        ? go('waiting', life.reason, { restarts: life.restarts + 1 }, { kind: 'check' })
        : stay()
    case 'probe-ok':
      if (life.phase !== 'starting' && life.phase !== 'unready' && life.phase !== 'ready') return stay()
      return life.phase === 'ready'
        ? stay({ misses: 0 })
        : go('ready', null, { everReady: true, failures: 0, misses: 0 })
    case 'probe-failed':
      // Once its time is over it is being killed, and a probe that this cuts off says nothing of why.
      if (life.phase === 'starting' && !life.everReady && life.failures >= policy.failuresMax) return stay()
      if (life.phase === 'starting') return stay({ reason: event.reason })
      if (life.phase !== 'ready') return stay()
      if (life.misses + 1 < policy.missesMax) return stay({ misses: life.misses + 1 })
      return go('unready', event.reason, { misses: life.misses + 1 })
    case 'ready-timeout':
      if (life.phase !== 'starting') return stay()
      // Killed now; the exit that follows finds the verdict in `failures`.
      return go(
        'starting',
        life.reason,
        { failures: life.everReady ? life.failures : policy.failuresMax },
        { kind: 'kill' },
      )
    case 'start-failed':
      // Asked to stop meanwhile: there is nothing that would still end.
      if (life.phase === 'stopping') return go('stopped', null)
      if (life.phase !== 'starting') return stay()
      if (event.retry === 'never') return go(policy.kind === 'job' ? 'failed' : 'gave-up', event.reason)
      return event.retry === 'later' ? backOff(life, event.reason, policy) : afterFailure(life, event.reason, policy)
    case 'exited':
      if (life.phase === 'stopping') return go('stopped', null)
      if (!running.has(life.phase)) return stay()
      if (life.held) return go(policy.kind === 'job' ? 'failed' : 'gave-up', life.reason, { held: false })
      if (policy.kind === 'job' && event.exit.cause === 'code' && event.exit.code === 0) return go('succeeded', null)
      return afterFailure(life, reasonOfEnd(life, event.exit, policy), policy)
    case 'stop':
      // What is frozen could not answer; it is not let go on to do so.
      if (running.has(life.phase))
        return go('stopping', null, { held: false }, { kind: life.held ? 'kill' : 'terminate' })
      if (life.phase === 'stopping' || ended.has(life.phase)) return stay()
      return go('stopped', null)
    case 'frozen':
      return running.has(life.phase) ? go('unready', event.reason, { held: true }) : stay()
    case 'thawed':
      return life.held ? stay({ held: false, misses: 0, reason: 'let go on, not asked yet' }) : stay()
    case 'discard':
      return life.held ? go(life.phase, event.reason, {}, { kind: 'kill' }) : stay()
  }
}

function reasonOfEnd(life: Life, exit: Exit, policy: LifePolicy): string {
  const neverAnswered = policy.kind === 'service' && !life.everReady && life.failures >= policy.failuresMax
  return neverAnswered ? `did not get ready in time${life.reason === null ? '' : `: ${life.reason}`}` : exit.sentence
}

function afterFailure(life: Life, reason: string, policy: LifePolicy): LifeStep {
  const failures = life.failures + 1
  if (failures >= policy.failuresMax && !life.everReady) {
    const times = failures > policy.failuresMax ? '' : ` (${failures} times)`
    const phase = policy.kind === 'job' ? 'failed' : 'gave-up'
    return { life: { ...life, phase, reason: `${reason}${times}`, failures }, commands: [] }
  }
  return backOff({ ...life, failures }, reason, policy)
}

function backOff(life: Life, reason: string, policy: LifePolicy): LifeStep {
  const forMs = Math.min(policy.pauseMinMs * 2 ** Math.max(0, life.failures - 1), policy.pauseMaxMs)
  return { life: { ...life, phase: 'backing-off', reason }, commands: [{ kind: 'pause', forMs }] }
}
