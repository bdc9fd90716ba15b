/**
 * The people who may ask, besides the owner: their roles, on which apps, their tokens and SSH keys. Pure: a list in, a new
 * list out. Invariants: a token is kept only as a hash; a person, a token and a key each have one name, held by nobody
 * else; what has expired opens nothing.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { z } from 'zod'
import { type Random, randomId, randomPassword, SteadError } from '../base/index.ts'
import { rights, type Right, roles, type Role } from './caller.ts'
import { isPublicKey } from './ssh-keys.ts'

export interface Token {
  readonly id: string
  /** Of the whole token. */
  readonly sha256: string
  readonly sinceMs: number
  readonly expiresAtMs: number
}

export interface Person {
  readonly name: string
  readonly role: Role
  /** Beside those of the role. */
  readonly rights: readonly Right[]
  /** Null: all, also those that are still to come, and the platform itself. */
  readonly apps: readonly string[] | null
  readonly sinceMs: number
  /** Null: until removed. */
  readonly expiresAtMs: number | null
  /** Public keys as OpenSSH writes them, without a comment. */
  readonly sshKeys: readonly string[]
  readonly tokens: readonly Token[]
}

export type People = readonly Person[]

/** What is said of a person who is added or changed. */
export type Grant = Pick<Person, 'name' | 'role' | 'rights' | 'apps' | 'expiresAtMs' | 'sshKeys'>

const peopleMax = 1000
const tokensMax = 16
const keysMax = 8
/** Life of a token when nothing is said. */
export const tokenLifeMs: number = 90 * 86_400_000
const nameForm = /^[a-z0-9][a-z0-9._-]{0,31}$/
/** What the record calls whoever opens the owner's socket, and whoever proved nothing. */
const reserved: readonly string[] = ['owner', 'unknown']
const appForm = /^[a-z][a-z0-9-]{0,62}$/
const tokenForm = /^stead_([0-9a-z]{8})_[A-Za-z0-9_-]{32}$/

const grantShape = z.strictObject({
  role: z.enum(Object.keys(roles) as [Role, ...Role[]]),
  rights: z.array(z.enum(rights)).max(rights.length),
  apps: z.array(z.string().regex(appForm, 'not the name of an app')).min(1).max(256).nullable(),
  expiresAtMs: z.int().nonnegative().nullable(),
  sshKeys: z.array(z.string().max(16_384)).max(keysMax),
})

/** A grant as it comes from outside; the name is in the path. */
export const grantSchema: z.ZodType<Omit<Grant, 'name'>> = grantShape

const token = z.strictObject({ id: z.string(), sha256: z.string().length(64), sinceMs: z.int(), expiresAtMs: z.int() })

/** The list as it is kept. */
export const peopleSchema: z.ZodType<People> = z.array(
  grantShape.extend({ name: z.string().regex(nameForm), sinceMs: z.int(), tokens: z.array(token) }),
)

/**
 * Adds a person, or gives one that is there another role, apps and end; keys are added to those there are, tokens stay.
 * Throws `operator.bad-person`, `operator.bad-key`, `operator.key-taken`, `operator.too-many`.
 */
