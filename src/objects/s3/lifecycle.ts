/**
 * Expiry: rules of a bucket by which objects, older versions, lone delete markers and unfinished uploads go by themselves.
 * Pure: what a rule says about one version at one time. Moving to other storage classes is not done here and is refused.
 */
import { S3Failure } from './failure.ts'
import type { Tags } from './tags.ts'
import { childOf, childrenNamed, malformed, requiredText, textOf } from './xml.ts'
import type { XmlElement, XmlTree } from './xml.ts'

export interface LifecycleRule {
  readonly id: string
  readonly enabled: boolean
  readonly prefix: string
  /** Whether the prefix was given in the old place, outside of a filter. */
  readonly oldPrefix: boolean
  readonly tags: Tags
  readonly largerThanBytes: number | undefined
  readonly smallerThanBytes: number | undefined
  readonly expireDays: number | undefined
  readonly expireAtMs: number | undefined
  readonly expireMarkers: boolean
  readonly noncurrentDays: number | undefined
  readonly newerVersionsKept: number | undefined
  readonly abortUploadDays: number | undefined
}

const rulesMax = 1000
const dayMs = 86_400_000

/** Reads `LifecycleConfiguration`. Throws MalformedXML, InvalidArgument or NotImplemented. */
export function readLifecycle(root: XmlElement, newId: () => string): readonly LifecycleRule[] {
  const rules = childrenNamed(root, 'Rule').map((rule) => readRule(rule, newId))
  if (rules.length === 0 || rules.length > rulesMax) throw malformed('there must be from 1 to 1,000 rules')
  if (new Set(rules.map(({ id }) => id)).size < rules.length) {
    throw new S3Failure('InvalidArgument', 'Two rules have the same ID.')
  }
  return rules
}

function readRule(rule: XmlElement, newId: () => string): LifecycleRule {
  const unknown = rule.children.find(({ name }) => name.endsWith('Transition'))
  if (unknown !== undefined)
    throw new S3Failure('NotImplemented', 'This server has one storage class; objects cannot move to others.')
  const id = textOf(rule, 'ID') ?? newId()
  if (id.length > 255) throw new S3Failure('InvalidArgument', 'The ID of a rule has at most 255 characters.')
  const status = textOf(rule, 'Status')
  if (status !== 'Enabled' && status !== 'Disabled') throw malformed('the status of a rule must be Enabled or Disabled')
  const filter = childOf(rule, 'Filter')
  const narrowed = childOf(filter, 'And') ?? filter
  const expiration = childOf(rule, 'Expiration')
  const noncurrent = childOf(rule, 'NoncurrentVersionExpiration')
  const abort = childOf(rule, 'AbortIncompleteMultipartUpload')
  const read: LifecycleRule = {
    id,
    enabled: status === 'Enabled',
    prefix: textOf(narrowed, 'Prefix') ?? textOf(rule, 'Prefix') ?? '',
    oldPrefix: filter === undefined,
    tags: childrenNamed(narrowed, 'Tag').map((tag) => [requiredText(tag, 'Key'), requiredText(tag, 'Value')]),
    largerThanBytes: numberOf(narrowed, 'ObjectSizeGreaterThan', 0),
    smallerThanBytes: numberOf(narrowed, 'ObjectSizeLessThan', 0),
    expireDays: numberOf(expiration, 'Days', 1),
    expireAtMs: dateOf(expiration),
    expireMarkers: textOf(expiration, 'ExpiredObjectDeleteMarker') === 'true',
    noncurrentDays: numberOf(noncurrent, 'NoncurrentDays', 1),
    newerVersionsKept: numberOf(noncurrent, 'NewerNoncurrentVersions', 1),
    abortUploadDays: numberOf(abort, 'DaysAfterInitiation', 1),
  }
  if (expiration === undefined && noncurrent === undefined && abort === undefined)
    throw malformed('a rule does nothing')
  return read
}

function numberOf(element: XmlElement | undefined, name: string, min: number): number | undefined {
  const text = textOf(element, name)
  if (text === undefined) return undefined
  if (!/^-?\d{1,12}$/.test(text)) throw malformed(`${name} must be a number`)
  if (Number(text) < min) throw new S3Failure('InvalidArgument', `${name} must be at least ${min}.`)
  return Number(text)
}

function dateOf(element: XmlElement | undefined): number | undefined {
  const text = textOf(element, 'Date')
  if (text === undefined) return undefined
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms)) throw malformed('Date must be a date')
  return ms
}

/** The rules as they are shown. */
export function lifecycleTree(rules: readonly LifecycleRule[]): XmlTree {
  return { Rule: rules.map(ruleTree) }
}

