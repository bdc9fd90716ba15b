/** Queues in memory, for tests and for what may be lost: the same ledger as the embedded queues, so they mean the same. */
import { systemClock } from '../../base/index.ts'
import { queuesOn } from '../queues.ts'
import type { Queues, QueuesOptions } from '../queues.ts'
import { openLedgerMemory } from './ledger/file.ts'
import { LedgerHost } from './ledger/host.ts'
import { memoryCapabilities } from './ledger/capabilities.ts'

export interface MemoryQueuesOptions extends QueuesOptions {
  /** Messages of one queue before senders are refused with `queue.full`; 1,000,000 by default. */
  readonly messagesMax?: number
}

/** Queues that are empty at first and gone when they are closed. */
export async function openMemoryQueues(options: MemoryQueuesOptions = {}): Promise<Queues<null>> {
  const host = new LedgerHost(openLedgerMemory(), {
    name: 'memory',
    server: `SQLite ${process.versions['sqlite'] ?? ''} in memory`,
    capabilities: memoryCapabilities,
    clock: options.clock ?? systemClock,
    durability: 'memory',
    messagesMax: options.messagesMax ?? 1_000_000,
    bytesMax: Number.MAX_SAFE_INTEGER,
  })
  return queuesOn(host, options)
}
