/** Reads what the store holds of submitted jobs. Invariant: nothing is left out, however much there is. */
import { isSteadError } from '../base/index.ts'
import type { NodeOffer } from '../protocol/index.ts'
import type { AccountUse } from '../scheduler/index.ts'
import type { Entry, Store } from '../store/index.ts'
import type { LoadRecord } from './load.ts'
import {
  type AccountRecord,
  batchPrefix,
  type BatchRecords,
  type CordonRecord,
  type JobRecord,
  keys,
  type PoolRecord,
  type QueueRecord,
  type ReservationRecord,
  type UsageRecord,
} from './records.ts'
import type { TaskRow } from './task-table.ts'

/** They were written by this code, guarded by the format version of the state directory. */
export async function readRecords(store: Store): Promise<BatchRecords> {
  const read = async <T>(prefix: string): Promise<[string, T][]> => valuesOf(prefix, (await store.list(prefix)).entries)
  const readNumbered = async <T>(prefix: string): Promise<[string, T][]> =>
    valuesOf(prefix, await listNumbered(store, prefix))
  const next = await store.get(keys.next)
  const used = await store.get(keys.used)
  const tasks = new Map<number, Record<string, TaskRow>[]>()
  for (const [key, rows] of await readNumbered<Record<string, TaskRow>>(`${batchPrefix}tasks/`)) {
    const id = Number(key.split('/')[0])
    const chunks = tasks.get(id) ?? []
    chunks.push(rows)
    tasks.set(id, chunks)
  }
  return {
    nextId: typeof next?.value === 'number' ? next.value : 1,
    jobs: (await readNumbered<JobRecord>(`${batchPrefix}job/`)).map(([, job]) => job),
    tasks,
    nodes: new Map(await read<NodeOffer>(`${batchPrefix}node/`)),
    pools: new Map(await read<PoolRecord>(`${batchPrefix}pool/`)),
    cordons: new Map(await read<CordonRecord>(`${batchPrefix}cordon/`)),
    queues: (await read<QueueRecord>(`${batchPrefix}queue/`)).map(([, queue]) => queue),
    accounts: (await read<AccountRecord>(`${batchPrefix}account/`)).map(([, account]) => account),
    reservations: (await read<ReservationRecord>(`${batchPrefix}reservation/`)).map(([, reservation]) => reservation),
    usage: (await read<UsageRecord>(`${batchPrefix}usage/`)).map(([, usage]) => usage),
    load: new Map(await read<LoadRecord>(`${batchPrefix}load/`)),
    used: (used?.value ?? []) as unknown as readonly AccountUse[],
  }
}

function valuesOf<T>(prefix: string, entries: readonly Entry[]): [string, T][] {
  return entries.map((entry) => [entry.key.slice(prefix.length), entry.value as T])
}

/** What a key with a number goes on with. */
const following = '/0123456789'

/** Records whose keys go on with numbers, in as many snapshots as it takes: a store gives so much at once. Nobody else writes them meanwhile. */
async function listNumbered(store: Store, prefix: string): Promise<Entry[]> {
  try {
    return [...(await store.list(prefix)).entries]
  } catch (error) {
    if (!isSteadError(error) || error.code !== 'store.too-large') throw error
  }
  const entries: Entry[] = []
  for (const character of following)
    for (const entry of await listNumbered(store, `${prefix}${character}`)) entries.push(entry)
  return entries
}
