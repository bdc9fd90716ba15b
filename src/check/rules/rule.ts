/**
 * What a rule is: a small file that looks at the inventory and says of every subject it is about whether it passes, fails, or
 * cannot be known. Invariant: a rule says nothing of what it did not look at, so that a pass means that it was looked at.
 */
import { placeOf } from '../inventory.ts'
import type { Inventory, Subject, Workload } from '../inventory.ts'
import type { Json } from '../../base/index.ts'
import type { LevelVersion } from '../pod-security/versions.ts'
import type { Advisories } from '../packages/advisories.ts'
import type { VersionsFile } from '../versions/file.ts'
import type { Place } from '../source.ts'
import type { Path } from '../tree.ts'

export type Severity = 'critical' | 'high' | 'medium' | 'low'
export type Category = 'security' | 'availability' | 'cost' | 'vendor' | 'complexity'

export const severities: readonly Severity[] = ['low', 'medium', 'high', 'critical']

/** A change of one value. Paths start at the root of the subject's document. */
export interface Edit {
  readonly subject: Subject
  readonly path: Path
  /** `undefined` takes the key away. */
  readonly value: Json | undefined
}

export type Verdict =
  | { readonly state: 'pass'; readonly subject: Subject }
  | { readonly state: 'unknown'; readonly subject: Subject; readonly message: string; readonly place: Place }
  | {
      readonly state: 'fail'
      readonly subject: Subject
      /** What is wrong, as one sentence without the subject's name. */
      readonly message: string
      readonly place: Place
      readonly edits: readonly Edit[]
      /** Why it is not mended, or not wholly, by itself; null when the edits mend it. */
      readonly left: string | null
      /** Where it differs from the rule's. */
      readonly severity?: Severity
    }

/** What the person who checks has asked for. */
export interface CheckOptions {
  /** What pods are held to where their namespace says nothing. */
  readonly standard: LevelVersion
  /** Milliseconds since 1970, for what has an age. */
  readonly nowMs: number
  /** Known vulnerabilities; without them whether a package has one is unknown. */
  readonly advisories?: Advisories
  /** What registries said, at another time; without it how old something is, is unknown. */
  readonly versions?: VersionsFile
  /** Hosts that packages may come from. */
  readonly registries?: readonly string[]
}

export interface Example {
  /** Decides who reads it. */
  readonly path: string
  readonly text: string
}

export interface Rule {
  /** `room.what`: stable, and what suppressions name. */
  readonly id: string
  readonly category: Category
  readonly severity: Severity
  /** What is asked for, as one sentence. */
  readonly title: string
  /** Why it matters. */
  readonly reason: string
  readonly reference: string
  /** Findings of one cause are told together and mended together. */
  readonly cause: CauseId
  /** Must fail, and pass, this rule; they are its tests and stand on its page. */
  readonly bad: Example
  readonly good: Example
  readonly check: (inventory: Inventory, options: CheckOptions) => Iterable<Verdict>
}

export type CauseId = keyof typeof causes

/** Root causes, each as a heading. */
export const causes = {
  hardening: 'Programs run with more rights than they need',
  host: 'Programs reach into the machine they run on',
  secrets: 'Secrets stand in plain text',
  pinning: 'What runs is not pinned, so it can change without a release',
  limits: 'One program can take the whole machine',
  network: 'The network is open where nobody needs it',
  exposure: 'Data can be reached from outside',
  rights: 'Somebody may do more than their task asks for',
  encryption: 'Data lies or travels unencrypted',
  recovery: 'Data cannot be brought back',
  copies: 'One failure takes it down',
  health: 'Nobody notices when it stops working',
  wiring: 'Parts do not fit together',
  spending: 'It costs more than it has to',
  leaving: 'It is tied to one vendor',
  parts: 'There are more parts than the task needs',
  dependencies: 'Dependencies are not what they seem to be',
} as const

export function pass(subject: Subject): Verdict {
  return { state: 'pass', subject }
}

export function unknown(subject: Subject, message: string, ...path: Path): Verdict {
  return { state: 'unknown', subject, message, place: placeOf(subject, ...path) }
}

export type Failure = Extract<Verdict, { readonly state: 'fail' }>

export interface FailDetails {
  readonly edits?: readonly Edit[]
  readonly left?: string
  readonly severity?: Severity
}

/** A failure. Without edits the reason why must be given, so that no finding ends in silence. */
export function fail(subject: Subject, message: string, path: Path, details: FailDetails): Failure {
  const { edits = [], left, severity } = details
  return {
    state: 'fail',
    subject,
    message,
    place: placeOf(subject, ...path),
    edits,
    left: left ?? null,
    ...(severity === undefined ? {} : { severity }),
  }
}

/** An edit of a subject; the path is relative to the subject. */
export function set(subject: Subject, path: Path, value: Json): Edit {
  return { subject, path: [...subject.path, ...path], value }
}

export function remove(subject: Subject, path: Path): Edit {
  return { subject, path: [...subject.path, ...path], value: undefined }
}

/** The check of a rule that looks at workloads one by one; null: the rule is not about this one. */
export function eachWorkload(
  decide: (workload: Workload, inventory: Inventory, options: CheckOptions) => Verdict | null,
): Rule['check'] {
  return function* (inventory, options) {
    for (const workload of inventory.workloads) {
      const verdict = decide(workload, inventory, options)
      if (verdict !== null) yield verdict
    }
  }
}

/** Names in a sentence: `a`, `a and b`, `a, b and 3 more`. */
export function listed(names: readonly string[]): string {
  if (names.length <= 3)
    return names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`
  return `${names.slice(0, 2).join(', ')} and ${names.length - 2} more`
}
