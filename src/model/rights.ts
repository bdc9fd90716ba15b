/**
 * Rights of a use: what of a resource a part is given. A type whose users differ in what they may do lists its rights here;
 * its builder is made `narrowable`, and `use: { files: files.only('read') }` gives that alone. The provider enforces it.
 *
 * Invariant: a use without rights has everything the type offers, so that narrowing is always said and never implied.
 */
import { badOption } from './check.ts'
import { brand, isUse } from './values.ts'
import type { Resource, RightsUse } from './values.ts'

/** The rights of each type that has any. */
const offered = {
  /** presign: sign URLs for others; on its own it reads and writes nothing itself. */
  bucket: ['read', 'write', 'list', 'presign'],
  /** receive: with settling. manage: peek, purge, redrive, pause. */
  queue: ['send', 'receive', 'manage'],
} as const

/** A type with rights. */
export type NarrowableType = keyof typeof offered
/** What a user of this type may be given. */
export type RightOf<Type extends NarrowableType> = (typeof offered)[Type][number]

/** A resource of which a part can be given less than everything. */
export interface Narrowable<Type extends NarrowableType> extends Resource<Type> {
  /** The same resource for a user that may do this and nothing else. Throws `model.bad-option`. */
  only(...rights: readonly [RightOf<Type>, ...RightOf<Type>[]]): RightsUse<Type>
}

/** Types of resources that speak HTTP to whoever has a key, so that a way in can lead to them. */
const overHttp: readonly string[] = ['bucket']

/** Whether a host of `public` can lead to a resource of this type. */
export function answersHttp(type: string): boolean {
  return overHttp.includes(type)
}

/** The rights that a type offers; none for a type without. */
export function rightsOf(type: string): readonly string[] {
  return Object.hasOwn(offered, type) ? offered[type as NarrowableType] : []
}

/** Gives a resource its `only`. */
export function narrowable<Type extends NarrowableType>(made: Resource<Type>): Narrowable<Type> {
  const value: Narrowable<Type> = {
    ...made,
    only: (...rights) => {
      const known = rightsOf(made.type)
      const owner = `${made.type} '${made.name}'`
      const hint = `As in only('${known[0]}'). It has: ${known.join(', ')}.`
      if (rights.length === 0) throw badOption(owner, 'only', 'called with at least one right', 'nothing', hint)
      const wrong = rights.find((right) => !known.includes(right))
      if (wrong !== undefined) throw badOption(owner, 'a right', `one of ${known.join(', ')}`, wrong, hint)
      const use: RightsUse<Type> = { [brand]: 'use', resource: value, rights: [...new Set<string>(rights)].sort() }
      return Object.freeze(use)
    },
  }
  return Object.freeze(value)
}

/** What a value of `use` is a use of, and with which rights. */
export function readRights<T>(value: T | RightsUse): {
  readonly of: T | Resource
  readonly rights?: readonly string[]
} {
  return isUse(value) ? { of: value.resource, rights: value.rights } : { of: value }
}
