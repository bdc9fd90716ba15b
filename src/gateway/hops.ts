/**
 * Where on the way a request failed, pure: from the cause that the gateway saw itself and the health it was last told of the
 * part and of what the part uses. Invariant: what is marked as failed either failed before the gateway's own eyes or is
 * reported as failing; a guess is called one.
 */
import type { HopState, RouteHop } from '../protocol/index.ts'
import type { Cause, Hop } from './problem.ts'

/**
 * fine; failed: here it broke. affected: it fails, or waits, because of something else. unsure: not known to be well.
 * unreached: nothing was asked of it.
 */
export type Mark = 'fine' | 'failed' | 'affected' | 'unsure' | 'unreached'

/** One thing on the way, ready to be drawn. */
export interface DrawnHop {
  readonly kind: Hop | 'used'
  readonly name: string
  /** `service`, or a resource's type; empty for what is not a part. */
  readonly type: string
  readonly mark: Mark
  /** A word or two. */
  readonly said: string
}

export interface Way {
  /** From the client to the part. */
  readonly line: readonly DrawnHop[]
  /** What the part uses, the worst first. */
  readonly used: readonly DrawnHop[]
  /** What else is well and not drawn. */
  readonly more: number
  /** What that says about the failure; null when the cause says it all. */
  readonly finding: string | null
}

/** Most used parts that are drawn. */
const usedMax = 5

const ofCause: Partial<Readonly<Record<Cause, string>>> = {
  'no-instance': 'not running',
  starting: 'starting',
  deploying: 'being replaced',
  refused: 'refuses connections',
  'connect-timed-out': 'out of reach',
  'timed-out': 'did not answer',
  reset: 'hung up',
  'bad-response': 'did not speak HTTP',
}

const ofState: Readonly<Record<HopState, { readonly mark: Mark; readonly said: string; readonly order: number }>> = {
  failing: { mark: 'failed', said: 'failing', order: 0 },
  stopped: { mark: 'failed', said: 'stopped', order: 1 },
  degraded: { mark: 'unsure', said: 'partly failing', order: 2 },
  starting: { mark: 'unsure', said: 'starting', order: 3 },
  unknown: { mark: 'unsure', said: 'unknown', order: 4 },
  ready: { mark: 'fine', said: 'fine', order: 5 },
}

/** Draws the way of a failed request. `hops`: the part, then what it uses; empty when nothing is known of them. */
export function wayOf(cause: Cause, guilty: Hop, part: string, hops: readonly RouteHop[]): Way {
  const [own, ...others] = hops
  const used = others
    .map((hop) => ({ hop, ...ofState[hop.state] }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ hop, mark, said }): DrawnHop => ({ kind: 'used', name: hop.part, type: hop.type, mark, said }))
  const drawn = used.slice(0, usedMax)
  const broken = guilty === 'part' ? used.filter(({ mark }) => mark === 'failed') : []
  const waits = cause === 'starting' || cause === 'deploying'
  const partMark = broken.length > 0 || waits ? 'affected' : 'failed'
  const you: DrawnHop = { kind: 'you', name: 'You', type: '', ...(guilty === 'you' ? failedHere : fine) }
  const gateway: DrawnHop = { kind: 'gateway', name: 'Gateway', type: '', ...gatewayMark(cause, guilty) }
  const told = own === undefined || own.state === 'ready' || own.state === 'unknown' ? null : ofState[own.state]
  const asked: DrawnHop = {
    kind: 'part',
    name: part === '' ? 'App' : part,
    type: own?.type ?? '',
    ...(guilty === 'part'
      ? { mark: partMark, said: (cause === 'no-instance' ? told?.said : undefined) ?? ofCause[cause] ?? 'failed' }
      : guilty === 'gateway' && told !== null
        ? { mark: told.mark, said: told.said }
        : unreached),
  }
  const line = [you, gateway, asked]
  if (guilty === 'you') return { line, used: [], more: 0, finding: null }
  return { line, used: drawn, more: used.length - drawn.length, finding: findingOf(part, broken) }
}

const fine = { mark: 'fine', said: 'fine' } as const
const failedHere = { mark: 'failed', said: 'failed here' } as const
const unreached = { mark: 'unreached', said: 'not reached' } as const

function gatewayMark(cause: Cause, guilty: Hop): { readonly mark: Mark; readonly said: string } {
  if (guilty === 'part') return fine
  if (guilty === 'you') return { mark: 'fine', said: 'refused it' }
  return { mark: 'failed', said: cause === 'overloaded' ? 'full' : 'knows no way' }
}

function findingOf(part: string, broken: readonly DrawnHop[]): string | null {
  const [first, ...rest] = broken
  if (first === undefined) return null
  if (rest.length === 0) return `${first.name}, which ${part} uses, is ${first.said}. Most likely that is the cause.`
  const names = `${rest.map(({ name }) => name).join(', ')} and ${first.name}`
  return `${names}, which ${part} uses, do not work. Most likely that is the cause.`
}
