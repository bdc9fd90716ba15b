/** Faults as leases: they heal when their time is over, whatever happens to clocks and agents, and cost is counted. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { ManualClock } from '../base/index.ts'
import { needsFile } from '../../test/needs.ts'
import type { Domain } from '../domain/index.ts'
import type { Fault, FaultLease } from '../protocol/index.ts'
import { type Breakable, Breaking } from './breaking.ts'
import {
  count,
  due,
  type Faults,
  heal,
  keptMs,
  lastingMax,
  noFaults,
  overMax,
  restored,
  statusesOf,
  take,
} from './faults.ts'

const kill: Fault = { kind: 'kill', part: 'web' }

function lease(id: string, fault: Fault = kill, leaseMs = 10_000): FaultLease {
  return { id, app: 'shop', fault, leaseMs }
}

function taken(faults: Faults, own: FaultLease, ms = 0): Faults {
  const next = take(faults, own, { wallMs: 1_000_000 + ms, monotonicMs: ms })
  assert.ok(!('refused' in next))
  return next
}

suite('faults', () => {
  test('last as long as their lease and no longer', () => {
    const faults = taken(noFaults, lease('a'))
    assert.deepEqual(due(faults, { wallMs: 0, monotonicMs: 9999 }), [])
    assert.deepEqual(
      due(faults, { wallMs: 0, monotonicMs: 10_000 }).map(({ id }) => id),
      ['a'],
    )
    const healed = heal(faults, ['a'], { wallMs: 1_010_000, monotonicMs: 10_000 })
    assert.deepEqual(
      statusesOf(healed).map(({ id, endedMs }) => [id, endedMs]),
      [['a', 1_010_000]],
    )
  })

  test('the same thing is not broken twice, and not too many things are', () => {
    const faults = taken(noFaults, lease('a'))
    assert.ok('refused' in take(faults, lease('b'), { wallMs: 0, monotonicMs: 0 }))
    let many = noFaults
    for (let index = 0; index < lastingMax; index += 1)
      many = taken(many, lease(`${index}`, { kind: 'kill', part: `p${index}` }))
    assert.ok('refused' in take(many, lease('x'), { wallMs: 0, monotonicMs: 0 }))
  })

  test('what is over is told of for a while, and then forgotten', () => {
    let faults = noFaults
    for (let index = 0; index < overMax + 5; index += 1) {
      faults = taken(faults, lease(`${index}`), index)
      faults = heal(faults, [`${index}`], { wallMs: 1_000_000 + index, monotonicMs: index })
    }
    assert.equal(statusesOf(faults).length, overMax)
    const later = { wallMs: 1_000_000 + keptMs + 100, monotonicMs: keptMs + 100 }
    assert.deepEqual(statusesOf(heal(faults, [], later)), [])
  })

  test('a new agent gives a fault the rest of its time, and never more than it was given', () => {
    const statuses = statusesOf(count(taken(noFaults, lease('a')), 'a', { streamsReset: 2 }))
    const at = (wallMs: number): number => restored(statuses, { wallMs, monotonicMs: 50 }).lasting[0]?.deadlineMs ?? 0
    assert.equal(at(1_004_000), 50 + 6000)
    assert.equal(at(1_020_000), 50, 'its time was over: it is due at once')
    assert.equal(at(0), 50 + 10_000, 'a clock that was set back does not make it longer')
    assert.equal(restored(statuses, { wallMs: 0, monotonicMs: 0 }).lasting[0]?.status.counts.streamsReset, 2)
  })
})

suite('breaking', () => {
  const dir = mkdtempSync(join(tmpdir(), 'stead-faults-'))
  const data = mkdtempSync(join(tmpdir(), 'stead-data-'))
  const path = join(dir, 'faults.json')
  const clock = new ManualClock(1_000_000)
  const notices: string[] = []
  let done: string[] = []
  const sized = {
    path: data,
    capabilities: { sizeLimit: true },
    usage: async () => ({ totalBytes: 9e6, freeBytes: 3e6 }),
  }
  const breakable: Breakable = {
    kill: (app, part) => done.push(`kill ${app} ${part}`),
    reset: (app, part, uses) => done.push(`reset ${app} ${part} ${uses}`) + 1,
    domain: (app) =>
      Promise.resolve((app === 'shop' ? sized : { ...sized, capabilities: { sizeLimit: false } }) as unknown as Domain),
    changed: () => {},
  }
  const start = (): Breaking => new Breaking(path, clock, breakable, (text) => notices.push(text))
  before(() => writeFileSync(join(data, 'kept'), ''))
  after(() => {
    rmSync(dir, { recursive: true })
    rmSync(data, { recursive: true })
  })

  /** Lets what has been started by a timer come to its end. */
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  test('kills and keeps down; cuts and refuses, counting; and heals by itself', async () => {
    done = []
    const breaking = start()
    await breaking.take(lease('k', kill, 5000))
    await breaking.take(lease('c', { kind: 'cut', part: 'web', uses: 'db' }, 8000))
    assert.deepEqual(done, ['kill shop web', 'reset shop web db'])
    assert.ok(breaking.held('shop', 'web') && !breaking.held('shop', 'db') && !breaking.held('other', 'web'))
    assert.ok(breaking.refuses('shop', 'web', 'db') && !breaking.refuses('shop', 'web', 'mail'))
    clock.advance(5000)
    await turn()
    assert.ok(!breaking.held('shop', 'web'))
    assert.ok(breaking.refuses('shop', 'web', 'db'))
    clock.advance(3000)
    await turn()
    assert.ok(!breaking.refuses('shop', 'web', 'db'))
    const counts = breaking.statuses().map((status) => [status.id, status.endedMs !== null, status.counts])
    const none = { killed: 0, streamsReset: 0, streamsRefused: 0, filledBytes: 0 }
    assert.deepEqual(counts, [
      ['k', true, { ...none, killed: 1 }],
      ['c', true, { ...none, streamsReset: 3, streamsRefused: 2 }],
    ])
    assert.ok(notices.some((text) => text.includes('healed: web is killed')))
  })

  test('is healed before its time, and when its app is not wanted any more', async () => {
    const breaking = start()
    await breaking.take(lease('a', kill))
    await breaking.heal('a')
    assert.ok(!breaking.held('shop', 'web'))
    await breaking.take(lease('b', kill))
    breaking.keepOnly([{ app: 'shop', wanted: true }])
    assert.ok(breaking.held('shop', 'web'))
    breaking.keepOnly([
      { app: 'shop', wanted: false },
      { app: 'other', wanted: true },
    ])
    await turn()
    assert.ok(!breaking.held('shop', 'web'))
  })

  const skip = needsFile('/usr/bin/fallocate', 'apt-get install -y util-linux')
  test(
    'a disk is filled to the share that was said, and is free again, also when the agent died',
    { skip },
    async () => {
      const fill: Fault = { kind: 'fill-disk', share: 0.5 }
      const breaking = start()
      await breaking.take(lease('d', fill))
      assert.deepEqual(readdirSync(data).sort(), ['.stead-fault-d', 'kept'])
      assert.equal(breaking.statuses().at(-1)?.counts.filledBytes, 1_500_000)
      breaking.leave()
      // The next agent comes when the time is over, and the one after that finds nothing.
      clock.advance(60_000)
      const next = start()
      clock.advance(1)
      for (let turns = 0; turns < 20 && readdirSync(data).length > 1; turns += 1) await turn()
      assert.deepEqual(readdirSync(data), ['kept'])
      next.leave()
      writeFileSync(join(data, '.stead-fault-unknown'), '')
      start().sweep('shop', data)
      assert.deepEqual(readdirSync(data), ['kept'])
    },
  )

  test('data without a disk of its own is not filled, and nothing is left broken by what failed', async () => {
    const breaking = start()
    await assert.rejects(breaking.take({ ...lease('e', { kind: 'fill-disk', share: 1 }), app: 'other' }), {
      code: 'agent.fault-refused',
      message: /no disk of its own/,
    })
    assert.ok(breaking.statuses().every(({ id }) => id !== 'e'))
  })

  test('a file that cannot be read is no reason not to start', () => {
    writeFileSync(path, '{')
    assert.deepEqual(start().statuses(), [])
  })
})
