/**
 * What differs between two graphs, as data and as lines. A part that changes its kind, or a resource that changes its
 * type, is another part: it is reported as removed and added, because its state does not carry over.
 *
 * Invariant: the list is empty exactly when the graphs are equal, and every field that differs is in it.
 */
import { jsonEqual } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { dataBytesDefault } from './graph.ts'
import type { Graph, Part, Route, StreamRoute, Use, VmUse } from './graph.ts'
import { showWay } from './routes.ts'
import { formatBytes, formatDuration } from './units.ts'
import { describePart } from './values.ts'

/** One field. `before` is absent when it was not there, `after` when it is gone. Uses are found by their `as`. */
export interface FieldChange {
  readonly path: readonly string[]
  readonly before?: Json
  readonly after?: Json
}

export type Change =
  | { readonly kind: 'app-renamed'; readonly before: string; readonly after: string }
  | { readonly kind: 'data-changed'; readonly before: number; readonly after: number }
  | { readonly kind: 'backup-changed'; readonly fields: readonly FieldChange[] }
  | { readonly kind: 'part-added'; readonly part: Part }
  | { readonly kind: 'part-removed'; readonly part: Part }
  | { readonly kind: 'part-changed'; readonly part: Part; readonly fields: readonly FieldChange[] }
  | { readonly kind: 'route-added'; readonly route: Route | StreamRoute }
  | { readonly kind: 'route-removed'; readonly route: Route | StreamRoute }
  | { readonly kind: 'route-changed'; readonly route: Route | StreamRoute; readonly fields: readonly FieldChange[] }

/** The changes that lead from `before` to `after`: parts by name, then routes, then streams. `part` and `route` are the newer ones. */
export function diffGraphs(before: Graph, after: Graph): readonly Change[] {
  const renamed: Change[] =
    before.app === after.app ? [] : [{ kind: 'app-renamed', before: before.app, after: after.app }]
  const parts = pairs(before.parts, after.parts, (part) => part.name).flatMap(([old, part]) => diffPart(old, part))
  const ways = [
    ...pairs(before.routes, after.routes, nameOfRoute),
    ...pairs(before.streams ?? [], after.streams ?? [], nameOfRoute),
  ]
  const [old, young] = [before.dataBytes ?? dataBytesDefault, after.dataBytes ?? dataBytesDefault]
  const data: Change[] = old === young ? [] : [{ kind: 'data-changed', before: old, after: young }]
  const fields = diffFields([], backupOf(before), backupOf(after))
  const backup: Change[] = fields.length === 0 ? [] : [{ kind: 'backup-changed', fields }]
  return [...renamed, ...data, ...backup, ...parts, ...ways.flatMap(([was, route]) => diffRoute(was, route))]
}

/** What is said of backups, as fields that one by one can differ. */
function backupOf({ backup }: Graph): Json {
  if (backup === undefined) return {}
  return { ...backup, keep: { ...backup.keep }, drill: { ...backup.drill } }
}

/** Items of two lists brought together by a key, sorted by it. */
function pairs<T>(
  before: readonly T[],
  after: readonly T[],
  key: (item: T) => string,
): [T | undefined, T | undefined][] {
  const [old, young] = [before, after].map((list) => new Map(list.map((item) => [key(item), item])))
  const keys = new Set([...(old?.keys() ?? []), ...(young?.keys() ?? [])])
  return [...keys].sort().map((name) => [old?.get(name), young?.get(name)])
}

function identity(part: Part): string {
  return part.kind === 'resource' ? `resource ${part.type}` : part.kind
}

function diffPart(before: Part | undefined, after: Part | undefined): Change[] {
  if (before === undefined || after === undefined || identity(before) !== identity(after)) {
    const removed: Change[] = before === undefined ? [] : [{ kind: 'part-removed', part: before }]
    return after === undefined ? removed : [...removed, { kind: 'part-added', part: after }]
  }
  const fields = diffFields([], fieldsOf(before), fieldsOf(after))
  return fields.length === 0 ? [] : [{ kind: 'part-changed', part: after, fields }]
}

/** A way in as it stands in `public`, with its path. */
function nameOfRoute(route: Route | StreamRoute): string {
  return 'way' in route ? showWay(route.way) : `${route.host}${route.path}`
}

