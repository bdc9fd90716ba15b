/** What every process of the daemon is started with. */
import type { AskedDriver } from '../../domain/index.ts'
import type { Home } from '../home.ts'

/** The engines of the way in, by the words of the command line. */
export const engines = ['own', 'haproxy'] as const
export type Engine = (typeof engines)[number]

/** How data can be asked to be kept, by the words of the command line. */
export const askedDrivers: readonly AskedDriver[] = ['btrfs', 'xfs']

export interface RoleOptions {
  readonly host: string
  readonly port: number
  /** Where the certificates come from; null: no TLS. */
  readonly tls: string | null
  /** With TLS: the port of plain HTTP. */
  readonly plainPort: number | null
  /** What carries the bytes: Stead itself, or a managed HAProxy. */
  readonly engine: Engine
  /** How data is to be kept; null: as well as the machine can. */
  readonly domain: AskedDriver | null
  /** Null: the usual one, or the next that is free. */
  readonly dashboardPort: number | null
  /** A socket that listens there already, as a descriptor of this process; null when the gateway is to listen itself. */
  readonly fd: number | null
}

/** What every process of the daemon is given. */
export interface RoleContext extends RoleOptions {
  readonly home: Home
  /** Resolves when it is to go. */
  readonly stopped: Promise<void>
  readonly say: (text: string) => void
}

/** How long the process before may take to let go: an agent or a control needs milliseconds. */
export const graceMs = 5000
