/**
 * From what people write to facts: every number checked and in its base unit, every name legal. What comes out of here is
 * trusted by the rest of the room; what is wrong is refused with the place and what would do.
 */
import { badInput } from './errors.ts'
import { countMax, gpusMax, rulesMax } from './limits.ts'
import type { Affinity, JobSpec, Level, Needs, NodeSpec, Quota, Selector, Spread, Taint, Toleration } from './model.ts'
import { readBitsPerSecond, readBytes, readCpuMilli, readName, readNumber, readWhole } from './units.ts'

/** Amounts by name of the resource: `cpu` in thousandths, `memory` and `disk` in bytes, `network` in bits per second. */
export type Amounts = readonly (readonly [resource: string, amount: number])[]

export interface NodeFacts {
  readonly name: string
  readonly zone: string
  readonly rack: string
  readonly labels: Readonly<Record<string, string>>
  readonly taints: readonly Taint[]
  readonly amounts: Amounts
  readonly gpuModel: string
  readonly gpuCount: number
  readonly realtimeCores: number
  readonly pricePerHour: number
  /** Infinity when unknown. */
  readonly clockErrorNs: number
  readonly cordoned: boolean
  readonly bestEffortFactor: number
}

export interface CpuTime {
  readonly runtimeUs: number
  readonly periodUs: number
  readonly deadlineUs: number
}

export interface NeedFacts {
  readonly amounts: Amounts
  readonly bestEffort: readonly string[]
  /** Whole GPUs, or 1 where a share is wanted. */
  readonly gpuCount: number
  /** Thousandths of each GPU. */
  readonly gpuMilli: number
  /** Null: any model. */
  readonly gpuModels: readonly string[] | null
  readonly cpuTime: CpuTime | null
}

export interface JobFacts {
  readonly spec: JobSpec
  readonly name: string
  readonly account: string
  /** How many may run at once; Infinity: all. */
  readonly atOnceMax: number
  readonly count: number
  readonly priority: number
  readonly timeLimitMs: number
  readonly clockErrorNsMax: number
  /** One and the same for all jobs that need the same, once a job is made of it. */
  needs: NeedFacts
}

const nodeKeys: ReadonlySet<string> = new Set([
  'name',
  'zone',
  'rack',
  'labels',
  'taints',
  'capacity',
  'pricePerHour',
  'clockErrorNs',
  'cordoned',
  'bestEffortFactor',
])
const capacityKeys: ReadonlySet<string> = new Set([
  'cpu',
  'memory',
  'disk',
  'network',
  'gpus',
  'counted',
  'realtimeCores',
])
const needKeys: ReadonlySet<string> = new Set([
  'cpu',
  'memory',
  'disk',
  'network',
  'gpu',
  'counted',
  'cpuTime',
  'bestEffort',
])
const jobKeys: ReadonlySet<string> = new Set([
  'name',
  'account',
  'app',
  'part',
  'count',
  'gang',
  'atOnceMax',
  'needs',
  'priority',
  'preempts',
  'timeLimitMs',
  'after',
  'selector',
  'tolerations',
  'affinity',
  'antiAffinity',
  'spread',
  'onePerNode',
  'near',
  'reservation',
  'latency',
  'clockErrorNsMax',
])
const levels: readonly string[] = ['node', 'rack', 'zone']

function onlyKeys(what: string, value: object, known: ReadonlySet<string>): void {
  if (typeof value !== 'object' || value === null) throw badInput(what, 'an object', value)
  for (const key in value)
    if (!known.has(key)) throw badInput(`an option of ${what}`, `one of ${[...known].join(', ')}`, key)
}

function listOf<T>(what: string, value: readonly T[] | undefined): readonly T[] {
  if (value === undefined) return []
  if (!Array.isArray(value) || value.length > rulesMax) throw badInput(what, `a list of at most ${rulesMax}`, value)
  return value
}

function readText(what: string, value: unknown): string {
  if (typeof value !== 'string' || value.length > 253) throw badInput(what, 'a text of at most 253 characters', value)
  return value
}

function readLevel(what: string, value: Level): Level {
  if (!levels.includes(value)) throw badInput(what, `one of ${levels.join(', ')}`, value)
  return value
}

