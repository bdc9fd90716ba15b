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

test('values are known from every plan there was; short ones are let be', () => {
  const known = new KnownValues()
  known.learn([database('administrator', 'first-password', 'abc')])
  known.learn([database('administrator', 'second-password')])
  const line = 'administrator first-password second-password abc'
  assert.equal(known.redact(line), '[secret] [secret] [secret] abc')
  assert.equal(known.redact(Buffer.from('x first-password').toString('base64')), 'eCB[secret]A==')
})

test('with nothing known a line stays as it is', () => {
  assert.equal(new KnownValues().redact('ä line'), 'ä line')
})
