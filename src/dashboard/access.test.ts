/** Who is let in: tokens work once and not for long, a session needs both halves, and everything is limited. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { ManualClock, seededRandom } from '../base/index.ts'
import { owner, rights } from '../operator/index.ts'
import { Access, idleMs, loginMs, loginsMax, type Opened, sessionMs, sessionsMax, wrongMax } from './access.ts'
import { reader } from './synthetic.test-helper.ts'

function opened(access: Access, token: string): Opened {
  const found = access.redeem(token)
  assert.ok(found !== null && found !== 'wait')
  return found
}

suite('access', () => {
  test('a token works once', () => {
    const access = new Access(new ManualClock(), seededRandom(1), null)
    const token = access.issue(owner())
    const { cookie, key } = opened(access, token)
    assert.equal(access.redeem(token), null)
    assert.equal(access.session(cookie, key)?.caller.name, 'owner')
  })

  test('a token that is too old does not work', () => {
    const clock = new ManualClock()
    const access = new Access(clock, seededRandom(1), null)
    const token = access.issue(owner())
    clock.advance(loginMs)
    assert.equal(access.redeem(token), null)
  })

  test('neither half of a session is enough, nor halves of two', () => {
    const access = new Access(new ManualClock(), seededRandom(1), null)
    const a = opened(access, access.issue(owner()))
    const b = opened(access, access.issue(owner()))
    assert.equal(access.session(a.cookie, ''), null)
    assert.equal(access.session('', a.key), null)
    assert.equal(access.session(a.cookie, b.key), null)
    assert.ok(access.session(b.cookie, b.key))
  })

  test('a session ends when nobody uses it, and at last in any case', () => {
    const clock = new ManualClock()
    const access = new Access(clock, seededRandom(1), null)
    const idle = opened(access, access.issue(owner()))
    const used = opened(access, access.issue(owner()))
    const session = access.session(used.cookie, used.key)
    for (let passedMs = 0; passedMs < sessionMs; passedMs += idleMs / 2) {
      assert.ok(access.session(used.cookie, used.key))
      clock.advance(idleMs / 2)
    }
    assert.equal(access.session(idle.cookie, idle.key), null)
    assert.equal(access.session(used.cookie, used.key), null)
    assert.ok(session?.over.signal.aborted, 'its streams are told')
  })

  test('a session has no more rights than whoever asked for it, and none that pages do not use', () => {
    const access = new Access(new ManualClock(), seededRandom(1), null)
    const of = ({ cookie, key }: Opened): string[] =>
      rights.filter((right) => access.session(cookie, key)?.caller.may(right, 'shop') === true)
    assert.deepEqual(of(opened(access, access.issue(reader))), ['read'])
    assert.deepEqual(of(opened(access, access.issue(owner()))), ['read', 'logs', 'deploy', 'operate', 'debug'])
  })

  test('logging out ends a session and its streams', () => {
    const access = new Access(new ManualClock(), seededRandom(1), null)
    const { cookie, key } = opened(access, access.issue(owner()))
    const session = access.session(cookie, key)
    access.end(cookie)
    assert.equal(access.session(cookie, key), null)
    assert.ok(session?.over.signal.aborted)
  })

  test('of too many tokens and sessions the oldest go', () => {
    const access = new Access(new ManualClock(), seededRandom(1), null)
    const tokens = Array.from({ length: loginsMax + 1 }, () => access.issue(owner()))
    assert.equal(access.redeem(tokens[0] ?? ''), null)
    const sessions = Array.from({ length: sessionsMax + 1 }, () => opened(access, access.issue(owner())))
    const alive = sessions.filter(({ cookie, key }) => access.session(cookie, key) !== null)
    assert.equal(alive.length, sessionsMax)
    assert.ok(!alive.includes(sessions[0] ?? { cookie: '', key: '' }))
  })

  test('sessions outlive the process, with the rights and the time that they had, and digests are all that is kept', () => {
    let kept: unknown = null
    let known = true
    const keeper = {
      read: () => kept,
      write: (sessions: unknown) => (kept = JSON.parse(JSON.stringify(sessions))),
      callerOf: (name: string) => (known && name === reader.name ? reader : null),
    }
    const clock = new ManualClock(5_000_000)
    const before = new Access(clock, seededRandom(1), keeper)
    const { cookie, key } = opened(before, before.issue(reader))
    const gone = opened(before, before.issue(owner()))
    before.end(gone.cookie)
    assert.ok(!JSON.stringify(kept).includes(cookie) && !JSON.stringify(kept).includes(key))
    clock.advance(1000)
    const after = new Access(clock, seededRandom(2), keeper)
    const again = after.session(cookie, key)?.caller
    assert.ok(again?.may('read', 'shop') === true && !again.may('operate', 'shop'))
    assert.equal(after.session(cookie, gone.key), null)
    assert.equal(after.session(gone.cookie, gone.key), null)
    known = false
    assert.equal(new Access(clock, seededRandom(5), keeper).session(cookie, key), null, 'who is not known any more')
    known = true
    clock.advance(sessionMs)
    assert.equal(new Access(clock, seededRandom(3), keeper).session(cookie, key), null)
    kept = [{ cookie: 1 }]
    assert.equal(new Access(clock, seededRandom(4), keeper).session(cookie, key), null, 'a damaged file is no session')
  })

  test('after too many wrong tokens none is looked at for a minute', () => {
    const clock = new ManualClock(1_000_000)
    const access = new Access(clock, seededRandom(1), null)
    const token = access.issue(owner())
    for (let tries = 0; tries < wrongMax; tries += 1) assert.equal(access.redeem(`wrong ${tries}`), null)
    assert.equal(access.redeem(token), 'wait')
    clock.advance(60_000)
    assert.ok(access.redeem(token))
  })
})
