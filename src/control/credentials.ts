/**
 * The credentials of an app as control holds them: the values of its secrets, and what administrators and consumers of its
 * other resources log in with. Their names in the vault, and what follows from a version. Pure.
 *
 * Invariant: of two versions that follow one another, the logins differ, so that both can be valid at the same time.
 */
import type { Part, ResourcePart, Runnable } from '../model/index.ts'
import type { Rotation, Source } from '../secrets/index.ts'
import { partKey } from './state.ts'

/** One credential, opened. */
export interface Credential {
  /** 0: it has no value. */
  readonly current: number
  readonly rotation: Rotation
  /** When the current version was made, milliseconds since 1970. */
  readonly createdMs: number
  readonly source: Source
  /** By version. */
  readonly values: ReadonlyMap<number, string>
}

/** By `app/name in the vault`. */
export type Credentials = ReadonlyMap<string, Credential>

/** Which version of what it uses something was given: by the used part. */
export type Pins = Readonly<Record<string, number>>

/** Name of an administrator's credential. That of a shared value (a secret) is the part's own. */
export function adminName(part: string): string {
  return `${part}/admin`
}

/** Name of a consumer's credential. */
export function consumerName(part: string, consumer: string): string {
  return `${part}/for/${consumer}`
}

/** What a name in the vault stands for. */
export function meaningOf(name: string): {
  readonly part: string
  readonly consumer: string | null
  readonly admin: boolean
} {
  const [part = '', kind, consumer = null] = name.split('/')
  return { part, consumer, admin: kind === 'admin' }
}

/** The login of a consumer for a version of its credential. */
export function userOf(consumer: string, version: number): string {
  return version % 2 === 1 ? consumer : `${consumer}_b`
}

/** The other login of a consumer, which an earlier or later version has. */
export function otherUserOf(consumer: string, version: number): string {
  return userOf(consumer, version + 1)
}

/** The credential of a consumer for a resource, whether its own or the one that all share. */
export function credentialFor(
  credentials: Credentials,
  app: string,
  part: string,
  consumer: string,
): Credential | undefined {
  return credentials.get(partKey(app, part)) ?? credentials.get(partKey(app, consumerName(part, consumer)))
}

/** The versions that an instance of a part would be given now; 0 for a secret without a value. */
export function currentPins(credentials: Credentials, app: string, parts: readonly Part[], consumer: Runnable): Pins {
  const resources = consumer.uses.flatMap((use) => {
    const target = parts.find((part) => part.name === use.part)
    return target?.kind === 'resource' ? [target] : []
  })
  const pin = (target: ResourcePart): readonly [string, number] => {
    return [target.name, credentialFor(credentials, app, target.name, consumer.name)?.current ?? 0]
  }
  return Object.fromEntries(resources.map(pin))
}

/** The version that something was given. Records of an earlier release do not say it: there was one version then. */
export function pinOf(pins: Pins, part: string): number {
  return pins[part] ?? 1
}

/**
 * The pins after what can change while an instance runs: a secret it reads from a file when its part says so, and what it
 * has not been given at all. The same when nothing can.
 */
export function refreshedPins(credentials: Credentials, app: string, part: Part, pins: Pins, now: Pins): Pins {
  const inPlace = part.kind === 'service' && part.onSecretChange !== 'restart'
  const fresh = Object.entries(now).filter(([name, version]) => {
    if (pinOf(pins, name) === version || !credentials.has(partKey(app, name))) return false
    return inPlace || pinOf(pins, name) === 0
  })
  return fresh.length === 0 ? pins : { ...pins, ...Object.fromEntries(fresh) }
}

/** Whether something that was given these pins has to be replaced to get those of now. */
export function pinsDiffer(pins: Pins, now: Pins): boolean {
  return Object.entries(now).some(([name, version]) => pinOf(pins, name) !== version)
}
