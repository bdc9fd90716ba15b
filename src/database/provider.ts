/**
 * The provider of `postgres`: a real PostgreSQL server for each database resource, or one that somebody else runs.
 *
 * Invariants: what the server acknowledged survives a crash and is in every checkpoint taken later; a data directory of
 * another major version, or one that lacks files, is refused and left as it is.
 */
import { join } from 'node:path'
import { messageOf } from '../base/index.ts'
import type { Provider, ProviderContext } from '../provider/index.ts'
import { laidOut, readLog, readOpen } from './archive.ts'
import type { PostgresBinaries } from './binaries.ts'
import { carryInto, linesToCarry } from './carry.ts'
import { compareDataDirs } from './compare.ts'
import { accessText, parseConfig, settingsText } from './config.ts'
import { binariesFor, runToEnd } from './datadir.ts'
import { readCarried, writeCarried } from './drivers/carried-files.ts'
import { readMigrationFiles } from './drivers/migration-files.ts'
import { findDurability, judgeDurability } from './durability.ts'
import { hostedPostgresProvider, withHosted } from './hosted.ts'
import type { ReleasingProvider } from './hosted.ts'
import { readMetrics } from './metrics.ts'
import { pendingOf } from './migrations.ts'
import { maintenanceDatabase, namesOf } from './names.ts'
import { readPosition } from './position.ts'
import { applyMigrations } from './prepare.ts'
import { defaultPort, initProgram, layOutProgram, recoverProgram, serverProgram } from './programs.ts'
import { readRecord } from './record.ts'
import { rehearseMigrations } from './rehearse.ts'
import { replayRows } from './replay.ts'
import { markMoment, restoreCopy } from './restore.ts'
import { databaseOf } from './second.ts'
import { asAdmin, ensureDatabase, grantConsumer, revokeConsumer, waitUntilReady } from './server.ts'
import type { Server } from './server.ts'
import { verifyCopy } from './verify.ts'

export interface PostgresOptions {
  /** What the drivers found, together; the config's version chooses, or else the newest is used. */
  readonly binaries: readonly PostgresBinaries[]
  /** Most time a migration waits for a lock that another session holds; 5 s unless given. */
  readonly lockTimeoutMs?: number
  /** Most time of one statement of a migration; 10 min unless given. */
  readonly statementTimeoutMs?: number
  /** Most time of what is done with a copy: all migrations that are tried, going along a log. 10 min unless given. */
  readonly copyTimeoutMs?: number
  /** Tables with more rows are counted in a diff, not compared; 2,000,000 unless given. */
  readonly diffRowsMax?: number
}

