/** The rotation as a table: every event in every state, with what follows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Rotation, type RotationEvent, stepRotation, validVersions } from './rotation.ts'

const states: readonly Rotation[] = [
  { at: 'steady' },
  { at: 'created', to: 3, again: false },
  { at: 'created', to: 3, again: true },
  { at: 'overlap', from: 1, again: false },
  { at: 'overlap', from: 1, again: true },
  { at: 'revoking', from: 1, again: false },
  { at: 'revoking', from: 1, again: true },
]
const events: readonly RotationEvent[] = ['rotate', 'set', 'valid', 'reported', 'revoked']

const shown = (rotation: Rotation): string => {
  if (rotation.at === 'steady') return 'steady'
  return `${rotation.at} ${rotation.at === 'created' ? rotation.to : rotation.from}${rotation.again ? ' again' : ''}`
}

/** With version 2 current and 3 next. */
const table = `
steady            rotate   -> created 3 + create
steady            set      -> overlap 2 + create publish
steady            valid    -> steady
steady            reported -> steady
steady            revoked  -> steady
created 3         rotate   -> created 3 again
created 3         set      -> later
created 3         valid    -> overlap 2 + publish
created 3         reported -> created 3
created 3         revoked  -> created 3
created 3 again   rotate   -> created 3 again
created 3 again   set      -> later
created 3 again   valid    -> overlap 2 again + publish
created 3 again   reported -> created 3 again
created 3 again   revoked  -> created 3 again
overlap 1         rotate   -> overlap 1 again
overlap 1         set      -> overlap 1 + create publish
overlap 1         valid    -> overlap 1
overlap 1         reported -> revoking 1
overlap 1         revoked  -> overlap 1
overlap 1 again   rotate   -> overlap 1 again
overlap 1 again   set      -> overlap 1 again + create publish
overlap 1 again   valid    -> overlap 1 again
overlap 1 again   reported -> revoking 1 again
overlap 1 again   revoked  -> overlap 1 again
revoking 1        rotate   -> revoking 1 again
revoking 1        set      -> later
revoking 1        valid    -> revoking 1
revoking 1        reported -> revoking 1
revoking 1        revoked  -> steady
revoking 1 again  rotate   -> revoking 1 again
revoking 1 again  set      -> later
revoking 1 again  valid    -> revoking 1 again
revoking 1 again  reported -> revoking 1 again
revoking 1 again  revoked  -> created 3 + create
`

test('every event in every state', () => {
  const lines = states.flatMap((state) =>
    events.map((event) => {
      const step = stepRotation(state, event, { current: 2, next: 3 })
      const after =
        step === null ? 'later' : [shown(step.rotation), ...(step.effects.length > 0 ? ['+'] : [])].join(' ')
      return `${shown(state).padEnd(17)} ${event.padEnd(8)} -> ${[after, ...(step?.effects ?? [])].join(' ')}`
    }),
  )
  assert.equal(`\n${lines.join('\n')}\n`, table)
})

test('a first value has nothing to overlap with', () => {
  assert.deepEqual(stepRotation({ at: 'steady' }, 'set', { current: 0, next: 1 })?.rotation, { at: 'steady' })
  const created = { at: 'created', to: 1, again: false } as const
  assert.deepEqual(stepRotation(created, 'valid', { current: 0, next: 2 })?.rotation, { at: 'steady' })
})

test('both versions are valid from creation until the old one is revoked', () => {
  const valid = states.map((state) => `${shown(state)}: ${validVersions(state, 2).join(' ')}`)
  assert.deepEqual(valid, [
    'steady: 2',
    'created 3: 2 3',
    'created 3 again: 2 3',
    'overlap 1: 2 1',
    'overlap 1 again: 2 1',
    'revoking 1: 2',
    'revoking 1 again: 2',
  ])
})