export function grant(people: People, asked: Grant, nowMs: number): People {
  if (!nameForm.test(asked.name) || reserved.includes(asked.name)) {
    throw new SteadError({
      code: 'operator.bad-person',
      message: `${JSON.stringify(asked.name)} cannot be the name of a person`,
      hint: 'A name has 1 to 32 lower-case letters, digits, dots, dashes and underscores, and is not `owner` or `unknown`.',
    })
  }
  const before = people.find(({ name }) => name === asked.name)
  for (const key of asked.sshKeys) {
    if (!isPublicKey(key)) throw badKey()
    const holder = people.find((person) => person.name !== asked.name && person.sshKeys.includes(key))
    if (holder === undefined) continue
    throw new SteadError({
      code: 'operator.key-taken',
      message: `this SSH key is ${holder.name}'s already`,
      hint: 'A key says who somebody is, so each belongs to one person.',
    })
  }
  const person: Person = {
    ...asked,
    rights: [...new Set(asked.rights)],
    sshKeys: [...new Set([...(before?.sshKeys ?? []), ...asked.sshKeys])],
    sinceMs: before?.sinceMs ?? nowMs,
    tokens: before?.tokens ?? [],
  }
  if (person.sshKeys.length > keysMax) throw tooMany(`${person.name} has more than ${keysMax} SSH keys`)
  if (before === undefined && people.length >= peopleMax) throw tooMany(`there are ${peopleMax} people already`)
  return [...people.filter(({ name }) => name !== asked.name), person].toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

/** Takes a person away, with tokens and keys. Throws `operator.unknown-person`. */
export function remove(people: People, name: string): People {
  needPerson(people, name)
  return people.filter((person) => person.name !== name)
}

/**
 * Gives a person a token until `expiresAtMs`; those that have expired are forgotten. The text is told now and never again.
 * Throws `operator.unknown-person`, `operator.too-many`.
 */
export function issueToken(
  people: People,
  name: string,
  expiresAtMs: number,
  nowMs: number,
  random: Random,
): { people: People; token: string; id: string } {
  const person = needPerson(people, name)
  const live = person.tokens.filter((token) => token.expiresAtMs > nowMs)
  if (live.length >= tokensMax) throw tooMany(`${name} has ${tokensMax} tokens already`)
  const id = randomId(random)
  const token = `stead_${id}_${randomPassword(random)}`
  const tokens = [...live, { id, sha256: sha256(token), sinceMs: nowMs, expiresAtMs }]
  return { people: people.map((other) => (other === person ? { ...person, tokens } : other)), token, id }
}

/** Takes all tokens of a person away. Throws `operator.unknown-person`. */
export function revokeTokens(people: People, name: string): People {
  const person = needPerson(people, name)
  return people.map((other) => (other === person ? { ...person, tokens: [] } : other))
}

/** What a token opens. `expired` names the person, who has proven to be it. */
export type Proof =
  | { readonly kind: 'person'; readonly name: string; readonly token: string }
  | { readonly kind: 'expired'; readonly name: string; readonly token: string; readonly atMs: number }
  | { readonly kind: 'stranger' }

/** Whose a token is. Takes the same time whether there is none of its name or another of it. */
export function prove(people: People, text: string, nowMs: number): Proof {
  const id = tokenForm.exec(text)?.[1]
  const holder = people.find((person) => person.tokens.some((token) => token.id === id))
  const token = holder?.tokens.find((candidate) => candidate.id === id)
  const known = Buffer.from(token?.sha256 ?? '0'.repeat(64), 'hex')
  const same = timingSafeEqual(known, createHash('sha256').update(text).digest())
  if (!same || holder === undefined || token === undefined) return { kind: 'stranger' }
  const atMs = Math.min(token.expiresAtMs, holder.expiresAtMs ?? Infinity)
  if (atMs <= nowMs) return { kind: 'expired', name: holder.name, token: token.id, atMs }
  return { kind: 'person', name: holder.name, token: token.id }
}

/** Whether a person has a right on an app now; null: on the platform itself. */
export function allows(person: Person, right: Right, app: string | null, nowMs: number): boolean {
  if (person.expiresAtMs !== null && person.expiresAtMs <= nowMs) return false
  const held: readonly Right[] = [...roles[person.role], ...person.rights]
  return held.includes(right) && (person.apps === null || (app !== null && person.apps.includes(app)))
}

/** The person of this name. Throws `operator.unknown-person`. */
export function needPerson(people: People, name: string): Person {
  const person = people.find((candidate) => candidate.name === name)
  if (person !== undefined) return person
  throw new SteadError({
    code: 'operator.unknown-person',
    message: `there is no person called ${name}`,
    hint:
      people.length === 0
        ? 'There is none yet: `stead access add`.'
        : `There are: ${people.map((one) => one.name).join(', ')}.`,
  })
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function badKey(): SteadError {
  return new SteadError({
    code: 'operator.bad-key',
    message: 'this is not a public SSH key as OpenSSH writes it',
    hint: 'Give the file that ends in .pub, with one key on one line and no options before it.',
  })
}

function tooMany(message: string): SteadError {
  return new SteadError({ code: 'operator.too-many', message, hint: 'Take away what is not used any more.' })
}
