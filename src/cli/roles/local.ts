/**
 * The parts of a platform on this machine are each startable by itself: in one process for `up`, in processes of their own
 * for the daemon. They find one another here, by a socket, and speak the protocol either way.
 */
import type { Home } from '../home.ts'

/** Name of the only node. */
export const localNode = 'local'

/** Where agents and gateways find control. */
export function controlAddress(home: Pick<Home, 'controlSocket'>): { readonly kind: 'unix'; readonly path: string } {
  return { kind: 'unix', path: home.controlSocket }
}
