/**
 * Resources: what keeps state for services and jobs. `resource` makes any kind; `postgres` and `secret` are made of it,
 * and so is whatever a provider brings later. The config is the provider's own and is passed on as it is.
 */
import { canonicalJson } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { badOption, checkName, checkNumber, checkOptions, readBytes, readDuration } from './check.ts'
import { readDirectory } from './directory.ts'
import { typePattern } from './patterns.ts'
import type { Bytes, Duration } from './units.ts'
import { brand, isPart } from './values.ts'
import type { Resource } from './values.ts'

/** Longest config of a resource, in characters of JSON. */
const configCharsMax = 65_536

/** A database of PostgreSQL: a server of its own, or one that somebody else runs. */
export type PostgresOptions = OwnPostgresOptions | HostedPostgresOptions

/** A database that somebody else runs. It is in no checkpoint and goes back with no release. */
export interface HostedPostgresOptions {
  /** The URL, with a role that may make roles: postgresql://ROLE:PASSWORD@HOST:PORT/DATABASE. */
  readonly hosted: Resource<'secret'>
  /** Name of the database. */
  readonly database: string
  /** Default 'required': encrypted, and the server proves its name. */
  readonly tls?: 'required' | 'off'
  /** Directory of numbered SQL files, relative to the app file. Default: none. */
  readonly migrations?: string
}

/** A database with a server of its own. */
export interface OwnPostgresOptions {
  readonly hosted?: never
  /** Major version. Default '18'. What is installed decides what can run. */
  readonly version?: `${number}`
  /** Directory of numbered SQL files, relative to the app file. Default: none. */
  readonly migrations?: string
  /** Memory of the server, 64MB to 4TB. Default 256MB. */
  readonly memory?: Bytes
  /** Connections at the same time, 5 to 10000. Default 100. */
  readonly maxConnections?: number
  /**
   * How much of the log of all changes is kept beside the data, whichever is less: how far back a point in time can be. Default
   * 7d and 1GiB, and never more than a quarter of the disk of the data.
   */
  readonly log?: { readonly keep?: Duration; readonly size?: Bytes }
}

/** A value nobody but its users reads. */
export type SecretOptions =
  /** The platform makes a random value, and a new one each time this long has passed (1h to 366d). Default: only when asked. */
  | { readonly from?: 'generated'; readonly rotate?: Duration }
  /** Only a person knows it: whoever uses it waits until it is set with `stead secret set`. */
  | { readonly from: 'operator' }

/**
 * A resource of any type. `files` is a directory beside the app file that its provider needs (migrations).
 *
 * Throws `model.bad-name`, `model.bad-option`.
 */
export function resource<Type extends string>(
  type: Type,
  name: string,
  config: Json = {},
  files: string | null = null,
): Resource<Type> {
  if (typeof type !== 'string' || !typePattern.test(type)) {
    throw badOption('resource', 'type', 'lower-case letters, digits and dashes', type, "As in 'postgres'.")
  }
  checkName(type, name)
  const owner = `${type} '${name}'`
  const own = copyOf(owner, config)
  const directory = files === null ? null : readDirectory(owner, 'files', files)
  const part = { kind: 'resource', name, type, config: own, files: directory } as const
  const value: Resource<Type> = { [brand]: 'resource', name, type, part: Object.freeze(part) }
  return Object.freeze(value)
}

function copyOf(owner: string, config: Json): Json {
  const hint = 'Texts, numbers, booleans, null, lists and objects of these.'
  const text = ((): string => {
    try {
      return canonicalJson(config)
    } catch {
      throw badOption(owner, 'config', 'plain JSON', config, hint)
    }
  })()
  if (text.length > configCharsMax) {
    throw badOption(owner, 'config', `at most ${configCharsMax} characters of JSON`, text, hint)
  }
  return JSON.parse(text) as Json
}