/** The amounts of a node or a job; only what is above 0. */
function readAmounts(what: string, from: NodeSpec['capacity'] | Needs | Quota): [string, number][] {
  const amounts: [string, number][] = []
  const add = (resource: string, amount: number): void => {
    if (amount > 0) amounts.push([resource, amount])
  }
  if (from.cpu !== undefined) add('cpu', readCpuMilli(`cpu of ${what}`, from.cpu))
  if (from.memory !== undefined) add('memory', readBytes(`memory of ${what}`, from.memory))
  if (from.disk !== undefined) add('disk', readBytes(`disk of ${what}`, from.disk))
  if (from.network !== undefined) add('network', readBitsPerSecond(`network of ${what}`, from.network))
  if ('counted' in from && from.counted !== undefined)
    for (const [resource, amount] of Object.entries(from.counted)) {
      const name = readName(`a name in counted of ${what}`, resource)
      if (['cpu', 'memory', 'disk', 'network', 'gpu'].includes(name))
        throw badInput(`a name in counted of ${what}`, 'another name than the built-in resources', name)
      add(name, readWhole(`counted.${name} of ${what}`, amount, 0, 1e12))
    }
  return amounts
}

export function readTaints(what: string, taints: readonly Taint[] | undefined): readonly Taint[] {
  return listOf(what, taints).map((taint) => {
    readText(`the key of a taint in ${what}`, taint.key)
    if (taint.effect !== 'no-schedule' && taint.effect !== 'no-execute')
      throw badInput(`the effect of a taint in ${what}`, "'no-schedule' or 'no-execute'", taint.effect)
    return taint
  })
}

export function readLabels(what: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  for (const key in labels) readText(`label ${key} of ${what}`, labels[key])
  return labels
}

const noLabels: Readonly<Record<string, string>> = {}

/** Checks a node. Throws `scheduler.bad-input`. */
export function readNode(spec: NodeSpec): NodeFacts {
  const name = readName('the name of a node', spec.name)
  const what = `node '${name}'`
  onlyKeys(what, spec, nodeKeys)
  const { capacity } = spec
  onlyKeys(`the capacity of ${what}`, capacity, capacityKeys)
  if (capacity.cpu === undefined || capacity.memory === undefined)
    throw badInput(`the capacity of ${what}`, 'at least cpu and memory', capacity)
  const amounts = readAmounts(what, capacity)
  const gpuCount = capacity.gpus === undefined ? 0 : readWhole(`gpus.count of ${what}`, capacity.gpus.count, 0, gpusMax)
  const cores = amounts.find(([resource]) => resource === 'cpu')?.[1] ?? 0
  return {
    name,
    zone: spec.zone === undefined ? '' : readName(`the zone of ${what}`, spec.zone),
    rack: spec.rack === undefined ? '' : readName(`the rack of ${what}`, spec.rack),
    labels: spec.labels === undefined ? noLabels : readLabels(what, spec.labels),
    taints: readTaints(what, spec.taints),
    amounts,
    gpuModel: capacity.gpus === undefined ? '' : readName(`gpus.model of ${what}`, capacity.gpus.model),
    gpuCount,
    realtimeCores:
      capacity.realtimeCores === undefined
        ? 0
        : readWhole(`realtimeCores of ${what}`, capacity.realtimeCores, 0, Math.floor(cores / 1000)),
    pricePerHour:
      spec.pricePerHour === undefined ? 0 : readNumber(`pricePerHour of ${what}`, spec.pricePerHour, 0, 1e9),
    clockErrorNs:
      spec.clockErrorNs === undefined ? Infinity : readNumber(`clockErrorNs of ${what}`, spec.clockErrorNs, 0, 1e18),
    cordoned: spec.cordoned === true,
    bestEffortFactor:
      spec.bestEffortFactor === undefined
        ? 1
        : readNumber(`bestEffortFactor of ${what}`, spec.bestEffortFactor, 1, 100),
  }
}

