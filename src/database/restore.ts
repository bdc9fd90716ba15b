/**
 * Brings a copy forward along the log of a later state, to a moment that has a name, a position or a time.
 *
 * Invariants: the state whose log it is is only read; the copy is at that moment or the call fails, never somewhere near it;
 * afterwards the copy has a history of its own, so that its log cannot be taken for that of the other.
 */
import { SteadError, isSteadError, sleep } from '../base/index.ts'
import type { LogTarget, ProviderContext, Restored } from '../provider/index.ts'
import { archiveSettings, fetchSetting } from './archive.ts'
import type { PostgresBinaries } from './binaries.ts'
import { binariesFor, runToEnd } from './datadir.ts'
import type { Session } from './drivers/connection.ts'
import { maintenanceDatabase } from './names.ts'
import { followProgram } from './programs.ts'
import { chancePort, openServer, readerMemoryBytes } from './second.ts'
import type { RunningSecond } from './second.ts'
import { asAdmin } from './server.ts'

export interface RestoreOptions {
  readonly binaries: readonly PostgresBinaries[]
  /** Most time to go along the log. */
  readonly totalMsMax: number
}

const pollMs = 50
const nameBytesMax = 63
/** The year 10000, milliseconds since 1970. */
const timeMsEnd = 253_402_300_800_000

/** Throws `database.restore-target` for what is no moment, `database.restore-unreached` when the log does not lead there. */
export async function restoreCopy(
  context: ProviderContext,
  from: string,
  target: LogTarget,
  { binaries, totalMsMax }: RestoreOptions,
): Promise<Restored> {
  const settings = {
    shared_buffers: '32MB',
    autovacuum: 'off',
    ...archiveSettings,
    restore_command: fetchSetting(from),
    recovery_target_action: 'pause',
    ...targetSetting(target),
  }
  await binariesFor(context, from, binaries)
  await runToEnd(context, followProgram(context.dataDir), 'be brought forward')
  const how = { binaries, memoryBytes: readerMemoryBytes, settings, purpose: 'be brought forward', reads: [from] }
  let server: RunningSecond
  try {
    server = await openServer(context, context.dataDir, chancePort(context.random), how)
  } catch (error) {
    // It ends before it answers when the moment lies before the end of what was written at the copy.
    if (!isSteadError(error) || error.code !== 'database.not-ready') throw error
    throw unreached(context.name, target, error.hint ?? '', error)
  }
  await using running = server
  const reached = await waitUntilThere(context, running, target, totalMsMax)
  await asAdmin(running, maintenanceDatabase, async (session) => {
    // At the end of the log it has made itself writable.
    const [promoted] = await session.query<{ done: boolean }>(
      'select case when pg_is_in_recovery() then pg_promote(true, 50) else true end as done',
    )
    if (promoted?.done !== true) throw unreached(context.name, target, 'It could not be made writable in 50 s.', null)
    await session.query('checkpoint')
  })
  return reached
}

/** Names this moment in the log of a live server, and answers its position. Throws `database.restore-target`. */
export async function markMoment(session: Session, name: string): Promise<string> {
  if (name === '' || Buffer.byteLength(name) > nameBytesMax) throw noTarget(`the name ${name}`)
  const [row] = await session.query<{ position: string }>('select pg_create_restore_point($1)::text as position', [
    name,
  ])
  return row?.position ?? ''
}

async function waitUntilThere(
  context: ProviderContext,
  server: RunningSecond,
  target: LogTarget,
  totalMsMax: number,
): Promise<Restored> {
  const deadlineMs = context.clock.monotonicMs() + totalMsMax
  for (;;) {
    let row: { readonly there: boolean; readonly position: string; readonly last: string | null } | undefined
    try {
      ;[row] = await asAdmin(server, maintenanceDatabase, (session) =>
        session.query<{ there: boolean; position: string; last: string | null }>(`
          select case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() = 'paused' else true end as there,
            pg_last_wal_replay_lsn()::text as position,
            (extract(epoch from pg_last_xact_replay_timestamp()) * 1000)::bigint::text as last`),
      )
    } catch (error) {
      // It ends by itself when the log ends before the moment.
      await sleep(context.clock, pollMs)
      if (server.hasEnded()) throw unreached(context.name, target, server.output(), error)
    }
    if (row?.there === true) {
      return { position: row.position, lastChangeMs: row.last === null ? null : Number(row.last) }
    }
    if (context.clock.monotonicMs() >= deadlineMs) {
      throw unreached(context.name, target, `It had come to ${row?.position ?? 'no answer'} in ${totalMsMax} ms.`, null)
    }
    await sleep(context.clock, pollMs)
  }
}

function targetSetting(target: LogTarget): Readonly<Record<string, string>> {
  switch (target.kind) {
    case 'name':
      if (target.name === '' || Buffer.byteLength(target.name) > nameBytesMax) throw noTarget(`the name ${target.name}`)
      return { recovery_target_name: target.name }
    case 'position':
      if (!/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i.test(target.position)) throw noTarget(`the position ${target.position}`)
      return { recovery_target_lsn: target.position }
    case 'end':
      return {}
    case 'time':
      if (!(target.timeMs >= 0 && target.timeMs < timeMsEnd)) throw noTarget('the time')
      // While it reads its settings, the server knows zones by their distance only.
      return { recovery_target_time: new Date(target.timeMs).toISOString().replace('T', ' ').replace('Z', '+00') }
  }
}

function noTarget(what: string): SteadError {
  return new SteadError({
    code: 'database.restore-target',
    message: `${what} is no moment in the log of a database`,
    hint: 'It is a name that was given, a position such as 0/1A2B3C4, or a time.',
  })
}

function unreached(resource: string, target: LogTarget, output: string, cause: unknown): SteadError {
  // What the server says of a log that ends too early is said already.
  const isShort = output.includes('recovery ended before configured recovery target was reached')
  const lines = isShort ? [] : output.trimEnd().split('\n').slice(-10)
  const hint = 'The moment lies before the copy, after the end of the log, or too far back for the log that is kept.'
  return new SteadError({
    code: 'database.restore-unreached',
    message: `the log of database ${resource} does not lead from this copy to ${wordsOf(target)}`,
    hint: [hint, ...lines].join('\n').trimEnd(),
    cause,
  })
}

function wordsOf(target: LogTarget): string {
  if (target.kind === 'time') return new Date(target.timeMs).toISOString()
  if (target.kind === 'end') return 'its end'
  return target.kind === 'name' ? target.name : target.position
}