/** Makes the provider for resources of type `postgres`. */
export function postgresProvider(options: PostgresOptions): Provider {
  const limits = {
    lockTimeoutMs: options.lockTimeoutMs ?? 5_000,
    statementTimeoutMs: options.statementTimeoutMs ?? 600_000,
  }

  const serverOf = ({ name, socketDir, adminPassword }: ProviderContext): Server => ({
    name,
    socketDir,
    port: defaultPort,
    adminPassword,
  })

  const own: ReleasingProvider = {
    type: 'postgres',
    port: defaultPort,
    capabilities: { quiesce: 'none', diff: 'exact' },

    async provision(context) {
      const { dataDir, socketDir, adminPassword } = context
      const config = parseConfig(context.name, context.config)
      const binaries = await binariesFor(context, dataDir, options.binaries)
      const { memoryBytes, log } = config
      const place = { dataDir, socketDir, port: defaultPort, memoryBytes, log, settings: {} }
      const server = serverProgram(binaries, place)
      const settings = settingsText(config, Number(binaries.version))
      await runToEnd(context, initProgram(binaries, dataDir, adminPassword, settings, accessText), 'be made')
      return server
    },

    async ready(context, timeoutMs) {
      await waitUntilReady(serverOf(context), context.clock, timeoutMs, {
        hasEnded: () => false,
        output: () => context.serverOutput(),
      })
    },

    async durability(context) {
      const found = await asAdmin(serverOf(context), maintenanceDatabase, findDurability).catch(messageOf)
      // On a full disk nothing can be committed, and there is much that can still be read.
      return typeof found === 'string' ? `not proved: ${found}` : judgeDurability(context.name, found)
    },

    async prepare(context, phase = 'all') {
      const names = namesOf(context.app)
      // Files that cannot be read are told before anything is touched.
      const files = context.filesDir === null ? [] : await readMigrationFiles(context.filesDir)
      const server = serverOf(context)
      await ensureDatabase(server, names)
      return { schema: await applyMigrations({ server, names, files, phase, limits, random: context.random }) }
    },

    async pending(context) {
      const files = context.filesDir === null ? [] : await readMigrationFiles(context.filesDir)
      const database = await databaseOf(context, serverOf(context))
      return pendingOf(files, await asAdmin(serverOf(context), database, readRecord))
    },

    async rehearse(context, lockMsMax) {
      const { binaries, copyTimeoutMs: totalMsMax = 600_000 } = options
      return await rehearseMigrations(context, lockMsMax, { binaries, limits, totalMsMax })
    },

    async grant(context, grant) {
      const names = namesOf(context.app)
      await ensureDatabase(serverOf(context), names)
      const ownsSchema = context.filesDir === null
      await grantConsumer(serverOf(context), names, grant, { ownsSchema, random: context.random })
    },

    async revoke(context, user) {
      await ensureDatabase(serverOf(context), namesOf(context.app))
      await revokeConsumer(serverOf(context), namesOf(context.app), user)
    },

    bind(resource, grant, target) {
      const { database } = namesOf(resource.app)
      const [user, password] = [encodeURIComponent(grant.user), encodeURIComponent(grant.password)]
      const env = {
        DATABASE_URL: `postgresql://${user}:${password}@${target.host}:${target.port}/${database}`,
        PGHOST: target.host,
        PGPORT: `${target.port}`,
        PGUSER: grant.user,
        PGPASSWORD: grant.password,
        PGDATABASE: database,
      }
      return { env, files: [] }
    },

    async quiesce(context) {
      // An atomic snapshot of a running server is consistent; the checkpoint only keeps recovery from it short.
      await asAdmin(serverOf(context), maintenanceDatabase, (session) => session.query('checkpoint'))
      return { [Symbol.asyncDispose]: async () => {} }
    },

    async recover(context) {
      await runToEnd(context, recoverProgram(context.dataDir), 'be made ready to start')
    },

    async diff(context, before, after) {
      const { binaries, diffRowsMax: rowsMax = 2_000_000 } = options
      return await compareDataDirs(context, before, after, {
        binaries,
        rowsMax,
        statementTimeoutMs: limits.statementTimeoutMs,
      })
    },

    async abandon(context, dir) {
      const database = await databaseOf(context, serverOf(context))
      await asAdmin(serverOf(context), database, (session) => writeCarried(dir, context.name, linesToCarry(session)))
    },

    async carry(context, dir, generation) {
      const names = namesOf(context.app)
      const lines = await readCarried(dir, context.name)
      await ensureDatabase(serverOf(context), names)
      return await asAdmin(serverOf(context), names.database, (session) => carryInto(session, generation, lines))
    },

    async position(context) {
      return await asAdmin(serverOf(context), await databaseOf(context, serverOf(context)), readPosition)
    },

    async replay(context, from, order) {
      return await replayRows(context, serverOf(context), from, order, { binaries: options.binaries, limits })
    },

    async mark(context, name) {
      return await asAdmin(serverOf(context), maintenanceDatabase, (session) => markMoment(session, name))
    },

    async log(context) {
      return await asAdmin(serverOf(context), maintenanceDatabase, readLog)
    },

    async layOutLog(context) {
      const { open, position } = await asAdmin(serverOf(context), maintenanceDatabase, readOpen)
      await runToEnd(context, layOutProgram(context.dataDir, open), 'have its log laid out')
      return { dir: join(context.dataDir, laidOut), position }
    },

    async restoreTo(context, from, target) {
      const { binaries, copyTimeoutMs: totalMsMax = 600_000 } = options
      return await restoreCopy(context, from, target, { binaries, totalMsMax })
    },

    async verify(context, probe) {
      const { binaries } = options
      return await verifyCopy(context, probe, { binaries, statementTimeoutMs: limits.statementTimeoutMs })
    },

    async metrics(context) {
      return await asAdmin(serverOf(context), namesOf(context.app).database, readMetrics)
    },
  }
  return withHosted(own, hostedPostgresProvider(limits))
}
