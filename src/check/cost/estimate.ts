/**
 * What a plan or template costs a month, from a price table and nothing else. Invariants: what has no price is listed as
 * unpriced with the reason and is in no sum; fixed cost and cost that depends on use are never mixed; every sum says how
 * much of the design it covers, where, and as of when.
 */
import { describeSubject } from '../inventory.ts'
import type { Inventory, Resource } from '../inventory.ts'
import { at, numberOf, textOf } from '../tree.ts'
import type { Tree } from '../tree.ts'
import { monthHours } from './table.ts'
import type { Price, PriceTable } from './table.ts'

export interface CostLine {
  readonly object: string
  readonly what: string
  readonly quantity: number
  readonly unit: string
  readonly price: Price
  /** In the price's currency. */
  readonly perMonth: number
  /** Whether it is due without use. */
  readonly fixed: boolean
}

export interface Unpriced {
  readonly object: string
  readonly why: string
}

/** Cost that depends on use which nobody has said: its formula, and what small, medium and large use would come to. */
export interface UsageFormula {
  readonly object: string
  readonly formula: string
  readonly currency: string
  readonly small: number
  readonly medium: number
  readonly large: number
}

export interface CostSum {
  readonly currency: string
  readonly fixed: number
  readonly usage: number
}

export interface CostReport {
  readonly lines: readonly CostLine[]
  readonly unpriced: readonly Unpriced[]
  readonly formulas: readonly UsageFormula[]
  readonly sums: readonly CostSum[]
  /** Resources with a price, of those that can have one. */
  readonly priced: number
  readonly resources: number
  /** `AWS us-east-1`, and the days of the prices that were used. */
  readonly regions: readonly string[]
  readonly days: readonly string[]
}

/** Use by resource: a map from address to quantities, as usage files of cost tools have it. */
export type Usage = ReadonlyMap<string, Tree>

/** The use that a file says: `resource_usage`, or the map itself. */
export function usageOf(tree: Tree): Usage {
  const map = at(tree, 'resource_usage') ?? tree
  return map.kind === 'map' ? new Map([...map.entries].map(([key, entry]) => [key, entry.value])) : new Map()
}

/** What resources of these services cost by themselves is nothing, or part of another's. */
const free: ReadonlySet<string> = new Set(['network', 'identity'])

interface Result {
  readonly lines: readonly CostLine[]
  readonly unpriced: readonly string[]
  readonly formulas: readonly UsageFormula[]
}

export function estimate(inventory: Inventory, table: PriceTable, usage: Usage = new Map()): CostReport {
  const counted = inventory.resources.filter(({ service }) => !free.has(service))
  const results = counted.map((resource) => ({
    resource,
    result: estimateResource(resource, table, usage.get(resource.name)),
  }))
  const lines = results.flatMap(({ result }) => result.lines)
  const currencies = [...new Set(lines.map(({ price }) => price.currency))].sort()
  return {
    lines,
    unpriced: results.flatMap(({ resource, result }) =>
      result.unpriced.map((why) => ({ object: nameOf(resource), why })),
    ),
    formulas: results.flatMap(({ result }) => result.formulas),
    sums: currencies.map((currency) => ({
      currency,
      fixed: sumOf(lines, currency, true),
      usage: sumOf(lines, currency, false),
    })),
    priced: results.filter(({ result }) => result.unpriced.length === 0).length,
    resources: counted.length,
    regions: [...new Set(lines.map(({ price }) => `${price.vendor} ${price.region}`))].sort(),
    days: [...new Set(lines.map(({ price }) => price.source.day))].sort(),
  }
}

function sumOf(lines: readonly CostLine[], currency: string, fixed: boolean): number {
  return lines
    .filter((line) => line.price.currency === currency && line.fixed === fixed)
    .reduce((sum, line) => sum + line.perMonth, 0)
}

function nameOf(resource: Resource): string {
  return resource.platform === 'terraform' ? resource.name : describeSubject(resource)
}

const nothing: Result = { lines: [], unpriced: [], formulas: [] }

function unpriced(why: string): Result {
  return { ...nothing, unpriced: [why] }
}

