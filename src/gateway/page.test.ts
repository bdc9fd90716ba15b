/** The page of a failed request: which hop it marks, what it says, and that nothing from outside becomes markup. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import type { HopState, RouteHop } from '../protocol/index.ts'
import { ask, backend, deadPort, rig, route } from '../../test/gateway-rig.ts'
import { wayOf } from './hops.ts'
import { causeNames, causes, renderProblem } from './problem.ts'
import type { Problem } from './problem.ts'

function hops(own: HopState, ...used: readonly [string, HopState][]): RouteHop[] {
  return [
    { part: 'web', type: 'service', state: own },
    ...used.map(([part, state]): RouteHop => ({ part, type: 'postgres', state })),
  ]
}

const problem: Problem = { cause: 'reset', requestId: 'order-12345', traceId: 'f'.repeat(32), app: 'shop', part: 'web' }

test('what the part uses and is reported as failing is marked, and called the likely cause', () => {
  const way = wayOf('reset', 'part', 'web', hops('degraded', ['mail', 'ready'], ['db', 'failing'], ['x', 'unknown']))
  assert.deepEqual(
    [...way.line, ...way.used].map(({ name, mark, said }) => `${name} ${mark}: ${said}`),
    [
      'You fine: fine',
      'Gateway fine: fine',
      'web affected: hung up',
      'db failed: failing',
      'x unsure: unknown',
      'mail fine: fine',
    ],
  )
  assert.equal(way.finding, 'db, which web uses, is failing. Most likely that is the cause.')
  const alone = wayOf('timed-out', 'part', 'web', hops('ready', ['db', 'ready']))
  assert.deepEqual([alone.line[2]?.mark, alone.finding], ['failed', null])
})

test('every cause marks exactly the hop it lies with, whatever is known of health', () => {
  const states: readonly HopState[] = ['ready', 'degraded', 'starting', 'failing', 'stopped', 'unknown']
  for (const cause of causeNames)
    for (const own of states)
      for (const used of states) {
        const guilty = causes[cause].hop
        const { line, used: drawn } = wayOf(cause, guilty, 'web', hops(own, ['db', used]))
        const [you, gateway, part] = line
        assert.equal(you?.mark === 'failed', guilty === 'you')
        assert.equal(gateway?.mark === 'failed', guilty === 'gateway')
        if (guilty === 'you') assert.deepEqual([part?.mark, drawn], ['unreached', []])
        if (guilty !== 'part') continue
        const passes = cause === 'starting' || cause === 'deploying'
        const broken = used === 'failing' || used === 'stopped'
        assert.equal(part?.mark, broken || passes ? 'affected' : 'failed', `${cause} ${own} ${used}`)
        assert.equal(drawn[0]?.mark === 'failed', broken)
      }
})

test('the page draws the worst first and counts what it does not draw', () => {
  const many = Array.from({ length: 20 }, (_, i): [string, HopState] => [`p${i}`, i === 19 ? 'stopped' : 'ready'])
  const way = wayOf('reset', 'part', 'web', hops('ready', ...many))
  assert.deepEqual([way.used[0]?.name, way.used.length, way.more], ['p19', 5, 15])
})

test('nothing from outside becomes markup, in any form', () => {
  const hostile = [
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '</style><script>x</script>',
    '</title><svg onload=alert(1)>',
    '&lt;script&gt;',
    '<!--',
    '$& $1 {part}',
    'right\u202eto left\u0000\u001b[31m\r\nX-Injected: 1',
  ]
  const skeleton = (body: string): string => body.replaceAll(/>[^<]*</g, '><')
  const tame = (text: string): Problem => ({
    ...problem,
    requestId: text,
    traceId: `${text}2`,
    app: text,
    part: text,
    detail: text,
    hops: ['ready', 'failing'].map((state, i) => ({ part: `${text}${i}`, type: text, state: state as HopState })),
  })
  const expected = skeleton(renderProblem(tame('plain'), 'text/html').body)
  for (const text of hostile) {
    const { body } = renderProblem(tame(text), 'text/html')
    assert.equal(skeleton(body), expected, text)
    assert.doesNotMatch(body, /\p{Cf}|(?!\n)\p{Cc}/u)
    assert.doesNotThrow(() => JSON.parse(renderProblem(tame(text), 'application/json').body) as unknown)
    const plain = renderProblem(tame(text), undefined).body
    assert.doesNotMatch(plain, /\p{Cf}|(?!\n)\p{Cc}/u)
    assert.equal(plain.split('\n').length, renderProblem(tame('plain'), undefined).body.split('\n').length)
  }
})

test('its policy lets in its own style and nothing else', () => {
  const { body, headers } = renderProblem({ ...problem, hops: hops('ready', ['db', 'failing']) }, 'text/html')
  const style = /<style>([^]*)<\/style>/.exec(body)?.[1] ?? ''
  const policy = headers[headers.indexOf('content-security-policy') + 1] ?? ''
  assert.ok(policy.includes(`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`))
  assert.match(policy, /^default-src 'none';/)
  assert.doesNotMatch(body, /<script|\bstyle=|\bon\w+=|src=|href=|@import|url\(|https?:/)
  assert.ok(Buffer.byteLength(body) < 14_000, 'fits into the first flight of a connection')
})

test('a gateway tells the hop, the trace and how old its knowledge is, with control gone', async (t) => {
  const dead = { instance: 'i', endpoint: { kind: 'tcp', host: '127.0.0.1', port: await deadPort(t) } } as const
  const known = hops('ready', ['db', 'stopped'])
  const { port, gateway } = await rig(t, [route([dead], { hops: known })])
  const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const html = { accept: 'text/html', traceparent, 'x-request-id': 'order-12345' }
  const before = await ask(port, { headers: html })
  assert.match(before.body, /db, which web uses, is stopped\./)
  assert.match(before.body, new RegExp(`<dt>request</dt><dd>order-12345</dd><dt>trace</dt><dd>${'a'.repeat(32)}</dd>`))
  assert.doesNotMatch(before.body, /control plane/)
  gateway.lostControl()
  const after = await ask(port, { headers: html })
  assert.match(after.body, /The control plane has been out of reach since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/)
  const json = JSON.parse((await ask(port, { headers: { ...html, accept: 'application/json' } })).body)
  assert.equal(json.traceId, 'a'.repeat(32))
  assert.deepEqual(json.way.at(-1), { kind: 'used', name: 'db', mark: 'failed', said: 'stopped' })
  gateway.apply({ revision: 2, routes: [route([dead], { hops: known })] })
  assert.doesNotMatch((await ask(port, { headers: html })).body, /control plane/)
  const web = await backend(t, (_request, response) => response.writeHead(503, 'Mine').end('<b>own page</b>'))
  gateway.apply({ revision: 3, routes: [route([web.target('web-1')], { hops: known })] })
  assert.equal((await ask(port, { headers: html })).body, '<b>own page</b>', 'what the part answers is its own')
})
