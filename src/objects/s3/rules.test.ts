/** The pure rules: conditions, ranges, names, policies, rights, locks, expiry. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { mayAccess } from './access.ts'
import type { AccessQuestion } from './access.ts'
import { checkRead, checkWrite, readCopyRange, readRange } from './conditions.ts'
import type { ReadConditions } from './conditions.ts'
import { S3Failure } from './failure.ts'
import { hasExpired, readLifecycle } from './lifecycle.ts'
import { checkDeletable, checkRetentionChange } from './lock.ts'
import { like, readPolicy } from './policy.ts'
import { isBucketName, readRequest } from './request.ts'
import { readXml, writeXml } from './xml.ts'

function codeOf(work: () => unknown): string | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    assert.ok(error instanceof S3Failure, String(error))
    return error.code
  }
}

const current = { etag: 'abc', modifiedMs: Date.UTC(2026, 0, 1, 12, 0, 0, 500) }
const none: ReadConditions = {
  match: undefined,
  noneMatch: undefined,
  modifiedSince: undefined,
  unmodifiedSince: undefined,
}
const dayMs = 86_400_000

suite('conditions and ranges', () => {
  test('reading', () => {
    const exact = new Date(current.modifiedMs).toUTCString()
    const before = new Date(current.modifiedMs - 5000).toUTCString()
    const cases: readonly (readonly [Partial<ReadConditions>, string | undefined])[] = [
      [{ match: '"abc"' }, undefined],
      [{ match: '"x", "abc"' }, undefined],
      [{ match: '"x"' }, 'PreconditionFailed'],
      [{ noneMatch: 'W/"abc"' }, 'NotModified'],
      [{ noneMatch: '*' }, 'NotModified'],
      [{ modifiedSince: exact }, 'NotModified'],
      [{ modifiedSince: before }, undefined],
      [{ unmodifiedSince: before }, 'PreconditionFailed'],
      [{ unmodifiedSince: exact }, undefined],
      [{ match: '"abc"', unmodifiedSince: before }, undefined],
      [{ noneMatch: '"x"', modifiedSince: exact }, undefined],
      [{ modifiedSince: 'no date' }, undefined],
    ]
    for (const [conditions, code] of cases) {
      assert.equal(
        codeOf(() => checkRead({ ...none, ...conditions }, current)),
        code,
        JSON.stringify(conditions),
      )
    }
  })

  test('writing', () => {
    assert.equal(
      codeOf(() => checkWrite({ match: undefined, noneMatch: '*' }, current)),
      'PreconditionFailed',
    )
    assert.equal(
      codeOf(() => checkWrite({ match: undefined, noneMatch: '*' }, undefined)),
      undefined,
    )
    assert.equal(
      codeOf(() => checkWrite({ match: '"old"', noneMatch: undefined }, current)),
      'PreconditionFailed',
    )
    assert.equal(
      codeOf(() => checkWrite({ match: '"abc"', noneMatch: undefined }, undefined)),
      'NoSuchKey',
    )
  })

  test('ranges', () => {
    const cases: readonly (readonly [string | undefined, readonly [number, number] | undefined])[] = [
      [undefined, undefined],
      ['bytes=0-0', [0, 1]],
      ['bytes=5-', [5, 10]],
      ['bytes=-3', [7, 10]],
      ['bytes=-30', [0, 10]],
      ['bytes=2-99', [2, 10]],
      ['bytes=5-2', undefined],
      ['bytes=a-b', undefined],
      ['bytes=0-1,3-4', undefined],
      ['bytes=-', undefined],
    ]
    for (const [header, expected] of cases) {
      const range = readRange(header, 10)
      assert.deepEqual(range && [range.start, range.end], expected, String(header))
    }
    assert.equal(
      codeOf(() => readRange('bytes=10-', 10)),
      'InvalidRange',
    )
    assert.equal(
      codeOf(() => readRange('bytes=-0', 10)),
      'InvalidRange',
    )
    assert.equal(
      codeOf(() => readRange('bytes=0-0', 0)),
      'InvalidRange',
    )
    assert.equal(
      codeOf(() => readCopyRange('bytes=0-10', 10)),
      'InvalidRange',
    )
    assert.equal(
      codeOf(() => readCopyRange('bytes=3-2', 10)),
      'InvalidArgument',
    )
  })
})

suite('names', () => {
  test('of buckets', () => {
    for (const name of ['abc', 'a-b.c', '0123', 'a'.repeat(63)]) assert.ok(isBucketName(name), name)
    for (const name of ['ab', 'A-b', 'a_b', 'a..b', 'a.-b', '-ab', 'ab-', '1.2.3.4', 'a'.repeat(64), 'xn--a', '']) {
      assert.ok(!isBucketName(name), name)
    }
  })

  test('path style and virtual-host style', () => {
    const hosts = { names: ['localhost', 's3.example.com'] }
    const at = (target: string, host: string): string => {
      const { bucket, key } = readRequest('GET', target, { host }, hosts)
      return `${bucket ?? ''}|${key ?? ''}`
    }
    assert.equal(at('/b/k/l', '127.0.0.1:9000'), 'b|k/l')
    assert.equal(at('/k/l', 'b.localhost:9000'), 'b|k/l')
    assert.equal(at('/', 'a.b.s3.example.com'), 'a.b|')
    assert.equal(at('/b//k', 'localhost'), 'b|/k')
    assert.equal(at('http://other/b/%2e%2e/x', 'localhost'), 'b|../x')
    assert.equal(at('/', 'localhost'), '|')
    assert.equal(
      codeOf(() => at('/b/%ff', 'localhost')),
      'InvalidURI',
    )
    assert.equal(
      codeOf(() => at(`/b/${'x'.repeat(1025)}`, 'localhost')),
      'KeyTooLongError',
    )
    assert.equal(
      codeOf(() => at('b/k', 'localhost')),
      'InvalidURI',
    )
  })
})

suite('who may', () => {
  const question: AccessQuestion = {
    caller: { account: 'owner' },
    action: 's3:GetObject',
    bucket: 'b',
    key: 'k',
    bucketOwner: 'owner',
    bucketAcl: [],
    policy: undefined,
    block: undefined,
    aclsCount: false,
    values: new Map(),
  }
  const policy = (statement: object): AccessQuestion['policy'] =>
    readPolicy(JSON.stringify({ Version: '2012-10-17', Statement: [statement] }), 'b')

  test('the owner, and nobody else by default', () => {
    assert.ok(mayAccess(question))
    assert.ok(!mayAccess({ ...question, caller: { account: 'other' } }))
    assert.ok(!mayAccess({ ...question, caller: { account: '' } }))
  })

  test('a key with rights may do these and nothing else', () => {
    const caller = { account: 'owner', rights: { b: ['read'] as const } }
    const allowed = (action: string, bucket = 'b'): boolean => mayAccess({ ...question, caller, action, bucket })
    assert.ok(allowed('s3:GetObject') && allowed('s3:GetObjectVersion'))
    for (const action of [
      's3:PutObject',
      's3:DeleteObject',
      's3:ListBucket',
      's3:PutBucketPolicy',
      's3:DeleteBucket',
    ]) {
      assert.ok(!allowed(action), action)
    }
    assert.ok(!allowed('s3:GetObject', 'other'))
    assert.ok(!allowed('s3:GetObject', 'toString'))
  })

  test('a refusal wins, but not over the owner’s way out of it', () => {
    const denied = policy({
      Effect: 'Deny',
      Principal: '*',
      Action: 's3:*',
      Resource: ['arn:aws:s3:::b', 'arn:aws:s3:::b/*'],
    })
    const { key: _key, ...onBucket } = question
    assert.ok(!mayAccess({ ...question, policy: denied }))
    assert.ok(mayAccess({ ...onBucket, action: 's3:DeleteBucketPolicy', policy: denied }))
  })

  test('a permission for others, with a condition', () => {
    const open = policy({
      Effect: 'Allow',
      Principal: '*',
      Action: 's3:GetObject',
      Resource: 'arn:aws:s3:::b/k*',
      Condition: { StringLike: { 'aws:Referer': 'https://*.example.com/*' } },
    })
    const from = (referer: string): boolean =>
      mayAccess({ ...question, caller: { account: '' }, policy: open, values: new Map([['aws:referer', referer]]) })
    assert.ok(from('https://www.example.com/a'))
    assert.ok(!from('https://example.org/a'))
    const restricted = { blockAcls: false, ignoreAcls: false, blockPolicy: false, restrict: true }
    const values = new Map([['aws:referer', 'https://www.example.com/a']])
    assert.ok(!mayAccess({ ...question, caller: { account: '' }, policy: open, values, block: restricted }))
  })

  test('policies that say what is not understood are refused', () => {
    const base = { Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: 'arn:aws:s3:::b/*' }
    const wrong: readonly object[] = [
      { ...base, Effect: 'Maybe' },
      { ...base, NotPrincipal: '*' },
      { ...base, Resource: 'arn:aws:s3:::other/*' },
      { ...base, Condition: { DateLessThan: { 'aws:CurrentTime': '2030-01-01' } } },
      { ...base, Condition: { StringEquals: { 'aws:SourceVpc': 'x' } } },
      { ...base, Principal: { Federated: 'x' } },
      { ...base, Action: [] },
    ]
    for (const statement of wrong)
      assert.equal(
        codeOf(() => policy(statement)),
        'MalformedPolicy',
        JSON.stringify(statement),
      )
  })

  test('patterns take time linear in the text', () => {
    assert.ok(like('a/b/c', 'a/*'))
    assert.ok(!like('ab', 'a?c'))
    assert.ok(!like('a'.repeat(2000), `${'*a'.repeat(200)}b`))
  })
})

suite('locks and expiry', () => {
  const nowMs = Date.UTC(2026, 5, 1)

  test('what is locked stays', () => {
    const governed = { retention: { mode: 'GOVERNANCE', untilMs: nowMs + 1 } as const }
    const complied = { retention: { mode: 'COMPLIANCE', untilMs: nowMs + 1 } as const }
    assert.equal(
      codeOf(() => checkDeletable(governed, nowMs, false)),
      'AccessDenied',
    )
    assert.equal(
      codeOf(() => checkDeletable(governed, nowMs, true)),
      undefined,
    )
    assert.equal(
      codeOf(() => checkDeletable(complied, nowMs, true)),
      'AccessDenied',
    )
    assert.equal(
      codeOf(() => checkDeletable(complied, nowMs + 1, false)),
      undefined,
    )
    assert.equal(
      codeOf(() => checkDeletable({ legalHold: true }, nowMs, true)),
      'AccessDenied',
    )
    const shorter = { mode: 'COMPLIANCE', untilMs: nowMs } as const
    const longer = { mode: 'COMPLIANCE', untilMs: nowMs + 2 } as const
    assert.equal(
      codeOf(() => checkRetentionChange(complied, shorter, nowMs, true)),
      'AccessDenied',
    )
    assert.equal(
      codeOf(() => checkRetentionChange(complied, longer, nowMs, false)),
      undefined,
    )
  })

  test('rules by age, size, tag and number', () => {
    const rules = readLifecycle(
      readXml(
        `<LifecycleConfiguration>
          <Rule><ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>logs/</Prefix><Tag><Key>keep</Key><Value>no</Value></Tag></And></Filter><Expiration><Days>10</Days></Expiration></Rule>
          <Rule><ID>b</ID><Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>
          <Rule><ID>c</ID><Status>Disabled</Status><Prefix/><Expiration><Days>1</Days></Expiration></Rule>
        </LifecycleConfiguration>`,
        'LifecycleConfiguration',
      ),
      () => 'new',
    )
    const version = {
      key: 'logs/1',
      tags: [['keep', 'no']] as const,
      sizeBytes: 1,
      modifiedMs: nowMs - 11 * dayMs,
      isMarker: false,
      replacedMs: undefined,
      newerNoncurrent: 0,
      alone: true,
    }
    assert.ok(hasExpired(rules, version, nowMs))
    assert.ok(!hasExpired(rules, { ...version, tags: [] }, nowMs))
    assert.ok(!hasExpired(rules, { ...version, key: 'other' }, nowMs))
    assert.ok(!hasExpired(rules, { ...version, modifiedMs: nowMs - 9 * dayMs }, nowMs))
    const replaced = { ...version, key: 'other', replacedMs: nowMs - 5 * dayMs }
    assert.ok(!hasExpired(rules, { ...replaced, newerNoncurrent: 1 }, nowMs))
    assert.ok(hasExpired(rules, { ...replaced, newerNoncurrent: 2 }, nowMs))
  })
})

suite('XML', () => {
  test('what is written is read', () => {
    const text = writeXml('A', { B: '<&>"\u0001 ü', C: [{ D: 1 }, { D: 2 }], E: undefined, F: true })
    const root = readXml(text, 'A')
    assert.deepEqual(
      root.children.map(({ name, text: content, children }) => [name, content, children.length]),
      [
        ['B', '<&>"\u0001 ü', 0],
        ['C', '', 1],
        ['C', '', 1],
        ['F', 'true', 0],
      ],
    )
  })

  test('what is no document is refused', () => {
    const wrong = [
      '',
      'text',
      '<A>',
      '<A></B>',
      '<A/><A/>',
      '<B/>',
      '<A>&unknown;</A>',
      '<!DOCTYPE A [<!ENTITY x "y">]><A>&x;</A>',
      '<A b=c/>',
      '<A>&#0;</A>',
      '<A>'.repeat(20) + '</A>'.repeat(20),
    ]
    for (const text of wrong)
      assert.equal(
        codeOf(() => readXml(text, 'A')),
        'MalformedXML',
        text.slice(0, 40),
      )
  })
})
