/** The gateway's policies as pure cores, in virtual time: breakers, retry budgets, shedding, picking, groups and stickiness. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { Breaker } from './breaker.ts'
import type { Ticket } from './breaker.ts'
import { Doorman } from './doorman.ts'
import { groupOfKey, pickSticky, rank } from './groups.ts'
import { IdSource } from './ids.ts'
import { defaultLimits } from './limits.ts'
import { eligible, pickLeast } from './pick.ts'
import type { Candidate } from './pick.ts'
import { RetryBudget, repeatable } from './retry.ts'
import type { Failure } from './retry.ts'
import { admits } from './shed.ts'
import { mayCarryCookie, stickySetCookie, takeStickyKey } from './sticky.ts'
import { SlidingShare } from './window.ts'

function dice(seed: number): () => number {
  const random = seededRandom(seed)
  return () => Buffer.from(random.bytes(4)).readUInt32LE() / 2 ** 32
}

test('a window holds what is at most its length old, whatever the steps of time', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const roll = dice(seed)
    const window = new SlidingShare(1000)
    const added: { atMs: number; all: number; marked: number }[] = []
    let nowMs = roll() * 1e6
    for (let step = 0; step < 400; step += 1) {
      nowMs += roll() < 0.05 ? roll() * 3000 : roll() * 60
      const entry = { atMs: nowMs, all: Math.floor(roll() * 5), marked: Math.floor(roll() * 3) }
      window.add(nowMs, entry.all, entry.marked)
      added.push(entry)
      const since = (ageMs: number, key: 'all' | 'marked'): number =>
        added.filter(({ atMs }) => atMs > nowMs - ageMs).reduce((sum, one) => sum + one[key], 0)
      const { all, marked } = window.total(nowMs)
      // A slot is a tenth of the window: what is in it leaves together.
      assert.ok(all >= since(900, 'all') && all <= since(1000, 'all'), `${all} at ${nowMs}`)
      assert.ok(marked >= since(900, 'marked') && marked <= since(1000, 'marked'))
    }
  }
})

test('a breaker keeps its promises over 200 000 random steps', () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const roll = dice(seed)
    const breaker = new Breaker(defaultLimits)
    const running: Ticket[] = []
    let nowMs = 0
    let inARow = 0
    let openedMs = 0
    let era = 0
    const isOpenProbe = (ticket: Ticket): boolean => ticket.probe && ticket.era === era
    let before = breaker.phase(nowMs)
    for (let step = 0; step < 5000; step += 1) {
      nowMs += roll() < 0.01 ? roll() * 30_000 : roll() * 50
      const phase = breaker.phase(nowMs)
      if (phase === 'half-open') assert.ok(nowMs - openedMs >= defaultLimits.ejectMs * 0.75, 'never open for less')
      if (phase === 'open') assert.ok(nowMs - openedMs < defaultLimits.ejectMsMax, 'never open for more')
      if (roll() < 0.5) {
        const room = breaker.room(nowMs)
        assert.equal(
          room > 0,
          phase === 'closed' || (phase === 'half-open' && !running.some((one) => isOpenProbe(one))),
        )
        // What is let through although there is no room is what happens when all are asked.
        if (room > 0 || roll() < 0.1) running.push(breaker.begin(nowMs))
        assert.ok(running.filter((one) => isOpenProbe(one)).length <= 1, 'one probe at a time')
        continue
      }
      const [ticket] = running.splice(Math.floor(roll() * running.length), 1)
      if (ticket === undefined) continue
      const verdict = roll() < 0.6 ? 'failed' : roll() < 0.8 ? 'answered' : 'dropped'
      breaker.end(ticket, verdict, nowMs, roll())
      const after = breaker.phase(nowMs)
      const counts = ticket.era === era
      if (counts && verdict === 'answered') assert.equal(after, 'closed', 'an answer closes it')
      if (!counts) assert.equal(after, phase, 'what is older than the last change says nothing')
      if (phase === 'closed' && counts) {
        inARow = verdict === 'failed' ? inARow + 1 : verdict === 'answered' ? 0 : inARow
        if (inARow >= defaultLimits.ejectFailures) assert.equal(after, 'open')
      }
      if (after !== 'closed' && (before === 'closed' || (phase === 'half-open' && after === 'open'))) openedMs = nowMs
      if (after !== phase) {
        era += 1
        inARow = 0
      }
      before = after
    }
  }
})

test('a breaker opens for longer each time, up to its limit, and is short again after a calm', () => {
  const breaker = new Breaker(defaultLimits)
  const fail = (nowMs: number, times: number): void => {
    for (let i = 0; i < times; i += 1) breaker.end(breaker.begin(nowMs), 'failed', nowMs, 0)
  }
  const openForMs = (sinceMs: number): number => {
    let ms = 0
    while (breaker.phase(sinceMs + ms) === 'open') ms += 100
    return ms
  }
  fail(0, 4)
  assert.equal(breaker.phase(0), 'closed')
  fail(0, 1)
  let nowMs = 0
  const times: number[] = []
  for (let i = 0; i < 9; i += 1) {
    const ms = openForMs(nowMs)
    times.push(ms)
    nowMs += ms
    assert.equal(breaker.room(nowMs), 1)
    fail(nowMs, 1)
  }
  assert.deepEqual(times, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  nowMs += 60_000
  breaker.end(breaker.begin(nowMs), 'answered', nowMs, 0)
  assert.equal(breaker.phase(nowMs), 'closed')
  nowMs += 60_001
  fail(nowMs, 5)
  assert.equal(openForMs(nowMs), 1000)
})

test('a breaker opens by the share of failures only when there were enough requests', () => {
  const breaker = new Breaker(defaultLimits)
  for (let i = 0; i < 18; i += 1) {
    breaker.end(breaker.begin(i), i % 2 === 0 ? 'failed' : 'answered', i, 0)
    assert.equal(breaker.phase(i), 'closed')
  }
  breaker.end(breaker.begin(20), 'answered', 20, 0)
  breaker.end(breaker.begin(20), 'failed', 20, 0)
  assert.equal(breaker.phase(20), 'open')
})

test('second sendings stay below the share and the floor in every window', () => {
  for (let seed = 1; seed <= 20; seed += 1) {
    const roll = dice(seed)
    const budget = new RetryBudget(defaultLimits)
    const requests: number[] = []
    const spent: number[] = []
    let nowMs = 0
    for (let step = 0; step < 2000; step += 1) {
      nowMs += roll() * 100
      if (roll() < 0.6) {
        budget.request(nowMs)
        requests.push(nowMs)
      } else if (budget.spend(nowMs)) spent.push(nowMs)
      const recent = (times: readonly number[], ms: number): number => times.filter((atMs) => atMs > nowMs - ms).length
      assert.ok(recent(spent, 9000) <= 10 + 0.2 * recent(requests, 10_000) + 0.2 * 60, 'bounded')
    }
    assert.ok(spent.length > 50, 'and not all are refused')
  }
  const alone = new RetryBudget(defaultLimits)
  assert.equal(Array.from({ length: 50 }, () => alone.spend(5)).filter(Boolean).length, defaultLimits.retryFloor)
})

test('what may be sent again: every combination', () => {
  const causes = ['refused', 'connect-timed-out', 'reset', 'timed-out', 'bad-response', 'bad-request'] as const
  const flags = [false, true] as const
  for (const cause of causes)
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'PATCH'])
      for (const attempts of [1, 2])
        for (const sent of flags)
          for (const answered of flags)
            for (const body of ['none', 'untouched', 'taken'] as const)
              for (const others of flags) {
                const failure: Failure = { cause, method, attempts, sent, answered, body, others }
                const may = repeatable(failure)
                const never = attempts > 1 || answered || body === 'taken' || cause === 'bad-request'
                const safe = ['GET', 'HEAD', 'OPTIONS'].includes(method) && body === 'none' && cause === 'reset'
                const expected = never ? 'no' : sent ? (safe ? 'budget' : 'no') : !others ? 'no' : null
                if (expected !== null) assert.equal(may, expected, JSON.stringify(failure))
                else assert.equal(may, cause === 'refused' ? 'free' : 'budget', JSON.stringify(failure))
              }
})

test('the fuller, the fewer are let in; no route takes the places of all', () => {
  for (const requestsMax of [1, 2, 3, 10, 4096]) {
    for (let all = 0; all <= requestsMax + 1; all += Math.max(1, Math.floor(requestsMax / 50))) {
      const [low, normal, high] = (['low', 'normal', 'high'] as const).map((priority) =>
        admits({ all, ofRoute: 0 }, requestsMax, priority),
      )
      assert.ok(Number(low) <= Number(normal) && Number(normal) <= Number(high))
      assert.equal(high, all < requestsMax)
    }
    assert.equal(admits({ all: 0, ofRoute: 0 }, requestsMax, 'low'), true)
  }
  assert.equal(admits({ all: 3072, ofRoute: 3072 }, 4096, 'high'), false)
  assert.equal(admits({ all: 3072, ofRoute: 0 }, 4096, 'normal'), true)
})

interface Fake extends Candidate {
  readonly target: { readonly instance: string }
}

function fake(load: number, more: Partial<Candidate> & { instance?: string } = {}): Fake {
  const breaker: Candidate['breaker'] = { phase: () => 'closed', room: () => Number.POSITIVE_INFINITY }
  const target = { instance: more.instance ?? 'i' }
  return { load, requests: { size: load }, restUntilMs: 0, breaker, target, ...more }
}
const open: Candidate['breaker'] = { phase: () => 'open', room: () => 0 }
const halfOpen: Candidate['breaker'] = { phase: () => 'half-open', room: () => 1 }
const limits = { requestsMax: 10, healthyShareMin: 0.25 }

test('the least loaded is picked, equals by lot, a resting or avoided one only when alone', () => {
  const ids = new IdSource(seededRandom(11))
  const [a, b, c, resting] = [fake(1), fake(1), fake(2), fake(0, { restUntilMs: 100 })]
  const pick = (from: readonly Fake[], avoid: Fake | null, nowMs: number, requestsMax = 10): Fake | null =>
    pickLeast(eligible(from, { ...limits, requestsMax }, nowMs), avoid, nowMs, ids)
  assert.deepEqual(new Set(Array.from({ length: 100 }, () => pick([a, b, c, resting], null, 50))), new Set([a, b]))
  assert.equal(pick([a, b, c], a, 50), b)
  assert.equal(pick([resting], resting, 50), resting)
  assert.equal(pick([resting, c], null, 100), resting)
  assert.equal(pick([a, b], null, 50, 1), null)
})

test('ejected instances are left out until too few are left, and then all are asked', () => {
  const [a, ejected, probe] = [fake(5), fake(0, { breaker: open }), fake(9, { breaker: halfOpen })]
  const { candidates, room } = eligible([a, ejected, probe], limits, 0)
  assert.deepEqual(
    [candidates, candidates.map(room)],
    [
      [a, probe],
      [5, 1],
    ],
  )
  for (let n = 1; n <= 40; n += 1) {
    for (let healthy = 0; healthy <= n; healthy += 1) {
      const all = Array.from({ length: n }, (_, i) => fake(0, i < healthy ? {} : { breaker: open }))
      const count = eligible(all, limits, 0).candidates.length
      assert.equal(count, healthy >= Math.max(1, Math.ceil(n / 4)) ? healthy : n)
      assert.ok(count > 0)
    }
  }
})

test('groups get the share of their weights, and growing a group moves clients only into it', () => {
  const keys = Array.from({ length: 40_000 }, (_, i) => `route ${i.toString(16)}`)
  const split = (canary: number): (string | null)[] =>
    keys.map((key) =>
      groupOfKey(
        [
          { name: 'r41', weight: 100 - canary },
          { name: 'r42', weight: canary },
        ],
        key,
      ),
    )
  let before: readonly (string | null)[] = split(0)
  assert.deepEqual(new Set(before), new Set(['r41']))
  for (const canary of [1, 5, 25, 50, 100]) {
    const now = split(canary)
    const share = now.filter((name) => name === 'r42').length / keys.length
    const allowed = 4.5 * Math.sqrt(((canary / 100) * (1 - canary / 100)) / keys.length)
    assert.ok(Math.abs(share - canary / 100) <= allowed, `${share} for ${canary} %`)
    assert.ok(
      before.every((name, i) => name === 'r41' || now[i] === 'r42'),
      'nobody is taken out of the growing group',
    )
    before = now
  }
  assert.equal(groupOfKey([{ name: 'r', weight: 0 }], 'k'), null)
  assert.equal(groupOfKey([], 'k'), null)
})

test('of an instance that leaves only its own clients move, and they come back with it', () => {
  const all = Array.from({ length: 7 }, (_, i) => fake(0, { instance: `web-${i}` }))
  const keys = Array.from({ length: 7000 }, (_, i) => `key ${i}`)
  const home = (from: readonly Fake[], key: string): Fake | null => pickSticky(eligible(from, limits, 0), key, null, 0)
  const counts = new Map<Fake | null, number>()
  for (const key of keys) {
    const whole = home(all, key)
    counts.set(whole, (counts.get(whole) ?? 0) + 1)
    for (const gone of all) {
      const rest = home(
        all.filter((one) => one !== gone),
        key,
      )
      if (whole !== gone) assert.equal(rest, whole)
      else assert.notEqual(rest, null)
    }
    assert.equal(home(all.toReversed(), key), whole, 'their order means nothing')
  }
  for (const count of counts.values()) assert.ok(count > 800 && count < 1200, `${count} of 1000`)
  const full = all.map((one) => (one === home(all, 'k') ? fake(10, { instance: one.target.instance }) : one))
  assert.notEqual(home(full, 'k')?.target.instance, home(all, 'k')?.target.instance)
  assert.ok(rank('a', 'b') > 0 && rank('a', 'b') < 1)
})

test('the cookie is read and taken out, whatever stands beside it', () => {
  const key = '0123456789abcdef'
  const cases: readonly [string[], string | null, string[]][] = [
    [['Cookie', `stead-sticky=${key}`, 'Accept', '*/*'], key, ['Accept', '*/*']],
    [['cookie', `a=1; stead-sticky=${key}; b=2`], key, ['cookie', 'a=1; b=2']],
    [['cookie', 'a=1', 'cookie', `stead-sticky=${key}`], key, ['cookie', 'a=1']],
    [['cookie', 'stead-sticky=../../x; a=stead-sticky'], null, ['cookie', 'a=stead-sticky']],
    [['cookie', `xstead-sticky=${key}`], null, ['cookie', `xstead-sticky=${key}`]],
    [['cookie', `stead-sticky=${key}0`], null, []],
  ]
  for (const [headers, found, rest] of cases) {
    assert.equal(takeStickyKey(headers), found)
    assert.deepEqual(headers, rest)
  }
  assert.equal(stickySetCookie(key, { by: 'group' }, false), `stead-sticky=${key}; Path=/; HttpOnly; SameSite=Lax`)
  assert.equal(
    stickySetCookie(key, { by: 'group', ttlS: 60 }, true),
    `stead-sticky=${key}; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure`,
  )
  assert.equal(mayCarryCookie(['Cache-Control', 'public, max-age=60']), false)
  assert.equal(mayCarryCookie(['Cache-Control', 'private']), true)
})

test('a doorman counts in all and by address, and gives back once', () => {
  const doorman = new Doorman({ connectionsMax: 3, addressConnectionsMax: 2 })
  const [a1, a2, a3] = [doorman.take('a'), doorman.take('a'), doorman.take('a')]
  assert.ok(a1 !== null && a2 !== null && a3 === null)
  const b1 = doorman.take('b')
  assert.ok(b1 !== null && doorman.take('b') === null, 'three in all')
  a1[Symbol.dispose]()
  a1[Symbol.dispose]()
  assert.ok(doorman.take('b') !== null && doorman.take('c') === null)
})
