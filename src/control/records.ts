/**
 * Control's records in the store: their keys, how they are read at start, and the identities that a part gets once and
 * keeps. Every write is guarded by control's lease, so that a control that has been replaced can change nothing.
 */
import { type Json, SteadError } from '../base/index.ts'
import { type Graph, jobDefaults, type JobPart, parseGraph, type ServicePart } from '../model/index.ts'
import { hostUidMax, hostUidMin } from '../protocol/index.ts'
import { type Lease, type Operation, operationsMax, type Store } from '../store/index.ts'
import type { Pins } from './credentials.ts'
import { neededBundles } from './derive.ts'
import type { IncidentRecord } from './incidents.ts'
import type { KeptCheckpoint, KeptRelease } from './kept.ts'
import {
  type DesiredApp,
  type InstanceRecord,
  type JobRecord,
  type PartIdentity,
  partKey,
  type PartOrder,
} from './state.ts'

/** Name of the lease that makes a control the only one. */
export const controlLease = 'control'

/** Codes of errors after which a control cannot trust what it has in memory. */
export const fatal: readonly string[] = ['control.replaced', 'secrets.replaced', 'store.outcome-unknown']

export const keys = {
  app: (app: string): string => `app/${app}`,
  instance: (id: string): string => `instance/${id}`,
  identity: (key: string): string => `identity/${key}`,
  incident: (id: string): string => `incident/${id}`,
  job: (key: string): string => `job/${key}`,
  order: (key: string): string => `order/${key}`,
  release: (app: string, number: number): string => `release/${app}/${number}`,
  checkpoint: (app: string, name: string): string => `checkpoint/${app}/${name}`,
  counters: 'counters',
  starts: 'starts',
} as const

/** Numbers that are given out once. */
export interface Counters {
  readonly hostUid: number
  /** By app: the last edge number given out. */
  readonly edges: Readonly<Record<string, number>>
}

export interface Records {
  readonly apps: Map<string, DesiredApp>
  readonly instances: Map<string, InstanceRecord>
  readonly identities: Map<string, PartIdentity>
  readonly jobs: Map<string, JobRecord>
  readonly orders: Map<string, PartOrder>
  /** Incidents that have been acted on, by id. */
  readonly incidents: Map<string, IncidentRecord>
  /** By `app/number`. */
  readonly releases: Map<string, KeptRelease>
  /** By `app/name`. */
  readonly checkpoints: Map<string, KeptCheckpoint>
  counters: Counters
}

/** What records of jobs have that were written before there were these fields. */
const jobBefore = { of: '', waiting: [], runs: [] }

/** Reads all records. They were written by this code, guarded by the format version of the state directory. */
export async function loadRecords(store: Store): Promise<Records> {
  const read = async <T>(prefix: string): Promise<Map<string, T>> => {
    const { entries } = await store.list(prefix)
    return new Map(entries.map((entry) => [entry.key.slice(prefix.length), entry.value as T]))
  }
  const apps = await read<DesiredApp>('app/')
  for (const [name, app] of apps) apps.set(name, { ...app, graph: await parseGraph(app.graph) })
  const counters = await store.get(keys.counters)
  const kept = await read<KeptInstance>('instance/')
  const jobs = await read<JobRecord>('job/')
  for (const [key, record] of jobs) jobs.set(key, { ...jobBefore, ...record })
  return {
    apps,
    instances: new Map([...kept].map(([id, instance]) => [id, completed(instance)])),
    identities: await read<PartIdentity>('identity/'),
    jobs,
    orders: await read<PartOrder>('order/'),
    incidents: await read<IncidentRecord>('incident/'),
    releases: await read<KeptRelease>('release/'),
    checkpoints: await read<KeptCheckpoint>('checkpoint/'),
    counters: (counters?.value as Counters | undefined) ?? { hostUid: hostUidMin, edges: {} },
  }
}

/** An instance as any release may have written it: the first said nothing of secrets and restarts. */
interface KeptInstance extends Omit<InstanceRecord, 'secrets' | 'generation' | 'part'> {
  readonly secrets?: Pins
  readonly generation?: number
  readonly part:
    | (Omit<JobPart, keyof typeof jobDefaults> & Partial<typeof jobDefaults>)
    | (Omit<ServicePart, 'onSecretChange'> & Partial<Pick<ServicePart, 'onSecretChange'>>)
}

function completed({ part, secrets = {}, generation = 0, ...kept }: KeptInstance): InstanceRecord {
  const whole = part.kind === 'service' ? { onSecretChange: 'restart' as const, ...part } : { ...jobDefaults, ...part }
  return { ...kept, secrets, generation, part: whole }
}

/** Every bundle that the records of a store name: of a platform that does not run. */
export async function neededBundlesIn(store: Store): Promise<Set<string>> {
  return neededBundles(await loadRecords(store))
}

/** Counts this start of control. The number is higher than that of every start before. */
export async function countStart(store: Store, lease: Lease): Promise<number> {
  const before = (await store.get(keys.starts))?.value
  const number = (typeof before === 'number' ? before : 0) + 1
  await write(store, lease, [put(keys.starts, number)])
  return number
}

/** A put of any record. */
export function put(key: string, value: unknown): Operation {
  return { kind: 'put', key, value: value as Json }
}

/** Applies operations that do not depend on one another, in as many commits as the store's limits ask for. */
export async function writeAll(store: Store, lease: Lease, operations: readonly Operation[]): Promise<void> {
  for (let from = 0; from < operations.length; from += operationsMax)
    await write(store, lease, operations.slice(from, from + operationsMax))
}

/** Applies the operations as one, if this control still is the control. Throws `control.replaced`, `control.busy`. */
export async function write(store: Store, lease: Lease, operations: readonly Operation[]): Promise<void> {
  if (operations.length === 0) return
  const conditions = [{ kind: 'lease', name: lease.name, epoch: lease.epoch }] as const
  const result = await store.transact({ conditions, operations })
  if (!result.committed) {
    throw new SteadError({
      code: 'control.replaced',
      message: 'another control has taken over',
      hint: 'This one stops and changes nothing.',
    })
  }
}

/** The identities that the parts of a graph lack, and the counters after giving them out. */
export function newIdentities(
  graph: Graph,
  records: Pick<Records, 'identities' | 'counters'>,
): { identities: Map<string, PartIdentity>; counters: Counters } {
  let { hostUid } = records.counters
  let edge = records.counters.edges[graph.app] ?? 0
  const identities = new Map<string, PartIdentity>()
  for (const part of graph.parts) {
    const key = partKey(graph.app, part.name)
    if (records.identities.has(key)) continue
    if (hostUid >= hostUidMax) {
      throw new SteadError({
        code: 'control.no-more-users',
        message: `no host user is left for ${key}`,
        hint: 'A hundred million were given out: this state directory is not healthy.',
      })
    }
    identities.set(key, { hostUid: ++hostUid, edge: ++edge })
  }
  return { identities, counters: { hostUid, edges: { ...records.counters.edges, [graph.app]: edge } } }
}
