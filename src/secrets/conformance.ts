/** The suites of this room: for sources of keys, and for the vault on a store of any driver. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isSteadError, ManualClock, seededRandom } from '../base/index.ts'
import type { Store } from '../store/index.ts'
import { openBox } from './box.ts'
import { memoryKeys } from './drivers/memory-keys.ts'
import { newKey } from './envelope.ts'
import type { KeySource } from './keys.ts'
import { openVault, type SecretRead, type Vault } from './vault.ts'

/** Registers the suite for a source. `make` answers a fresh place, and how to open it again. */
export function keySourceConformance(
  name: string,
  make: () => Promise<AsyncDisposable & { readonly source: () => KeySource }>,
): void {
  suite(`keys in ${name}`, () => {
    test('there are none at first, and then those that were written last, newest first', async () => {
      await using place = await make()
      const random = seededRandom(1)
      const [one, two] = [newKey(random), newKey(random)]
      const source = place.source()
      assert.equal(await source.read(), null)
      await source.write([one])
      assert.deepEqual(ids(await source.read()), [one.id])
      await source.write([two, one])
      assert.deepEqual(ids(await source.read()), [two.id, one.id])
      assert.deepEqual([...((await source.read())?.[0]?.bytes ?? [])], [...two.bytes])
    })

    test('of several that begin at once all have the key of one', async () => {
      await using place = await make()
      const random = seededRandom(1)
      const boxes = await Promise.all(Array.from({ length: 8 }, () => openBox(place.source(), random)))
      const texts = boxes.map((box) => box.seal('plan', 'a text'))
      for (const box of boxes) for (const sealed of texts) assert.equal(box.open('plan', sealed), 'a text')
    })
  })
}

function ids(keys: readonly { readonly id: string }[] | null): readonly string[] | null {
  return keys === null ? null : keys.map(({ id }) => id)
}

const mail = { app: 'shop', name: 'smtp-password' }
const text = (value: string): Buffer => Buffer.from(value)

/** A vault for tests, on a clock that stands still. */
export async function openTestVault(
  store: Store,
  keys: KeySource = memoryKeys(),
  seed = 1,
): Promise<{ readonly vault: Vault; readonly reads: SecretRead[]; readonly keys: KeySource }> {
  const reads: SecretRead[] = []
  const options = { store, keys, clock: new ManualClock(1_000), random: seededRandom(seed) }
  return { vault: await openVault({ ...options, onRead: (read) => reads.push(read) }), reads, keys }
}

/** Whether an error has this code of this room. */
export function isFailure(code: string): (error: unknown) => boolean {
  return (error) => isSteadError(error) && error.code === `secrets.${code}`
}

