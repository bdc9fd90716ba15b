/** What declarations mean, what no name may lead to, what a question is, and that what is kept has a bound. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../../base/index.ts'
import { whyClosed } from './addresses.ts'
import { AllowedAddresses, lifeMaxMs, lifeMinMs, pairsMax } from './allowed.ts'
import { answersMax, readQuestion, writeAnswer } from './dns.ts'
import { hintForRefusal, Refusals, refusalsMax } from './refusals.ts'
import { isDeclared, parseEgress, portsOf } from './rules.ts'

suite('egress rules', () => {
  test('names are compared whole, a domain stands for what is below it', () => {
    const rules = parseEgress(['API.example.com:443', '*.example.org:80', '*.example.org:443', 'api.example.com:8443'])
    assert.deepEqual(portsOf(rules, 'api.example.com'), { ports: [443, 8443], by: 'name' })
    assert.deepEqual(portsOf(rules, 'a.b.example.org'), { ports: [80, 443], by: 'domain' })
    for (const name of ['example.org', 'xexample.org', 'example.com', 'api.example.com.evil.net', ''])
      assert.deepEqual(portsOf(rules, name).ports, [], name)
  })

  test('addresses and ranges are declared for their port; the whole internet is not the networks that are closed', () => {
    const rules = parseEgress(['10.0.0.0/8:5432', '192.0.2.7:25', '0.0.0.0/0:443'])
    assert.equal(isDeclared(rules, '10.255.1.1', 5432, true), true)
    assert.equal(isDeclared(rules, '11.0.0.1', 5432, false), false)
    assert.equal(isDeclared(rules, '192.0.2.7', 26, false), false)
    assert.equal(isDeclared(rules, '203.0.113.1', 443, false), true)
    assert.equal(isDeclared(rules, '169.254.169.254', 443, true), false)
  })

  test('what is no declaration is refused', () => {
    for (const entry of [
      'example.com',
      'example.com:0',
      'example.com:70000',
      '*:443',
      '1.2.3:80',
      '1.2.3.4/33:80',
      'a..b:1',
      ':443',
      '[::1]:443',
    ])
      assert.throws(() => parseEgress([entry]), { code: 'network.bad-egress' }, entry)
  })

  test('no name leads into closed networks', () => {
    const closed =
      '127.0.0.1 10.0.0.1 172.31.255.255 192.168.1.1 169.254.169.254 100.100.100.200 168.63.129.16 0.0.0.0 255.255.255.255 198.51.100.1'
    for (const address of [...closed.split(' '), '::1', 'x', '1.2.3.4.5', '01.2.3.4'])
      assert.notEqual(whyClosed(address, ['198.51.100.1']), null, address)
    for (const address of ['172.32.0.1', '1.1.1.1', '100.128.0.1', '223.255.255.255'])
      assert.equal(whyClosed(address, []), null, address)
  })

  test('any bytes are read within their bounds', () => {
    const random = seededRandom(7)
    for (let round = 0; round < 20_000; round += 1) {
      const packet = random.bytes((random.bytes(1)[0] ?? 0) >> (round % 4))
      const question = readQuestion(packet)
      if (question === null) continue
      assert.match(question.name, /^[a-z0-9_?.-]*$/)
      assert.ok(writeAnswer(question, { code: 0, addresses: [] }).length <= 512)
    }
    const head = Buffer.from('000101000001000000000001', 'hex')
    const longest = Buffer.from(
      [63, 63, 63, 61].map((size) => String.fromCharCode(size) + 'a'.repeat(size)).join('') + '\0\0\x01\0\x01\0\0\x29',
      'latin1',
    )
    const question = readQuestion(Buffer.concat([head, longest]))
    assert.equal(question?.kind, 'ordinary')
    assert.ok(question !== null && question.extended)
    const addresses = Array.from({ length: 50 }, () => ({ address: '1.2.3.4', ttlSeconds: 1 }))
    assert.ok(writeAnswer(question, { code: 0, addresses }).length <= 512)
    assert.ok(answersMax > 8)
  })

  test('addresses live as long as their record, within bounds, and are bounded in number', () => {
    const allowed = new AllowedAddresses()
    const one = (address: string, ttlSeconds: number) => [{ address, ttlSeconds }]
    assert.equal(allowed.admit('a', one('1.1.1.1', 1), [80, 443], 0)?.length, 2)
    assert.equal(allowed.admit('a', one('1.1.1.1', 10 ** 9), [80], 0)?.length, 0)
    assert.deepEqual(
      allowed.expire(lifeMinMs).map(({ port }) => port),
      [443],
    )
    assert.equal(allowed.has({ address: '1.1.1.1', port: 80 }), true)
    assert.equal(allowed.expire(lifeMaxMs).length, 1)
    const many = Array.from({ length: pairsMax }, (_, i) => ({ address: `10.0.${i >> 8}.${i & 255}`, ttlSeconds: 60 }))
    assert.equal(allowed.admit('b', many, [80], 0)?.length, pairsMax)
    assert.equal(allowed.admit('c', one('9.9.9.9', 60), [80], 0), null)
  })

  test('refusals are counted together, bounded, and plain text', () => {
    const refusals = new Refusals()
    const refused = { act: 'tried', what: 'a:1', why: 'no', declare: null } as const
    assert.equal(refusals.add(refused, 5), true)
    assert.equal(refusals.add(refused, 9), false)
    assert.deepEqual(refusals.list(), [{ ...refused, count: 2, firstMs: 5, lastMs: 9 }])
    for (let i = 0; i < 1000; i += 1) refusals.add({ ...refused, what: `\x1b[31m${i}` }, 10 + i)
    assert.equal(refusals.list().length, refusalsMax)
    assert.equal(refusals.list()[0]?.what, '?[31m999')
    assert.equal(refusals.total, 1002)
  })

  test('what would allow it: a name without a dot is another part, which has to be used', () => {
    assert.equal(hintForRefusal('web', { declare: null }), null)
    assert.match(
      hintForRefusal('web', { declare: 'api.example.com:443' }) ?? '',
      /egress: \['api\.example\.com:443'\]$/,
    )
    assert.match(hintForRefusal('web', { declare: '192.0.2.1:443' }) ?? '', /egress: \['192\.0\.2\.1:443'\]$/)
    assert.match(
      hintForRefusal('web', { declare: 'orders:443' }) ?? '',
      /if orders is a part of this app, add it to the use of web/,
    )
  })
})
