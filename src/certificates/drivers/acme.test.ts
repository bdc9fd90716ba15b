/** ACME with an authority of the test's own: the suite, and what happens over months, in failures, and between starts. */
import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ManualClock, systemClock, systemRandom } from '../../base/index.ts'
import { certificateConformance } from '../conformance.ts'
import type { CertificateDriver } from '../driver.ts'
import { acmeCertificates } from './acme.ts'
import type { PlaceOrder } from './acme-order.ts'
import { testAuthority } from './authority.test-helper.ts'
import type { TestAuthority } from './authority.test-helper.ts'

const dayMs = 86_400_000
const minuteMs = 60_000

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!condition()) {
    assert.ok(performance.now() < endMs, `waited in vain for ${what}`)
    await pause(2)
  }
}

certificateConformance({
  name: 'acme',
  place: async () => {
    const dir = await mkdtemp(join(tmpdir(), 'stead-acme-'))
    let driver: CertificateDriver | null = null
    const answerOf = (host: string, token: string): string | null => driver?.challenge(host, token) ?? null
    const authority = testAuthority(() => systemClock.nowMs(), answerOf)
    return {
      dir,
      open: async () => {
        const { order } = authority
        driver = await acmeCertificates({ dir, email: null, clock: systemClock, random: systemRandom, order })
        return driver
      },
      provide: () => Promise.resolve(),
      roots: () => Promise.resolve(authority.roots),
      [Symbol.asyncDispose]: () => rm(dir, { recursive: true }),
    }
  },
})

interface Place {
  readonly dir: string
  readonly clock: ManualClock
  readonly authority: TestAuthority
  readonly open: (order?: PlaceOrder) => Promise<CertificateDriver>
}

async function place(t: TestContext): Promise<Place> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-acme-'))
  t.after(() => rm(dir, { recursive: true }))
  const clock = new ManualClock(Date.UTC(2030, 0, 1))
  let current: CertificateDriver | null = null
  const authority = testAuthority(
    () => clock.nowMs(),
    (host, token) => current?.challenge(host, token) ?? null,
  )
  return {
    dir,
    clock,
    authority,
    open: async (order = authority.order) => {
      const opened = await acmeCertificates({ dir, email: null, clock, random: systemRandom, order })
      t.after(() => opened[Symbol.asyncDispose]())
      current = opened
      return opened
    },
  }
}

/** Moves time in steps, giving work between them its turn. */
async function pass(clock: ManualClock, ms: number, stepMs = 20 * minuteMs): Promise<void> {
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(left, stepMs))
    await pause(1)
  }
}

test('it is renewed before two thirds of its life are over, once, and the old one serves until then', async (t) => {
  const { clock, authority, open } = await place(t)
  const driver = await open()
  driver.want(['shop.test'])
  await until('the first', () => driver.find('shop.test') !== null)
  const first = driver.find('shop.test')
  await pass(clock, 54 * dayMs, 6 * 60 * minuteMs)
  assert.equal(driver.find('shop.test'), first, 'after 54 of 90 days')
  await pass(clock, 6 * dayMs, 6 * 60 * minuteMs)
  await until('the second', () => driver.find('shop.test') !== first)
  assert.equal(authority.asked.length, 2)
  await pass(clock, dayMs)
  assert.equal(authority.asked.length, 2)
})

test('failures wait longer each time, the certificate stays, and what went wrong is a sentence', async (t) => {
  const { clock, authority, open } = await place(t)
  const driver = await open()
  driver.want(['shop.test'])
  await until('the first', () => driver.find('shop.test') !== null)
  const first = driver.find('shop.test')
  authority.refusal = 'too many certificates already issued'
  await pass(clock, 60 * dayMs, 6 * 60 * minuteMs)
  await until('a failure', () => driver.list()[0]?.problem !== null)
  const problem = driver.list()[0]?.problem
  assert.equal(problem?.code, 'certificates.order-failed')
  assert.match(problem?.message ?? '', /no certificate for shop\.test: too many certificates already issued/)
  assert.equal(driver.find('shop.test'), first)
  const before = authority.asked.length
  await pass(clock, dayMs)
  assert.ok(authority.asked.length - before <= 8, `${authority.asked.length - before} attempts in a day`)
  authority.refusal = null
  await pass(clock, dayMs)
  await until('the second', () => driver.find('shop.test') !== first)
  assert.equal(driver.list()[0]?.problem, null)
  authority.refusal = 'gone for good'
  await pass(clock, 91 * dayMs, 6 * 60 * minuteMs)
  assert.equal(driver.find('shop.test'), null, 'one that has expired is not served')
})

