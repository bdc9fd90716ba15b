/**
 * What a person may ask of one part, and what it changes in the records: stop, start, restart, run a job
 * now. Pure: control writes what is answered and takes a turn.
 *
 * Invariant: an order is durable before anything follows from it, and stays in force over restarts and releases.
 */
import { SteadError } from '../base/index.ts'
import type { JobPart, Part } from '../model/index.ts'
import type { Change } from './changes.ts'
import { finished, newInstance } from './decide.ts'
import { begun, emptyRecord, noRoom } from './jobs.ts'
import { keys, put, type Records } from './records.ts'
import {
  type ControlState,
  type DesiredApp,
  type InstanceRecord,
  type JobRecord,
  noOrder,
  partKey,
  type PartOrder,
} from './state.ts'

/** `by` is who asks. */
export interface Order {
  readonly kind: 'stop' | 'start' | 'restart' | 'run'
  readonly app: string
  readonly part: string
  readonly by: string
}

/** What is to be as it is said here; all of it is written as one. */
interface Ordered {
  readonly orders?: ReadonlyMap<string, PartOrder>
  readonly jobs?: ReadonlyMap<string, JobRecord>
  readonly instances?: ReadonlyMap<string, InstanceRecord>
  /** The instance that was made. */
  readonly instance?: string
}

/**
 * The change that an order makes, with the instance that was made, if any. `state` is of these records.
 *
 * Throws `control.unknown-part`, `control.not-for-this-part`, `control.part-stopped`, `control.job-running`, `control.no-node`.
 */
export function orderChange(
  order: Order,
  records: Records,
  state: ControlState,
  nowMs: number,
  newId: (app: string, part: string) => string,
): Change & { readonly instance: string | null } {
  const { orders, jobs, instances, instance = null } = carryOut(order, state, nowMs, newId)
  const changed = [
    ...[...(orders ?? [])].map(([key, value]) => ({
      key: keys.order(key),
      value,
      take: () => records.orders.set(key, value),
    })),
    ...[...(jobs ?? [])].map(([key, value]) => ({
      key: keys.job(key),
      value,
      take: () => records.jobs.set(key, value),
    })),
    ...[...(instances ?? [])].map(([key, value]) => ({
      key: keys.instance(key),
      value,
      take: () => records.instances.set(key, value),
    })),
  ]
  return {
    instance,
    operations: changed.map(({ key, value }) => put(key, value)),
    take() {
      for (const { take } of changed) take()
    },
  }
}

function carryOut(
  order: Order,
  state: ControlState,
  nowMs: number,
  newId: (app: string, part: string) => string,
): Ordered {
  const app = state.apps.get(order.app)
  const part = app?.graph.parts.find(({ name }) => name === order.part)
  if (app === undefined || part === undefined) throw unknownPart(order, app)
  const key = partKey(order.app, order.part)
  const before = state.orders.get(key) ?? noOrder
  if (part.kind === 'resource') throw notFor(order, part, 'Stop what uses it, or the app: `stead down`.')
  switch (order.kind) {
    case 'stop':
      if (before.stopped !== null) return {}
      return { orders: new Map([[key, { ...before, stopped: { by: order.by, sinceMs: nowMs } }]]) }
    case 'start': {
      if (before.stopped === null) return {}
      const orders = new Map([[key, { ...before, stopped: null }]])
      const record = state.jobs.get(key)
      if (record === undefined) return { orders }
      // What a job would have run while it was stopped on purpose was not missed.
      return { orders, jobs: new Map([[key, { ...record, lastDueMs: nowMs, waiting: [] }]]) }
    }
    case 'restart':
      if (part.kind === 'job') throw notFor(order, part, `\`stead run ${part.name}\` runs it now.`)
      if (before.stopped !== null) throw stopped(order, before.stopped.by)
      return { orders: new Map([[key, { ...before, generation: before.generation + 1 }]]) }
    case 'run':
      if (part.kind === 'service') throw notFor(order, part, 'Only a job is run; a service is started.')
      if (before.stopped !== null) throw stopped(order, before.stopped.by)
      return run(order, app, part, key, state, nowMs, newId)
  }
}

function run(
  order: Order,
  app: DesiredApp,
  part: JobPart,
  key: string,
  state: ControlState,
  nowMs: number,
  newId: (app: string, part: string) => string,
): Ordered {
  const own = [...state.instances.values()].filter(
    (instance) => instance.app === order.app && instance.part.name === part.name && instance.phase === 'active',
  )
  const running = own.filter(({ id }) => !finished.has(state.statuses.get(id)?.phase ?? 'waiting'))
  const full = noRoom(part, running.length)
  if (full !== null) {
    throw new SteadError({
      code: 'control.job-running',
      message: `${part.name} was not started: ${full}`,
      hint: 'Wait for its end, stop it with `stead stop`, or let more of it run at once: `overlap: { atMost: 2 }`.',
      retry: 'later',
    })
  }
  const instance = newInstance(state, app, part, [], nowMs, newId)
  if (!app.wanted || instance === null) {
    throw new SteadError({
      code: 'control.no-node',
      message: app.wanted ? `no node is connected that could run ${part.name}` : `${order.app} is down`,
      hint: 'Start it first.',
      retry: 'later',
    })
  }
  const record = state.jobs.get(key) ?? emptyRecord(part, nowMs)
  const runs = [...record.runs, begun(instance.id, 'person', nowMs, nowMs, order.by)]
  return {
    jobs: new Map([[key, { ...record, runs }]]),
    instances: new Map([[instance.id, instance]]),
    instance: instance.id,
  }
}

function unknownPart(order: Order, app: DesiredApp | undefined): SteadError {
  const names = app?.graph.parts.map(({ name }) => name) ?? []
  return new SteadError({
    code: 'control.unknown-part',
    message: `${order.app} has no part called ${order.part}`,
    hint: names.length === 0 ? 'It has none yet.' : `It has: ${names.join(', ')}.`,
  })
}

function notFor({ kind, part }: Order, { kind: what }: Part, hint: string): SteadError {
  return new SteadError({
    code: 'control.not-for-this-part',
    message: `${part} is a ${what}, which you cannot ${kind}`,
    hint,
  })
}

function stopped({ part, kind }: Order, by: string): SteadError {
  return new SteadError({
    code: 'control.part-stopped',
    message: `${part} was stopped by ${by}, so you cannot ${kind} it`,
    hint: `\`stead start ${part}\` starts it again.`,
  })
}
