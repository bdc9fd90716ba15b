/** Starts control: takes the lease, opens what it works with. Invariant: whoever has not the lease has changed nothing. */
import { SteadError } from '../base/index.ts'
import { openBatch } from '../batch/index.ts'
import { openVault } from '../secrets/index.ts'
import type { Condition } from '../store/index.ts'
import { leaseTtlMs, RunningControl } from './control.ts'
import type { Control, ControlOptions } from './face.ts'
import { moveSecrets } from './move-secrets.ts'
import type { AgentPeer } from './peers.ts'
import { PoolPeers } from './pools.ts'
import { controlLease, countStart, loadRecords, write } from './records.ts'
import { openCredentials } from './secrets.ts'

/** Starts control on a store. Throws `control.elsewhere` when another one holds the lease. */
export async function startControl(options: ControlOptions): Promise<Control> {
  const lease = await options.store.acquireLease(controlLease, options.holder, leaseTtlMs)
  if (lease === null) {
    throw new SteadError({
      code: 'control.elsewhere',
      message: 'another control holds this store',
      hint: `It stops being the one ${leaseTtlMs / 1000} s after it dies.`,
      retry: 'later',
    })
  }
  try {
    const { store, keys: source, clock, random, onSecretRead: onRead } = options
    const held = { lease }
    const guard = (): Condition[] => [{ kind: 'lease', name: held.lease.name, epoch: held.lease.epoch }]
    const vault = await openVault({ store, keys: source, clock, random, guard, onRead })
    await moveSecrets(store, lease, vault, options.types)
    const start = await countStart(store, lease)
    const agents = new Map<string, AgentPeer>()
    const pools = new PoolPeers()
    const failed: { with: ((error: unknown) => void) | null } = { with: null }
    const batch = await openBatch({
      store,
      clock,
      write: (operations) => write(store, held.lease, operations),
      epoch: () => held.lease.epoch,
      send: (node, message) => (agents.get(node)?.channel ?? pools.of(node))?.send(message),
      onFatal: (error) => failed.with?.(error),
    })
    const opened = { vault, credentials: await openCredentials(vault), agents, pools, batch, failed }
    const control = new RunningControl(options, held, await loadRecords(store), start, opened)
    control.start()
    return control
  } catch (error) {
    // The next try, with the right key in its place, need not wait for the lease to run out.
    await options.store.releaseLease(lease.name, lease.epoch).catch(() => {})
    throw error
  }
}
