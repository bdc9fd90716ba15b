/**
 * One process of the daemon: control, agent or gateway. Each takes its role over from the process that had it, so that a
 * crash of the supervisor and an upgrade are the same thing: the new one comes, the old one goes.
 *
 * Invariant: a role that ends, however it ends, ends nothing of the apps: instances and servers go on.
 */
import { daemonHome, type Home, prepareHome } from '../home.ts'
import type { Role } from './claim.ts'

export interface RoleOptions {
  readonly host: string
  readonly port: number
  /** Where the certificates come from; null: no TLS. */
  readonly tls: string | null
  /** With TLS: the port of plain HTTP. */
  readonly plainPort: number | null
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

const entries: Readonly<Record<Role, (context: RoleContext) => Promise<void>>> = {
  control: async (context) => (await import('./control.ts')).runControl(context),
  agent: async (context) => (await import('./agent.ts')).runAgent(context),
  gateway: async (context) => (await import('./gateway.ts')).runGateway(context),
}

/** How long the process before may take to let go: an agent or a control needs milliseconds. */
export const graceMs = 5000

/** Runs a role until SIGTERM. Loads only what the role needs: these processes stay for months. */
export async function runRole(role: Role, options: RoleOptions): Promise<void> {
  const home = daemonHome()
  prepareHome(home)
  const stopped = new Promise<void>((resolve) => process.once('SIGTERM', () => resolve()))
  // A second SIGTERM must not cut short what the first began.
  process.on('SIGTERM', () => {})
  const say = (text: string): void => void process.stderr.write(`${role}: ${text}\n`)
  const context: RoleContext = { ...options, home, stopped, say }
  // No timer of the clock keeps a process alive, and what a role waits for may be nothing but one.
  const alive = setInterval(() => {}, 2 ** 30)
  try {
    await entries[role](context)
  } finally {
    clearInterval(alive)
  }
}
