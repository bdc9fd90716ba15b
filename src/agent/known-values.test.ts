/** What the agent hands on of output holds no value it was ever told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ResourceAssignment } from '../protocol/index.ts'
import { KnownValues } from './known-values.ts'

function database(adminPassword: string, ...passwords: readonly string[]): ResourceAssignment {
  const grants = passwords.map((password, index) => ({ consumer: 'web', user: `web_${index}`, password, version: 1 }))
  const place = { id: 'shop.db', app: 'shop', part: 'db', type: 'postgres', config: null, hostUid: 1, bundle: null }
  return { kind: 'resource', ...place, adminPassword, grants, revoked: [], wanted: true }
}

test('values are known from earlier plans too; short ones are let be', () => {
  const known = new KnownValues(() => {})
  known.learn([database('administrator', 'first-password', 'abc')])
  known.learn([database('administrator', 'second-password')])
  const line = 'administrator first-password second-password abc'
  assert.equal(known.redact(line), '[secret] [secret] [secret] abc')
  assert.equal(known.redact(Buffer.from('x first-password').toString('base64')), 'eCB[secret]A==')
})

test('with nothing known a line stays as it is', () => {
  assert.equal(new KnownValues(() => {}).redact('ä line'), 'ä line')
})

test('earlier values are forgotten, the oldest first, and that is said once; what the plan holds never is', () => {
  const notices: string[] = []
  const known = new KnownValues((text) => void notices.push(text))
  const at = (index: number): string => `password-number-${index}`
  for (let index = 0; index <= 205; index += 1) known.learn([database('administrator', at(index))])
  const line = `administrator ${at(4)} ${at(5)} ${at(205)} ${at(204)}`
  assert.equal(known.redact(line), `[secret] ${at(4)} [secret] [secret] [secret]`)
  assert.equal(notices.length, 1)
})

test('many large values of many lines are looked for', () => {
  const known = new KnownValues(() => {})
  const large = (of: number): string =>
    Array.from({ length: 4000 }, (_, line) => `${of}: line ${line} of it`)
      .join('\n')
      .slice(0, 65_536)
  const values = Array.from({ length: 12 }, (_, of) => large(of))
  known.learn([database('administrator', ...values)])
  assert.equal(known.redact('11: line 1100 of it, administrator'), '[secret], [secret]')
  assert.equal(known.redact(`x ${values[7]} y`), 'x [secret] y')
})
