/** What is deleted, and what never is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import type { Release } from './history.ts'
import { type Copy, retain, type Retention } from './retain.ts'
import { deployment, going, until } from './seen.test-helper.ts'
import { taskOf } from './task.ts'

const dayMs = 86_400_000
const policy: Retention = {
  checkpointsMax: 2,
  checkpointAgeMaxMs: 10 * dayMs,
  branchesMax: 1,
  branchAgeMaxMs: 10 * dayMs,
}

function release(number: number, state: Release['state'] = 'replaced'): Release {
  return {
    number,
    checkpoint: number === 1 ? null : `before-${number}`,
    migrates: 'none',
    contracted: false,
    state,
    reason: null,
    after: number === 1 ? null : number - 1,
    backTo: null,
    withData: false,
  }
}

const copy = (name: string, kind: Copy['kind'], day: number): Copy => ({ name, kind, createdAtMs: day * dayMs })
const names = (...args: Parameters<typeof retain>): string[] => retain(...args).map(({ name }) => name)

test('by number, by age, oldest first, and it says why', () => {
  const releases = [release(1), release(2), release(3), release(4), release(5, 'live')]
  const copies = [2, 3, 4, 5].map((number) => copy(`before-${number}`, 'checkpoint', number))
  assert.deepEqual(retain(releases, copies, null, policy, 6 * dayMs), [
    { name: 'before-2', why: 'there are 3 newer ones, and 2 are kept' },
    { name: 'before-3', why: 'there are 2 newer ones, and 2 are kept' },
  ])
  // However old: the live release needs its own.
  assert.deepEqual(names(releases, copies, null, policy, 100 * dayMs), ['before-2', 'before-3', 'before-4'])
})

test('R25: what a person has named stays', () => {
  const copies = [
    copy('friday', 'checkpoint', 1),
    copy('preview', 'clone', 1),
    copy('before-the-sale', 'checkpoint', 1),
  ]
  assert.deepEqual(names([release(1, 'live')], copies, null, policy, 1000 * dayMs), [])
})

test('branches have a limit of their own, and what a rollout left over goes', () => {
  const copies = [
    copy('left-by-3', 'branch', 1),
    copy('left-by-5', 'branch', 2),
    copy('return-5', 'clone', 2),
    copy('rehearse-6', 'clone', 2),
  ]
  const live = { ...release(6, 'live'), checkpoint: null }
  assert.deepEqual(names([live], copies, null, policy, 3 * dayMs).toSorted(), ['left-by-3', 'rehearse-6', 'return-5'])
})

test('R25: nothing that a rollout asks for is ever deleted, in any step, whatever else there is', () => {
  const dice = seededRandom(7)
  for (let round = 0; round < 300; round += 1) {
    const [a = 0, b = 0] = dice.bytes(2)
    const begun = a % 2 === 0 ? deployment({ migrates: a % 4 === 0 ? 'stop' : 'expand' }) : going()
    const step = begun.steps[0]?.step ?? 'start'
    const { rollout } = until(begun, b % 2 === 0 ? step : 'checkpoint')
    const task = taskOf(rollout)
    const asked = JSON.stringify([task, rollout.checkpoint])
    const copies = ['before-8', 'return-9', 'rehearse-8', 'left-by-9', 'contract-8', 'before-3', 'before-2'].map(
      (name, index) =>
        copy(name, name.startsWith('left') ? 'branch' : name.startsWith('re') ? 'clone' : 'checkpoint', index),
    )
    const none: Retention = { checkpointsMax: 0, checkpointAgeMaxMs: 0, branchesMax: 0, branchAgeMaxMs: 0 }
    for (const name of names([release(7, 'live')], copies, rollout.outcome === null ? rollout : null, none, 1e12)) {
      assert.ok(rollout.outcome !== null || !asked.includes(`"${name}"`), `${name} while ${asked}`)
    }
  }
})