function joined(...results: readonly Result[]): Result {
  return {
    lines: results.flatMap(({ lines }) => lines),
    unpriced: results.flatMap((result) => result.unpriced),
    formulas: results.flatMap(({ formulas }) => formulas),
  }
}

function estimateResource(resource: Resource, table: PriceTable, usage: Tree | undefined): Result {
  switch (resource.service) {
    case 'machine':
      return joined(machine(resource, table, usage), ...disks(resource, table))
    case 'disk':
      return disk(
        resource,
        table,
        textOf(attribute(resource, 'type')) ?? 'gp2',
        resource.facts.storageGb,
        numberOf(attribute(resource, 'iops')) ?? null,
      )
    case 'balancer':
      return one(resource, table, 'balancer', textOf(attribute(resource, 'load_balancer_type')) ?? 'application')
    case 'gateway':
      return joined(
        one(resource, table, 'gateway', 'nat'),
        perUse(resource, table, 'traffic', 'nat', 'monthly_data_processed_gb', usage, [100, 1000, 10_000]),
      )
    case 'database':
      return database(resource, table)
    case 'function':
      return calls(resource, table, usage)
    case 'cluster':
      return one(resource, table, 'cluster', /eks|EKS/.test(resource.kind) ? 'eks' : resource.kind)
    case 'bucket':
      return perUse(
        resource,
        table,
        'bucket',
        'standard',
        'storage_gb',
        at(usage, 'standard') ?? usage,
        [10, 100, 1000],
      )
    case 'queue':
    case 'network':
    case 'identity':
      return unpriced('its cost depends on use, and the table has no price for it')
    case 'other':
      return unpriced('the table has no prices for things of this kind')
  }
}

function attribute(resource: Resource, name: string): Tree | undefined {
  const places = [['values'], ['Properties'], ['change', 'after']]
  return places.map((path) => at(resource.tree, ...path, name)).find((found) => found !== undefined)
}

function line(resource: Resource, price: Price, what: string, quantity: number, unit: string, fixed = true): Result {
  return {
    ...nothing,
    lines: [{ object: nameOf(resource), what, quantity, unit, price, perMonth: quantity * price.amount, fixed }],
  }
}

/** Something that is paid by the hour or the month. */
function one(resource: Resource, table: PriceTable, kind: string, name: string): Result {
  const price = table.find(resource.vendor, resource.region, kind, name)
  if (price === null)
    return unpriced(`the table has no price for ${name} of ${resource.vendor} in ${resource.region ?? 'any region'}`)
  return price.unit === 'hour'
    ? line(resource, price, name, monthHours, 'hours')
    : line(resource, price, name, 1, 'months')
}

function machine(resource: Resource, table: PriceTable, usage: Tree | undefined): Result {
  const { size } = resource.facts
  if (size === null) return unpriced('its size is known only after apply')
  if (size === undefined) return unpriced('its size is not said')
  const result = one(resource, table, 'machine', size)
  const paid = textOf(at(usage, 'reserved_instance_payment_option'))
  if (paid === undefined) return result
  if (paid !== 'all_upfront')
    return unpriced('the table has no prices for reserved machines that are paid by the month')
  // Paid before: nothing is due by the hour.
  return {
    ...result,
    lines: result.lines.map((found) => ({ ...found, what: `${found.what}, paid upfront`, perMonth: 0 })),
  }
}

function disks(resource: Resource, table: PriceTable): readonly Result[] {
  return (resource.facts.disks ?? []).map(({ type, sizeGb, iops }) => disk(resource, table, type, sizeGb, iops))
}

function disk(
  resource: Resource,
  table: PriceTable,
  given: string,
  sizeGb: number | null | undefined,
  iops: number | null,
): Result {
  const type = resource.vendor === 'Hetzner' ? 'volume' : given
  const price = table.find(resource.vendor, resource.region, 'disk', type)
  if (price === null) return unpriced(`the table has no price for disks of type ${type} of ${resource.vendor}`)
  if (sizeGb === null || sizeGb === undefined) return unpriced('the size of a disk is not known')
  const space = line(resource, price, `disk ${type}`, sizeGb, 'GB')
  const operations = iops === null ? null : table.find(resource.vendor, resource.region, 'iops', type)
  return operations === null || iops === null
    ? space
    : joined(space, line(resource, operations, `IOPS of disk ${type}`, iops, 'IOPS'))
}

