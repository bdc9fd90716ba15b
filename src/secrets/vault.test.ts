/** The vault on stores in memory, in a file and in PostgreSQL, and what a file on the disk shows of it. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { systemClock } from '../base/index.ts'
import { openMemoryStore, openSqliteStore } from '../store/index.ts'
import { openTestVault, vaultConformance } from './conformance.ts'

vaultConformance('memory', () => {
  const store = openMemoryStore()
  return Promise.resolve({ store, [Symbol.asyncDispose]: () => store.close() })
})

vaultConformance('sqlite', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'stead-vault-'))
  const store = await openSqliteStore({ path: join(dir, 'store.sqlite'), clock: systemClock })
  return {
    store,
    async [Symbol.asyncDispose]() {
      await store.close()
      await rm(dir, { recursive: true })
    },
  }
})

test('no file of the store holds a value, while it is open and after', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'stead-vault-'))
  try {
    const value = 'correct-horse-battery-staple'
    const shows = async (): Promise<readonly string[]> => {
      const found: string[] = []
      for (const name of await readdir(dir)) {
        const bytes = await readFile(join(dir, name))
        const forms = [value, Buffer.from(value).toString('base64').slice(0, -2), Buffer.from(value).toString('hex')]
        if (forms.some((form) => bytes.includes(form))) found.push(name)
      }
      return found
    }
    const store = await openSqliteStore({ path: join(dir, 'store.sqlite'), clock: systemClock })
    const { vault } = await openTestVault(store)
    await vault.set({ app: 'shop', name: 'one' }, Buffer.from(value), 'operator')
    assert.deepEqual(await shows(), [])
    await store.close()
    assert.deepEqual(await shows(), [])
  } finally {
    await rm(dir, { recursive: true })
  }
})