function diffRoute(before: Route | StreamRoute | undefined, after: Route | StreamRoute | undefined): Change[] {
  if (after === undefined) return before === undefined ? [] : [{ kind: 'route-removed', route: before }]
  if (before === undefined) return [{ kind: 'route-added', route: after }]
  const fields = diffFields([], { ...before }, { ...after })
  return fields.length === 0 ? [] : [{ kind: 'route-changed', route: after, fields }]
}

/** A part as nested fields; uses are named by their alias, so that adding one does not move the others. */
function fieldsOf(part: Part): Json {
  if (part.kind === 'resource') return { ...part }
  const uses = Object.fromEntries(part.uses.map((use) => [use.as, fieldOfUse(use)]))
  const { image, ...rest } = part
  const common = { limits: { ...part.limits }, uses, ...(image === undefined ? {} : { image: { ...image } }) }
  if (rest.kind === 'service') {
    const { vm, ...service } = rest
    const system = vm === undefined ? {} : { vm: fieldOfVm(vm) }
    return { ...service, ...common, ...system, ready: { ...rest.ready } }
  }
  const { overlap, missed, retry } = rest
  return { ...rest, ...common, overlap: { ...overlap }, missed: { ...missed }, retry: { ...retry } }
}

function fieldOfVm({ kernel, ...vm }: VmUse): Json {
  return { ...vm, ...(kernel === undefined ? {} : { kernel: { ...kernel } }) }
}

/** The part alone where all rights are given, so that older graphs differ in nothing. */
function fieldOfUse({ part, rights }: Use): Json {
  return rights === undefined ? part : { part, rights }
}

type JsonObject = { readonly [key: string]: Json }

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

function diffFields(path: readonly string[], before: Json | undefined, after: Json | undefined): FieldChange[] {
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...keys].sort().flatMap((key) => diffFields([...path, key], own(before, key), own(after, key)))
  }
  if (before !== undefined && after !== undefined && jsonEqual(before, after)) return []
  return [{ path, ...(before === undefined ? {} : { before }), ...(after === undefined ? {} : { after }) }]
}

function describeValue(path: readonly string[], value: Json): string {
  const field = path.at(-1) ?? ''
  if (typeof value === 'number' && field.endsWith('Bytes')) return formatBytes(value)
  if (typeof value === 'number' && field.endsWith('Ms')) return formatDuration(value)
  if (path[0] === 'uses' && isObject(value))
    return `${describeValue([], value['part'] ?? null)} with ${showRights(value['rights'])}`
  if (path[0] === 'uses' && Array.isArray(value)) return showRights(value)
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function showRights(rights: Json | undefined): string {
  return Array.isArray(rights) ? `only ${rights.join(', ')}` : 'all rights'
}

function describeField({ path, before, after }: FieldChange): string {
  const name = path.join('.')
  if (before === undefined) return after === undefined ? name : `${name} is new: ${describeValue(path, after)}`
  const old = describeValue(path, before)
  return after === undefined ? `${name} is gone: ${old}` : `${name}: ${old} -> ${describeValue(path, after)}`
}

/** Where it leads is what a route is about: said without a name. */
function describeRouteField(change: FieldChange): string {
  const text = describeField(change)
  return change.path[0] === 'part' ? text.replace(/^part: /, '') : text
}

function describeChange(change: Change): string[] {
  switch (change.kind) {
    case 'app-renamed':
      return [`~ app: ${change.before} -> ${change.after}`]
    case 'data-changed':
      return [`~ data: ${formatBytes(change.before)} -> ${formatBytes(change.after)}`]
    case 'backup-changed':
      return change.fields.map((field) => `~ backup: ${describeField(field)}`)
    case 'part-added':
      return [`+ ${describePart(change.part)}`]
    case 'part-removed':
      return [`- ${describePart(change.part)}${change.part.kind === 'resource' ? ', with what it holds' : ''}`]
    case 'part-changed':
      return change.fields.map((field) => `~ ${describePart(change.part)}: ${describeField(field)}`)
    case 'route-added':
      return [`+ route ${nameOfRoute(change.route)} to ${change.route.part}`]
    case 'route-removed':
      return [`- route ${nameOfRoute(change.route)} to ${change.route.part}`]
    case 'route-changed':
      return change.fields.map((field) => `~ route ${nameOfRoute(change.route)}: ${describeRouteField(field)}`)
  }
}

/** The changes as lines for a person: `+` new, `-` gone, `~` changed. */
export function describeDiff(changes: readonly Change[]): readonly string[] {
  return changes.flatMap(describeChange)
}