/** Registers the suite for the vault on a store. `make` answers an empty one. */
export function vaultConformance(
  name: string,
  make: () => Promise<AsyncDisposable & { readonly store: Store }>,
  skip: string | false = false,
): void {
  suite(`vault on ${name}`, { skip }, () => {
    test('a value is read as it was set, whatever its bytes', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      const values = [text('a'), Buffer.from([0, 255, 10, 0, 128]), Buffer.alloc(65_536, 7)]
      for (const [index, value] of values.entries()) {
        const ref = { app: 'shop', name: `value-${index}` }
        assert.equal(await vault.set(ref, value, 'operator'), 1)
        assert.deepEqual(await vault.read(ref, 'a test'), { version: 1, value })
      }
    })

    test('an empty value, one that is too large, and a name that is none are refused', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      await assert.rejects(vault.set(mail, Buffer.alloc(0), 'operator'), isFailure('bad-value'))
      await assert.rejects(vault.set(mail, Buffer.alloc(65_537), 'operator'), isFailure('bad-value'))
      for (const bad of ['', '/', 'a/', 'A', 'a b', '../x', 'x'.repeat(300)])
        await assert.rejects(vault.set({ app: 'shop', name: bad }, text('x'), 'operator'), isFailure('bad-name'))
      assert.deepEqual(await vault.list(), [])
    })

    test('a new value is a new version; the last five are kept', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      for (let version = 1; version <= 8; version += 1) {
        assert.equal(await vault.set(mail, text(`value ${version}`), 'operator'), version)
        for (const event of ['reported', 'revoked'] as const) await vault.advance(mail, event, () => text('never'))
      }
      const [info] = await vault.list('shop')
      assert.deepEqual(
        info?.versions.map(({ version }) => version),
        [4, 5, 6, 7, 8],
      )
      assert.equal((await vault.read(mail, 'a test', 4)).value.toString(), 'value 4')
      await assert.rejects(vault.read(mail, 'a test', 3), isFailure('unknown'))
    })

    test('no more values are taken than consumers can fall behind', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      for (let version = 1; version <= 8; version += 1) await vault.set(mail, text(`value ${version}`), 'operator')
      await assert.rejects(vault.set(mail, text('one too many'), 'operator'), isFailure('rotating'))
      assert.equal((await vault.read(mail, 'a test')).value.toString(), 'value 8')
      assert.equal((await vault.read(mail, 'a test', 1)).value.toString(), 'value 1')
    })

    test('what is not there, or belongs to another app, is not found', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      await vault.set(mail, text('of the shop'), 'operator')
      await assert.rejects(vault.read({ ...mail, app: 'blog' }, 'a test'), isFailure('unknown'))
      await assert.rejects(vault.read({ ...mail, name: 'other' }, 'a test'), isFailure('unknown'))
      await assert.rejects(vault.remove({ ...mail, app: 'blog' }), isFailure('unknown'))
      assert.deepEqual(await vault.list('blog'), [])
    })

    test('after a removal the numbers go on', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      await vault.set(mail, text('first'), 'operator')
      await vault.remove(mail)
      assert.equal(await vault.info(mail), null)
      await assert.rejects(vault.read(mail, 'a test'), isFailure('unknown'))
      assert.equal(await vault.set(mail, text('second'), 'operator'), 2)
      assert.equal((await vault.info(mail))?.rotation.at, 'steady')
    })

    test('forgetting an app takes all of it, and nothing of another', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      for (const app of ['shop', 'shop-2']) await vault.set({ app, name: 'key' }, text(app), 'operator')
      await vault.forget('shop')
      assert.deepEqual(
        (await vault.list()).map(({ app }) => app),
        ['shop-2'],
      )
      assert.equal(await vault.set({ app: 'shop', name: 'key' }, text('anew'), 'operator'), 1)
    })

    test('a first value is given once', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      await vault.set(mail, text('mine'), 'operator')
      const refs = [mail, { app: 'shop', name: 'db/admin' }]
      assert.deepEqual(await vault.ensure(refs, () => text('made')), [refs[1]])
      assert.deepEqual(await vault.ensure(refs, () => text('again')), [])
      assert.equal((await vault.read(mail, 'a test')).value.toString(), 'mine')
      assert.equal((await vault.read({ app: 'shop', name: 'db/admin' }, 'a test')).value.toString(), 'made')
    })

    test('a rotation goes through its steps, and each is found again by another vault', async () => {
      await using place = await make()
      const keys = memoryKeys()
      const made: string[] = []
      /** Every step by a process of its own: nothing but the store carries it on. */
      const step = async (event: 'rotate' | 'valid' | 'reported' | 'revoked'): Promise<string> => {
        const { vault } = await openTestVault(place.store, keys, 7 + made.length)
        const info = await vault.advance(mail, event, () => {
          made.push(`value ${made.length + 2}`)
          return text(made.at(-1) ?? '')
        })
        return `${info.rotation.at} ${info.current}`
      }
      await (await openTestVault(place.store, keys)).vault.set(mail, text('value 1'), 'operator')
      assert.equal(await step('rotate'), 'created 1')
      assert.equal(await step('reported'), 'created 1', 'what cannot be yet changes nothing')
      assert.equal(await step('rotate'), 'created 1', 'asked for again')
      assert.equal(await step('valid'), 'overlap 2')
      assert.equal(await step('revoked'), 'overlap 2')
      assert.equal(await step('reported'), 'revoking 2')
      assert.equal(await step('revoked'), 'created 2', 'begins anew')
      assert.equal(await step('valid'), 'overlap 3')
      assert.equal(await step('reported'), 'revoking 3')
      assert.equal(await step('revoked'), 'steady 3')
      assert.deepEqual(made, ['value 2', 'value 3'])
    })

    test('two that change one secret at the same time both count', async () => {
      await using place = await make()
      const { vault, keys } = await openTestVault(place.store)
      const other = (await openTestVault(place.store, keys, 9)).vault
      const versions = await Promise.all([
        vault.set(mail, text('one'), 'operator'),
        other.set(mail, text('two'), 'operator'),
        vault.set(mail, text('three'), 'operator'),
      ])
      assert.deepEqual(
        versions.toSorted((a, b) => a - b),
        [1, 2, 3],
      )
    })

    test('every reading is told, with who and which version, and never with the value', async () => {
      await using place = await make()
      const { vault, reads } = await openTestVault(place.store)
      await vault.set(mail, text('tr0ub4dor'), 'operator')
      await vault.read(mail, 'mailer')
      await vault.read(mail, 'an export', 1)
      assert.deepEqual(reads, [
        { ...mail, version: 1, by: 'mailer' },
        { ...mail, version: 1, by: 'an export' },
      ])
    })

    test('a ciphertext that was moved, cut or changed is refused by name', async () => {
      await using place = await make()
      const { vault } = await openTestVault(place.store)
      await vault.set(mail, text('of the shop'), 'operator')
      await vault.set({ ...mail, app: 'blog' }, text('of the blog'), 'operator')
      const [blog, shop] = (await place.store.list('secret/')).entries
      assert.ok(blog !== undefined && shop !== undefined)
      await place.store.transact({ conditions: [], operations: [{ kind: 'put', key: blog.key, value: shop.value }] })
      await assert.rejects(vault.read({ ...mail, app: 'blog' }, 'a test'), isFailure('damaged'))
      const record = shop.value as { versions: { sealed: { value: string } }[] }
      const whole = record.versions[0]?.sealed.value ?? ''
      for (const value of ['', whole.slice(0, 10), whole.slice(0, -4), `A${whole.slice(1)}`, '~~~~']) {
        const versions = record.versions.map((version) => ({ ...version, sealed: { ...version.sealed, value } }))
        const operations = [{ kind: 'put', key: shop.key, value: { ...record, versions } }] as const
        await place.store.transact({ conditions: [], operations })
        await assert.rejects(vault.read(mail, 'a test'), isFailure('damaged'), value)
      }
    })

    test('another key is refused and changes nothing; so is none', async () => {
      await using place = await make()
      const { vault, keys } = await openTestVault(place.store)
      await vault.set(mail, text('kept'), 'operator')
      const before = await place.store.list('')
      const other = memoryKeys()
      await other.write([newKey(seededRandom(99))])
      await assert.rejects(openTestVault(place.store, other), isFailure('wrong-key'))
      await assert.rejects(openTestVault(place.store, memoryKeys()), isFailure('no-key'))
      assert.deepEqual(await place.store.list(''), before)
      const again = (await openTestVault(place.store, keys)).vault
      assert.equal((await again.read(mail, 'a test')).value.toString(), 'kept')
    })

    test('the key is changed without opening a value, and a change that was cut off is finished', async () => {
      await using place = await make()
      const { vault, keys, reads } = await openTestVault(place.store)
      const names = Array.from({ length: 20 }, (_, index) => `value-${index}`)
      for (const name of names) await vault.set({ app: 'shop', name }, text(`of ${name}`), 'operator')
      const [first] = (await keys.read()) ?? []
      await vault.changeKey()
      const [second, ...rest] = (await keys.read()) ?? []
      assert.notEqual(second?.id, first?.id)
      assert.deepEqual([rest, reads], [[], []])
      assert.equal((await vault.read({ app: 'shop', name: 'value-7' }, 'a test')).value.toString(), 'of value-7')
      // As a crash leaves it: the new key is there, and nothing is wrapped with it yet.
      assert.ok(second !== undefined)
      const third = newKey(seededRandom(5))
      await keys.write([third, second])
      const again = (await openTestVault(place.store, keys, 3)).vault
      assert.deepEqual(ids(await keys.read()), [third.id])
      for (const name of names) {
        const { value } = await again.read({ app: 'shop', name }, 'a test')
        assert.equal(value.toString(), `of ${name}`)
      }
      // Who still has the old key alone opens nothing.
      const old = memoryKeys()
      await old.write([second])
      await assert.rejects(openTestVault(place.store, old), isFailure('wrong-key'))
    })
  })
}
