/** The embedded queues as they run in their thread: the ledger of a file, with its fsyncs. */
import { systemClock } from '../../../base/index.ts'
import { openLedgerFile } from '../ledger/file.ts'
import { LedgerHost } from '../ledger/host.ts'
import { embeddedCapabilities } from '../ledger/capabilities.ts'

/** What the thread needs to know. */
export interface EmbeddedFileOptions {
  readonly path: string
  /** Null: the one that the file has. */
  readonly generation: number | null
  readonly messagesMax: number
  readonly bytesMax: number
}

/** Opens the file; see `openEmbeddedQueues`. */
export async function openEmbeddedHost(options: EmbeddedFileOptions): Promise<LedgerHost> {
  return new LedgerHost(openLedgerFile(options.path, options.generation), {
    name: 'embedded',
    server: `SQLite ${process.versions['sqlite'] ?? ''}`,
    capabilities: embeddedCapabilities,
    clock: systemClock,
    durability: 'fsync',
    messagesMax: options.messagesMax,
    bytesMax: options.bytesMax,
  })
}
