/**
 * Object lock: what may be deleted or changed before its time. A version under a legal hold, or whose retention has not
 * passed, cannot be deleted; in the mode GOVERNANCE somebody who is allowed to can pass by. Pure.
 */
import { S3Failure } from './failure.ts'
import { childOf, malformed, textOf } from './xml.ts'
import type { XmlElement, XmlTree } from './xml.ts'

export type LockMode = 'GOVERNANCE' | 'COMPLIANCE'

/** How long a version is kept. */
export interface Retention {
  readonly mode: LockMode
  readonly untilMs: number
}

/** What holds one version. */
export interface ObjectLock {
  readonly retention?: Retention
  readonly legalHold?: boolean
}

/** What new objects of a bucket get. */
export interface DefaultRetention {
  readonly mode: LockMode
  readonly days?: number
  readonly years?: number
}

const dayMs = 86_400_000
const daysMax = 36_500

function modeOf(text: string | undefined): LockMode {
  if (text !== 'GOVERNANCE' && text !== 'COMPLIANCE') throw malformed('the mode must be GOVERNANCE or COMPLIANCE')
  return text
}

/** Reads `ObjectLockConfiguration`: the rule for new objects, or none. Throws MalformedXML or InvalidRetentionPeriod. */
export function readLockRule(root: XmlElement): DefaultRetention | undefined {
  if (textOf(root, 'ObjectLockEnabled') !== 'Enabled') throw malformed('ObjectLockEnabled must be Enabled')
  const rule = childOf(root, 'Rule')
  if (rule === undefined) return undefined
  const retention = childOf(rule, 'DefaultRetention')
  const [days, years] = [textOf(retention, 'Days'), textOf(retention, 'Years')]
  if ((days === undefined) === (years === undefined)) throw malformed('give either Days or Years')
  const mode = modeOf(textOf(retention, 'Mode'))
  const count = Number(days ?? years)
  if (!Number.isInteger(count) || count < 1 || count * (days === undefined ? 365 : 1) > daysMax) {
    throw new S3Failure('InvalidRetentionPeriod')
  }
  return days === undefined ? { mode, years: count } : { mode, days: count }
}

/** The configuration as it is shown. */
export function lockRuleTree(rule: DefaultRetention | undefined): XmlTree {
  const retention = rule && { Mode: rule.mode, Days: rule.days, Years: rule.years }
  return { ObjectLockEnabled: 'Enabled', Rule: retention && { DefaultRetention: retention } }
}

/** Reads `Retention`. Throws MalformedXML. */
export function readRetention(root: XmlElement): Retention {
  return retentionOf(textOf(root, 'Mode'), textOf(root, 'RetainUntilDate'))
}

function retentionOf(mode: string | undefined, date: string | undefined): Retention {
  const untilMs = Date.parse(date ?? '')
  if (Number.isNaN(untilMs)) throw malformed('RetainUntilDate must be a date')
  return { mode: modeOf(mode), untilMs }
}

/** The retention as it is shown. */
export function retentionTree(retention: Retention): XmlTree {
  return { Mode: retention.mode, RetainUntilDate: new Date(retention.untilMs).toISOString() }
}

/** Reads `LegalHold`. Throws MalformedXML. */
export function readLegalHold(root: XmlElement): boolean {
  return holdOf(textOf(root, 'Status'))
}

function holdOf(status: string | undefined): boolean {
  if (status !== 'ON' && status !== 'OFF') throw malformed('the status must be ON or OFF')
  return status === 'ON'
}

/** The lock a new object gets: what its headers say, else the rule of the bucket. Throws InvalidRequest, InvalidArgument. */
export function lockOfHeaders(
  headers: Readonly<Record<string, string>>,
  bucket: { readonly locked: boolean; readonly rule: DefaultRetention | undefined },
  nowMs: number,
): ObjectLock {
  const [mode, until, hold] = ['mode', 'retain-until-date', 'legal-hold'].map(
    (name) => headers[`x-amz-object-lock-${name}`],
  )
  if (!bucket.locked) {
    if ((mode ?? until ?? hold) !== undefined) throw lockless()
    return {}
  }
  if ((mode === undefined) !== (until === undefined)) {
    throw new S3Failure('InvalidArgument', 'A lock needs both its mode and its date.')
  }
  const asked = mode === undefined ? retentionOfRule(bucket.rule, nowMs) : retentionOf(mode, until)
  if (mode !== undefined && asked !== undefined && asked.untilMs <= nowMs) {
    throw new S3Failure('InvalidArgument', 'The date of the retention has passed.')
  }
  return {
    ...(asked === undefined ? {} : { retention: asked }),
    ...(hold === undefined ? {} : { legalHold: holdOf(hold) }),
  }
}

function retentionOfRule(rule: DefaultRetention | undefined, nowMs: number): Retention | undefined {
  if (rule === undefined) return undefined
  const days = rule.days ?? (rule.years ?? 0) * 365
  return { mode: rule.mode, untilMs: nowMs + days * dayMs }
}

/** Throws InvalidRequest: the bucket was made without object lock. */
export function lockless(): S3Failure {
  return new S3Failure('InvalidRequest', 'The bucket was made without object lock.')
}

/** Headers that show a lock. */
export function lockHeaders(lock: ObjectLock): Record<string, string> {
  const { retention, legalHold } = lock
  return {
    ...(retention === undefined
      ? {}
      : {
          'x-amz-object-lock-mode': retention.mode,
          'x-amz-object-lock-retain-until-date': new Date(retention.untilMs).toISOString(),
        }),
    ...(legalHold === undefined ? {} : { 'x-amz-object-lock-legal-hold': legalHold ? 'ON' : 'OFF' }),
  }
}

/** Throws AccessDenied where a version must not be deleted. */
export function checkDeletable(lock: ObjectLock, nowMs: number, bypass: boolean): void {
  if (lock.legalHold === true) throw new S3Failure('AccessDenied', 'The version is under a legal hold.')
  const { retention } = lock
  if (retention === undefined || retention.untilMs <= nowMs) return
  if (retention.mode === 'GOVERNANCE' && bypass) return
  throw new S3Failure('AccessDenied', `The version is kept until ${new Date(retention.untilMs).toISOString()}.`)
}

/** Throws AccessDenied where a retention must not be replaced: it may be made longer, and shorter only by a bypass. */
export function checkRetentionChange(lock: ObjectLock, next: Retention, nowMs: number, bypass: boolean): void {
  const current = lock.retention
  if (current === undefined || current.untilMs <= nowMs) return
  const weaker = next.untilMs < current.untilMs || (current.mode === 'COMPLIANCE' && next.mode === 'GOVERNANCE')
  if (!weaker && next.mode === current.mode) return
  if (current.mode === 'GOVERNANCE' && bypass) return
  throw new S3Failure('AccessDenied', 'The retention cannot be made weaker.')
}
