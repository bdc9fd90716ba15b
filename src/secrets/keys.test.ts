/** Sources of keys against their suite, and what a key file refuses. */
import assert from 'node:assert/strict'
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import { openMemoryStore } from '../store/index.ts'
import { isFailure, keySourceConformance, openTestVault } from './conformance.ts'
import { keyFile } from './drivers/key-file.ts'
import { memoryKeys } from './drivers/memory-keys.ts'
import { newKey } from './envelope.ts'

async function makePlace(): Promise<AsyncDisposable & { path: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'stead-key-'))
  return { path: join(dir, 'keys', 'shop.key'), [Symbol.asyncDispose]: () => rm(dir, { recursive: true }) }
}

keySourceConformance('memory', () => {
  const held = memoryKeys()
  return Promise.resolve({ source: () => held, [Symbol.asyncDispose]: async () => {} })
})

keySourceConformance('a file', async () => {
  const place = await makePlace()
  return { source: () => keyFile(place.path), [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() }
})

test('the file is made on first use, for its owner alone', async () => {
  await using place = await makePlace()
  const store = openMemoryStore()
  await openTestVault(store, keyFile(place.path))
  assert.equal((await stat(place.path)).mode & 0o777, 0o600)
  assert.match(await readFile(place.path, 'utf8'), /^# .*\nstead-key-1 [\w-]{43}\n$/)
  assert.deepEqual(await readdir(dirname(place.path)), ['shop.key'])
})

test('a file that others can read is refused, and left as it is', async () => {
  await using place = await makePlace()
  const source = keyFile(place.path)
  await source.write([newKey(seededRandom(1))])
  const text = await readFile(place.path, 'utf8')
  for (const mode of [0o640, 0o604, 0o620]) {
    await chmod(place.path, mode)
    await assert.rejects(openTestVault(openMemoryStore(), source), isFailure('key-exposed'))
  }
  assert.equal(await readFile(place.path, 'utf8'), text)
})

test('a file that holds no key is refused without being shown', async () => {
  await using place = await makePlace()
  const source = keyFile(place.path)
  await source.write([newKey(seededRandom(1))])
  const good = await readFile(place.path, 'utf8')
  for (const text of ['', 'stead-key-1 short\n', 'hunter2hunter2\n', good.slice(0, -5), 'x'.repeat(5000)]) {
    await writeFile(place.path, text)
    await assert.rejects(source.read(), (error) => {
      assert.ok(isFailure('bad-key-file')(error))
      assert.doesNotMatch(String(error), /hunter2/)
      return true
    })
  }
})

test('a link is not followed', async () => {
  await using place = await makePlace()
  const source = keyFile(place.path)
  await source.write([newKey(seededRandom(1))])
  await rename(place.path, `${place.path}.real`)
  await symlink(`${place.path}.real`, place.path)
  await assert.rejects(source.read(), isFailure('bad-key-file'))
})