function ruleTree(rule: LifecycleRule): XmlTree {
  const tags = rule.tags.map(([Key, Value]) => ({ Key, Value }))
  const narrowed: XmlTree = {
    Prefix: rule.prefix === '' && tags.length > 0 ? undefined : rule.prefix,
    ObjectSizeGreaterThan: rule.largerThanBytes,
    ObjectSizeLessThan: rule.smallerThanBytes,
    Tag: tags,
  }
  const several =
    tags.length +
      [rule.prefix || undefined, rule.largerThanBytes, rule.smallerThanBytes].filter((item) => item !== undefined)
        .length >
    1
  const expires = rule.expireDays !== undefined || rule.expireAtMs !== undefined || rule.expireMarkers
  return {
    ID: rule.id,
    Status: rule.enabled ? 'Enabled' : 'Disabled',
    Prefix: rule.oldPrefix ? rule.prefix : undefined,
    Filter: rule.oldPrefix ? undefined : several ? { And: narrowed } : narrowed,
    Expiration: expires
      ? {
          Days: rule.expireDays,
          Date: rule.expireAtMs === undefined ? undefined : new Date(rule.expireAtMs).toISOString(),
          ExpiredObjectDeleteMarker: rule.expireMarkers || undefined,
        }
      : undefined,
    NoncurrentVersionExpiration:
      rule.noncurrentDays === undefined && rule.newerVersionsKept === undefined
        ? undefined
        : { NoncurrentDays: rule.noncurrentDays, NewerNoncurrentVersions: rule.newerVersionsKept },
    AbortIncompleteMultipartUpload:
      rule.abortUploadDays === undefined ? undefined : { DaysAfterInitiation: rule.abortUploadDays },
  }
}

/** One version as rules look at it. */
export interface Aging {
  readonly key: string
  readonly tags: Tags
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly isMarker: boolean
  /** When a newer version took its place; undefined for the current one. */
  readonly replacedMs: number | undefined
  /** How many noncurrent versions are newer. */
  readonly newerNoncurrent: number
  /** Whether it is the only version of its key. */
  readonly alone: boolean
}

/** Whether a rule covers a version. */
function covers(rule: LifecycleRule, version: Pick<Aging, 'key' | 'tags' | 'sizeBytes'>): boolean {
  return (
    rule.enabled &&
    version.key.startsWith(rule.prefix) &&
    version.sizeBytes > (rule.largerThanBytes ?? -1) &&
    version.sizeBytes < (rule.smallerThanBytes ?? Number.POSITIVE_INFINITY) &&
    rule.tags.every(([name, value]) => version.tags.some((tag) => tag[0] === name && tag[1] === value))
  )
}

/** When the current version expires by days, and by which rule; undefined for never. Rounded up to midnight, as S3 does. */
export function expiryOf(
  rules: readonly LifecycleRule[],
  version: Pick<Aging, 'key' | 'tags' | 'sizeBytes' | 'modifiedMs'>,
): { readonly atMs: number; readonly id: string } | undefined {
  const due = rules
    .filter((rule) => covers(rule, version))
    .flatMap((rule) => {
      if (rule.expireAtMs !== undefined) return [{ atMs: rule.expireAtMs, id: rule.id }]
      return rule.expireDays === undefined ? [] : [{ atMs: dueMs(version.modifiedMs, rule.expireDays), id: rule.id }]
    })
  return due.toSorted((a, b) => a.atMs - b.atMs)[0]
}

function dueMs(fromMs: number, days: number): number {
  return Math.ceil((fromMs + days * dayMs) / dayMs) * dayMs
}

/** Whether a version is to go now. */
export function hasExpired(rules: readonly LifecycleRule[], version: Aging, nowMs: number): boolean {
  if (version.replacedMs === undefined) {
    if (version.isMarker) return version.alone && rules.some((rule) => rule.expireMarkers && covers(rule, version))
    const expiry = expiryOf(rules, version)
    return expiry !== undefined && expiry.atMs <= nowMs
  }
  const replacedMs = version.replacedMs
  return rules.some(
    (rule) =>
      covers(rule, version) &&
      (rule.noncurrentDays !== undefined || rule.newerVersionsKept !== undefined) &&
      (rule.noncurrentDays === undefined || dueMs(replacedMs, rule.noncurrentDays) <= nowMs) &&
      version.newerNoncurrent >= (rule.newerVersionsKept ?? 0),
  )
}

/** Whether a rule can let a version go, and not only an upload. */
export function isOfVersions(rule: LifecycleRule): boolean {
  const { expireDays, expireAtMs, expireMarkers, noncurrentDays, newerVersionsKept } = rule
  return expireMarkers || (expireDays ?? expireAtMs ?? noncurrentDays ?? newerVersionsKept) !== undefined
}

/** Whether an upload that was begun then is to be given up. */
export function uploadHasExpired(
  rules: readonly LifecycleRule[],
  key: string,
  createdMs: number,
  nowMs: number,
): boolean {
  return rules.some(
    (rule) =>
      rule.enabled &&
      key.startsWith(rule.prefix) &&
      rule.abortUploadDays !== undefined &&
      dueMs(createdMs, rule.abortUploadDays) <= nowMs,
  )
}
