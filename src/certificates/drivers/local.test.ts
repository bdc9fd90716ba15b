/** The local authority: the suite, and what is its own: it is made once, by whoever comes first, and guarded. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { ManualClock, systemClock, systemRandom } from '../../base/index.ts'
import { certificateConformance } from '../conformance.ts'
import { localCertificates } from './local.ts'

async function directory(): Promise<{ dir: string } & AsyncDisposable> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-local-'))
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
}

const open = (dir: string, clock = systemClock): ReturnType<typeof localCertificates> =>
  localCertificates({ dir, clock, random: systemRandom })

certificateConformance({
  name: 'local',
  place: async () => {
    const { dir, ...place } = await directory()
    return {
      ...place,
      dir,
      open: () => open(dir),
      provide: () => Promise.resolve(),
      roots: () => readFile(join(dir, 'ca.pem'), 'utf8'),
    }
  },
})

test('many who make the authority in the same moment agree on one', async () => {
  await using place = await directory()
  const drivers = await Promise.all(Array.from({ length: 8 }, () => open(place.dir)))
  for (const driver of drivers) driver.want(['shop.test'])
  const ca = new X509Certificate(await readFile(join(place.dir, 'ca.pem')))
  for (const driver of drivers) {
    assert.ok(new X509Certificate(driver.find('shop.test')?.chain ?? '').verify(ca.publicKey))
  }
})

test('a leaf is made anew after two thirds of its life, and before that stays the same', async () => {
  await using place = await directory()
  const clock = new ManualClock(Date.now())
  await using driver = await open(place.dir, clock)
  driver.want(['shop.test'])
  const first = driver.find('shop.test')
  assert.ok(first !== null)
  clock.advance((first.untilMs - clock.nowMs()) * 0.55)
  assert.equal(driver.find('shop.test'), first)
  clock.advance((first.untilMs - clock.nowMs()) * 0.5)
  const second = driver.find('shop.test')
  assert.notEqual(second, first)
  assert.ok((second?.untilMs ?? 0) > first.untilMs)
})

test('an authority that others could have read, or that is damaged, is refused', async () => {
  await using place = await directory()
  await open(place.dir)
  const path = join(place.dir, 'authority.pem')
  await chmod(path, 0o644)
  await assert.rejects(open(place.dir), { code: 'certificates.open-key' })
  await chmod(path, 0o600)
  await writeFile(path, 'nothing')
  await assert.rejects(open(place.dir), { code: 'certificates.bad-authority' })
})

test('addresses, long names and names of one label can be leaves', async () => {
  await using place = await directory()
  await using driver = await open(place.dir)
  const hosts = ['127.0.0.1', '::1', 'fe80::1:2', 'localhost', `${'a'.repeat(60)}.${'b'.repeat(60)}.example`]
  driver.want(hosts)
  for (const host of hosts) {
    const leaf = new X509Certificate(driver.find(host)?.chain ?? '')
    const matches = host.includes(':') || /^\d/.test(host) ? leaf.checkIP(host) : leaf.checkHost(host)
    assert.ok(matches !== undefined, `${host}: ${leaf.subjectAltName}`)
  }
})