/** Checks what a task needs. Throws `scheduler.bad-input`. */
export function readNeeds(what: string, needs: Needs): NeedFacts {
  onlyKeys(`the needs of ${what}`, needs, needKeys)
  const amounts = readAmounts(what, needs)
  const { gpu, cpuTime } = needs
  if (gpu !== undefined && (gpu.count === undefined) === (gpu.milli === undefined))
    throw badInput(`gpu of ${what}`, 'either a count or milli, the thousandths of one', gpu)
  const gpuCount =
    gpu === undefined ? 0 : gpu.count === undefined ? 1 : readWhole(`gpu.count of ${what}`, gpu.count, 0, gpusMax)
  const gpuMilli = gpu?.milli === undefined ? 1000 : readWhole(`gpu.milli of ${what}`, gpu.milli, 1, 1000)
  for (const model of gpu?.models ?? []) readName(`a model in gpu.models of ${what}`, model)
  for (const name of needs.bestEffort ?? [])
    if (name !== 'cpu' && name !== 'network')
      throw badInput(`bestEffort of ${what}`, 'cpu or network: only these can be squeezed', name)
  let time: CpuTime | null = null
  if (cpuTime !== undefined) {
    const periodUs = readWhole(`cpuTime.periodUs of ${what}`, cpuTime.periodUs, 1, 1e9)
    const deadlineUs =
      cpuTime.deadlineUs === undefined
        ? periodUs
        : readWhole(`cpuTime.deadlineUs of ${what}`, cpuTime.deadlineUs, 1, periodUs)
    time = {
      runtimeUs: readWhole(`cpuTime.runtimeUs of ${what}`, cpuTime.runtimeUs, 1, deadlineUs),
      periodUs,
      deadlineUs,
    }
    // Reserved time is time of the node: it counts as cores too, rounded up.
    const milli = Math.ceil((1000 * time.runtimeUs) / time.periodUs)
    const cpu = amounts.find(([resource]) => resource === 'cpu')
    if (cpu === undefined) amounts.unshift(['cpu', milli])
    else cpu[1] = Math.max(cpu[1], milli)
  }
  return {
    amounts,
    bestEffort: needs.bestEffort ?? [],
    gpuCount,
    gpuMilli: gpuCount === 0 ? 0 : gpuMilli,
    gpuModels: gpu?.models === undefined || gpu.models.length === 0 ? null : gpu.models,
    cpuTime: time,
  }
}

function readSelector(what: string, selector: Selector): void {
  readText(`a label in the selector of ${what}`, selector.label)
  const { operator } = selector
  if (operator === 'exists' || operator === 'not-exists') return
  if (operator !== 'in' && operator !== 'not-in')
    throw badInput(`an operator in the selector of ${what}`, 'in, not-in, exists or not-exists', operator)
  if (listOf(`values in the selector of ${what}`, selector.values).length === 0)
    throw badInput(`values in the selector of ${what}`, 'at least one', selector.values)
}

function readAffinity(what: string, affinity: Affinity): void {
  readName(`an app in ${what}`, affinity.to.app)
  if (affinity.to.part !== undefined) readName(`a part in ${what}`, affinity.to.part)
  readLevel(`by in ${what}`, affinity.by)
}

