/**
 * A second server of a resource, on data that is not live: a checkpoint or a copy of one.
 *
 * Invariants: it is stopped whatever happens; it has a socket of its own, so that neither the live server nor another
 * second one is in the way.
 */
import type { Random } from '../base/index.ts'
import type { ProviderContext } from '../provider/index.ts'
import type { PostgresBinaries } from './binaries.ts'
import { parseConfig } from './config.ts'
import { binariesFor, runToEnd } from './datadir.ts'
import { maintenanceDatabase, namesOf } from './names.ts'
import { recoverProgram, serverProgram } from './programs.ts'
import { asAdmin, waitUntilReady } from './server.ts'
import type { Server } from './server.ts'

/** How a second server is to run. */
export interface SecondServer {
  readonly binaries: readonly PostgresBinaries[]
  readonly memoryBytes: number
  /** Settings on top of those in the data directory. */
  readonly settings: Readonly<Record<string, string>>
  /** What it is for, after `the data cannot`. */
  readonly purpose: string
  /** Directories it reads, beside its own. */
  readonly reads?: readonly string[]
}

/** A second server that answers. */
export interface RunningSecond extends Server, AsyncDisposable {
  /** Whether it has ended by itself. */
  hasEnded(): boolean
  /** Its last lines, once it has ended. */
  output(): string
}

/** A reader for a few minutes: little memory, and nothing that works on its own in the background. */
export const readerMemoryBytes: number = 256 * 1024 * 1024
export const readerSettings: Readonly<Record<string, string>> = {
  shared_buffers: '32MB',
  autovacuum: 'off',
  default_transaction_read_only: 'on',
}

/** On data that is thrown away afterwards: to flush it would only hold up the live server, whose disk is the same. */
export const throwawaySettings: Readonly<Record<string, string>> = { fsync: 'off' }

/** Recovery from a snapshot comes before the first answer. */
const readyTimeoutMs = 120_000

/** An even number for a socket, by chance, so that those of two neighbours are free as well. */
export function chancePort(random: Random): number {
  const [high = 0, low = 0] = random.bytes(2)
  return 10_000 + 2 * ((high << 6) + (low >> 2))
}

/** Starts a server on a data directory and waits until it answers; disposing stops it. Throws what keeps it from that. */
export async function openServer(
  context: ProviderContext,
  dataDir: string,
  port: number,
  { binaries: found, memoryBytes, settings, purpose, reads = [] }: SecondServer,
): Promise<RunningSecond> {
  const { name, socketDir, adminPassword } = context
  const binaries = await binariesFor(context, dataDir, found)
  await runToEnd(context, recoverProgram(dataDir), purpose)
  const { log } = parseConfig(name, context.config)
  // Its log belongs to nobody, unless it says otherwise.
  const place = { dataDir, socketDir, port, memoryBytes, log, settings: { archive_mode: 'off', ...settings }, reads }
  const running = await context.serve(serverProgram(binaries, place))
  const watch = { ended: false, output: '' }
  void running.exited.then(({ output, sentence }) => {
    watch.ended = true
    watch.output = `${output.trimEnd()}\n${sentence}`
  })
  const server: RunningSecond = {
    name,
    socketDir,
    port,
    adminPassword,
    hasEnded: () => watch.ended,
    output: () => watch.output,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  }
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
export async function databaseOf(context: Pick<ProviderContext, 'app'>, server: Server): Promise<string> {
  const { database } = namesOf(context.app)
  const found = await asAdmin(server, maintenanceDatabase, (session) =>
    session.query('select 1 from pg_database where datname = $1', [database]),
  )
  return found.length > 0 ? database : maintenanceDatabase
}
