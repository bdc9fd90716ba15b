/**
 * The rotation of one secret, with overlap, as a pure state machine: an event in, the next state and what to do out.
 *
 *   steady --rotate--> created --valid--> overlap --reported--> revoking --revoked--> steady
 *      |                                   ^  |
 *      +--------------- set ---------------+  +-- set (a value nobody has to accept first)
 *
 * created: the new version exists, and nobody is given it yet; whoever checks it (a database) has to accept it first.
 * overlap: the new version is the current one, and the old is still valid: consumers change over.
 * revoking: every consumer has said that it has the current version; the old one is being made invalid.
 *
 * Invariants: the state is one record, written together with the versions it speaks of, so a crash at any point finds it
 * and goes on; an old version is revoked only after every consumer has reported the current one; a consumer that never
 * reports leaves it in `overlap`, where both are valid.
 */

/** Where a rotation stands. `again`: asked for once more while it was under way; it begins anew when it is through. */
export type Rotation =
  | { readonly at: 'steady' }
  | { readonly at: 'created'; readonly to: number; readonly again: boolean }
  /** `from`: the oldest version that may still be in use. */
  | { readonly at: 'overlap'; readonly from: number; readonly again: boolean }
  | { readonly at: 'revoking'; readonly from: number; readonly again: boolean }

export type RotationEvent =
  /** Make a new version and bring it to everybody. */
  | 'rotate'
  /** A value came from outside, and counts at once. */
  | 'set'
  /** The new version is accepted wherever it is checked. */
  | 'valid'
  /** Every consumer has reported the current version, and none runs with an older one. */
  | 'reported'
  /** The old version is accepted nowhere any more. */
  | 'revoked'

/** What the owner of the versions does, in the same write. */
export type RotationEffect =
  /** Makes the next version, without making it the current one. */
  | 'create'
  /** Makes the newest version the current one. */
  | 'publish'

export interface RotationStep {
  readonly rotation: Rotation
  readonly effects: readonly RotationEffect[]
}

export const steady: Rotation = { at: 'steady' }

/** The versions a step is taken between: the current one (0: none yet), and the number the next one would have. */
export interface Versions {
  readonly current: number
  readonly next: number
}

/** The next state; null when the event cannot be taken now and has to be tried again later. What means nothing changes nothing. */
export function stepRotation(
  rotation: Rotation,
  event: RotationEvent,
  { current, next }: Versions,
): RotationStep | null {
  const stay: RotationStep = { rotation, effects: [] }
  switch (event) {
    case 'rotate':
      if (rotation.at === 'steady') return begin(next)
      return { rotation: { ...rotation, again: true }, effects: [] }
    case 'set':
      if (rotation.at === 'created' || rotation.at === 'revoking') return null
      if (rotation.at === 'overlap') return { rotation, effects: ['create', 'publish'] }
      return {
        rotation: current === 0 ? steady : { at: 'overlap', from: current, again: false },
        effects: ['create', 'publish'],
      }
    case 'valid':
      if (rotation.at !== 'created') return stay
      return {
        rotation: current === 0 ? steady : { at: 'overlap', from: current, again: rotation.again },
        effects: ['publish'],
      }
    case 'reported':
      return rotation.at === 'overlap' ? { rotation: { ...rotation, at: 'revoking' }, effects: [] } : stay
    case 'revoked':
      if (rotation.at !== 'revoking') return stay
      return rotation.again ? begin(next) : { rotation: steady, effects: [] }
  }
}

function begin(to: number): RotationStep {
  return { rotation: { at: 'created', to, again: false }, effects: ['create'] }
}

/** The versions that have to be accepted where they are checked, the current one first. */
export function validVersions(rotation: Rotation, current: number): readonly number[] {
  if (current === 0) return rotation.at === 'created' ? [rotation.to] : []
  if (rotation.at === 'created') return [current, rotation.to]
  return rotation.at === 'overlap' && rotation.from !== current ? [current, rotation.from] : [current]
}
