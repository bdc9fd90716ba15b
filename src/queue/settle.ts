/**
 * The life of one holding of a message, as a pure state machine. The table is total: for each standing and each decision
 * there is one answer.
 *
 * ```text
 *            ack, retry, reject            done
 *   held ───────────────────────▶ settling ────▶ settled   the same again: nothing; another: already-settled
 *    │ ▲                            │   │
 *    │ └────────── error ───────────┘   │ lost
 *    │ extend: held, or lost            ▼
 *    └───────────────────────────────▶ lost                everything: lease-lost
 * ```
 */
import type { Decision } from './driver.ts'

export type Standing =
  | { readonly kind: 'held' }
  | { readonly kind: 'settling'; readonly by: Decision['kind'] }
  | { readonly kind: 'settled'; readonly by: Decision['kind'] }
  | { readonly kind: 'lost' }

/** What is to be done about a decision: tell the driver, wait for the one under way, nothing, or refuse. */
export type Step = 'tell' | 'join' | 'nothing' | 'already-settled' | 'lease-lost'

/** The answer to `decision` in `standing`. */
export function stepOf(standing: Standing, decision: Decision['kind']): Step {
  switch (standing.kind) {
    case 'held':
      return 'tell'
    case 'settling':
      return standing.by === decision ? 'join' : 'already-settled'
    case 'settled':
      return standing.by === decision ? 'nothing' : 'already-settled'
    case 'lost':
      return 'lease-lost'
  }
}

/** The standing after the driver was told a decision. */
export function told(standing: Standing, decision: Decision['kind']): Standing {
  return decision === 'extend' ? standing : { kind: 'settling', by: decision }
}

/** The standing after the driver's answer to a decision. */
export function answered(standing: Standing, decision: Decision['kind'], answer: 'done' | 'lost' | 'error'): Standing {
  // An answer to an extension can come after the message was settled: then it changes nothing.
  if (decision === 'extend') return answer === 'lost' && standing.kind === 'held' ? { kind: 'lost' } : standing
  if (answer === 'error') return { kind: 'held' }
  return answer === 'lost' ? { kind: 'lost' } : { kind: 'settled', by: decision }
}
