/**
 * What an app says about its database, and what that means for the server's settings.
 *
 * Invariant: durability is not for sale: fsync, full page writes and synchronous commit are on whatever the config says.
 */
import { SteadError } from '../base/index.ts'
import type { Json } from '../base/index.ts'
import { archiveSettings } from './archive.ts'
import type { LogLimits } from './archive.ts'

export interface DatabaseConfig {
  /** Major version, such as '18'; null: that of the data, or the newest there is. */
  readonly version: string | null
  /** Memory of the whole server. */
  readonly memoryBytes: number
  /** Connections of all consumers together; the platform's own come on top. */
  readonly maxConnections: number
  /** How much of the log is kept beside the data. */
  readonly log: LogLimits
}

const mib = 1024 * 1024
const memoryBytesMin = 64 * mib
const memoryBytesMax = 1024 * 1024 * mib
const connectionsMax = 1000
/** Connections kept for the administrator, so that a full server can still be looked at. */
const adminConnections = 5
const knownKeys = ['version', 'memoryBytes', 'maxConnections', 'migrations', 'logMs', 'logBytes']
const dayMs = 86_400_000

/** Reads the config of resource `name`. What is absent or null gets its default. Throws `database.bad-config`. */
export function parseConfig(name: string, config: Json): DatabaseConfig {
  const refuse = (what: string, hint: string): never => {
    throw new SteadError({ code: 'database.bad-config', message: `database ${name}: ${what}`, hint })
  }
  if (typeof config !== 'object' || Array.isArray(config)) return refuse('the config is no object', 'Write { ... }.')
  const values = new Map(Object.entries(config ?? {}))
  const unknown = [...values.keys()].find((key) => !knownKeys.includes(key))
  if (unknown !== undefined) refuse(`there is no option "${unknown}"`, `The options are ${knownKeys.join(', ')}.`)
  const integer = (key: string, fallback: number, min: number, max: number): number => {
    const value = values.get(key) ?? fallback
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    return refuse(`${key} is ${JSON.stringify(value)}`, `It is a whole number from ${min} to ${max}.`)
  }
  const version = values.get('version') ?? null
  if (version !== null && !(typeof version === 'string' && /^[1-9][0-9]$/.test(version))) {
    return refuse(`version is ${JSON.stringify(version)}`, "It is a major version in quotes, such as '18'.")
  }
  return {
    version,
    memoryBytes: integer('memoryBytes', 256 * mib, memoryBytesMin, memoryBytesMax),
    maxConnections: integer('maxConnections', 50, 1, connectionsMax),
    log: {
      ageMsMax: integer('logMs', 7 * dayMs, 60_000, 3660 * dayMs),
      bytesMax: integer('logBytes', 1024 * mib, 64 * mib, memoryBytesMax),
    },
  }
}

/** The server's settings, as the text of a configuration file. `major` is the server's version. */
export function settingsText(config: DatabaseConfig, major: number): string {
  const kb = (bytes: number, minMib: number, maxMib: number): string =>
    `${Math.round(Math.min(Math.max(bytes, minMib * mib), maxMib * mib) / 1024)}kB`
  const memory = config.memoryBytes
  const settings: readonly (readonly [string, string])[] = [
    // Who may connect: only through the socket in a directory that is given at start.
    ['listen_addresses', ''],
    ['unix_socket_permissions', '0700'],
    ['password_encryption', 'scram-sha-256'],
    ['max_connections', `${config.maxConnections + adminConnections}`],
    ['superuser_reserved_connections', `${adminConnections}`],
    // What is acknowledged is on disk.
    ['fsync', 'on'],
    ['full_page_writes', 'on'],
    ['synchronous_commit', 'on'],
    ['wal_level', 'replica'],
    ['restart_after_crash', 'on'],
    // A share of the memory for the common cache, a share for sorts, the rest for the processes themselves.
    ['shared_buffers', kb(memory / 4, 16, 16384)],
    ['effective_cache_size', kb(memory / 2, 32, 524288)],
    ['work_mem', kb(memory / 4 / config.maxConnections, 1, 64)],
    ['maintenance_work_mem', kb(memory / 16, 8, 1024)],
    ['autovacuum_max_workers', '2'],
    ['huge_pages', 'off'],
    // An idle server costs as good as nothing: no processes that nobody asked for.
    ['max_logical_replication_workers', '0'],
    ['jit', 'off'],
    ...(major >= 18 ? ([['io_method', 'sync']] as const) : []),
    ['min_wal_size', '32MB'],
    ['max_wal_size', '512MB'],
    // The log stays beside the data, so that a checkpoint can be brought forward to a moment after it.
    ...Object.entries(archiveSettings),
    // The sandbox keeps the output, with time.
    ['log_destination', 'stderr'],
    ['logging_collector', 'off'],
    ['log_line_prefix', '%q%u@%d '],
    ['log_lock_waits', 'on'],
    ['lc_messages', 'C'],
    ['timezone', 'UTC'],
    ['log_timezone', 'UTC'],
    // The settings are this file; nothing said inside the server outlives it.
    ...(major >= 17 ? ([['allow_alter_system', 'off']] as const) : []),
  ]
  return settings.map(([key, value]) => `${key} = '${value}'\n`).join('')
}

/** Who may connect and how: everybody by password through the socket, nobody by any other way. */
export const accessText = 'local all all scram-sha-256\n'