test('one host that fails holds up no other, and nothing is asked for what nobody wants', async (t) => {
  const { clock, authority, open } = await place(t)
  const refusing: PlaceOrder = (order, context) =>
    order.host === 'bad.test' ? Promise.reject(new Error('no')) : authority.order(order, context)
  const driver = await open(refusing)
  driver.want(['bad.test', '*.wild.test', 'good.test'])
  await until('the good one', () => driver.find('good.test') !== null)
  assert.deepEqual(
    driver.list().map(({ host, problem }) => [host, problem?.code ?? null]),
    [
      ['*.wild.test', 'certificates.wildcard-refused'],
      ['bad.test', 'certificates.order-failed'],
      ['good.test', null],
    ],
  )
  driver.want([])
  await pass(clock, 80 * dayMs, 6 * 60 * minuteMs)
  assert.deepEqual(authority.asked, ['good.test'])
})

test('a host that comes while another is being ordered is not forgotten', async (t) => {
  const { authority, open } = await place(t)
  const driver = await open()
  driver.want(['a.test'])
  driver.want(['a.test', 'b.test'])
  driver.want(['a.test', 'b.test', 'c.test'])
  await until('all three', () => ['a.test', 'b.test', 'c.test'].every((host) => driver.find(host) !== null))
  assert.deepEqual(authority.asked.toSorted(), ['a.test', 'b.test', 'c.test'])
})

test('after a new start nothing is ordered again, and the account is the same', async (t) => {
  const { dir, authority, open } = await place(t)
  const keys: string[] = []
  const noting: PlaceOrder = (order, context) => {
    keys.push(order.accountKey)
    return authority.order(order, context)
  }
  const first = await open(noting)
  first.want(['shop.test'])
  await until('the first', () => first.find('shop.test') !== null)
  await first[Symbol.asyncDispose]()
  const second = await open(noting)
  second.want(['shop.test', 'other.test'])
  await until('both', () => second.find('shop.test') !== null && second.find('other.test') !== null)
  assert.equal(second.find('shop.test')?.key, first.find('shop.test')?.key)
  assert.deepEqual(authority.asked, ['shop.test', 'other.test'])
  assert.equal(keys[0], keys[1])
  assert.equal(keys[0], await readFile(join(dir, 'account.pem'), 'utf8'))
})

test('a damaged or open file of a host is said, and replaced by a new certificate', async (t) => {
  const { dir, authority, open } = await place(t)
  const driver = await open()
  driver.want(['shop.test'])
  await until('the first', () => driver.find('shop.test') !== null)
  await driver[Symbol.asyncDispose]()
  const path = join(dir, 'hosts', 'shop.test.pem')
  await writeFile(path, 'nothing')
  authority.refusal = 'not now'
  const endless: PlaceOrder = (_order, { signal }) =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('stopped'))))
  const waiting = await open(endless)
  waiting.want(['shop.test'])
  await until('the damage to be said', () => waiting.list()[0]?.problem !== null)
  assert.equal(waiting.list()[0]?.problem?.code, 'certificates.bad-certificate')
  authority.refusal = null
  await chmod(path, 0o644)
  const again = await open()
  again.want(['shop.test'])
  await until('a new one', () => again.find('shop.test') !== null)
})

test('an answer that does not fit the key is not taken', async (t) => {
  const { authority, open } = await place(t)
  const driver = await open(() => Promise.resolve(authority.roots))
  driver.want(['shop.test'])
  await until('the refusal', () => driver.list()[0]?.problem !== null)
  assert.equal(driver.list()[0]?.problem?.code, 'certificates.key-mismatch')
  assert.equal(driver.find('shop.test'), null)
})

test('a challenge is answered while its order runs and not after', async (t) => {
  const { authority, open } = await place(t)
  let during: string | null = null
  const looking: PlaceOrder = async (order, context) => {
    const chain = await authority.order(order, context)
    during = driver.challenge('shop.test', 'token-1')
    return chain
  }
  const driver = await open(looking)
  driver.want(['shop.test'])
  await until('the certificate', () => driver.find('shop.test') !== null)
  assert.equal(during, 'token-1.proof')
  assert.equal(driver.challenge('shop.test', 'token-1'), null)
})
