/**
 * Compares two data directories, neither of which is live, by starting a server on each.
 *
 * Invariants: the servers are stopped whatever happens; they take no write but their own recovery from the snapshot.
 */
import type { ProviderContext, ResourceDiff } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { binariesFor, runToEnd } from './datadir.ts'
import { diffDatabases } from './diff.ts'
import { maintenanceDatabase, namesOf } from './names.ts'
import { recoverProgram, serverProgram } from './programs.ts'
import { asAdmin, waitUntilReady } from './server.ts'
import type { Server } from './server.ts'

export interface CompareOptions {
  readonly binaries: readonly PostgresBinaries[]
  /** Tables with more rows are only counted. */
  readonly rowsMax: number
  readonly statementTimeoutMs: number
}

const memoryBytes = 256 * 1024 * 1024
/** Recovery from a snapshot comes before the first answer. */
const readyTimeoutMs = 120_000

/** What differs between two data directories of a resource. Throws what keeps one of them from being read. */
export async function compareDataDirs(
  context: ProviderContext,
  before: string,
  after: string,
  options: CompareOptions,
): Promise<ResourceDiff> {
  // A number of its own for the sockets, so that the live server and other comparisons are not in the way.
  const [high = 0, low = 0] = context.random.bytes(2)
  const port = 10_000 + 2 * ((high << 6) + (low >> 2))
  await using left = await openServer(context, before, port, options)
  await using right = await openServer(context, after, port + 1, options)
  const limit = { statementTimeoutMs: options.statementTimeoutMs }
  const [leftDatabase, rightDatabase] = [await databaseOf(context, left), await databaseOf(context, right)]
  return await asAdmin(
    left,
    leftDatabase,
    (one) => asAdmin(right, rightDatabase, (two) => diffDatabases(one, two, options.rowsMax), limit),
    limit,
  )
}

async function openServer(
  context: ProviderContext,
  dataDir: string,
  port: number,
  options: CompareOptions,
): Promise<Server & AsyncDisposable> {
  const { name, socketDir, adminPassword } = context
  const binaries = await binariesFor(context, dataDir, options.binaries)
  await runToEnd(context, recoverProgram(dataDir), 'be compared')
  // A reader for a few minutes: little memory, and nothing that works on its own in the background.
  const settings = { shared_buffers: '32MB', autovacuum: 'off', default_transaction_read_only: 'on' }
  const running = await context.serve(serverProgram(binaries, { dataDir, socketDir, port, memoryBytes, settings }))
  const server = { name, socketDir, port, adminPassword, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() }
  const watch = { ended: false, output: '' }
  void running.exited.then(({ output, sentence }) => {
    watch.ended = true
    watch.output = `${output.trimEnd()}\n${sentence}`
  })
  try {
    await waitUntilReady(server, context.clock, readyTimeoutMs, {
      hasEnded: () => watch.ended,
      output: () => Promise.resolve(watch.output),
    })
    return server
  } catch (error) {
    await running[Symbol.asyncDispose]()
    throw error
  }
}

/** The app's database; in a state from before it was made, the maintenance database, which holds no tables. */
export async function databaseOf(context: ProviderContext, server: Server): Promise<string> {
  const { database } = namesOf(context.app)
  const found = await asAdmin(server, maintenanceDatabase, (session) =>
    session.query('select 1 from pg_database where datname = $1', [database]),
  )
  return found.length > 0 ? database : maintenanceDatabase
}