function database(resource: Resource, table: PriceTable): Result {
  const { size, engine, multiZone, storageGb } = resource.facts
  if (size === undefined || size === null) return unpriced('its size is not known')
  const price = table.find(resource.vendor, resource.region, 'database', `${size}/${engine ?? ''}`)
  if (price === null)
    return unpriced(`the table has no price for ${size} with ${engine ?? 'an engine that is not said'}`)
  const copies = multiZone === true ? 2 : 1
  const type = textOf(attribute(resource, 'storage_type')) ?? 'gp2'
  const space = table.find(resource.vendor, resource.region, 'database-disk', type)
  return joined(
    line(resource, price, `${size} ${engine ?? ''}${copies === 2 ? ', two zones' : ''}`, monthHours * copies, 'hours'),
    storageGb === undefined || storageGb === null || space === null
      ? unpriced('its storage is not known')
      : line(resource, space, `disk ${type}`, storageGb * copies, 'GB'),
  )
}

function calls(resource: Resource, table: PriceTable, usage: Tree | undefined): Result {
  const requests = table.find(resource.vendor, resource.region, 'function', 'requests', 'million')
  const duration = table.find(resource.vendor, resource.region, 'function', 'duration', 'gb-second')
  if (requests === null || duration === null || !/lambda|Lambda/.test(resource.kind))
    return unpriced('the table has no price for functions of this kind')
  const memoryGb = (numberOf(attribute(resource, 'memory_size')) ?? 128) / 1024
  const count = numberOf(at(usage, 'monthly_requests'))
  const milliseconds = numberOf(at(usage, 'request_duration_ms')) ?? 100
  const cost = (calls: number): number =>
    (calls / 1e6) * requests.amount + ((calls * milliseconds) / 1000) * memoryGb * duration.amount
  if (count === undefined) {
    const formula = `requests/1e6 × ${requests.amount} + requests × ${milliseconds} ms × ${memoryGb} GB × ${duration.amount}`
    return {
      ...nothing,
      formulas: [
        {
          object: nameOf(resource),
          formula,
          currency: requests.currency,
          small: cost(1e6),
          medium: cost(1e7),
          large: cost(1e8),
        },
      ],
    }
  }
  return joined(
    line(resource, requests, 'requests', count / 1e6, 'million', false),
    line(resource, duration, 'duration', ((count * milliseconds) / 1000) * memoryGb, 'GB-seconds', false),
  )
}

/** Something that costs by use alone. */
function perUse(
  resource: Resource,
  table: PriceTable,
  kind: string,
  name: string,
  field: string,
  usage: Tree | undefined,
  presets: readonly [number, number, number],
): Result {
  const price = table.find(resource.vendor, resource.region, kind, name)
  if (price === null) return unpriced(`the table has no price for ${kind} of ${resource.vendor}`)
  const quantity = numberOf(at(usage, field))
  if (quantity !== undefined) return line(resource, price, `${kind} ${name}`, quantity, 'GB', false)
  const [small, medium, large] = presets
  const formula = `GB × ${price.amount}`
  return {
    ...nothing,
    formulas: [
      {
        object: nameOf(resource),
        formula,
        currency: price.currency,
        small: small * price.amount,
        medium: medium * price.amount,
        large: large * price.amount,
      },
    ],
  }
}

/** What a change adds, by currency: the difference of two estimates. */
export function costChange(before: CostReport, after: CostReport): readonly CostSum[] {
  const currencies = [...new Set([...before.sums, ...after.sums].map(({ currency }) => currency))].sort()
  const of = (report: CostReport, currency: string): CostSum =>
    report.sums.find((sum) => sum.currency === currency) ?? { currency, fixed: 0, usage: 0 }
  return currencies.map((currency) => ({
    currency,
    fixed: of(after, currency).fixed - of(before, currency).fixed,
    usage: of(after, currency).usage - of(before, currency).usage,
  }))
}
