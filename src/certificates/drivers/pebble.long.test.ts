/**
 * ACME against Pebble, the test server of Let's Encrypt, with the gateway as the way in that it asks its questions at: the
 * suite, a first certificate, renewal while connections are open, refusals, and an authority that is away.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { ManualClock, systemClock, systemRandom } from '../../base/index.ts'
import type { Clock } from '../../base/index.ts'
import { createGateway } from '../../gateway/index.ts'
import type { Gateway } from '../../gateway/index.ts'
import { askTls, openTls } from '../../../test/tls-rig.ts'
import { ask, backend, dial, route } from '../../../test/gateway-rig.ts'
import { goPath, needsGo } from '../../../test/needs.ts'
import { buildPebble, startPebble } from '../../../test/pebble.ts'
import type { Pebble } from '../../../test/pebble.ts'
import { certificateConformance } from '../conformance.ts'
import type { CertificateDriver } from '../driver.ts'
import { acmeCertificates } from './acme.ts'

const skip = needsGo()
const waitMs = 60_000
const dayMs = 86_400_000

async function until(what: string, condition: () => boolean, more = (): string => ''): Promise<void> {
  const endMs = performance.now() + waitMs
  while (!condition()) {
    assert.ok(performance.now() < endMs, `waited in vain for ${what} ${more()}`)
    await pause(20)
  }
}

suite('ACME with Pebble', { skip }, () => {
  let dir = ''
  let pebble: Pebble | null = null
  let gateway: Gateway | null = null
  let [httpPort, tlsPort] = [0, 0]
  const drivers = new Set<CertificateDriver>()
  /** The driver whose certificates the gateway serves. */
  let serving: CertificateDriver | null = null

  const running = (): { pebble: Pebble; gateway: Gateway } => {
    assert.ok(pebble !== null && gateway !== null)
    return { pebble, gateway }
  }
  const open = async (place: string, clock: Clock, directoryUrl?: string): Promise<CertificateDriver> => {
    const authority = running().pebble
    const roots = authority.serverRoots
    const url = directoryUrl ?? authority.directoryUrl
    const options = { dir: place, directoryUrl: url, email: 'ops@shop.test', roots, clock, random: systemRandom }
    const driver = await acmeCertificates(options)
    drivers.add(driver)
    return driver
  }

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'stead-pebble-'))
    gateway = createGateway({
      connect: dial,
      limits: { closeMs: 200, headersMs: 120_000 },
      certificates: {
        find: (host) => serving?.find(host) ?? null,
        want: (hosts) => serving?.want(hosts),
        challenge: (host, token) => {
          for (const driver of drivers) {
            const answer = driver.challenge(host, token)
            if (answer !== null) return answer
          }
          return null
        },
      },
    })
    httpPort = (await gateway.listen(0, '127.0.0.1', { tls: false })).port
    tlsPort = (await gateway.listen(0)).port
    const path = await buildPebble(goPath ?? '')
    pebble = await startPebble({ path, dir, httpPort, lifeS: (90 * dayMs) / 1000, blocked: ['blocked.test'] })
  })

  after(async () => {
    for (const driver of drivers) await driver[Symbol.asyncDispose]()
    await gateway?.close()
    await pebble?.[Symbol.asyncDispose]()
    await rm(dir, { recursive: true, force: true })
  })

  certificateConformance({
    name: 'acme',
    skip,
    place: async () => {
      const place = await mkdtemp(join(dir, 'place-'))
      return {
        dir: place,
        open: () => open(place, systemClock),
        provide: () => Promise.resolve(),
        roots: () => running().pebble.roots(),
        [Symbol.asyncDispose]: () => rm(place, { recursive: true }),
      }
    },
  })

  test('a route gets its certificate by itself, and a new one while its connections stay open', async (t) => {
    const part = await backend(t, (_request, response) => response.end('ok'))
    // It stands while the authority's runs on, and what is issued counts from the authority's now.
    const clock = new ManualClock(Date.now() + 600_000)
    const driver = await open(join(dir, 'renewal'), clock)
    serving = driver
    const routes = [route([part.target('web-1')]), route([], { id: 'blocked', host: 'blocked.test' })]
    running().gateway.apply({ revision: 1, routes })
    const roots = await running().pebble.roots()
    const stands = (): string =>
      `${driver
        .list()
        .map(({ host, problem }) => `${host}: ${problem?.message}`)
        .join('; ')}\n${running().pebble.log().slice(-2000)}`
    await until('the first certificate', () => driver.find('shop.test') !== null, stands)
    const first = driver.find('shop.test')
    assert.equal((await askTls({ port: tlsPort, roots })).body, 'ok')
    assert.equal((await ask(httpPort, { path: '/a' })).headers.location, `https://shop.test:${tlsPort}/a`)

    await until('the refusal of the other', () => driver.list().some(({ problem }) => problem !== null))
    const blocked = driver.list().find(({ host }) => host === 'blocked.test')
    assert.equal(blocked?.problem?.code, 'certificates.order-failed')
    assert.match(blocked?.problem?.message ?? '', /no certificate for blocked\.test: .*(?:policy|blocked|rejected)/is)

    const socket = await openTls({ port: tlsPort, roots }, 'shop.test')
    socket.setTimeout(0)
    clock.advance(61 * dayMs)
    await until('the second certificate', () => driver.find('shop.test') !== first, stands)
    assert.notEqual(driver.find('shop.test'), null)
    socket.write('GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n')
    assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 200 /, 'the old connection goes on')
    const next = await openTls({ port: tlsPort, roots }, 'shop.test')
    assert.notEqual(next.getPeerCertificate().serialNumber, socket.getPeerCertificate().serialNumber)
    socket.destroy()
    next.destroy()
  })

  test('an authority that is away is asked again, and what it was is said', async () => {
    const clock = new ManualClock(Date.now())
    const driver = await open(join(dir, 'away'), clock, 'https://127.0.0.1:1/dir')
    driver.want(['shop.test'])
    await until('the failure', () => driver.list()[0]?.problem !== null)
    assert.match(driver.list()[0]?.problem?.message ?? '', /no certificate for shop\.test: .*ECONNREFUSED/)
    assert.equal(driver.find('shop.test'), null)
  })
})
