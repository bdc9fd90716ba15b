/**
 * One process of the daemon: control, agent or gateway. Each takes its role over from the process that had it, so that a
 * crash of the supervisor and an upgrade are the same thing: the new one comes, the old one goes.
 *
 * Invariant: a role that ends, however it ends, ends nothing of the apps: instances and servers go on.
 */
import { daemonHome, prepareHome } from '../home.ts'
import type { Role } from './claim.ts'
import type { RoleContext, RoleOptions } from './context.ts'

const entries: Readonly<Record<Role, (context: RoleContext) => Promise<void>>> = {
  control: async (context) => (await import('./control.ts')).runControl(context),
  agent: async (context) => (await import('./agent.ts')).runAgent(context),
  gateway: async (context) => (await import('./gateway.ts')).runGateway(context),
}

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
