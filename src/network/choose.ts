/** Picks the strongest network driver this machine allows, once, at start; the weaker one carries the reason. */
import { createHostDriver } from './drivers/host.ts'
import { openLibc } from './drivers/libc.ts'
import { createNetnsDriver } from './drivers/netns.ts'
import type { NetworkDriver } from './network.ts'

/** The driver for this machine. Never fails: the last resort is the host's own network, which says so. */
export function chooseNetworkDriver(options: { readonly poolSize?: number } = {}): NetworkDriver {
  try {
    const libc = openLibc()
    if ('reason' in libc) return createHostDriver(libc.reason)
    return createNetnsDriver({ libc, ...options })
  } catch (error) {
    return createHostDriver(error instanceof Error ? error.message : 'network namespaces failed')
  }
}
