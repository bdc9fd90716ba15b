/** The checkup of a running app: what it says, how often it is worked out, and that its answer is bounded. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { app, type Graph, postgres, service, toGraph } from '../../model/index.ts'
import { Checkups } from './checkup.ts'

/** An app of a web server with its database, and as many workers with a password in plain text. */
function graphOf(workers: number): Graph {
  const design = app('shop', () => {
    const db = postgres('db')
    const web = service('web', { from: './web', run: ['node', 'server.js'], http: 3000, use: { db } })
    const env = { DB_PASSWORD: 'kept-2-yourself' }
    const names = Array.from({ length: workers }, (_, index) => `worker-${index}`)
    const parts = Object.fromEntries(
      names.map((name) => [name, service(name, { from: './worker', run: ['node', 'w.js'], env, use: { db } })]),
    )
    return { parts: { db, web, ...parts }, public: { 'shop.localhost': web } }
  })
  return toGraph(design, { name: 'test', production: false })
}

test('says how available the design is, what alone takes it down, and what is wrong by cause', async () => {
  const checkup = await new Checkups().of('shop', 4, graphOf(30))
  assert.equal(checkup.release, 4)
  assert.ok(checkup.availability !== null && checkup.availability > 0.9 && checkup.availability < 1)
  const downSeconds = (1 - checkup.availability) * 365.25 * 86_400
  assert.ok(Math.abs((checkup.downtimeSecondsPerYear ?? 0) / downSeconds - 1) < 0.01)
  assert.deepEqual(checkup.singlePointsOfFailure, ['db', 'web'])
  assert.ok(checkup.beneath.includes('the machine'))
  const secrets = checkup.causes.find(({ title }) => title === 'Secrets stand in plain text')
  assert.deepEqual(
    secrets?.findings.map(({ rule, severity, message }) => [rule, severity, message]),
    [['security.plain-secret', 'high', 'DB_PASSWORD stands in plain text']],
  )
  const [finding] = secrets?.findings ?? []
  assert.match(finding?.advice ?? '', /secret\('name'\)/)
  assert.deepEqual([finding?.parts.length, finding?.moreParts], [20, 10], 'as many names as are told, the rest counted')
  assert.doesNotMatch(JSON.stringify(checkup), /kept-2-yourself/, 'no value is told')
})

test('a release is checked once, another anew, and an app that was forgotten too', async () => {
  const checkups = new Checkups()
  const first = await checkups.of('shop', 1, graphOf(0))
  assert.equal(await checkups.of('shop', 1, graphOf(1)), first, 'kept')
  assert.equal(JSON.stringify(first).includes('DB_PASSWORD'), false)
  const next = await checkups.of('shop', 2, graphOf(1))
  assert.match(JSON.stringify(next), /DB_PASSWORD/)
  checkups.forget('shop')
  assert.notEqual(await checkups.of('shop', 2, graphOf(1)), next)
})
