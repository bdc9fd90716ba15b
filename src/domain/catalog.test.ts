/** The catalog as a value: what may follow what, whatever the driver. */
import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { seededRandom } from '../base/index.ts'
import {
  type Catalog,
  type CatalogCopy,
  decodeCatalog,
  encodeCatalog,
  newCatalog,
  swapped,
  treesOf,
  withCopy,
  withoutCopy,
} from './catalog.ts'
import { code } from './place.conformance.ts'

const copy = (name: string, kind: CatalogCopy['kind'], tree: number): CatalogCopy => ({
  name,
  kind,
  tree,
  createdAtMs: 0,
  generation: 1,
})
const throwsCode = (work: () => unknown, expected: string): void => assert.throws(work, code(expected))

suite('catalog', () => {
  test('a swap exchanges the clone and the live tree, and counts', () => {
    const before = withCopy(newCatalog('any', 'shop', 'here'), copy('clone', 'clone', 2))
    const next = swapped(before, 'clone', 'old', 1, 5)
    assert.deepEqual(
      [next.live, next.generation, next.copies],
      [2, 2, [{ ...copy('old', 'branch', 1), createdAtMs: 5 }]],
    )
  })

  test('whatever is done in whatever order, every tree has one owner and the generation never falls', () => {
    const random = seededRandom(7)
    const pick = (below: number): number => (random.bytes(1)[0] ?? 0) % below
    let catalog: Catalog = newCatalog('any', 'shop', 'here')
    for (let step = 0; step < 2000; step += 1) {
      const name = `n${pick(6)}`
      const changes: readonly (() => Catalog)[] = [
        () => withCopy(catalog, copy(name, pick(2) === 0 ? 'clone' : 'checkpoint', catalog.nextTree)),
        () => withoutCopy(catalog, name),
        () => swapped(catalog, name, `n${pick(6)}`, catalog.generation, step),
      ]
      const next = attempt(changes[pick(3)]) ?? catalog
      assert.ok(next.generation >= catalog.generation && next.nextTree >= catalog.nextTree)
      assert.equal(new Set(treesOf(next)).size, next.copies.length + 1)
      assert.deepEqual(decodeCatalog(encodeCatalog(next), 'memory'), next)
      catalog = next
    }
    assert.ok(catalog.generation > 20, 'the walk has swapped')
  })

  test('there is a limit to copies', () => {
    let catalog = newCatalog('any', 'shop', 'here')
    for (let n = 0; n < 1000; n += 1) catalog = withCopy(catalog, copy(`c${n}`, 'checkpoint', n + 2))
    throwsCode(() => withCopy(catalog, copy('one-more', 'checkpoint', 2000)), 'domain.too-many-copies')
  })

  test('a record that contradicts itself is refused', () => {
    const good = withCopy(newCatalog('any', 'shop', 'here'), copy('a', 'checkpoint', 2))
    const bad: readonly Catalog[] = [
      { ...good, live: 2 },
      { ...good, nextTree: 2 },
      { ...good, copies: [copy('a', 'checkpoint', 2), copy('a', 'checkpoint', 1)], nextTree: 4, live: 3 },
      { ...good, generation: 0 },
      { ...good, version: 0 },
    ]
    for (const catalog of bad) throwsCode(() => decodeCatalog(encodeCatalog(catalog), 'memory'), 'domain.corrupt')
    throwsCode(() => decodeCatalog('{"version": 2, "unheard": "of"}', 'memory'), 'domain.newer-version')
  })
})

function attempt(change: (() => Catalog) | undefined): Catalog | null {
  try {
    return change?.() ?? null
  } catch {
    return null
  }
}
