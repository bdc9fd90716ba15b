/** Certificates from files: the suite, and what happens when the files change, are wrong, or come one after the other. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock, systemRandom } from '../../base/index.ts'
import { certificateConformance } from '../conformance.ts'
import type { CertificateDriver } from '../driver.ts'
import { createAuthority, issueLeaf, keyToPem, newKey } from '../issue.ts'
import { fileCertificates } from './files.ts'

const dayMs = 86_400_000
const life = { nowMs: Date.now(), lifeMs: dayMs }
const authority = createAuthority('test authority', life, systemRandom)

function leaf(host: string, lifeMs = dayMs): { chain: string; key: string } {
  const key = newKey()
  return { chain: issueLeaf(authority, host, key, { ...life, lifeMs }, systemRandom), key: keyToPem(key) }
}

async function put(dir: string, name: string, { chain, key }: { chain: string; key: string }): Promise<void> {
  await writeFile(join(dir, `${name}.crt`), chain)
  await writeFile(join(dir, `${name}.key`), key, { mode: 0o600 })
}

async function directory(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-files-'))
  t.after(() => rm(dir, { recursive: true }))
  return dir
}

async function opened(t: TestContext, dir: string): Promise<CertificateDriver> {
  const driver = await fileCertificates({ dir, clock: systemClock })
  t.after(() => driver[Symbol.asyncDispose]())
  return driver
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 30_000
  while (!condition()) {
    assert.ok(performance.now() < endMs, `waited in vain for ${what}`)
    await pause(10)
  }
}

certificateConformance({
  name: 'files',
  place: async () => {
    const dir = await mkdtemp(join(tmpdir(), 'stead-files-'))
    return {
      dir,
      open: () => fileCertificates({ dir, clock: systemClock }),
      provide: (host) => put(dir, host.replace('*', 'any'), leaf(host)),
      roots: () => Promise.resolve(authority.certificate),
      [Symbol.asyncDispose]: () => rm(dir, { recursive: true }),
    }
  },
})

test('a renewed pair is taken up whole; half of it, or a bad one, changes nothing and is named', async (t) => {
  const dir = await directory(t)
  await put(dir, 'shop', leaf('shop.test'))
  const driver = await opened(t, dir)
  driver.want(['shop.test'])
  const old = driver.find('shop.test')
  assert.ok(old !== null)
  const next = leaf('shop.test', 2 * dayMs)
  await writeFile(join(dir, 'shop.crt'), next.chain)
  await until('the half to be seen', () => driver.list()[0]?.problem !== null)
  assert.equal(driver.list()[0]?.problem?.code, 'certificates.key-mismatch')
  assert.equal(driver.find('shop.test'), old)
  await writeFile(join(dir, 'shop.key'), next.key)
  await until('the new one', () => driver.find('shop.test') !== old)
  assert.equal(driver.list()[0]?.problem, null)
  const renewed = driver.find('shop.test')
  await writeFile(join(dir, 'shop.crt'), 'damaged')
  await until('the damage to be seen', () => driver.list()[0]?.problem !== null)
  assert.equal(driver.find('shop.test'), renewed)
})

test('certbot: directories of links, swapped at once', async (t) => {
  const dir = await directory(t)
  const archive = await directory(t)
  const issue = async (number: number): Promise<void> => {
    const { chain, key } = leaf('shop.test', number * dayMs)
    await writeFile(join(archive, `fullchain${number}.pem`), chain)
    await writeFile(join(archive, `privkey${number}.pem`), key)
    for (const name of ['privkey', 'fullchain']) {
      await symlink(join(archive, `${name}${number}.pem`), join(dir, 'shop.test', `${name}.new`))
      await rename(join(dir, 'shop.test', `${name}.new`), join(dir, 'shop.test', `${name}.pem`))
    }
  }
  await mkdir(join(dir, 'shop.test'))
  await writeFile(join(dir, 'README'), 'not a directory')
  await mkdir(join(dir, 'empty'))
  await issue(1)
  const driver = await opened(t, dir)
  const first = driver.find('shop.test')
  assert.ok(first !== null)
  await issue(2)
  await until('the new one', () => (driver.find('shop.test')?.untilMs ?? 0) > first.untilMs)
})

test('what is taken away is not served any more, and what is missing is said', async (t) => {
  const dir = await directory(t)
  await put(dir, 'shop', leaf('shop.test'))
  const driver = await opened(t, dir)
  driver.want(['shop.test'])
  assert.ok(driver.find('shop.test') !== null)
  await unlink(join(dir, 'shop.crt'))
  await until('it to be gone', () => driver.find('shop.test') === null)
  const problem = driver.list()[0]?.problem
  assert.equal(problem?.code, 'certificates.missing')
  assert.ok(problem?.message.includes(dir) && problem.message.includes('shop.test'))
})

test('one that names the host goes before a wildcard, and a longer one before a shorter', async (t) => {
  const dir = await directory(t)
  await put(dir, 'a', leaf('*.test', 9 * dayMs))
  await put(dir, 'b', leaf('shop.test', dayMs))
  await put(dir, 'c', leaf('shop.test', 3 * dayMs))
  const driver = await opened(t, dir)
  const found = driver.find('shop.test')
  assert.deepEqual(found?.hosts, ['shop.test'])
  assert.ok(found.untilMs > life.nowMs + 2 * dayMs)
  assert.deepEqual(driver.find('other.test')?.hosts, ['*.test'])
})

test('a key that the TLS of this machine does not serve is said, with the file', async (t) => {
  const dir = await directory(t)
  const key = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  const chain = issueLeaf(authority, 'shop.test', key, life, systemRandom)
  await put(dir, 'shop', { chain, key: keyToPem(key) })
  const driver = await opened(t, dir)
  driver.want(['shop.test'])
  assert.equal(driver.find('shop.test'), null)
  const problem = driver.list()[0]?.problem
  assert.equal(problem?.code, 'certificates.refused')
  assert.match(problem?.message ?? '', /shop\.crt: .*key too small/)
})

test('no directory is said', async () => {
  await assert.rejects(fileCertificates({ dir: '/nowhere/at/all', clock: systemClock }), {
    code: 'certificates.unreadable',
    message: '/nowhere/at/all cannot be read: ENOENT.',
  })
})