/** A PostgreSQL database. Users get `DATABASE_URL` and the `PG*` variables. Throws `model.*` as `resource` does. */
export function postgres(name: string, options: PostgresOptions = {}): Resource<'postgres'> {
  checkName('postgres', name)
  const owner = `postgres '${name}'`
  if (options.hosted !== undefined) return hostedPostgres(name, owner, options)
  checkOptions(owner, options, ['version', 'migrations', 'memory', 'maxConnections', 'log', 'hosted'])
  const { version = '18', maxConnections = 100, migrations } = options
  if (typeof version !== 'string' || !/^[1-9][0-9]$/.test(version)) {
    throw badOption(owner, 'version', 'a major version as text', version, "As in version: '18'.")
  }
  const hint = 'Connections at the same time; each costs the server memory.'
  checkNumber(owner, 'maxConnections', maxConnections, { min: 5, max: 10_000, whole: true, hint })
  const memoryBytes = readBytes(owner, 'memory', options.memory ?? '256MB', 64_000_000, 4_000_000_000_000)
  const files = migrations === undefined ? null : readDirectory(owner, 'migrations', migrations)
  return resource('postgres', name, { version, memoryBytes, maxConnections, ...readLog(owner, options.log) }, files)
}

function readLog(
  owner: string,
  log: OwnPostgresOptions['log'],
): { readonly logMs?: number; readonly logBytes?: number } {
  if (log === undefined) return {}
  checkOptions(owner, log, ['keep', 'size'], 'log')
  const { keep, size } = log
  return {
    ...(keep === undefined ? {} : { logMs: readDuration(owner, 'log.keep', keep, 60_000, 3660 * 86_400_000) }),
    ...(size === undefined ? {} : { logBytes: readBytes(owner, 'log.size', size, 67_108_864, 1_000_000_000_000) }),
  }
}

function hostedPostgres(name: string, owner: string, options: HostedPostgresOptions): Resource<'postgres'> {
  checkOptions(owner, options, ['hosted', 'database', 'tls', 'migrations'])
  const { hosted, database, tls = 'required', migrations } = options
  if (!isPart(hosted) || hosted.part.kind !== 'resource' || hosted.part.type !== 'secret')
    throw badOption(owner, 'hosted', 'a secret with the URL', hosted, "As in secret('db-url', { from: 'operator' }).")
  if (typeof database !== 'string' || database === '' || Buffer.byteLength(database) > 63)
    throw badOption(owner, 'database', 'the name of a database', database, "As in database: 'shop'.")
  if (tls !== 'required' && tls !== 'off')
    throw badOption(owner, 'tls', "'required' or 'off'", tls, 'Leave it out, unless the way there is your own.')
  const files = migrations === undefined ? null : readDirectory(owner, 'migrations', migrations)
  const made = resource('postgres', name, { hosted: hosted.name, database, tls }, files)
  return Object.freeze({ ...made, hosted })
}

/** A secret. Users read it from a file named as it is. Throws `model.*` as `resource` does. */
export function secret(name: string, options: SecretOptions = {}): Resource<'secret'> {
  checkName('secret', name)
  const owner = `secret '${name}'`
  checkOptions(owner, options, ['from', 'rotate'])
  const { from = 'generated', rotate }: { from?: string; rotate?: Duration } = options
  if (from !== 'generated' && from !== 'operator') {
    throw badOption(owner, 'from', "'generated' or 'operator'", from, "The default is 'generated'.")
  }
  if (rotate === undefined) return resource('secret', name, { from, rotateMs: null })
  if (from === 'operator') {
    const hint = 'The platform cannot make a value that only a person knows: set a new one with `stead secret set`.'
    throw badOption(owner, 'rotate', "used with from: 'generated' only", rotate, hint)
  }
  return resource('secret', name, {
    from,
    rotateMs: readDuration(owner, 'rotate', rotate, 3_600_000, 366 * 86_400_000),
  })
}