function readRules(what: string, spec: JobSpec): void {
  // Most jobs have none, and then no text about them is made.
  if (
    spec.selector === undefined &&
    spec.tolerations === undefined &&
    spec.affinity === undefined &&
    spec.antiAffinity === undefined &&
    spec.spread === undefined &&
    spec.latency === undefined &&
    spec.after === undefined &&
    spec.near === undefined
  )
    return
  for (const selector of listOf(`the selector of ${what}`, spec.selector)) readSelector(what, selector)
  listOf<Toleration>(`the tolerations of ${what}`, spec.tolerations).forEach(({ key, effect }) => {
    readText(`the key of a toleration of ${what}`, key)
    if (effect !== undefined && effect !== 'no-schedule' && effect !== 'no-execute')
      throw badInput(`the effect of a toleration of ${what}`, "'no-schedule' or 'no-execute'", effect)
  })
  for (const affinity of listOf(`the affinity of ${what}`, spec.affinity))
    readAffinity(`the affinity of ${what}`, affinity)
  for (const affinity of listOf(`the antiAffinity of ${what}`, spec.antiAffinity))
    readAffinity(`the antiAffinity of ${what}`, affinity)
  listOf<Spread>(`the spread of ${what}`, spec.spread).forEach(({ by, skewMax }) => {
    readLevel(`by in the spread of ${what}`, by)
    readWhole(`skewMax in the spread of ${what}`, skewMax, 1, countMax)
  })
  for (const { to, usMax } of listOf(`the latency of ${what}`, spec.latency)) {
    readAffinity(`the latency of ${what}`, { to, by: 'zone' })
    readNumber(`usMax in the latency of ${what}`, usMax, 0, 1e12)
  }
  for (const { job, when } of listOf(`after of ${what}`, spec.after)) {
    readName(`a job in after of ${what}`, job)
    if (when !== undefined && !['success', 'failure', 'end', 'start'].includes(when))
      throw badInput(`when in after of ${what}`, 'success, failure, end or start', when)
  }
  if (spec.near !== undefined && listOf(`near.nodes of ${what}`, spec.near.nodes).length === 0)
    throw badInput(`near.nodes of ${what}`, 'at least one node', spec.near.nodes)
}

/** Checks a job as far as it can be judged alone. Throws `scheduler.bad-input`. */
export function readJob(spec: JobSpec): JobFacts {
  const name = readName('the name of a job', spec.name)
  const what = `job '${name}'`
  onlyKeys(what, spec, jobKeys)
  if (spec.app !== undefined) readName(`the app of ${what}`, spec.app)
  if (spec.part !== undefined) readName(`the part of ${what}`, spec.part)
  if (spec.part !== undefined && spec.app === undefined)
    throw badInput(`the app of ${what}`, 'named beside its part', '')
  if (spec.gang === true && spec.atOnceMax !== undefined)
    throw badInput(`atOnceMax of ${what}`, 'left out, since a gang runs at once', spec.atOnceMax)
  readRules(what, spec)
  return {
    spec,
    name,
    account: spec.account === undefined ? 'default' : readName(`the account of ${what}`, spec.account),
    atOnceMax: spec.atOnceMax === undefined ? Infinity : readWhole(`atOnceMax of ${what}`, spec.atOnceMax, 1, countMax),
    count: spec.count === undefined ? 1 : readWhole(`count of ${what}`, spec.count, 1, countMax),
    priority: spec.priority === undefined ? 0 : readWhole(`priority of ${what}`, spec.priority, -1e9, 1e9),
    timeLimitMs:
      spec.timeLimitMs === undefined ? Infinity : readNumber(`timeLimitMs of ${what}`, spec.timeLimitMs, 1, 1e15),
    clockErrorNsMax:
      spec.clockErrorNsMax === undefined
        ? Infinity
        : readNumber(`clockErrorNsMax of ${what}`, spec.clockErrorNsMax, 0, 1e18),
    needs: readNeeds(what, spec.needs),
  }
}

/** Checks a quota. `gpu` counts thousandths of GPUs, `tasks` tasks. */
export function readQuota(what: string, quota: Quota): Amounts {
  const amounts: [string, number][] = [
    ...(quota.cpu === undefined ? [] : [['cpu', readCpuMilli(`cpu of ${what}`, quota.cpu)] satisfies [string, number]]),
    ...(quota.memory === undefined
      ? []
      : [['memory', readBytes(`memory of ${what}`, quota.memory)] satisfies [string, number]]),
    ...(quota.disk === undefined
      ? []
      : [['disk', readBytes(`disk of ${what}`, quota.disk)] satisfies [string, number]]),
    ...(quota.network === undefined
      ? []
      : [['network', readBitsPerSecond(`network of ${what}`, quota.network)] satisfies [string, number]]),
  ]
  if (quota.gpuMilli !== undefined) amounts.push(['gpu', readWhole(`gpuMilli of ${what}`, quota.gpuMilli, 0, 1e12)])
  if (quota.tasks !== undefined) amounts.push(['tasks', readWhole(`tasks of ${what}`, quota.tasks, 0, 1e12)])
  return amounts
}
