/** Faults on a disk that takes nothing: none comes into force without being written down, and each ends in its time. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ManualClock } from '../base/index.ts'
import type { FaultLease } from '../protocol/index.ts'
import { Breaking } from './breaking.ts'

const lease: FaultLease = { id: 'f1', app: 'shop', fault: { kind: 'kill', part: 'web' }, leaseMs: 5000 }

function world(): Disposable & {
  readonly clock: ManualClock
  readonly notices: string[]
  readonly open: () => Breaking
  readonly kept: () => unknown
  readonly fillUp: () => void
  readonly makeRoom: () => void
} {
  const dir = mkdtempSync(join(tmpdir(), 'st-'))
  const path = join(dir, 'faults.json')
  const clock = new ManualClock(1000)
  const notices: string[] = []
  const breakable = {
    kill: () => 1,
    reset: () => 0,
    domain: () => Promise.reject(new Error('no domain is needed')),
    changed: () => {},
  }
  return {
    clock,
    notices,
    open: () => new Breaking(path, clock, breakable, (text) => void notices.push(text)),
    kept: () => JSON.parse(readFileSync(path, 'utf8')),
    // A directory in the way of the file refuses every write, of any user.
    fillUp: () => mkdirSync(`${path}.new`),
    makeRoom: () => rmdirSync(`${path}.new`),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true }),
  }
}

test('a fault that cannot be written down is refused, and nothing is broken', async () => {
  using at = world()
  const breaking = at.open()
  at.fillUp()
  await assert.rejects(breaking.take(lease), { code: 'agent.fault-refused' })
  assert.equal(breaking.held('shop', 'web'), false)
  at.makeRoom()
  await breaking.take(lease)
  assert.equal(breaking.held('shop', 'web'), true)
  breaking.leave()
})

test('one that lasts ends in its time on a full disk, and that is written down when there is room', async () => {
  using at = world()
  const breaking = at.open()
  await breaking.take(lease)
  at.fillUp()
  at.clock.advance(5000)
  await turn()
  assert.equal(breaking.held('shop', 'web'), false)
  at.clock.advance(60_000)
  await turn()
  assert.equal(at.notices.filter((text) => text.includes('written down')).length, 1)
  at.makeRoom()
  at.clock.advance(10_000)
  assert.deepEqual(at.kept(), breaking.statuses())
  breaking.leave()
})

test('the agent that comes after a dead one ends it too, without a disk', async () => {
  using at = world()
  const first = at.open()
  await first.take(lease)
  first.leave()
  at.fillUp()
  at.clock.advance(9000)
  const second = at.open()
  at.clock.advance(1)
  await turn()
  assert.equal(second.held('shop', 'web'), false)
  second.keepOnly([])
  second.leave()
})
