/** What the tests of exchanges share: a database that goes back again and again, and what must hold after it has. */
import assert from 'node:assert/strict'
import type { DataPlace } from '../../src/protocol/index.ts'
import type { DataNode } from './data-node.ts'

/** The steps of an exchange, in order. */
export const exchangeSteps = [
  'fenced',
  'quiet',
  'abandoned',
  'noted',
  'stopped',
  'swapping',
  'swapped',
  'recovered',
  'started',
  'carried',
  'finished',
  'granted',
] as const

/** Those at which a server runs. */
export const servedSteps: readonly string[] = exchangeSteps.filter(
  (step) => !['stopped', 'swapping', 'swapped', 'recovered'].includes(step),
)

export const first: DataPlace = { app: 'shop', copy: null, generation: 1, swap: null }

/** The place of a later generation, which comes to be by an exchange. */
export function later(generation: number): DataPlace {
  return { app: 'shop', copy: null, generation, swap: { from: `back-${generation}`, keepAs: `left-${generation}` } }
}

/** A database with three items in its checkpoint `before`, and five in all. */
export async function filled(node: DataNode): Promise<void> {
  node.plan(node.database(first), node.worker('g1', 1))
  await node.ready('shop.db', 1)
  await node.until('shop.web.g1', 'runs', ({ phase }) => phase === 'ready')
  await node.sql('create table items (id integer primary key)')
  await node.sql('insert into items values (1), (2), (3)')
  await node.data({ do: 'checkpoint', name: 'before' })
  await node.ready('shop.db', 1)
  await node.sql('insert into items values (4), (5)')
}

/** Tells the node to go back, to `generation`; what is left behind has so many items as `leftIn` says. */
export async function goBack(node: DataNode, generation: number, forgetsToStop = false): Promise<void> {
  await node.sql(`insert into items select n from generate_series(4, ${leftIn(generation)}) n on conflict do nothing`)
  await node.data({ do: 'clone', name: `back-${generation}`, from: 'before' })
  node.plan(
    node.database(later(generation)),
    node.worker(`g${generation - 1}`, generation - 1, 'shop', { wanted: forgetsToStop }),
    node.worker(`g${generation}`, generation),
  )
}

/** How many items there were in the generation before this one. */
function leftIn(generation: number): number {
  return generation + 3
}

/** What must hold once it has gone back, whatever died on the way. */
export async function hasGoneBack(node: DataNode, generation: number): Promise<void> {
  await node.ready('shop.db', generation)
  await node.until(`shop.web.g${generation}`, 'runs', ({ phase }) => phase === 'ready')
  await node.printing(`shop.web.g${generation}`, 'led')
  assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3])
  const told = await node
    .sql('select generation * 100 + items from carried', 'shop', 'admin')
    .catch((error: unknown) => assert.fail(`${String(error)} ${node.story()}`))
  assert.deepEqual(told, [generation * 100 + leftIn(generation)], 'what was left behind is told once')
  const { copies, generation: of } = await node.data({ do: 'state' })
  assert.equal(of, generation)
  assert.deepEqual(
    copies.map(({ name, kind }) => `${kind} ${name}`),
    ['checkpoint before', ...Array.from({ length: generation - 1 }, (_, index) => `branch left-${index + 2}`)],
  )
}
