/**
 * The suite that every certificate driver passes, also drivers made elsewhere: it registers node:test cases for a driver. What
 * a driver says it cannot do is checked to be said of each host it is asked for.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { connect, createServer } from 'node:tls'
import { systemClock } from '../base/index.ts'
import type { Certificate } from './certificate.ts'
import type { CertificateDriver } from './driver.ts'

const waitMs = 30_000

/** One place with a driver in it. */
export interface CertificatePlace extends AsyncDisposable {
  /** Where the driver keeps its files. */
  readonly dir: string
  /** Opens the driver, or opens it again after it was disposed. */
  open(): Promise<CertificateDriver>
  /** Puts a certificate for a host where the driver finds it; nothing for drivers that make their own. */
  provide(host: string): Promise<void>
  /** PEM of the authority that signs. */
  roots(): Promise<string>
}

export interface CertificateConformance {
  readonly name: string
  readonly skip?: string | false
  place(): Promise<CertificatePlace>
}

/** Registers the suite for one driver. */
export function certificateConformance(conformance: CertificateConformance): void {
  const { name, skip = false } = conformance
  suite(`certificate driver ${name}`, { skip }, () => {
    const within = (what: string, run: (given: CertificatePlace, driver: CertificateDriver) => Promise<void>): void => {
      test(what, async () => {
        await using given = await conformance.place()
        await using driver = await given.open()
        await run(given, driver)
      })
    }

    within('a wanted host gets a certificate of its own, which a client takes', async (given, driver) => {
      await given.provide('shop.test')
      driver.want(['shop.test'])
      const certificate = await found(driver, 'shop.test')
      assert.ok(certificate.hosts.includes('shop.test'))
      const now = systemClock.nowMs()
      assert.ok(certificate.fromMs <= now && certificate.untilMs > now)
      assert.ok(new X509Certificate(certificate.chain).checkHost('shop.test') !== undefined)
      await shakeHands(certificate, 'shop.test', await given.roots())
      const state = driver.list().find(({ host }) => host === 'shop.test')
      assert.deepEqual(state, { host: 'shop.test', untilMs: certificate.untilMs, problem: null })
    })

    within('the same certificate is the same object', async (given, driver) => {
      await given.provide('shop.test')
      driver.want(['shop.test'])
      const certificate = await found(driver, 'shop.test')
      driver.want(['other.test', 'shop.test'])
      assert.equal(driver.find('shop.test'), certificate)
    })

    within('no other host gets it', async (given, driver) => {
      await given.provide('shop.test')
      driver.want(['shop.test'])
      await found(driver, 'shop.test')
      for (const host of ['other.test', 'test', 'sub.shop.test', 'shop.test.evil', '127.0.0.1', '']) {
        assert.equal(driver.find(host), null, host)
      }
    })

    within('a change is told', async (given, driver) => {
      let told = 0
      using _listening = driver.onChange(() => (told += 1))
      await given.provide('shop.test')
      driver.want(['shop.test'])
      await found(driver, 'shop.test')
      await until('a change to be told', () => told > 0)
    })

    within('a host that is not wanted any more gets nothing made', async (given, driver) => {
      await given.provide('shop.test')
      driver.want(['shop.test'])
      await found(driver, 'shop.test')
      driver.want([])
      assert.deepEqual(driver.list(), [])
      if (driver.capabilities.hosts === 'made') assert.equal(driver.find('shop.test'), null)
    })

    within('a wildcard stands for one label, or is refused in a sentence', async (given, driver) => {
      if (!driver.capabilities.wildcards) {
        driver.want(['*.shop.test'])
        const [state] = driver.list()
        assert.match(state?.problem?.message ?? '', /^[^.].*\*\.shop\.test.*\.$/)
        assert.equal(driver.find('a.shop.test'), null)
        return
      }
      await given.provide('*.shop.test')
      driver.want(['*.shop.test'])
      const certificate = await found(driver, 'a.shop.test')
      await shakeHands(certificate, 'a.shop.test', await given.roots())
      assert.equal(driver.find('shop.test'), null)
      assert.equal(driver.find('a.b.shop.test'), null)
    })

    within('a challenge that nobody asked is answered with nothing', (_given, driver) => {
      assert.equal(driver.challenge('shop.test', 'token'), null)
      return Promise.resolve()
    })

    within('files with keys are closed to others', async (given, driver) => {
      if (driver.capabilities.hosts === 'found') return
      driver.want(['shop.test'])
      await found(driver, 'shop.test')
      const files = await readdir(given.dir, { recursive: true, withFileTypes: true })
      const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name))
      const texts = await Promise.all(paths.map((path) => readFile(path, 'utf8')))
      const keys = paths.filter((_, i) => texts[i]?.includes('PRIVATE KEY'))
      assert.ok(keys.length > 0)
      for (const path of keys) assert.equal((await stat(path)).mode & 0o777, 0o600, path)
    })

    test('opened again it serves on, and clients need trust nobody new', async () => {
      await using given = await conformance.place()
      await given.provide('shop.test')
      const driver = await given.open()
      driver.want(['shop.test'])
      await found(driver, 'shop.test')
      const roots = await given.roots()
      await driver[Symbol.asyncDispose]()
      await using again = await given.open()
      again.want(['shop.test'])
      await shakeHands(await found(again, 'shop.test'), 'shop.test', roots)
    })
  })
}

async function found(driver: CertificateDriver, host: string): Promise<Certificate> {
  await until(
    `a certificate for ${host}`,
    () => driver.find(host) !== null,
    () =>
      driver
        .list()
        .map(({ host, problem }) => `${host}: ${problem?.message ?? 'nothing wrong'}`)
        .join('; '),
  )
  const certificate = driver.find(host)
  assert.ok(certificate !== null)
  return certificate
}

async function until(what: string, condition: () => boolean, more = (): string => ''): Promise<void> {
  const endMs = systemClock.monotonicMs() + waitMs
  while (!condition()) {
    assert.ok(systemClock.monotonicMs() < endMs, `waited ${waitMs} ms in vain for ${what} ${more()}`)
    await pause(10)
  }
}

/** Serves TLS with a certificate, and connects to it as a client that trusts these roots and wants this host. */
async function shakeHands({ chain, key }: Certificate, host: string, roots: string): Promise<void> {
  const server = createServer({ cert: chain, key }, (socket) => socket.end('hello'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  try {
    const client = connect({ port: address.port, host: '127.0.0.1', servername: host, ca: roots })
    await once(client, 'secureConnect')
    client.destroy()
  } finally {
    server.close()
  }
}
