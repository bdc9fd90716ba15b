/**
 * Compares two data directories, neither of which is live, by starting a server on each.
 *
 * Invariants: the servers are stopped whatever happens; they take no write but their own recovery from the snapshot.
 */
import type { ProviderContext, ResourceDiff } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { diffDatabases } from './diff.ts'
import { chancePort, databaseOf, openServer, readerMemoryBytes, readerSettings, throwawaySettings } from './second.ts'
import { asAdmin } from './server.ts'

export interface CompareOptions {
  readonly binaries: readonly PostgresBinaries[]
  /** Tables with more rows are only counted. */
  readonly rowsMax: number
  readonly statementTimeoutMs: number
}

/** What differs between two data directories of a resource. Throws what keeps one of them from being read. */
export async function compareDataDirs(
  context: ProviderContext,
  before: string,
  after: string,
  { binaries, rowsMax, statementTimeoutMs }: CompareOptions,
): Promise<ResourceDiff> {
  const port = chancePort(context.random)
  const settings = { ...readerSettings, ...throwawaySettings }
  const how = { binaries, memoryBytes: readerMemoryBytes, settings, purpose: 'be compared' }
  await using left = await openServer(context, before, port, how)
  await using right = await openServer(context, after, port + 1, how)
  const [leftDatabase, rightDatabase] = [await databaseOf(context, left), await databaseOf(context, right)]
  return await asAdmin(
    left,
    leftDatabase,
    (one) => asAdmin(right, rightDatabase, (two) => diffDatabases(one, two, rowsMax), { statementTimeoutMs }),
    { statementTimeoutMs },
  )
}
