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

/** Tells the node to go back, to `generation`; what is left behind has two items more than that number. */
export async function goBack(node: DataNode, generation: number, stubborn = false): Promise<void> {
  await node.sql(`insert into items select n from generate_series(6, ${generation + 3}) n on conflict do nothing`)
  await node.data({ do: 'clone', name: `back-${generation}`, from: 'before' })
  node.plan(
    node.database(later(generation)),
    node.worker(`g${generation - 1}`, generation - 1, 'shop', { wanted: false }),
    node.worker(`g${generation}`, generation, 'shop', stubborn ? { env: { STUBBORN: '1' } } : {}),
  )
}

/** What must hold once it has gone back, whatever died on the way. */
export async function hasGoneBack(node: DataNode, generation: number): Promise<void> {
  await node.ready('shop.db', generation)
  await node.until(`shop.web.g${generation}`, 'runs', ({ phase }) => phase === 'ready')
  await node.printing(`shop.web.g${generation}`, 'led')
  assert.deepEqual(await node.sql('select id from items order by id'), [1, 2, 3])
  const told = await node.sql('select generation * 100 + items from carried', 'shop', 'admin')
  const left = generation === 2 ? 5 : generation + 3 - 5 + 3
  assert.deepEqual(told, [generation * 100 + left], 'what was left behind is told once')
  const { copies, generation: of } = await node.data({ do: 'state' })
  assert.equal(of, generation)
  assert.deepEqual(
    copies.map(({ name, kind }) => `${kind} ${name}`),
    ['checkpoint before', ...Array.from({ length: generation - 1 }, (_, index) => `branch left-${index + 2}`)],
  )
}
